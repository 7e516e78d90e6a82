package trace

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/shoal-mesh/shoal"
	live "github.com/shoal-mesh/shoal/node/trace"
)

// agentTrace returns a trace of an agent, a frame each frameOf records, and its records.
func agentTrace(t testing.TB, n, frameOf int) ([]byte, []Record) {
	t.Helper()
	var b bytes.Buffer
	w, err := live.NewWriter(&b, live.Header{Start: 1_600_000_000_000_000, Share: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"node-a", "node-b"} {
		if _, err := w.Node(name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Dataset("/data"); err != nil {
		t.Fatal(err)
	}
	var all []Record
	for i := range n {
		r := Record{
			Time: int64(i) * 400_000, Block: uint64(i % 7), Node: uint32(i % 2), Job: 3, Size: 4096, Bytes: uint32(i),
			Latency: 150, Op: live.Op(i % 5 / 4), Tier: shoal.Tier(i % int(shoal.Tiers)),
		}
		if err := w.Append(r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
		if (i+1)%frameOf == 0 {
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), all
}

// packed returns b as a file of this name holds it.
func packed(t testing.TB, name string, b []byte) []byte {
	t.Helper()
	var dst bytes.Buffer
	var w io.WriteCloser
	switch packing(name) {
	case ".gz":
		w = gzip.NewWriter(&dst)
	case ".zst":
		z, err := zstd.NewWriter(&dst, zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		w = z
	default:
		return b
	}
	_, err := w.Write(b)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return dst.Bytes()
}

// write writes b to a file of this name and returns where that is.
func write(t testing.TB, name string, b []byte) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// readAll reads what is left of s, and closes it.
func readAll(t testing.TB, s Source) ([]Record, error) {
	t.Helper()
	var all []Record
	batch := make([]Record, 10)
	for {
		n, err := s.Next(batch)
		all = append(all, batch[:n]...)
		if err == nil {
			continue
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return all, err
	}
}

// TestOpenDetects opens files by their names and contents alone, packed or not.
func TestOpenDetects(t *testing.T) {
	agents, _ := agentTrace(t, 100, 30)
	lines := bytes.Repeat([]byte("100,17,4096\n"), 1000)
	tests := []struct {
		name   string
		b      []byte
		format Format
		want   int
	}{
		{"node-a.trace", agents, Shoal, 100},
		{"misnamed.csv", agents, Shoal, 100},
		{"x.oracleGeneral.bin", requests(5000), OracleGeneral, 5000},
		{"x", requests(5000), OracleGeneral, 5000},
		{"x", request(nil, 0x5e088b1f, 2, 3, -1), OracleGeneral, 1}, // begins as gzip does
		{"x.lcs", append(lcsHeader(lcsLongHeader, 1, 50), requests(50)...), LCS, 50},
		{"x.csv", lines, CSV, 1000},
		{"x.log", lines, CSV, 1000},
		{"w1.tr", []byte("1 2 3 4\n5 6 7 8\n"), Webcachesim, 2},
	}
	for _, tt := range tests {
		for _, ext := range []string{"", ".gz", ".zst", ".ZST"} {
			name := write(t, tt.name+ext, packed(t, ext, tt.b))
			if got, err := Detect(name); got != tt.format || err != nil {
				t.Errorf("Detect(%s) = %q, %v, want %q", tt.name+ext, got, err, tt.format)
			}
			for _, format := range []Format{"", tt.format} {
				s, err := Open(name, format, Options{})
				if err != nil {
					t.Errorf("Open(%s, %q) = %v", tt.name+ext, format, err)
					continue
				}
				got, err := readAll(t, s)
				if len(got) != tt.want || err != nil || s.About().Format != tt.format {
					t.Errorf("Open(%s, %q): %d records of %s, %v, want %d of %s", tt.name+ext, format, len(got), s.About().Format, err, tt.want, tt.format)
				}
			}
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	agents, _ := agentTrace(t, 10, 5)
	tests := []struct {
		name   string
		b      []byte
		format Format
		want   string
	}{
		{"x.csv", requests(100), CSV, "it looks like a binary file, not csv"},
		{"x.csv", agents, CSV, "it looks like shoal, not csv"},
		{"x.trace", requests(100), Shoal, "it looks like a binary file, not shoal"},
		{"x.trace", []byte("1,2,3\n"), Shoal, "it looks like csv, not shoal"},
		{"x.bin", packed(t, ".zst", requests(100)), "", "it looks like a zstd file (whose name must end in .zst)"},
		{"x.csv", packed(t, ".gz", bytes.Repeat([]byte("1,2,3\n"), 100)), "", "it looks like a gzip file (whose name must end in .gz)"},
		{"x.bin", packed(t, ".zst", requests(100)), OracleGeneral, "it looks like a zstd file"},
		{"x.gz", requests(100), OracleGeneral, "gzip: invalid header"},
		{"x.zst", requests(100), OracleGeneral, "magic number mismatch"},
		{"empty", nil, "", "it is empty"},
		{"empty.csv", nil, "", "it is empty"},
		{"empty.gz", nil, "", "lacks its end"},
		{"empty.lcs", nil, LCS, "it is empty"},
		{"empty", nil, Shoal, "it is empty"},
		{"noise", bytes.Repeat([]byte{0xde, 0xad, 0xbe, 0xef}, 100), "", "could be anything: name the format (shoal, oracleGeneral"},
		{"prose", []byte("Lorem ipsum dolor sit amet\n"), "", "it looks like text, and could be anything"},
		{"x", requests(9), "parquet", `no format "parquet": there are shoal, oracleGeneral, lcs, csv and webcachesim`},
		{"shoal", []byte("SHOALTRC"), "", "offset 0, record 0: trace is cut off within the header"},
	}
	for _, tt := range tests {
		name := write(t, tt.name, tt.b)
		s, err := Open(name, tt.format, Options{})
		if err == nil {
			_, err = readAll(t, s)
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), name) || errors.Is(err, io.EOF) {
			t.Errorf("Open(%s, %q) = %v, want an error with the name and %q", tt.name, tt.format, err, tt.want)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none"), "", Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of no file = %v, want fs.ErrNotExist", err)
	}
	if _, err := Detect(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Detect of no file = %v, want fs.ErrNotExist", err)
	}
}

// TestPackedCutOff cuts packed files in the middle: what comes before is read.
func TestPackedCutOff(t *testing.T) {
	whole := requests(200_000)
	for _, ext := range []string{".gz", ".zst"} {
		b := packed(t, ext, whole)
		for _, n := range []int{len(b) / 3, len(b) - 1} {
			s, err := Open(write(t, "x"+ext, b[:n]), OracleGeneral, Options{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := readAll(t, s)
			if len(got) < 1000 || len(got) > 200_000 || !errors.Is(err, live.ErrTruncated) || !strings.Contains(err.Error(), "record ") {
				t.Errorf("%s cut at %d of %d: %d records, %v, want many and ErrTruncated", ext, n, len(b), len(got), err)
			}
		}
	}
}

func TestShoal(t *testing.T) {
	b, want := agentTrace(t, 100, 30)
	got, about, err := decode(b, Shoal, Options{}, 7)
	equal(t, "shoal", got, want)
	if err != nil || about.Start != 1_600_000_000_000_000 || about.Share != 0.5 ||
		!slices.Equal(about.Nodes, []string{"node-a", "node-b"}) || !slices.Equal(about.Datasets, []string{"/data"}) {
		t.Errorf("%+v, %v, want the header and the names, and no error", about, err)
	}
	got, _, err = decode(b[:len(b)-1], Shoal, Options{}, 7)
	equal(t, "shoal cut off", got, want[:90])
	if !errors.Is(err, live.ErrTruncated) || !strings.Contains(err.Error(), "record 90: ") {
		t.Errorf("shoal cut off: %v, want ErrTruncated at record 90", err)
	}
}

// TestClosed reads on after Close.
func TestClosed(t *testing.T) {
	s, err := Open(write(t, "x.zst", packed(t, ".zst", requests(100))), OracleGeneral, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Errorf("Close() twice = %v", err)
	}
	if n, err := s.Next(make([]Record, 5)); n != 0 || !errors.Is(err, os.ErrClosed) {
		t.Errorf("Next after Close = %d, %v, want 0, os.ErrClosed", n, err)
	}
}

func FuzzShoal(f *testing.F) {
	b, _ := agentTrace(f, 20, 5)
	f.Add(b)
	f.Add(b[:len(b)-3])
	f.Add([]byte("SHOALTRC"))
	f.Fuzz(func(t *testing.T, b []byte) { checkDecode(t, b, Shoal, Options{}) })
}

func FuzzDetect(f *testing.F) {
	f.Add("x.csv", []byte("1,2,3\n"))
	f.Add("x", requests(5))
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		format, err := detect(name, b)
		if err == nil && mislabelled(format, b) != nil {
			t.Fatalf("detect = %s, which is then refused: %v", format, mislabelled(format, b))
		}
	})
}
