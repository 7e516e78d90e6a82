package blockstore

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
)

const wholeSize = 2*shoal.BlockSize + 12345

var wholeFile = shoal.FileID{7, 7, 7}

// putWhole puts blocks of the file that Whole is asked for.
func putWhole(t *testing.T, s *Store, indexes ...uint32) (all []byte) {
	t.Helper()
	all = randomBytes(5, wholeSize)
	for _, i := range indexes {
		key := shoal.Key{File: wholeFile, Index: i}
		data := all[int64(i)*shoal.BlockSize:][:shoal.BlockLen(wholeSize, i)]
		if err := s.Put(key, File{SizeBytes: wholeSize}, data, shoal.ChunkSums(key, data)); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// readWholeFile returns what the kernel would read of w.
func readWholeFile(t *testing.T, w *Whole) []byte {
	t.Helper()
	f, err := w.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	got, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestWhole(t *testing.T) {
	s := openTest(t, oneDisk(t.TempDir(), 64<<20))
	want := putWhole(t, s, 0, 2)
	if w := s.Whole(wholeFile, wholeSize); w != nil {
		t.Error("Whole() without a block in the middle, want nil")
	}
	putWhole(t, s, 1)
	for _, other := range []struct {
		file shoal.FileID
		size int64
	}{{wholeFile, wholeSize + 1}, {wholeFile, shoal.BlockSize}, {shoal.FileID{8}, wholeSize}} {
		if s.Whole(other.file, other.size) != nil {
			t.Errorf("Whole(%v, %d), want nil", other.file, other.size)
		}
	}
	w := s.Whole(wholeFile, wholeSize)
	if w == nil || !w.Verified() {
		t.Fatalf("Whole() = %v, want one that is verified: all was put in this run", w)
	}
	if got := readWholeFile(t, w); !bytes.Equal(got, want) {
		t.Errorf("%d bytes of the container, want the %d of the file", len(got), len(want))
	}
	if err := errors.Join(w.Close(), w.Close()); err != nil {
		t.Errorf("Close() = %v", err)
	}
	if n := s.Stats().Pinned; len(n) != 0 {
		t.Errorf("pinned after Close: %v, want nothing", n)
	}
}

// fill puts more than fits, other blocks for each from.
func fill(s *Store, from byte) {
	for i := range byte(12) {
		key := shoal.Key{File: shoal.FileID{from, i}, Index: 0}
		data := randomBytes(uint64(i), shoal.BlockSize)
		_ = s.Put(key, File{SizeBytes: 2 * shoal.BlockSize}, data, shoal.ChunkSums(key, data)) // refused if there is no room
	}
}

// TestWholeStays has a store that wants room give up all but a file that the kernel reads.
func TestWholeStays(t *testing.T) {
	s := openTest(t, oneDisk(t.TempDir(), 32<<20))
	want := putWhole(t, s, 0, 1, 2)
	w := s.Whole(wholeFile, wholeSize)
	fill(s, 100)
	if s.Stats().Evictions == 0 {
		t.Error("nothing was evicted: the test tries nothing")
	}
	if got := readWholeFile(t, w); !bytes.Equal(got, want) {
		t.Error("a file that is held has other bytes after evictions")
	}
	// One that goes all the same, for being bad or removed, is not there for others; its bytes are.
	if err := s.Remove(shoal.Key{File: wholeFile, Index: 1}); err != nil {
		t.Fatal(err)
	}
	fill(s, 150)
	if got := readWholeFile(t, w); !bytes.Equal(got, want) {
		t.Error("a file that is held has other bytes after one of its blocks was removed")
	}
	if s.Whole(wholeFile, wholeSize) != nil {
		t.Error("Whole() after a block was removed, want nil")
	}
	_ = w.Close()
	fill(s, 200)
	if s.Has(shoal.Key{File: wholeFile, Index: 0}) {
		t.Error("a file that is held no more stays though others want its room")
	}
}

// TestWholeVerifies has blocks of an earlier run verified before anybody opens them.
func TestWholeVerifies(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(oneDisk(dir, 64<<20))
	if err != nil {
		t.Fatal(err)
	}
	putWhole(t, s, 0, 1, 2)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, oneDisk(dir, 64<<20))
	w := s.Whole(wholeFile, wholeSize)
	if w == nil || w.Verified() {
		t.Fatalf("Whole() = %v of an earlier run, want one that is not verified", w)
	}
	if f, err := w.Open(); err == nil {
		_ = f.Close()
		t.Error("Open() before Verify succeeds, want an error")
	}
	if err := w.Verify(t.Context()); err != nil || !w.Verified() {
		t.Fatalf("Verify() = %v, want all verified", err)
	}
	other := s.Whole(wholeFile, wholeSize)
	if !other.Verified() {
		t.Error("Whole() is not verified after another one was")
	}
	_, _ = w.Close(), other.Close()
}

// TestWholeFindsRot has a byte of an earlier run's block rot.
func TestWholeFindsRot(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(oneDisk(dir, 64<<20))
	if err != nil {
		t.Fatal(err)
	}
	putWhole(t, s, 0, 1, 2)
	w := s.Whole(wholeFile, wholeSize)
	path := w.name.path(dir)
	_ = w.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{^randomBytes(5, wholeSize)[shoal.BlockSize+9]}, shoal.BlockSize+9); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	s = openTest(t, oneDisk(dir, 64<<20))
	w = s.Whole(wholeFile, wholeSize)
	if err := w.Verify(t.Context()); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Verify() = %v of a file with a wrong byte, want ErrCorrupt", err)
	}
	_ = w.Close()
	if s.Whole(wholeFile, wholeSize) != nil || s.Has(shoal.Key{File: wholeFile, Index: 1}) {
		t.Error("the bad block is there still")
	}
}

// TestWholeMapped maps a file, closes it as loaders of weights do, and has the store want its room: in
// this run and the next one. A hole in it would be zeros to who has it mapped.
func TestWholeMapped(t *testing.T) {
	dir := t.TempDir()
	cfg := oneDisk(dir, 32<<20)
	cfg.High, cfg.Low = 1, 1
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	want := putWhole(t, s, 0, 1, 2)
	w := s.Whole(wholeFile, wholeSize)
	f, err := w.Open()
	if err != nil {
		t.Fatal(err)
	}
	mapped, err := unix.Mmap(int(f.Fd()), 0, wholeSize, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.Close(), w.Close()
	for run := range 2 {
		fill(s, 100+byte(run))
		if s.Stats().Evictions == 0 {
			t.Errorf("run %d: nothing was evicted: the test tries nothing", run)
		}
		s.disks[0].unexpose()
		if !bytes.Equal(mapped, want) {
			t.Errorf("run %d: a mapped file has other bytes after evictions", run)
		}
		if run == 0 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openTest(t, cfg)
		}
	}
	if err := unix.Munmap(mapped); err != nil {
		t.Fatal(err)
	}
	s.disks[0].unexpose()
	fill(s, 200)
	names, err := os.ReadFile(filepath.Join(dir, exposedFile))
	if s.Has(shoal.Key{File: wholeFile, Index: 0}) || len(names) > 0 || err != nil || len(s.Stats().Pinned) > 0 {
		t.Errorf("a file that is mapped no more is held still: names %q, %v, pinned %v", names, err, s.Stats().Pinned)
	}
}
