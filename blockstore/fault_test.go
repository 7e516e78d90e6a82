package blockstore

import (
	"errors"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
)

// faultyFiles is osFiles whose calls fault is asked before.
type faultyFiles struct {
	osFiles
	fault func(op, name string) error
}

func (f *faultyFiles) Write(name string, data, trailer []byte) error {
	if err := f.fault("write", name); err != nil {
		return &fs.PathError{Op: "write", Path: name, Err: err}
	}
	return f.osFiles.Write(name, data, trailer)
}

func (f *faultyFiles) Open(name string) (file, error) {
	if err := f.fault("open", name); err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	opened, err := f.osFiles.Open(name)
	return &faultyFile{opened, f, name}, err
}

func (f *faultyFiles) Remove(name string) error {
	if err := f.fault("remove", name); err != nil {
		return &fs.PathError{Op: "remove", Path: name, Err: err}
	}
	return f.osFiles.Remove(name)
}

func (f *faultyFiles) List(dir string) ([]string, error) {
	if err := f.fault("list", dir); err != nil {
		return nil, &fs.PathError{Op: "list", Path: dir, Err: err}
	}
	return f.osFiles.List(dir)
}

type faultyFile struct {
	file
	fs   *faultyFiles
	name string
}

func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.fault("read", f.name); err != nil {
		return 0, &fs.PathError{Op: "read", Path: f.name, Err: err}
	}
	return f.file.ReadAt(p, off)
}

// TestWriteFaults checks that a disk that fails to write admits nothing, says so, is read
// on, and is used again once it heals.
func TestWriteFaults(t *testing.T) {
	for _, fault := range []error{unix.ENOSPC, unix.EIO, unix.EROFS} {
		t.Run(fault.Error(), func(t *testing.T) {
			var now atomic.Pointer[error]
			cfg := oneDisk(fastDir(t), 1<<30)
			cfg.files = &faultyFiles{fault: func(op, _ string) error {
				if err := now.Load(); err != nil && op == "write" {
					return *err
				}
				return nil
			}}
			s := openTest(t, cfg)
			put(t, s, testKey(1), randomBytes(1, 1000))
			now.Store(&fault)
			data := randomBytes(2, 1000)
			err := s.Put(testKey(2), data, shoal.ChunkSums(testKey(2), data))
			if !errors.Is(err, fault) || errors.Is(err, ErrFull) != errors.Is(fault, unix.ENOSPC) {
				t.Errorf("Put() = %v, want %v, and ErrFull only if there is no space", err, fault)
			}
			if err := s.Stats().Disks[0].Err; !errors.Is(err, fault) {
				t.Errorf("Stats().Disks[0].Err = %v, want %v", err, fault)
			}
			checkReadAt(t, s, testKey(1), randomBytes(1, 1000), 0, 1000)
			s.disks[0].retry()
			if err := s.Put(testKey(2), data, shoal.ChunkSums(testKey(2), data)); !errors.Is(err, fault) {
				t.Errorf("Put() after a trial that failed = %v, want %v", err, fault)
			}
			now.Store(nil)
			s.disks[0].retry()
			put(t, s, testKey(2), data)
			if st := s.Stats(); st.Disks[0].Err != nil || st.Bytes != 2*pageSize {
				t.Errorf("Stats() = %+v, want a healthy disk of two blocks", st)
			}
		})
	}
}

// TestOtherDiskTakesOver checks that the fault of one disk is not the store's.
func TestOtherDiskTakesOver(t *testing.T) {
	bad := fastDir(t)
	cfg := Config{Disks: []Disk{{bad, 1 << 30}, {fastDir(t), 1 << 30}}}
	cfg.files = &faultyFiles{fault: func(op, name string) error {
		if op == "write" && strings.HasPrefix(name, bad) {
			return unix.EIO
		}
		return nil
	}}
	s := openTest(t, cfg)
	for i := range uint32(50) {
		put(t, s, testKey(i), randomBytes(1, 1000))
	}
	st := s.Stats()
	if st.Disks[0].Blocks != 0 || st.Disks[0].Err == nil || st.Disks[1].Blocks != 50 || st.Disks[1].Err != nil {
		t.Errorf("Stats().Disks = %+v, want all on the good one", st.Disks)
	}
}

