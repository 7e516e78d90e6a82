package blockstore

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
)

// TestIndexFaults breaks the index at the n-th write, for many n: nothing may panic or
// hang, reads go on, and after the disk heals nothing is lost, nor after a restart.
func TestIndexFaults(t *testing.T) {
	t.Parallel()
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
