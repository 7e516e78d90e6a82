package trace

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	live "github.com/shoal-mesh/shoal/node/trace"
)

// An agentFile is a trace of one agent.
type agentFile struct {
	name     string
	node     string
	datasets []string
	start    int64
	share    float64 // 0: 1
	records  []Record
}

// encode returns the trace, as an agent writes it.
func (f agentFile) encode(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := live.NewWriter(&b, live.Header{Start: f.start, Share: f.share})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Node(f.node); err != nil {
		t.Fatal(err)
	}
	for _, d := range f.datasets {
		if _, err := w.Dataset(d); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range f.records {
		if err := w.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// put writes contents by name into a new directory, and returns that.
func put(t testing.TB, contents map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range contents {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A named is a record with names for its numbers.
type named struct {
	time          int64 // since 1970
	block         uint64
	node, dataset string
}

// readNamed reads all of s.
func readNamed(t testing.TB, s Source) (all []named, err error) {
	t.Helper()
	records, err := readAll(t, s)
	about := s.About()
	for _, r := range records {
		all = append(all, named{about.Start + r.Time, r.Block, about.Nodes[r.Node], about.Datasets[r.Dataset]})
	}
	return all, err
}

// TestOpenAllMerges gives it the files of three agents, one of which has two, in and below a
// directory, with other files beside them.
func TestOpenAllMerges(t *testing.T) {
	files := []agentFile{
		{"a/1.trace", "n1", []string{"/x", "/y"}, 1000, 0, []Record{{Time: 0, Block: 1}, {Time: 500, Block: 2, Dataset: 1}, {Time: 300, Block: 3}}},
		{"a/2.trace.zst", "n1", []string{"/y"}, 2000, 0, []Record{{Time: 100, Block: 4}}},
		{"b/1.trace.gz", "n2", []string{"/y", "/x"}, 900, 0, []Record{{Time: 50, Block: 5}, {Time: 1000, Block: 6, Dataset: 1}, {Time: 5000, Block: 7}}},
		{"3.trace", "n3", []string{"/z"}, 950, 0, nil},
	}
	contents := map[string][]byte{"notes.txt": []byte("x"), "a/1.csv": []byte("1,2,3")}
	for _, f := range files {
		contents[f.name] = packed(t, f.name, f.encode(t))
	}
	s, err := OpenAll([]string{put(t, contents)}, "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if a := s.About(); a.Start != 900 || a.Share != 1 || a.Format != Shoal {
		t.Errorf("About() = %+v, want the first start, 900, and share 1", a)
	}
	got, err := readNamed(t, s)
	want := []named{
		{950, 5, "n2", "/y"},
		{1000, 1, "n1", "/x"},
		{1300, 3, "n1", "/x"},
		{1500, 2, "n1", "/y"},
		{1900, 6, "n2", "/x"},
		{2100, 4, "n1", "/y"},
		{5900, 7, "n2", "/y"},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("records %v, %v, want %v", got, err, want)
	}
	if a := s.About(); len(a.Datasets) != 3 || len(a.Nodes) != 3 {
		t.Errorf("nodes %q, datasets %q, want three of each", a.Nodes, a.Datasets)
	}
}

// TestOpenAllSorts merges traces that are much longer than what it keeps of them, each a little
// out of order, as reads end.
func TestOpenAllSorts(t *testing.T) {
	const files, records = 5, 6 * disorder
	rng := rand.New(rand.NewPCG(1, 2))
	var names []string
	want := make(map[uint64]int64)
	for i := range files {
		f := agentFile{name: "x.trace", node: "n", datasets: []string{"/x"}, start: int64(1000 * i)}
		for j := range records {
			r := Record{Time: int64(10*j + rng.IntN(10*disorder)), Block: uint64(i*records + j)}
			f.records = append(f.records, r)
			want[r.Block] = f.start + r.Time
		}
		names = append(names, write(t, f.name, f.encode(t)))
	}
	s, err := OpenAll(names, Shoal, Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := readNamed(t, s)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d records, %v, want %d", len(got), err, len(want))
	}
	last := int64(0)
	for _, r := range got {
		if r.time < last || want[r.block] != r.time {
			t.Fatalf("block %d at %d after %d, want it at %d", r.block, r.time, last, want[r.block])
		}
		last = r.time
		delete(want, r.block)
	}
}

// TestOpenAllThins merges a trace of all blocks with one of half of them.
func TestOpenAllThins(t *testing.T) {
	var all, half []Record
	for block := range uint64(1000) {
		all = append(all, Record{Time: int64(block), Block: block})
		if live.Sampled(block, 0.5) {
			half = append(half, Record{Time: int64(block), Block: block})
		}
	}
	a := write(t, "a", agentFile{"", "n1", []string{"/x"}, 0, 1, all}.encode(t))
	b := write(t, "b", agentFile{"", "n2", []string{"/x"}, 0, 0.5, half}.encode(t))
	s, err := OpenAll([]string{a, b}, "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.About().Share; got != 0.5 {
		t.Errorf("share %v, want 0.5", got)
	}
	reads := make(map[string]int)
	got, err := readNamed(t, s)
	for _, r := range got {
		reads[r.node]++
	}
	if err != nil || reads["n1"] != len(half) || reads["n2"] != len(half) {
		t.Errorf("reads %v, %v, want %d of each node", reads, err, len(half))
	}
}

// TestOpenAllWithoutEnds merges what a crash left: a file with nothing in it, one cut off, and a
// whole one.
func TestOpenAllWithoutEnds(t *testing.T) {
	whole := agentFile{"", "n1", []string{"/x"}, 1000, 0, []Record{{Time: 1, Block: 1}, {Time: 90, Block: 2}}}.encode(t)
	cutOff := agentFile{"", "n2", []string{"/x"}, 1010, 0, []Record{{Time: 1, Block: 3}}}.encode(t)
	cutOff = append(cutOff, cutOff[40:50]...) // the beginning of a frame
	names := []string{write(t, "a", whole), write(t, "b", cutOff), write(t, "c", nil)}
	s, err := OpenAll(names, "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := readNamed(t, s)
	want := []named{{1001, 1, "n1", "/x"}, {1011, 3, "n2", "/x"}, {1090, 2, "n1", "/x"}}
	if !slices.Equal(got, want) || !errors.Is(err, live.ErrTruncated) || !strings.Contains(err.Error(), names[1]) || !strings.Contains(err.Error(), names[2]) {
		t.Errorf("records %v, %v, want %v and an error about both broken files", got, err, want)
	}
}

// TestOpenAllForeign checks that foreign traces are merged too, each in its own order.
func TestOpenAllForeign(t *testing.T) {
	a := write(t, "a.csv", []byte("100,1,10\n99,2,10\n105,3,10\n110,8,0\n"))
	b := write(t, "b.csv", []byte("102,4,10\n104,5,10\n"))
	s, err := OpenAll([]string{b, a}, "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := readNamed(t, s)
	var blocks []uint64
	for _, r := range got {
		blocks = append(blocks, r.block)
	}
	if want := []uint64{1, 2, 4, 5, 3}; err != nil || !slices.Equal(blocks, want) || s.About().Skipped != 1 {
		t.Errorf("blocks %v, %v, skipped %d, want %v and 1", blocks, err, s.About().Skipped, want)
	}
}

func TestOpenAllRefuses(t *testing.T) {
	agents := write(t, "a.trace", agentFile{"", "n1", nil, 0, 0, nil}.encode(t))
	csv := write(t, "b.csv", []byte("1,2,3\n"))
	broken := write(t, "c.trace", append(agentFile{"", "n1", nil, 0, 0, nil}.encode(t), make([]byte, 100)...))
	tests := []struct {
		names []string
		want  string
	}{
		{nil, "no file whose name ends in .trace"},
		{[]string{t.TempDir()}, "no file whose name ends in .trace"},
		{[]string{"/nowhere"}, "no such file"},
		{[]string{agents, csv}, "they cannot be one"},
		{[]string{write(t, "d", nil)}, "it is empty"},
		{[]string{agents, broken}, "does not match its sum"},
	}
	for _, tt := range tests {
		s, err := OpenAll(tt.names, "", Options{})
		if err == nil {
			_, err = readAll(t, s)
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("OpenAll(%q) = %v, want an error with %q", tt.names, err, tt.want)
		}
	}
}

func BenchmarkOpenAll(b *testing.B) {
	const files, records = 8, 200_000
	var names []string
	for i := range files {
		f := agentFile{node: "n", datasets: []string{"/x"}}
		for j := range records {
			f.records = append(f.records, Record{Time: int64(100*j + j%7*300), Block: uint64(i*records+j) * 0x9e3779b97f4a7c15, Size: 4 << 20, Bytes: 4 << 20})
		}
		names = append(names, write(b, "x.trace", f.encode(b)))
	}
	batch := make([]Record, 1000)
	b.ReportAllocs()
	for b.Loop() {
		s, err := OpenAll(names, "", Options{})
		for err == nil {
			_, err = s.Next(batch)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*files*records/b.Elapsed().Seconds()/1e6, "Mrecords/s")
}
