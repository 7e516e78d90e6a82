package blockstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
)

// faultyFiles is osFiles whose calls fault is asked before. op is create, open, remove, list,
// sync, read, write, punch, reuse or size.
type faultyFiles struct {
	osFiles
	fault func(op, name string) error
}

func (f *faultyFiles) check(op, name string) error {
	if err := f.fault(op, name); err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

func (f *faultyFiles) Create(name string, size int64, sparse bool) error {
	if err := f.check("create", name); err != nil {
		return err
	}
	return f.osFiles.Create(name, size, sparse)
}

func (f *faultyFiles) Open(name string) (file, error) {
	if err := f.check("open", name); err != nil {
		return nil, err
	}
	opened, err := f.osFiles.Open(name)
	if err != nil {
		return nil, err
	}
	return &faultyFile{opened, f, name}, nil
}

func (f *faultyFiles) Remove(name string) error {
	if err := f.check("remove", name); err != nil {
		return err
	}
	return f.osFiles.Remove(name)
}

func (f *faultyFiles) Reuse(from, to string, keep, size int64) error {
	if err := f.check("reuse", from); err != nil {
		return err
	}
	return f.osFiles.Reuse(from, to, keep, size)
}

func (f *faultyFiles) List(dir string) ([]string, error) {
	if err := f.check("list", dir); err != nil {
		return nil, err
	}
	return f.osFiles.List(dir)
}

func (f *faultyFiles) Sync(dir string) error {
	if err := f.check("sync", dir); err != nil {
		return err
	}
	return f.osFiles.Sync(dir)
}

type faultyFile struct {
	file
	fs   *faultyFiles
	name string
}

func (f *faultyFile) ReadAt(parts [][]byte, off int64, direct bool) error {
	if err := f.fs.check("read", f.name); err != nil {
		return err
	}
	return f.file.ReadAt(parts, off, direct)
}

// WriteAt writes half of what it should before it fails.
func (f *faultyFile) WriteAt(parts [][]byte, off int64) error {
	if err := f.fs.check("write", f.name); err != nil {
		whole := slices.Concat(parts...)
		return errors.Join(err, f.file.WriteAt([][]byte{whole[:len(whole)/2]}, off))
	}
	return f.file.WriteAt(parts, off)
}

func (f *faultyFile) Punch(off, n int64) error {
	if err := f.fs.check("punch", f.name); err != nil {
		return err
	}
	return f.file.Punch(off, n)
}

func (f *faultyFile) Size() (int64, error) {
	if err := f.fs.check("size", f.name); err != nil {
		return 0, err
	}
	return f.file.Size()
}

// sparseKey is the key of the second block of a file of two, which is in a sparse container.
func sparseKey(i uint32) shoal.Key {
	key := testKey(i)
	key.Index = 1
	return key
}

// TestWriteFaults checks that a disk that fails to write admits nothing, says so, is read
// on, and is used again once it heals.
func TestWriteFaults(t *testing.T) {
	for _, fault := range []error{unix.EIO, unix.EROFS} {
		t.Run(fault.Error(), func(t *testing.T) {
			var now atomic.Pointer[error]
			cfg := pageStore(fastDir(t), 64)
			cfg.RetryInterval = time.Hour
			cfg.files = &faultyFiles{fault: func(op, _ string) error {
				if err := now.Load(); err != nil && op == "write" {
					return *err
				}
				return nil
			}}
			s := openTest(t, cfg)
			first, second := pageKey(1), sparseKey(2)
			put(t, s, first, randomBytes(1, 1000))
			now.Store(&fault)
			data := randomBytes(2, 1000)
			err := s.Put(second, fileOf(second, data), data, shoal.ChunkSums(second, data))
			if !errors.Is(err, fault) || errors.Is(err, ErrFull) {
				t.Errorf("Put() = %v, want %v", err, fault)
			}
			if err := s.Stats().Disks[0].Err; !errors.Is(err, fault) {
				t.Errorf("Stats().Disks[0].Err = %v, want %v", err, fault)
			}
			checkReadAt(t, s, first, randomBytes(1, 1000), 0, 1000)
			s.disks[0].retry()
			if err := s.Put(second, fileOf(second, data), data, shoal.ChunkSums(second, data)); !errors.Is(err, fault) {
				t.Errorf("Put() after a trial that failed = %v, want %v", err, fault)
			}
			now.Store(nil)
			s.disks[0].retry()
			s.disks[0].retry() // now that the index is there, what it has of the block that failed goes
			put(t, s, second, data)
			if st := s.Stats(); st.Disks[0].Err != nil || st.Bytes != pageSize+sparseBytes(1000) {
				t.Errorf("Stats() = %+v, want a healthy disk of two blocks", st)
			}
		})
	}
}

// TestFullFaults checks that a disk without room makes do with less until it has some again:
// it is no failure, and what fits stays.
func TestFullFaults(t *testing.T) {
	var full atomic.Bool
	cfg := pageStore(fastDir(t), 64)
	cfg.RetryInterval = time.Hour
	cfg.files = &faultyFiles{fault: func(op, _ string) error {
		if full.Load() && op == "create" {
			return unix.ENOSPC
		}
		return nil
	}}
	s := openTest(t, cfg)
	for i := range uint32(4 * pageSlots) {
		put(t, s, pageKey(i), randomBytes(uint64(i), 1000))
	}
	full.Store(true)
	key, data := pageKey(100), randomBytes(100, 1000)
	if err := s.Put(key, fileOf(key, data), data, shoal.ChunkSums(key, data)); !errors.Is(err, ErrFull) || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("Put() = %v, want %v and %v", err, ErrFull, unix.ENOSPC)
	}
	d := s.disks[0]
	awaitDisk(t, d, "the lower limit is kept", func(d *disk) bool { return d.places.bytes() <= d.limit })
	if st := s.Stats(); st.Disks[0].Err != nil || st.Disks[0].LimitBytes != 3*cfg.SlabBytes || st.Blocks < pageSlots {
		t.Errorf("Stats() = %+v, want a limit of 3 slabs and blocks", st)
	}
	put(t, s, key, data) // in the place of another
	checkAll(t, s)
	full.Store(false)
	d.retry()
	for i := range uint32(4 * pageSlots) {
		put(t, s, pageKey(200+i), randomBytes(uint64(i), 1000))
	}
	if st := s.Stats().Disks[0]; st.LimitBytes != st.CapacityBytes || st.Blocks < 6*pageSlots {
		t.Errorf("Stats().Disks[0] = %+v after there is room, want the limit raised and more blocks", st)
	}
	checkAll(t, s)
}

