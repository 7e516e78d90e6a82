package ufstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/ufs"
)

// A Harness lets Conformance test one driver.
type Harness struct {
	// New returns the driver on an empty prefix of its UFS, and a way to write there.
	New func(t *testing.T) (ufs.FS, Writer)
	// NoEmptyDirs says that the UFS has no directory without a file in it.
	NoEmptyDirs bool
	// Names are further names of files the UFS can hold, beside the suite's own.
	Names []string
	// Many is the length of the longest listing; make it exceed what the UFS lists at
	// once. Default 300.
	Many int
}

// A Writer changes the UFS behind the driver's back. Put makes missing directories and
// replaces a file as a whole; a replaced file has another version.
type Writer interface {
	Put(name string, data []byte) error
	Mkdir(name string) error
	Remove(name string) error
}

// Conformance runs the suite: what package ufs promises, each as a subtest.
func Conformance(t *testing.T, h Harness) {
	if h.Many == 0 {
		h.Many = 300
	}
	tests := []struct {
		name string
		run  func(t *testing.T, h Harness, f ufs.FS, w Writer)
	}{
		{"Stat", testStat},
		{"StatMissing", testStatMissing},
		{"RefusesBadNames", testBadNames},
		{"ListPages", testListPages},
		{"ListMany", testListMany},
		{"ListEmpty", testListEmpty},
		{"ListMissing", testListMissing},
		{"OddNames", testOddNames},
		{"OpenRanges", testOpenRanges},
		{"OpenBeyondEnd", testOpenBeyondEnd},
		{"OpenEmptyFile", testOpenEmptyFile},
		{"OpenMissing", testOpenMissing},
		{"OpenOtherVersion", testOpenOtherVersion},
		{"ReplacedWhileStreamed", testReplacedWhileStreamed},
		{"CloseEarly", testCloseEarly},
		{"Cancel", testCancel},
		{"Concurrent", testConcurrent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, w := h.New(t)
			tt.run(t, h, f, w)
		})
	}
}

func testStat(t *testing.T, _ Harness, f ufs.FS, w Writer) {
	put(t, w, "dir/sub/file.bin", pattern(1234, 1))
	put(t, w, "empty", nil)
	tests := []struct {
		name, base string
		dir        bool
		size       int64
	}{
		{"", "", true, 0},
		{"dir", "dir", true, 0},
		{"dir/sub", "sub", true, 0},
		{"dir/sub/file.bin", "file.bin", false, 1234},
		{"empty", "empty", false, 0},
	}
	for _, tt := range tests {
		got := stat(t, f, tt.name)
		if got.Name != tt.base || got.IsDir() != tt.dir || got.Size != tt.size {
			t.Errorf("Stat(%q) = %+v, want name %q, directory %v, size %d", tt.name, got, tt.base, tt.dir, tt.size)
		}
		if (got.Version == "") != tt.dir {
			t.Errorf("Stat(%q).Version = %q, want one for a file only", tt.name, got.Version)
		}
		if !tt.dir && (!got.Mode.IsRegular() || got.ModTime.IsZero()) {
			t.Errorf("Stat(%q) = %+v, want a regular file with a time", tt.name, got)
		}
	}
	if a, b := stat(t, f, "empty"), stat(t, f, "empty"); a.Version != b.Version {
		t.Errorf("Stat(%q) twice: versions %q and %q, want one", "empty", a.Version, b.Version)
	}
}

func testStatMissing(t *testing.T, _ Harness, f ufs.FS, w Writer) {
	put(t, w, "dir/file", pattern(10, 1))
	for _, name := range []string{"no", "dir/no", "no/file", "dir/file/below", "di", "dir/fil", "dir/file2"} {
		if info, err := f.Stat(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Stat(%q) = %+v, %v, want fs.ErrNotExist", name, info, err)
		}
	}
	remove(t, w, "dir/file")
	if _, err := f.Stat(t.Context(), "dir/file"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat of a removed file: %v, want fs.ErrNotExist", err)
	}
}

func testBadNames(t *testing.T, _ Harness, f ufs.FS, w Writer) {
	put(t, w, "a/b", pattern(10, 1))
	for _, name := range []string{".", "..", "/", "/a", "a/", "a//b", "../a", "a/../a/b", "a/./b", "a/..", "a\x00b"} {
		if _, err := f.Stat(t.Context(), name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Stat(%q): %v, want fs.ErrInvalid", name, err)
		}
		if _, err := f.List(t.Context(), name, "", 10); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("List(%q): %v, want fs.ErrInvalid", name, err)
		}
		if _, err := f.Open(t.Context(), name, "v", 0, 1); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Open(%q): %v, want fs.ErrInvalid", name, err)
		}
	}
	if _, err := f.List(t.Context(), "a", "", 0); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("List with limit 0: %v, want fs.ErrInvalid", err)
	}
}

func testConcurrent(t *testing.T, _ Harness, f ufs.FS, w Writer) {
	const files, readers, rounds = 8, 8, 20
	var infos []shoal.FileInfo
	for i := range files {
		name := fmt.Sprintf("dir/%d", i)
		put(t, w, name, pattern(200_000+i, i))
		infos = append(infos, stat(t, f, name))
	}
	var wg sync.WaitGroup
	for r := range readers {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(r)))
			for range rounds {
				i := rnd.IntN(files)
				name := fmt.Sprintf("dir/%d", i)
				off := rnd.Int64N(infos[i].Size)
				length := rnd.Int64N(infos[i].Size - off)
				got, err := read(t.Context(), f, name, infos[i].Version, off, length)
				want := pattern(200_000+i, i)[off : off+length]
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("Open(%q, %d, %d): %d bytes, %v, want %d right bytes", name, off, length, len(got), err, len(want))
				}
				page, err := f.List(t.Context(), "dir", "", 2*files)
				if err != nil || len(page.Entries) != files {
					t.Errorf("List(dir): %d entries, %v, want %d", len(page.Entries), err, files)
				}
				if info, err := f.Stat(t.Context(), name); err != nil || info != infos[i] {
					t.Errorf("Stat(%q) = %+v, %v, want %+v", name, info, err, infos[i])
				}
			}
		})
	}
	wg.Wait()
}

// put writes a file or ends the test.
func put(t *testing.T, w Writer, name string, data []byte) {
	t.Helper()
	if err := w.Put(name, data); err != nil {
		t.Fatalf("put %q: %v", name, err)
	}
}

func remove(t *testing.T, w Writer, name string) {
	t.Helper()
	if err := w.Remove(name); err != nil {
		t.Fatalf("remove %q: %v", name, err)
	}
}

func stat(t *testing.T, f ufs.FS, name string) shoal.FileInfo {
	t.Helper()
	info, err := f.Stat(t.Context(), name)
	if err != nil {
		t.Fatalf("Stat(%q): %v", name, err)
	}
	return info
}

// read opens and reads a range to its end.
func read(ctx context.Context, f ufs.FS, name string, v shoal.Version, off, length int64) ([]byte, error) {
	body, err := f.Open(ctx, name, v, off, length)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(body)
	return data, errors.Join(err, body.Close())
}

// pattern returns n bytes that differ by place and by seed.
func pattern(n, seed int) []byte {
	data := make([]byte, n)
	src := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = src.Read(data) // never fails
	return data
}
