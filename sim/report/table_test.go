package report

import (
	"bytes"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shoal-mesh/shoal/sim/result"
)

// update writes the golden files anew; read the difference as you read code.
var update = flag.Bool("update", false, "write the files of testdata anew")

// golden compares got with what was reviewed.
func golden(t *testing.T, name, got string) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	a, b := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			t.Fatalf("%s, line %d = %q, want %q; go test ./sim/report -update writes it anew", name, i+1, a[i], b[i])
		}
	}
	t.Fatalf("%s has %d lines, want %d; go test ./sim/report -update writes it anew", name, len(a), len(b))
}

func text(write func(w io.Writer)) string {
	var b bytes.Buffer
	write(&b)
	return b.String()
}

func TestTableGolden(t *testing.T) {
	failing := sample("reads", 0.3)
	golden(t, "time.txt", text(func(w io.Writer) { Table(w, sample("time", 0.55), 80) }))
	golden(t, "reads.txt", text(func(w io.Writer) { Table(w, failing, 80) }))
	golden(t, "empty.txt", text(func(w io.Writer) { Table(w, &result.Result{Name: "empty", Engine: "reads"}, 0) }))
}

func TestCompareTableGolden(t *testing.T) {
	a, b := sample("time", 0.55), sample("time", 0.8)
	b.Hash, b.Datasets[0].Policy = "0123456789abcdef", "lru"
	golden(t, "compare.txt", text(func(w io.Writer) { CompareTable(w, result.Compare(a, b), 80) }))
	golden(t, "unlike.txt", text(func(w io.Writer) { CompareTable(w, result.Compare(a, sample("reads", 0.8)), 80) }))
}

func TestSweepTableGolden(t *testing.T) {
	golden(t, "sweep.txt", text(func(w io.Writer) { SweepTable(w, sweep(), 80) }))
	golden(t, "sweep64.txt", text(func(w io.Writer) { SweepTable(w, sweep(), 64) }))
}

// TestTablesFit draws what is long, hostile and empty at several widths.
func TestTablesFit(t *testing.T) {
	s := sweep()
	s.Keys[0] = strings.Repeat("key", 50)
	bad, empty := hostile(), &result.Result{}
	for _, width := range []int{1, 64, 80, 100, 120, 500} {
		for name, write := range map[string]func(w io.Writer){
			"Table(time)":           func(w io.Writer) { Table(w, sample("time", 0.55), width) },
			"Table(reads)":          func(w io.Writer) { Table(w, sample("reads", 0.8), width) },
			"Table(hostile)":        func(w io.Writer) { Table(w, bad, width) },
			"Table(empty)":          func(w io.Writer) { Table(w, empty, width) },
			"CompareTable(hostile)": func(w io.Writer) { CompareTable(w, result.Compare(bad, sample("time", 0.8)), width) },
			"CompareTable(empty)":   func(w io.Writer) { CompareTable(w, result.Compare(empty, empty), width) },
			"SweepTable":            func(w io.Writer) { SweepTable(w, s, width) },
			"SweepTable(empty)":     func(w io.Writer) { SweepTable(w, result.Sweep{}, width) },
			"SweepTable(hostile)":   func(w io.Writer) { SweepTable(w, result.Sweep{Results: []*result.Result{bad, empty}}, width) },
		} {
			checkLines(t, name, text(write), fit(width))
		}
	}
}

// checkLines reports a line that is too long, ends in blanks or has what a terminal obeys.
func checkLines(t *testing.T, name, text string, width int) {
	t.Helper()
	for _, line := range strings.Split(text, "\n") {
		switch {
		case length(line) > width:
			t.Errorf("%s at %d has a line of %d: %q", name, width, length(line), line)
		case strings.TrimRight(line, " ") != line:
			t.Errorf("%s has %q, want no blanks at its end", name, line)
		case strings.ContainsAny(line, "\x1b\r\t"), strings.Contains(line, "NaN"), strings.Contains(line, "Inf"):
			t.Errorf("%s has %q, want plain text", name, line)
		}
	}
}

func TestTableEndsWithItsOrigin(t *testing.T) {
	got := text(func(w io.Writer) { Table(w, small(), 80) })
	if want := "\nseed    7\nshoal   0.4.0\nconfig  9f86d081884c7d65\n"; !strings.HasSuffix(got, want) {
		t.Errorf("Table() ends in %q, want %q", got[max(0, len(got)-80):], want)
	}
}

func TestUnits(t *testing.T) {
	tests := []struct {
		got, want string
	}{
		{size(0), "0 B"},
		{size(1023), "1023 B"},
		{size(1536), "1.50 KiB"},
		{size(4 << 20), "4 MiB"},
		{size(math.MaxInt64), "8 EiB"},
		{size(-5 << 30), "-5 GiB"},
		{count(0), "0"},
		{count(999_999), "999,999"},
		{count(-12_345), "-12,345"},
		{count(1_234_567), "1.23 M"},
		{count(12_345_678_901), "12.3 G"},
		{share(0), "0.0 %"},
		{share(0.452), "45.2 %"},
		{share(0.0001), "<0.1 %"},
		{share(0.99999), ">99.9 %"},
		{share(1), "100.0 %"},
		{share(math.NaN()), "-"},
		{factor(1.018), "1.02×"},
		{factor(math.Inf(1)), "-"},
		{points(-0.25), "-25.0 pp"},
		{seconds(0), "0 s"},
		{seconds(12e-6), "12 µs"},
		{seconds(0.0254), "25.4 ms"},
		{seconds(32.08), "32.1 s"},
		{seconds(119.6), "2m 0s"},
		{seconds(754), "12m 34s"},
		{seconds(-754), "-12m 34s"},
		{seconds(6660), "1h 51m"},
		{seconds(200_000), "2d 7h"},
		{seconds(math.Inf(-1)), "-"},
		{bar(0, 8), ""},
		{bar(1e-9, 8), "▏"},
		{bar(0.5, 8), "████"},
		{bar(7, 2), "██"},
		{bar(math.NaN(), 8), ""},
		{middle("abcdefghij", 5), "ab…ij"},
		{cut("abc", 2), "a…"},
		{plain("a\x1b[2J\nb\u202e"), "a?[2J?b?"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}