// TestOtherDiskTakesOver checks that the fault of one disk is not the store's.
func TestOtherDiskTakesOver(t *testing.T) {
	bad := fastDir(t)
	var broken atomic.Bool
	cfg := Config{Disks: []Disk{{bad, 16 << 20}, {fastDir(t), 16 << 20}}, RetryInterval: time.Hour}
	cfg.files = &faultyFiles{fault: func(_, name string) error {
		if broken.Load() && strings.HasPrefix(name, bad) {
			return unix.EIO
		}
		return nil
	}}
	lost := make(map[shoal.Key]bool)
	var mu sync.Mutex // guards lost
	cfg.OnEvict = func(keys []shoal.Key) {
		mu.Lock()
		defer mu.Unlock()
		for _, k := range keys {
			lost[k] = true
		}
	}
	s := openTest(t, cfg)
	const blocks = 50
	for i := range uint32(blocks) {
		put(t, s, testKey(i), randomBytes(uint64(i), 1000))
	}
	before := s.Stats()
	if before.Disks[0].Blocks == 0 || before.Disks[1].Blocks == 0 {
		t.Fatalf("Stats().Disks = %+v, want blocks on both", before.Disks)
	}
	broken.Store(true)
	for i := range uint32(blocks) {
		put(t, s, testKey(1000+i), randomBytes(uint64(1000+i), 1000))
	}
	for i := range uint32(blocks) {
		_, b, _ := s.find(testKey(i))
		_, err := s.ReadAt(testKey(i), make([]byte, 1000), 0)
		mu.Lock()
		if (err != nil) != lost[testKey(i)] || err != nil && !errors.Is(err, unix.EIO) {
			t.Errorf("ReadAt() = %v of a block at %v, lost %v; want %v of those on the failed disk", err, b.loc, lost[testKey(i)], unix.EIO)
		}
		mu.Unlock()
	}
	st := s.Stats()
	if st.Disks[0].Err == nil || st.Disks[1].Err != nil || st.Disks[1].Blocks != before.Disks[1].Blocks+blocks {
		t.Errorf("Stats().Disks = %+v, want the first failed and all new blocks on the other", st.Disks)
	}
	if got := len(lost); got != before.Disks[0].Blocks-st.Disks[0].Blocks {
		t.Errorf("told of %d lost blocks, want the %d of the failed disk", got, before.Disks[0].Blocks-st.Disks[0].Blocks)
	}
	broken.Store(false)
	s.disks[0].retry()
	s.disks[0].retry()
	for i := range uint32(2 * blocks) {
		put(t, s, testKey(2000+i), randomBytes(1, 1000))
	}
	if st := s.Stats(); st.Disks[0].Err != nil || st.Disks[0].Blocks < blocks/2 {
		t.Errorf("Stats().Disks = %+v after the disk has healed, want it used", st.Disks)
	}
	checkAll(t, s)
}

