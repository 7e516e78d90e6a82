package trace

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	live "github.com/shoal-mesh/shoal/node/trace"
)

// requests returns n requests of oracleGeneral, 4 bytes each in hex being easy to read.
func requests(n int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	var b []byte
	for i := range n {
		b = request(b, uint32(100_000+i/2), rng.Uint64N(50), 1+rng.Uint32N(1<<20), int64(i+1))
	}
	return b
}

// request appends a request to b.
func request(b []byte, time uint32, id uint64, size uint32, next int64) []byte {
	b = binary.LittleEndian.AppendUint32(b, time)
	b = binary.LittleEndian.AppendUint64(b, id)
	b = binary.LittleEndian.AppendUint32(b, size)
	return binary.LittleEndian.AppendUint64(b, uint64(next))
}

// decode returns the records that b has as a trace of this format, what is known of it, and
// the error that ended it, nil at a clean end.
func decode(b []byte, format Format, o Options, batch int) ([]Record, About, error) {
	d, err := newDecoder(newInput(bytes.NewReader(b)), format, o)
	if err != nil {
		return nil, About{}, err
	}
	s := &source{name: "test", file: &file{}, decoder: d}
	var all []Record
	buf := make([]Record, batch)
	for {
		n, err := s.Next(buf)
		all = append(all, buf[:n]...)
		if (n > 0) == (err != nil) {
			return all, s.About(), errors.New("Next returned both records and an error, or neither")
		}
		if errors.Is(err, io.EOF) {
			return all, s.About(), nil
		}
		if err != nil {
			return all, s.About(), err
		}
	}
}

func TestOracleGeneral(t *testing.T) {
	golden, err := hex.DecodeString("e8030000" + "0807060504030201" + "00100000" + "0200000000000000" +
		"e8030000" + "0900000000000000" + "01000000" + "ffffffffffffffff" +
		"ea030000" + "0807060504030201" + "ffffffff" + "ffffffffffffff7f" +
		"eb030000" + "0a00000000000000" + "00000000" + "ffffffffffffffff" +
		"e7030000" + "0b00000000000000" + "05000000" + "ffffffffffffffff")
	if err != nil {
		t.Fatal(err)
	}
	want := []Record{
		{Time: 0, Block: 0x0102030405060708, Size: 4096, Bytes: 4096},
		{Time: 0, Block: 9, Size: 1, Bytes: 1},
		{Time: 2e6, Block: 0x0102030405060708, Size: math.MaxUint32, Bytes: math.MaxUint32},
		{Time: 0, Block: 11, Size: 5, Bytes: 5}, // a second before the first one
	}
	for batch := 1; batch < 7; batch++ {
		got, about, err := decode(golden, OracleGeneral, Options{}, batch)
		equal(t, "golden", got, want)
		if err != nil || about.Start != 1000e6 || about.Skipped != 1 || about.Share != 1 || about.Format != OracleGeneral {
			t.Errorf("batches of %d: %+v, %v, want a start of 1000 s, one skipped, and no error", batch, about, err)
		}
	}
}

// equal compares records, and names the first that differs.
func equal(t *testing.T, what string, got, want []Record) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Errorf("%s: record %d = %+v, want %+v", what, i, got[i], want[i])
			return
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d records, want %d", what, len(got), len(want))
	}
}