// TestReadFaults checks that EIO drops the block, and that too few descriptors do not.
func TestReadFaults(t *testing.T) {
	var now atomic.Pointer[error]
	cfg := oneDisk(fastDir(t), 1<<30)
	cfg.files = &faultyFiles{fault: func(op, _ string) error {
		if err := now.Load(); err != nil && (op == "read" || op == "open") {
			return *err
		}
		return nil
	}}
	s := openTest(t, cfg)
	put(t, s, testKey(1), randomBytes(1, 1000))
	var fault error = unix.EMFILE
	now.Store(&fault)
	if _, err := s.ReadAt(testKey(1), make([]byte, 10), 0); !errors.Is(err, unix.EMFILE) || !s.Has(testKey(1)) {
		t.Errorf("ReadAt() = %v, want %v and the block kept", err, fault)
	}
	fault = unix.EIO
	if _, err := s.ReadAt(testKey(1), make([]byte, 10), 0); !errors.Is(err, unix.EIO) || !errors.Is(err, ErrCorrupt) || s.Has(testKey(1)) {
		t.Errorf("ReadAt() = %v, want %v and the block dropped", err, fault)
	}
	if err := s.Stats().Disks[0].Err; !errors.Is(err, unix.EIO) {
		t.Errorf("Stats().Disks[0].Err = %v, want %v", err, fault)
	}
}

// TestIndexFaults breaks the index at the n-th write, for many n: nothing may panic or
// hang, reads go on, and after the disk heals nothing is lost, nor after a restart.
func TestIndexFaults(t *testing.T) {
	for nth := range 30 {
		dir := fastDir(t)
		var writes atomic.Int64
		var broken atomic.Bool
		cfg := oneDisk(dir, 1<<30)
		cfg.indexFS = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && broken.Load() && writes.Add(1) > int64(nth) {
				return unix.ENOSPC
			}
			return nil
		}))
		s, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		put(t, s, testKey(0), randomBytes(0, 1000))
		broken.Store(true)
		last := breakIndex(t, s)
		if err := s.Stats().Disks[0].Err; !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("write %d: Stats().Disks[0].Err = %v, want %v", nth, err, unix.ENOSPC)
		}
		visible := checkAll(t, s)
		broken.Store(false)
		s.disks[0].retry()
		put(t, s, testKey(last+1), randomBytes(uint64(last+1), 1000))
		if err := s.Close(); err != nil {
			t.Errorf("write %d: Close() = %v", nth, err)
		}
		s = openTest(t, oneDisk(dir, 1<<30))
		if got := checkAll(t, s); got != visible+1 {
			t.Errorf("write %d: %d blocks after restart, want %d", nth, got, visible+1)
		}
	}
}

// TestIndexForgetsDropped checks that a block dropped while the index was broken is not in
// it after the disk has healed.
func TestIndexForgetsDropped(t *testing.T) {
	cfg := oneDisk(fastDir(t), 1<<20)
	cfg.files = &faultyFiles{fault: func(op, _ string) error {
		if op == "list" { // no scan finds it out
			return unix.EIO
		}
		return nil
	}}
	s := openTest(t, cfg)
	put(t, s, testKey(1), randomBytes(1, 1000))
	put(t, s, testKey(2), randomBytes(2, 1000))
	s.disks[0].index.fs.freeze(unix.EIO)
	if err := s.Remove(testKey(1)); err != nil {
		t.Fatal(err)
	}
	s.disks[0].retry()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, cfg)
	if s.Has(testKey(1)) || !s.Has(testKey(2)) {
		t.Errorf("after a restart: has the dropped block %v, the other %v; want false, true", s.Has(testKey(1)), s.Has(testKey(2)))
	}
}

// breakIndex puts and syncs until that fails, and returns the last block tried.
func breakIndex(t *testing.T, s *Store) uint32 {
	t.Helper()
	for i := uint32(1); i < 200; i++ {
		data := randomBytes(uint64(i), 1000)
		if err := s.Put(testKey(i), data, shoal.ChunkSums(testKey(i), data)); err != nil {
			return i
		}
		s.disks[0].flush()
		if i%4 == 3 { // so that tables and manifest are written as well as the log
			if _, err := s.disks[0].index.db.AsyncFlush(); err != nil {
				t.Log(err)
			}
		}
	}
	t.Fatal("the index never failed")
	return 0
}

