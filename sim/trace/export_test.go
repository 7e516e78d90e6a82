package trace

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	live "github.com/shoal-mesh/shoal/node/trace"
)

// listed is a Source of records in memory, that ends with err, or io.EOF.
type listed struct {
	left  []Record
	about About
	err   error
}

func (l *listed) Next(batch []Record) (int, error) {
	if len(l.left) == 0 {
		if l.err != nil {
			return 0, l.err
		}
		return 0, io.EOF
	}
	n := copy(batch, l.left)
	l.left = l.left[n:]
	return n, nil
}

func (l *listed) About() About { return l.about }
func (l *listed) Close() error { return nil }

func TestExportGolden(t *testing.T) {
	src := &listed{about: About{Start: 1_000_500_000}}
	src.left = []Record{
		{Time: 0, Block: 7, Size: 4096, Bytes: 1},
		{Time: 499_999, Block: 8, Size: 1},
		{Time: 500_000, Block: 7, Size: 4096, Op: live.Write},
		{Time: 600_000, Block: 9},
		{Time: 700_000, Block: 7, Size: 4096},
	}
	var dst bytes.Buffer
	n, err := Export(&dst, src)
	const want = "e8030000" + "0700000000000000" + "00100000" + "0200000000000000" +
		"e8030000" + "0800000000000000" + "01000000" + "ffffffffffffffff" +
		"e9030000" + "0700000000000000" + "00100000" + "0300000000000000" +
		"e9030000" + "0700000000000000" + "00100000" + "ffffffffffffffff"
	if got := hex.EncodeToString(dst.Bytes()); n != 4 || err != nil || got != want {
		t.Errorf("Export = %d, %v:\n%s, want 4:\n%s", n, err, got, want)
	}
}

// TestExportNext compares the indexes with those found by looking ahead, over several chunks,
// and reads the export again.
func TestExportNext(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var records []Record
	for i := range 2*chunkLen + 17 {
		records = append(records, Record{Time: int64(i) * second, Block: rng.Uint64N(1 << rng.IntN(20)), Size: 5, Bytes: 5})
	}
	var dst bytes.Buffer
	n, err := Export(&dst, &listed{left: records})
	if n != int64(len(records)) || err != nil {
		t.Fatalf("Export = %d, %v, want %d", n, err, len(records))
	}
	last := map[uint64]int{}
	next := slices.Repeat([]int64{never}, len(records))
	for i, r := range records {
		if before, ok := last[r.Block]; ok {
			next[before] = int64(i)
		}
		last[r.Block] = i
	}
	for i := range records {
		if got := int64(binary.LittleEndian.Uint64(dst.Bytes()[i*oracleLen+16:])); got != next[i] {
			t.Fatalf("request %d: next request is %d, want %d", i, got, next[i])
		}
	}
	got, _, err := decode(dst.Bytes(), OracleGeneral, Options{}, 1000)
	equal(t, "exported", got, records)
	if err != nil {
		t.Errorf("decode of an export: %v", err)
	}
}