// TestOracleGeneralCutOff cuts a trace everywhere.
func TestOracleGeneralCutOff(t *testing.T) {
	whole := requests(20)
	want, _, err := decode(whole, OracleGeneral, Options{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n < len(whole); n++ {
		got, _, err := decode(whole[:n], OracleGeneral, Options{}, 7)
		equal(t, "cut off", got, want[:n/oracleLen])
		if n%oracleLen == 0 {
			if err != nil {
				t.Errorf("cut at %d, between requests: %v, want no error", n, err)
			}
			continue
		}
		if !errors.Is(err, live.ErrTruncated) || !strings.Contains(err.Error(), at(n/oracleLen*oracleLen, n/oracleLen)) {
			t.Errorf("cut at %d: %v, want ErrTruncated at %q", n, err, at(n/oracleLen*oracleLen, n/oracleLen))
		}
	}
}

// at returns how an error says where.
func at(offset, record int) string {
	f := foreign{number: int64(record)}
	return strings.TrimSuffix(f.located(int64(offset), errors.New("")).Error(), " ")
}

func TestOracleGeneralNonsense(t *testing.T) {
	good := slices.Clip(requests(3))
	zeros := request(nil, 100_000, 1, 0, -1)
	tests := []struct {
		name    string
		b       []byte
		records int
		want    string
	}{
		{"time goes back", request(good, 100_001-86401, 1, 1, -1), 3, "offset 72, record 3: trace is damaged: time goes back by 86401 s"},
		{"no such index", request(good, 100_001, 1, 1, -2), 3, "offset 72, record 3: trace is damaged: next request at index -2"},
		{"huge index", request(good, 100_001, 1, 1, maxIndex+1), 3, "next request at index"},
		{"only zeros", make([]byte, 2400), 0, "offset 2400, record 100: trace is damaged: all its requests are of no bytes"},
		{"many zeros", make([]byte, 240_000), 0, "offset 23976, record 1000: trace is damaged: the first 1000 requests"},
		{"some zeros", append(bytes.Repeat(zeros, emptyFirst-1), good...), 3, ""},
		{"empty", nil, 0, "it is empty"},
		{"text", bytes.Repeat([]byte("1000,17,4096\n"), 24), 0, "offset 0: it looks like csv, not oracleGeneral"},
		{"columns of text", bytes.Repeat([]byte("1000 17 4096\n"), 24), 0, "it looks like webcachesim, not oracleGeneral"},
		{"prose", []byte("Lorem ipsum dolor sit amet"), 0, "it looks like text, not oracleGeneral"},
		{"zstd", append([]byte{0x28, 0xb5, 0x2f, 0xfd}, requests(9)...), 0, "it looks like a zstd file"},
		{"gzip", append([]byte{0x1f, 0x8b, 8, 0}, bytes.Repeat([]byte{0xa5, 0}, 50)...), 0, "it looks like a gzip file"},
		{"an agent's", []byte("SHOALTRC and more of it"), 0, "it looks like shoal, not oracleGeneral"},
		{"lcs", lcsHeader(lcsShortHeader, 1, 0), 0, "it looks like lcs, not oracleGeneral"},
	}
	for _, tt := range tests {
		got, _, err := decode(tt.b, OracleGeneral, Options{}, 64)
		if len(got) != tt.records || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %d records, %v, want %d and %q", tt.name, len(got), err, tt.records, tt.want)
		}
	}
	// Time goes back by random amounts when 24 bytes are not the length of a request.
	rng := rand.New(rand.NewPCG(3, 4))
	var b []byte
	for range 50 {
		b = binary.LittleEndian.AppendUint64(b, rng.Uint64())
	}
	if _, _, err := decode(b, OracleGeneral, Options{}, 64); !errors.Is(err, live.ErrDamaged) {
		t.Errorf("random bytes: %v, want ErrDamaged", err)
	}
}

func FuzzOracleGeneral(f *testing.F) {
	f.Add(requests(10))
	f.Add(requests(10)[:100])
	f.Add([]byte("1000,17,4096\n"))
	f.Add(make([]byte, 100))
	f.Fuzz(func(t *testing.T, b []byte) { checkDecode(t, b, OracleGeneral, Options{}) })
}

// checkDecode decodes b in small and in large batches: the same comes of both, of which each
// record makes sense, and an error says where.
func checkDecode(t *testing.T, b []byte, format Format, o Options) {
	got, about, err := decode(b, format, o, 3)
	again, _, errAgain := decode(b, format, o, 1000)
	equal(t, "batches of 3 and of 1000", got, again)
	if (err == nil) != (errAgain == nil) || err != nil && err.Error() != errAgain.Error() {
		t.Fatalf("batches of 3: %v; of 1000: %v", err, errAgain)
	}
	if err != nil && (errors.Is(err, live.ErrTruncated) || errors.Is(err, live.ErrDamaged)) &&
		!strings.Contains(err.Error(), "offset ") && !strings.Contains(err.Error(), "empty") {
		t.Fatalf("error %q does not say where", err)
	}
	for i, r := range got {
		if r.Time < 0 || r.Size == 0 && format != Shoal || int(r.Node) >= len(about.Nodes) || int(r.Dataset) >= len(about.Datasets) {
			t.Fatalf("record %d = %+v of %+v is impossible", i, r, about)
		}
	}
}

func BenchmarkOracleGeneral(b *testing.B) {
	benchmark(b, requests(1<<20), OracleGeneral)
}

// benchmark decodes a trace from memory.
func benchmark(b *testing.B, trace []byte, format Format) {
	batch := make([]Record, 4096)
	b.ReportAllocs()
	b.SetBytes(int64(len(trace)))
	total := 0
	for b.Loop() {
		d, err := newDecoder(newInput(bytes.NewReader(trace)), format, Options{})
		if err != nil {
			b.Fatal(err)
		}
		for err == nil {
			var n int
			n, err = d.next(batch)
			total += n
		}
		if !errors.Is(err, io.EOF) {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(total)/b.Elapsed().Seconds()/1e6, "Mrecords/s")
}