// checkAll verifies every visible block and returns how many there are.
func checkAll(t *testing.T, s *Store) (n int) {
	t.Helper()
	for key := range s.Keys() {
		n++
		if err := s.Check(key); err != nil {
			t.Error(err)
		}
	}
	return n
}

// TestTmpfsFull fills a real file system beyond what it has.
func TestTmpfsFull(t *testing.T) {
	dir := mountTmpfs(t)
	s := openTest(t, oneDisk(dir, 1<<30))
	var full error
	blocks := uint32(0)
	for ; full == nil && blocks < 1000; blocks++ {
		data := randomBytes(uint64(blocks), 1<<20)
		full = s.Put(testKey(blocks), data, shoal.ChunkSums(testKey(blocks), data))
	}
	if !errors.Is(full, ErrFull) || !errors.Is(full, unix.ENOSPC) {
		t.Fatalf("Put() on a full file system = %v, want %v", full, ErrFull)
	}
	if got := checkAll(t, s); got != int(blocks)-1 {
		t.Errorf("blocks to read = %d, want %d", got, blocks-1)
	}
	for i := range uint32(10) { // room again
		if err := s.Remove(testKey(i)); err != nil {
			t.Fatal(err)
		}
	}
	s.disks[0].retry()
	put(t, s, testKey(5000), randomBytes(1, 1<<20))
}

// TestConcurrent puts, reads, checks and removes the same few blocks from many goroutines
// in a store too small for them, and holds every answer against what may be.
func TestConcurrent(t *testing.T) {
	const keys, room, workers, rounds = 40, 12, 8, 150
	var losses atomic.Int64
	cfg := oneDisk(fastDir(t), room*occupied(100_000))
	cfg.High, cfg.Low = 0.9, 0.8
	cfg.OpenFiles = 4
	cfg.OnEvict = func(keys []shoal.Key) { losses.Add(int64(len(keys))) }
	s := openTest(t, cfg)
	contents := make([][]byte, keys)
	for i := range contents {
		contents[i] = randomBytes(uint64(i), 100_000-i*1000)
	}
	var removed atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for r := range rounds {
				i := (w*31 + r*17 + r*r) % keys
				key, data := testKey(uint32(i)), contents[i]
				switch (w + r) % 8 {
				case 0, 1, 2:
					put(t, s, key, data)
				case 3:
					if s.Remove(key) == nil {
						removed.Add(1)
					}
				case 4:
					readSection(t, s, key, data)
				default:
					if _, err := s.ReadAt(key, make([]byte, 10), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
						t.Errorf("ReadAt() = %v, want bytes or %v", err, fs.ErrNotExist)
					} else if err == nil && s.Has(key) {
						got := make([]byte, len(data))
						if n, err := s.ReadAt(key, got, 0); err == nil && string(got[:n]) != string(data) {
							t.Errorf("ReadAt(%v): wrong bytes", key)
						}
					}
				}
			}
		})
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	if st.Corrupt != 0 || int64(st.Puts) != int64(st.Blocks)+losses.Load()+removed.Load() || losses.Load() != int64(st.Evictions) {
		t.Errorf("Stats() = %+v, want puts = blocks + %d told + %d removed, none corrupt", st, losses.Load(), removed.Load())
	}
	if st.Bytes > st.CapacityBytes {
		t.Errorf("bytes = %d, above the limit of %d", st.Bytes, st.CapacityBytes)
	}
}

func readSection(t *testing.T, s *Store, key shoal.Key, data []byte) {
	c, err := s.Section(key)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		t.Errorf("Section() = %v, want bytes or %v", err, fs.ErrNotExist)
		return
	}
	defer func() { _ = c.Close() }()
	buf := make([]byte, shoal.ChunkSize)
	for i := range c.Sums {
		b, err := c.ReadChunk(i, buf)
		if err != nil || string(b) != string(data[i*shoal.ChunkSize:][:len(b)]) {
			t.Errorf("ReadChunk(%d) of %v: %v or wrong bytes", i, key, err)
		}
	}
}