// TestExportRoundTrip exports what is oracleGeneral: not a byte changes.
func TestExportRoundTrip(t *testing.T) {
	var whole bytes.Buffer
	d, err := newDecoder(newInput(bytes.NewReader(requests(3000))), OracleGeneral, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Export(&whole, &source{file: &file{}, decoder: d}); err != nil {
		t.Fatal(err)
	}
	d, err = newDecoder(newInput(bytes.NewReader(whole.Bytes())), OracleGeneral, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if _, err := Export(&again, &source{file: &file{}, decoder: d}); err != nil || !bytes.Equal(again.Bytes(), whole.Bytes()) {
		t.Errorf("Export of an export: %d bytes, %v, want the same %d bytes", again.Len(), err, whole.Len())
	}
}

func TestExportTimes(t *testing.T) {
	tests := []struct {
		start, time int64
		want        uint32
		err         string
	}{
		{1_600_000_000 * second, 5 * second, 1_600_000_005, ""},
		{(1<<32 - 1) * second, 0, 1<<32 - 1, ""},
		{(1<<32 - 1) * second, second, 0, "record 0: a time of 4294967296 s does not fit into 32 bits"},
		{1 << 32 * second, 5 * second, 5, ""},
		{-5 * second, 7 * second, 7, ""},
	}
	for _, tt := range tests {
		var dst bytes.Buffer
		_, err := Export(&dst, &listed{left: []Record{{Time: tt.time, Size: 1}}, about: About{Start: tt.start}})
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) || dst.Len() != 0 {
				t.Errorf("start %d: %v and %d bytes, want %q and none", tt.start, err, dst.Len(), tt.err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := binary.LittleEndian.Uint32(dst.Bytes()); got != tt.want {
			t.Errorf("start %d, time %d: %d s, want %d", tt.start, tt.time, got, tt.want)
		}
	}
}

// TestConvert converts every format to that of agents, and reads it again.
func TestConvert(t *testing.T) {
	agents, _ := agentTrace(t, 100, 30)
	c := Columns{Time: 1, ID: 2, Size: 3, Node: 4, Dataset: 5, Op: 6}
	for format, b := range map[Format][]byte{
		Shoal:         agents,
		OracleGeneral: requests(9000),
		LCS:           append(lcsHeader(lcsShortHeader, 1, 0), requests(50)...),
		CSV:           []byte("100,17,4096,a,x,get\n101,18,4096,b,y,put\n102,19,1,a,y,get\n"),
		Webcachesim:   []byte("1 2 3\n"),
	} {
		want, about, err := decode(b, format, Options{Columns: c}, 100)
		if err != nil {
			t.Fatal(err)
		}
		d, err := newDecoder(newInput(bytes.NewReader(b)), format, Options{Columns: c})
		if err != nil {
			t.Fatal(err)
		}
		var dst bytes.Buffer
		n, err := Convert(&dst, &source{file: &file{}, decoder: d})
		if n != int64(len(want)) || err != nil {
			t.Errorf("Convert of %s = %d, %v, want %d", format, n, err, len(want))
		}
		got, aboutIt, err := decode(dst.Bytes(), Shoal, Options{}, 100)
		equal(t, format, got, want)
		if err != nil || aboutIt.Start != about.Start || aboutIt.Share != about.Share ||
			!slices.Equal(aboutIt.Nodes, about.Nodes) || !slices.Equal(aboutIt.Datasets, about.Datasets) {
			t.Errorf("%s converted: %+v, %v, want %+v", format, aboutIt, err, about)
		}
	}
}

// TestConvertNames converts a source with two nodes of one name, which become one.
func TestConvertNames(t *testing.T) {
	src := &listed{
		left:  []Record{{Node: 0, Size: 1, Bytes: 1}, {Node: 1, Size: 1, Bytes: 1}, {Node: 2, Size: 1, Bytes: 1}},
		about: About{Nodes: []string{"a", "a", "b"}, Datasets: []string{"d"}},
	}
	var dst bytes.Buffer
	if _, err := Convert(&dst, src); err != nil {
		t.Fatal(err)
	}
	got, _, err := decode(dst.Bytes(), Shoal, Options{}, 10)
	if err != nil || len(got) != 3 || got[0].Node != 0 || got[1].Node != 0 || got[2].Node != 1 {
		t.Errorf("converted: %+v, %v, want nodes 0, 0, 1", got, err)
	}
}

var errFull = errors.New("no space left")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

// TestExportErrors gives both a source that fails, and a destination that does. No temporary
// file stays behind.
func TestExportErrors(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	broken := errors.New("broken")
	for name, do := range map[string]func(io.Writer, Source) (int64, error){"Export": Export, "Convert": Convert} {
		src := func(err error) *listed {
			return &listed{left: []Record{{Size: 1}}, about: About{Nodes: []string{"a"}, Datasets: []string{"d"}}, err: err}
		}
		var dst bytes.Buffer
		n, err := do(&dst, src(broken))
		if n != 1 || !errors.Is(err, broken) || dst.Len() == 0 {
			t.Errorf("%s of a source that fails = %d, %v and %d bytes, want 1, %v and what came before", name, n, err, dst.Len(), broken)
		}
		if _, err := do(full{}, src(nil)); !errors.Is(err, errFull) {
			t.Errorf("%s to a full disk = %v, want %v", name, err, errFull)
		}
		dst.Reset()
		if n, err := do(&dst, &listed{}); n != 0 || err != nil {
			t.Errorf("%s of nothing = %d, %v, want 0", name, n, err)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left in the directory of temporary files: %v, %v, want nothing", left, err)
	}
}
