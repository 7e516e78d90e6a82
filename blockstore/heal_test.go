package blockstore

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
)

// tightFiles is faultyFiles on a file system with so many bytes free, for files that take theirs
// at once.
type tightFiles struct {
	faultyFiles
	mu    sync.Mutex // guards the fields below
	free  int64
	sizes map[string]int64
}

func newTightFiles(free int64, fault func(op, name string) error) *tightFiles {
	return &tightFiles{faultyFiles: faultyFiles{fault: fault}, free: free, sizes: make(map[string]int64)}
}

func (f *tightFiles) Create(name string, size int64, sparse bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !sparse && size > f.free {
		return unix.ENOSPC
	}
	err := f.faultyFiles.Create(name, size, sparse)
	if err == nil && !sparse {
		f.sizes[name] = size
		f.free -= size
	}
	return err
}

func (f *tightFiles) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.faultyFiles.Remove(name)
	if err == nil {
		f.free += f.sizes[name]
		delete(f.sizes, name)
	}
	return err
}

// Free returns the bytes that are free.
func (f *tightFiles) Free(string) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.free, nil
}

func (f *tightFiles) setFree(free int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.free = free
}

// TestHealsWithoutRoom has a disk fail whose file system has hardly any room: it heals all the
// same, and takes blocks in the place of others.
func TestHealsWithoutRoom(t *testing.T) {
	for _, free := range []int64{0, directBytes, 3 * pageSize * (pageSlots + 1)} {
		var broken atomic.Bool
		files := newTightFiles(1<<30, func(op, _ string) error {
			if op == "write" && broken.Load() {
				return unix.EIO
			}
			return nil
		})
		cfg := pageStore(fastDir(t), 64)
		cfg.RetryInterval = time.Hour
		cfg.files, cfg.free = files, files.Free
		s := openTest(t, cfg)
		d := s.disks[0]
		for i := range uint32(2*pageSlots - 1) {
			put(t, s, pageKey(i), randomBytes(uint64(i), 1000))
		}
		files.setFree(free)
		broken.Store(true)
		key, data := pageKey(200), randomBytes(200, 1000)
		if err := s.Put(key, fileOf(key, data), data, shoal.ChunkSums(key, data)); !errors.Is(err, unix.EIO) {
			t.Fatalf("Put() = %v, want %v", err, unix.EIO)
		}
		d.retry()
		if err := s.Stats().Disks[0].Err; !errors.Is(err, unix.EIO) {
			t.Errorf("%d free: Stats().Disks[0].Err = %v after a trial that failed, want %v", free, err, unix.EIO)
		}
		broken.Store(false)
		d.retry()
		for i := range uint32(3 * pageSlots) {
			put(t, s, pageKey(300+i), randomBytes(uint64(i), 1000))
		}
		st := s.Stats()
		if st.Disks[0].Err != nil || st.Blocks < pageSlots || st.Disks[0].LimitBytes >= st.CapacityBytes || st.Disks[0].LimitBytes < 2*cfg.SlabBytes {
			t.Errorf("%d free: Stats() = %+v, want a healthy disk that makes do with what it has", free, st)
		}
		checkAll(t, s)
	}
}

// TestLimitStays checks that a limit which was lowered is not raised for the room that was given
// back when it was: it would go up and down, and blocks be lost each time.
func TestLimitStays(t *testing.T) {
	t.Parallel()
	const slabs, perSlab, size = 8, 16, 200_000
	cfg := oneDisk(fastDir(t), 64*shoal.BlockSize)
	cfg.SlabBytes, cfg.RetryInterval = shoal.BlockSize, time.Hour
	files := newTightFiles(slabs*cfg.SlabBytes, func(string, string) error { return nil })
	cfg.files, cfg.free = files, files.Free
	s := openTest(t, cfg)
	d := s.disks[0]
	next := uint32(0)
	fill := func() (failed int) {
		for range slabs * perSlab {
			key, data := pageKey(next), randomBytes(uint64(next), size)
			if err := s.Put(key, fileOf(key, data), data, shoal.ChunkSums(key, data)); errors.Is(err, ErrFull) {
				failed++
			} else if err != nil {
				t.Fatal(err)
			}
			next++
		}
		awaitDisk(t, d, "the limit is kept", func(d *disk) bool { return d.places.bytes() <= d.limit })
		return failed
	}
	fill()
	if failed := fill(); failed > 1 {
		t.Errorf("%d puts failed when the file system was full, want one at most", failed)
	}
	for range 5 {
		d.retry()
		if failed := fill(); failed > 0 {
			t.Errorf("%d puts failed after the limit was lowered, want none", failed)
		}
	}
	if st := s.Stats(); st.Disks[0].LimitBytes < (slabs-2)*cfg.SlabBytes || st.Disks[0].LimitBytes > slabs*cfg.SlabBytes {
		t.Errorf("Stats() = %+v, want a limit of nearly %d slabs", st, slabs)
	}
	files.setFree(1 << 30)
	d.retry()
	if st := s.Stats().Disks[0]; st.LimitBytes != st.CapacityBytes {
		t.Errorf("limit = %d when there is room again, want %d", st.LimitBytes, st.CapacityBytes)
	}
	checkAll(t, s)
}

// TestDirectoryEmptied has somebody remove all that is in a cache directory in use. What was
// there is lost. The disk goes on once it has come upon that, and the next run with it.
func TestDirectoryEmptied(t *testing.T) {
	r := newRobbed(t)
	small := File{SizeBytes: smallPacked}
	var gone []shoal.Key
	for i := range byte(3) {
		key := robbedKey(0x80+i, 0)
		r.put(key, small)
		gone = append(gone, key)
	}
	r.put(robbedKey(1, 0), robbedFile)
	gone = append(gone, robbedKey(1, 0))
	names, err := filepath.Glob(filepath.Join(r.disk.path, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.RemoveAll(name); err != nil {
			t.Fatal(err)
		}
	}
	key, data := robbedKey(2, 0), randomBytes(2, shoal.BlockSize)
	if err := r.Put(key, robbedFile, data, shoal.ChunkSums(key, data)); err == nil {
		t.Error("Put(to a directory that is gone) succeeded")
	}
	r.disk.retry()
	r.put(key, robbedFile)
	r.put(robbedKey(0x90, 0), small)
	for _, key := range gone {
		if _, err := r.ReadAt(key, make([]byte, 1), 0); err == nil {
			t.Errorf("ReadAt(%v) succeeded", key)
		}
	}
	r.check(gone...)
}