// TestReadFaults checks that EIO drops the block, and that too few descriptors do not.
func TestReadFaults(t *testing.T) {
	for _, key := range []shoal.Key{pageKey(1), sparseKey(1)} {
		var now atomic.Pointer[error]
		cfg := oneDisk(fastDir(t), 1<<30)
		cfg.files = &faultyFiles{fault: func(op, _ string) error {
			if err := now.Load(); err != nil && (op == "read" || op == "open") {
				return *err
			}
			return nil
		}}
		s := openTest(t, cfg)
		put(t, s, key, randomBytes(1, 1000))
		var fault error = unix.EMFILE
		now.Store(&fault)
		if _, err := s.ReadAt(key, make([]byte, 10), 0); !errors.Is(err, unix.EMFILE) || !s.Has(key) {
			t.Errorf("ReadAt() = %v, want %v and the block kept", err, fault)
		}
		other := error(unix.EIO)
		now.Store(&other)
		if _, err := s.ReadAt(key, make([]byte, 10), 0); !errors.Is(err, unix.EIO) || !errors.Is(err, ErrCorrupt) || s.Has(key) {
			t.Errorf("ReadAt() = %v, want %v and the block dropped", err, other)
		}
		if err := s.Stats().Disks[0].Err; !errors.Is(err, unix.EIO) {
			t.Errorf("Stats().Disks[0].Err = %v, want %v", err, other)
		}
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
		cfg.RetryInterval = time.Hour
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
		put(t, s, pageKey(0), randomBytes(0, 1000))
		broken.Store(true)
		last := breakIndex(t, s)
		if err := s.Stats().Disks[0].Err; !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("write %d: Stats().Disks[0].Err = %v, want %v", nth, err, unix.ENOSPC)
		}
		visible := checkAll(t, s)
		broken.Store(false)
		s.disks[0].retry()
		put(t, s, pageKey(last+1), randomBytes(uint64(last+1), 1000))
		if err := s.Close(); err != nil {
			t.Errorf("write %d: Close() = %v", nth, err)
		}
		s = openTest(t, oneDisk(dir, 1<<30))
		if got := checkAll(t, s); got != visible+1 {
			t.Errorf("write %d: %d blocks after restart, want %d", nth, got, visible+1)
		}
	}
}

// breakIndex puts and flushes until that fails, and returns the last block tried.
func breakIndex(t *testing.T, s *Store) uint32 {
	t.Helper()
	for i := uint32(1); i < 200; i++ {
		key, data := pageKey(i), randomBytes(uint64(i), 1000)
		if err := s.Put(key, fileOf(key, data), data, shoal.ChunkSums(key, data)); err != nil {
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

// TestIndexForgetsDropped checks that a block dropped while the index was broken is not in
// it after the disk has healed.
func TestIndexForgetsDropped(t *testing.T) {
	cfg := oneDisk(fastDir(t), 1<<20)
	cfg.RetryInterval = time.Hour
	s := openTest(t, cfg)
	keys := []shoal.Key{pageKey(1), pageKey(2), sparseKey(3), sparseKey(4)}
	for i, key := range keys {
		put(t, s, key, randomBytes(uint64(i), 1000))
	}
	s.disks[0].index.fs.freeze(unix.EIO)
	for _, key := range []shoal.Key{keys[0], keys[2]} {
		if err := s.Remove(key); err != nil {
			t.Fatal(err)
		}
	}
	s.disks[0].retry()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, cfg)
	for i, key := range keys {
		if want := i%2 == 1; s.Has(key) != want {
			t.Errorf("after a restart: Has(block %d) = %v, want %v", i, !want, want)
		}
	}
	checkAll(t, s)
}

// TestIndexDamagedWhileOpen damages the tables of an index that is in use: that it is found out
// must not end the process, and the index is made anew from what is in memory.
func TestIndexDamagedWhileOpen(t *testing.T) {
	dir := fastDir(t)
	cfg := oneDisk(dir, 1<<30)
	cfg.RetryInterval = time.Hour
	s := openTest(t, cfg)
	d := s.disks[0]
	const blocks = 50
	for i := range uint32(blocks) {
		put(t, s, pageKey(i), randomBytes(uint64(i), 1000))
	}
	if err := d.index.db.Flush(); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(dir, "index", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("tables of the index: %v, %v", tables, err)
	}
	for _, name := range tables {
		if err := os.WriteFile(name, []byte("not a table at all"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(t, s, pageKey(blocks), randomBytes(blocks, 1000))
	if err := d.index.load(blockPrefix, func(_, _ []byte) {}); !damaged(err) {
		t.Fatalf("load() of a damaged table = %v, want it damaged", err)
	}
	data := randomBytes(99, 1000)
	if err := s.Put(pageKey(99), fileOf(pageKey(99), data), data, shoal.ChunkSums(pageKey(99), data)); err == nil {
		t.Error("Put() into a damaged index did not fail")
	}
	if got := checkAll(t, s); got != blocks+1 {
		t.Errorf("blocks = %d, want %d: all are in memory", got, blocks+1)
	}
	d.retry()
	put(t, s, pageKey(99), data)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, cfg)
	if got := checkAll(t, s); got != blocks+2 || s.Stats().Corrupt != 0 {
		t.Errorf("blocks after a restart = %d, want %d", got, blocks+2)
	}
}

// TestDatasetNameFault checks that a block is not put under the number of a dataset whose name
// could not be written: after a restart nobody would know what the number stands for.
func TestDatasetNameFault(t *testing.T) {
	cfg := oneDisk(fastDir(t), 1<<20)
	cfg.RetryInterval = time.Hour
	s := openTest(t, cfg)
	d := s.disks[0]
	inTheWay := d.datasets.path + ".new"
	if err := os.Mkdir(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	key, data := pageKey(1), randomBytes(1, 1000)
	file := File{SizeBytes: 1000, Dataset: "a"}
	for range 2 {
		if err := s.Put(key, file, data, shoal.ChunkSums(key, data)); err == nil || s.Stats().Disks[0].Err == nil {
			t.Fatalf("Put() = %v, want an error, and the disk with it", err)
		}
		d.retry()
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	d.retry()
	if err := s.Put(key, file, data, shoal.ChunkSums(key, data)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, cfg)
	if checkReadAt(t, s, key, data, 0, 1000); s.Stats().Datasets[0].Name != "a" {
		t.Errorf("Stats().Datasets = %+v, want the dataset a", s.Stats().Datasets)
	}
}

// TestIdleFaults checks that the room of containers without blocks is given back only when it
// is the file system's again, and that what could not be given back is later.
func TestIdleFaults(t *testing.T) {
	var broken, stuck atomic.Bool
	var one string // a container that cannot be removed although the others can
	cfg := pageStore(fastDir(t), 4)
	cfg.RetryInterval = time.Hour
	cfg.files = &faultyFiles{fault: func(op, name string) error {
		if op == "remove" && (broken.Load() || stuck.Load() && name == one) {
			return unix.EIO
		}
		return nil
	}}
	s := openTest(t, cfg)
	d := s.disks[0]
	data := randomBytes(1, 5000)
	const blocks = 5
	for i := range uint32(blocks) {
		put(t, s, sparseKey(i), data)
	}
	_, b, _ := s.find(sparseKey(0))
	one = b.file().path(d.path)
	for i := range uint32(2) {
		if err := s.Remove(sparseKey(i)); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string, failed bool, idle int64) {
		t.Helper()
		if err := d.giveAllRoom(); (err != nil) != failed {
			t.Errorf("%s: giveAllRoom() = %v, want a failure: %v", when, err, failed)
		}
		st := s.Stats()
		if st.Blocks != blocks-2 || st.Bytes != (blocks-2)*sparseBytes(len(data)) {
			t.Errorf("%s: %d blocks in %d bytes, want %d", when, st.Blocks, st.Bytes, blocks-2)
		}
		if got := d.places.idleBytes; got != idle*sparseBytes(len(data)) || d.places.retired != 0 {
			t.Errorf("%s: %d bytes idle and %d retired, want those of %d blocks, and 0", when, got, d.places.retired, idle)
		}
	}
	broken.Store(true)
	check("while nothing can be removed", true, 2)
	broken.Store(false)
	stuck.Store(true)
	for range 2 { // the one that is stuck goes to the end of the list
		_ = d.giveAllRoom()
	}
	check("while one cannot be removed", true, 1)
	stuck.Store(false)
	check("in the end", false, 0)
	if _, err := os.Stat(one); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("container of a removed block: %v, want it gone", err)
	}
}

// TestTmpfsFull has somebody else fill the file system of a cache: what is there is read on,
// and blocks are admitted again when there is room.
func TestTmpfsFull(t *testing.T) {
	dir := mountTmpfs(t, "size=8m")
	cfg := oneDisk(dir, 3<<20) // a trial write wants 4 MiB
	cfg.SlabBytes = 256 << 10
	cfg.RetryInterval = time.Hour
	s := openTest(t, cfg)
	d := s.disks[0]
	fill := func(from uint32) (failed int) {
		for i := range uint32(500) {
			key, data := pageKey(from+i), randomBytes(uint64(from+i), 10_000)
			if i%5 == 0 {
				key, data = sparseKey(from+i), randomBytes(uint64(from+i), 9000)
			}
			err := s.Put(key, fileOf(key, data), data, shoal.ChunkSums(key, data))
			if err != nil {
				failed++
			}
			if err != nil && !errors.Is(err, ErrFull) && !errors.Is(err, unix.ENOSPC) {
				t.Fatalf("Put() = %v, want %v or %v", err, ErrFull, unix.ENOSPC)
			}
			if i%50 == 49 {
				d.retry()
			}
		}
		return failed
	}
	if failed := fill(0); failed > 0 {
		t.Errorf("%d puts failed while there was room", failed)
	}
	for round := range uint32(3) {
		alien := filepath.Join(dir, "alien")
		if err := os.WriteFile(alien, make([]byte, 8<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("WriteFile() = %v, want %v", err, unix.ENOSPC)
		}
		if checkAll(t, s) == 0 {
			t.Error("no block is there when the file system is full")
		}
		failed := fill(1000 + 2000*round)
		t.Logf("round %d: %d puts of 500 failed, limit %d, blocks %d, %v",
			round, failed, s.Stats().Disks[0].LimitBytes, s.Stats().Blocks, s.Stats().Disks[0].Err)
		checkAll(t, s)
		if err := os.Remove(alien); err != nil {
			t.Fatal(err)
		}
		d.retry()
		d.retry()
		if st := s.Stats().Disks[0]; st.Err != nil || st.LimitBytes != st.CapacityBytes {
			t.Errorf("Stats().Disks[0] = %+v when there is room again, want it healed", st)
		}
		if failed := fill(2000 + 2000*round); failed > 0 {
			t.Errorf("%d puts failed when there was room again", failed)
		}
		if got := checkAll(t, s); got < 150 {
			t.Errorf("blocks = %d when there is room again, want the room used", got)
		}
	}
	blocks := s.Stats().Blocks
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, cfg)
	if got := checkAll(t, s); got != blocks || s.Stats().Corrupt != 0 {
		t.Errorf("blocks after a restart = %d, want %d and none corrupt", got, blocks)
	}
}

// TestConcurrent puts, reads, checks and removes the same few blocks from many goroutines
// in a store too small for them, and holds every answer against what may be.
func TestConcurrent(t *testing.T) {
	const keys, room, workers, rounds = 40, 12, 8, 150
	var losses atomic.Int64
	cfg := oneDisk(fastDir(t), room*120_000)
	cfg.SlabBytes = 256 << 10
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
				key, data := pageKey(uint32(i)), contents[i]
				if i%3 == 0 {
					key.Index = 1 // in a sparse container
				}
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

// A nthFault fails the n-th of the calls that are counted, and those behind it if more is set.
type nthFault struct {
	err   error
	n     int64
	more  bool
	on    atomic.Bool
	calls atomic.Int64
}

func (f *nthFault) next() error {
	if !f.on.Load() {
		return nil
	}
	if i := f.calls.Add(1) - 1; i == f.n || f.more && i > f.n {
		return f.err
	}
	return nil
}

// A faultPlan says where faults are injected.
type faultPlan struct {
	name  string
	err   error
	index bool // in the index, else in the containers
	reads bool // reads count too
	more  bool
}

// A faultRun is one run of the workload with one fault, and what it must not lose.
type faultRun struct {
	t     *testing.T
	plan  faultPlan
	fault *nthFault
	cfg   Config
	big   []byte // a whole block

	mu   sync.Mutex           // guards the field below
	have map[shoal.Key][]byte // put, and neither removed nor told of
	all  map[shoal.Key][]byte // ever tried
}

func newFaultRun(t *testing.T, plan faultPlan, nth int, big []byte) *faultRun {
	r := &faultRun{
		t: t, plan: plan, big: big, fault: &nthFault{err: plan.err, n: int64(nth), more: plan.more},
		have: make(map[shoal.Key][]byte), all: make(map[shoal.Key][]byte),
	}
	r.cfg = smallConfig(fastDir(t))
	r.cfg.Disks[0].SizeBytes = shoal.BlockSize + 5*r.cfg.SlabBytes
	r.cfg.RetryInterval, r.cfg.FlushInterval = time.Hour, time.Hour
	r.cfg.OnEvict = func(keys []shoal.Key) {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, key := range keys {
			delete(r.have, key)
		}
	}
	r.cfg.indexFS = vfs.NewMem()
	if plan.index {
		r.cfg.indexFS = errorfs.Wrap(r.cfg.indexFS, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if plan.reads || op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				return r.fault.next()
			}
			return nil
		}))
		return r
	}
	r.cfg.files = &fewFolders{faultyFiles{fault: func(op, _ string) error {
		switch op {
		case "list":
			if !plan.reads {
				return nil
			}
		case "open", "read", "size":
			if !plan.reads {
				return nil
			}
		}
		return r.fault.next()
	}}}
	return r
}

// fewFolders is faultyFiles that does not look into folders of sparse containers that are empty,
// since there are 256 of them.
type fewFolders struct{ faultyFiles }

func (f *fewFolders) List(dir string) ([]string, error) {
	if base := filepath.Base(dir); base > "10" && base != slabsDir {
		return nil, nil
	}
	return f.faultyFiles.List(dir)
}

// put puts a block; its error is the fault's.
func (r *faultRun) put(s *Store, key shoal.Key, file File, seed uint64) {
	data := r.big
	if n := shoal.BlockLen(file.SizeBytes, key.Index); n < shoal.BlockSize {
		data = randomBytes(seed, n)
	}
	r.all[key] = data
	r.mu.Lock()
	r.have[key] = data // before, since it may be evicted before Put returns
	r.mu.Unlock()
	err := s.Put(key, file, data, shoal.ChunkSums(key, data))
	if err != nil {
		r.mu.Lock()
		delete(r.have, key)
		r.mu.Unlock()
	}
	if err != nil && !errors.Is(err, r.plan.err) && !errors.Is(err, ErrFull) {
		r.t.Errorf("%s, call %d: Put() = %v, want %v", r.plan.name, r.fault.n, err, r.plan.err)
	}
}

// read reads a block and checks that it is right, missing, or the fault's victim.
func (r *faultRun) read(s *Store, key shoal.Key) {
	want := r.all[key]
	got := make([]byte, len(want))
	_, err := s.ReadAt(key, got, 0)
	switch {
	case err == nil && string(got) != string(want):
		r.t.Errorf("%s, call %d: wrong bytes of %v", r.plan.name, r.fault.n, key)
	case err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, r.plan.err):
		r.t.Errorf("%s, call %d: ReadAt() = %v, want %v or a miss", r.plan.name, r.fault.n, err, r.plan.err)
	}
}

func (r *faultRun) remove(s *Store, key shoal.Key) {
	if err := s.Remove(key); err == nil {
		r.mu.Lock()
		delete(r.have, key)
		r.mu.Unlock()
	}
}

// fill is the first half of the workload: packed blocks of two classes and sparse ones come, go
// and are moved.
func (r *faultRun) fill(s *Store) {
	pins := s.NewPins("a")
	defer func() { _ = pins.Close() }()
	big := File{SizeBytes: shoal.BlockSize + smallLast}
	for i := range uint32(2) {
		key := shoal.Key{File: shoal.FileID{0xee}, Index: i}
		r.put(s, key, big, uint64(900+i))
		pins.Add(key)
	}
	for i := range uint32(35) { // more than a slab of slots of a page
		r.put(s, pageKey(i), File{SizeBytes: 1000}, uint64(i))
	}
	for i := range uint32(4) {
		r.put(s, pageKey(100+i), File{SizeBytes: 20_000}, uint64(100+i)) // sparse
	}
	for i := range uint32(28) {
		r.remove(s, pageKey(i))
	}
	r.remove(s, pageKey(100))
	for i := range uint32(60) { // of two pages: more than there is room for
		r.put(s, pageKey(300+i), File{SizeBytes: smallPacked}, uint64(300+i))
		if i%8 == 0 {
			r.read(s, pageKey(300+i))
			r.read(s, shoal.Key{File: shoal.FileID{0xee}, Index: 1})
		}
	}
	if c, err := s.Section(pageKey(101)); err == nil {
		_, _ = c.ReadChunk(0, make([]byte, shoal.ChunkSize)) // as the fault has it
		_ = c.Close()
	}
	r.remove(s, shoal.Key{File: shoal.FileID{0xee}})
	_ = s.Sync() // as the fault has it
}

// readAll reads what was put, in an order that does not change.
func (r *faultRun) readAll(s *Store) {
	for i := range uint32(400) {
		if _, ok := r.all[pageKey(i)]; ok {
			r.read(s, pageKey(i))
		}
	}
	r.read(s, shoal.Key{File: shoal.FileID{0xee}, Index: 1})
}

// run runs the workload with the fault, heals the disk, and checks that nothing was lost. It
// returns how many calls there were while the fault could strike.
func (r *faultRun) run() (calls int, st Stats) {
	r.fault.on.Store(true)
	s, err := Open(r.cfg)
	if err == nil {
		r.fill(s)
		st = s.Stats()
		r.readAll(s)
		_ = s.Close() // as the fault has it
	}
	s, err = Open(r.cfg)
	if err == nil {
		r.readAll(s)
		for i := range uint32(6) {
			r.put(s, pageKey(250+i), File{SizeBytes: 3000}, uint64(250+i))
			r.remove(s, pageKey(350+i))
		}
		_ = r.heal()
		// The first brings the disk back, the next what it could not do before.
		for range 3 {
			s.disks[0].retry()
		}
		r.check(s, "healed")
		if err := s.Close(); err != nil {
			r.errorf("Close() of the healed store = %v", err)
		}
	} else if !errors.Is(err, r.plan.err) {
		r.errorf("Open() = %v, want %v", err, r.plan.err)
	}
	calls = r.heal()
	s, err = Open(r.cfg)
	if err != nil {
		r.errorf("Open() of the healed store = %v", err)
		return calls, st
	}
	s.disks[0].scan(nil) // to the end, which Close might not wait for
	r.check(s, "opened again")
	if err := s.Close(); err != nil {
		r.errorf("Close() in the end = %v", err)
	}
	r.checkFiles(s.disks[0])
	return calls, st
}

func (r *faultRun) heal() (calls int) {
	r.fault.on.Store(false)
	return int(r.fault.calls.Load())
}

func (r *faultRun) errorf(format string, args ...any) {
	r.t.Helper()
	r.t.Errorf("%s, call %d: "+format, append([]any{r.plan.name, r.fault.n}, args...)...)
}

// check checks a healed store: every block that was kept is there, all are right, the room
// taken is that of the visible blocks, and a block can be put.
func (r *faultRun) check(s *Store, when string) {
	r.t.Helper()
	d := s.disks[0]
	if err := s.Stats().Disks[0].Err; err != nil {
		r.errorf("%s: Stats().Disks[0].Err = %v", when, err)
		return
	}
	r.put(s, pageKey(400), File{SizeBytes: 9000}, 400)
	r.remove(s, pageKey(400))
	settled := func() {
		awaitDisk(r.t, d, "what was dropped is given back: "+fmt.Sprint(r.plan.name, r.fault.n, when), func(d *disk) bool {
			taken := d.unusable
			for n := range d.places.end() {
				if d.places.at(n).state == stateVisible {
					taken += d.places.occupied(n)
				}
			}
			return d.places.taken == taken
		})
	}
	settled()
	r.mu.Lock()
	kept := len(r.have)
	for key := range r.have {
		if !s.Has(key) {
			r.errorf("%s: block %v is lost", when, key)
		}
	}
	r.mu.Unlock()
	n := 0
	for key := range s.Keys() {
		n++
		r.read(s, key)
	}
	if n < kept || s.Stats().Corrupt > 0 && when != "healed" {
		r.errorf("%s: %d blocks of %d, %d corrupt", when, n, kept, s.Stats().Corrupt)
	}
	settled()
	checkSums(r.t, s)
}

// checkFiles compares the files of a closed disk with the containers it knows, and their room
// with what the blocks take.
func (r *faultRun) checkFiles(d *disk) {
	r.t.Helper()
	want := make(map[string]int64) // room for blocks, by path
	for n := range d.places.end() {
		if d.places.at(n).state == stateVisible && !d.places.owner(n).packed {
			path := fileName{sparseFile, d.places.owner(n).name}.path(d.path)
			want[path] += pages(int64(d.places.at(n).length))
			want[path+sumsSuffix] = 0
		}
	}
	for number, known := range d.places.known {
		if known {
			want[fileName{slabFile, uint64(number)}.path(d.path)] = d.places.slabBytes
		}
	}
	for _, dir := range []string{slabsDir, filesDir} {
		err := filepath.WalkDir(filepath.Join(d.path, dir), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			room, ok := want[path]
			if !ok {
				r.errorf("file %s is nobody's", path)
			}
			delete(want, path)
			var st unix.Stat_t
			if err := unix.Stat(path, &st); err != nil {
				return err
			}
			if !strings.HasSuffix(path, sumsSuffix) && st.Blocks*512 != room {
				r.errorf("file %s takes %d bytes, want %d", path, st.Blocks*512, room)
			}
			return nil
		})
		if err != nil {
			r.t.Error(err)
		}
	}
	for path := range want {
		r.errorf("file %s is missing", path)
	}
}

// TestEveryFault fails each call of a fixed workload, one run for each, or, to be done in
// seconds, every eighth: SHOAL_SOAK_FAULTS=1 is for all.
func TestEveryFault(t *testing.T) {
	plans := []faultPlan{
		{"EIO in a container, once", unix.EIO, false, true, false},
		{"EIO in containers from then on", unix.EIO, false, true, true},
		{"ENOSPC in a container, once", unix.ENOSPC, false, false, false},
		{"ENOSPC in containers from then on", unix.ENOSPC, false, false, true},
		{"EIO in the index, once", unix.EIO, true, true, false},
		{"EIO in the index from then on", unix.EIO, true, true, true},
		{"ENOSPC in the index, once", unix.ENOSPC, true, false, false},
		{"ENOSPC in the index from then on", unix.ENOSPC, true, false, true},
	}
	stride := 8
	if os.Getenv("SHOAL_SOAK_FAULTS") != "" {
		stride = 1
	} else if !thorough() {
		stride = 40
	}
	big := randomBytes(900, shoal.BlockSize)
	calls, st := newFaultRun(t, faultPlan{name: "no fault", err: unix.EIO}, 1<<30, big).run()
	if st.Moved == 0 || st.Evictions == 0 || st.Corrupt > 0 {
		t.Errorf("without a fault: Stats() = %+v, want blocks moved and evicted", st)
	}
	t.Logf("%d calls without a fault, %d moved, %d evicted", calls, st.Moved, st.Evictions)
	for i, plan := range plans {
		t.Run(plan.name, func(t *testing.T) {
			before := openFiles(t)
			runs := 0
			for nth := i % stride; ; nth += stride {
				var calls int
				t.Run("", func(t *testing.T) { calls, _ = newFaultRun(t, plan, nth, big).run() }) // its directory goes with it
				runs++
				if nth >= calls || t.Failed() {
					break
				}
			}
			if after := openFiles(t); after != before {
				t.Errorf("open files = %d, %d before", after, before)
			}
			t.Logf("%d runs", runs)
		})
	}
}
