package blockstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
)

// badDisk is a store of two disks, the first of which fails as fault says.
type badDisk struct {
	cfg  Config
	kept int // blocks on the first disk when it failed
}

const badDiskBlocks = 60

// newBadDisk fills both disks and closes the store.
func newBadDisk(t *testing.T, bad string) *badDisk {
	t.Helper()
	cfg := Config{Disks: []Disk{{bad, 8 << 20}, {fastDir(t), 8 << 20}}, RetryInterval: time.Hour}
	s := openTest(t, cfg)
	for i := range uint32(badDiskBlocks) {
		put(t, s, testKey(i), randomBytes(uint64(i), 1000))
	}
	b := &badDisk{cfg, s.Stats().Disks[0].Blocks}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return b
}

// check opens the store while the first disk fails and has it healed. readable: the
// blocks of the failed disk are served meanwhile.
func (b *badDisk) check(t *testing.T, fault error, readable bool, heal func()) {
	t.Helper()
	s := openTest(t, b.cfg)
	st := s.Stats()
	want := badDiskBlocks
	if !readable {
		want -= b.kept
	}
	if !errors.Is(st.Disks[0].Err, fault) || st.Disks[1].Err != nil || st.Blocks != want {
		t.Fatalf("Stats() = %+v, want %d blocks and the first disk with %v", st, want, fault)
	}
	for i := range uint32(2 * badDiskBlocks) { // half of them there already, or on the disk that fails
		put(t, s, testKey(i), randomBytes(uint64(i), 1000))
	}
	if got := checkAll(t, s); got != 2*badDiskBlocks {
		t.Errorf("blocks while the disk fails = %d, want %d", got, 2*badDiskBlocks)
	}
	s.disks[0].retry()
	if err := s.Stats().Disks[0].Err; err == nil {
		t.Error("the disk is used although it fails still")
	}
	heal()
	s.disks[0].retry()
	if err := s.Stats().Disks[0].Err; err != nil {
		t.Fatalf("error of the healed disk = %v, want none", err)
	}
	for i := range uint32(2 * badDiskBlocks) {
		put(t, s, testKey(1000+i), randomBytes(uint64(1000+i), 1000))
	}
	if got := s.Stats().Disks[0].Blocks; got < badDiskBlocks/2 {
		t.Errorf("the healed disk has %d blocks, want its share", got)
	}
	b.reopen(t, s)
}

// reopen checks that every block is there once, now and after a restart.
func (b *badDisk) reopen(t *testing.T, s *Store) {
	t.Helper()
	for range 2 {
		seen := make(map[shoal.Key]bool)
		for key := range s.Keys() {
			if seen[key] {
				t.Errorf("block %v is there twice", key)
			}
			seen[key] = true
		}
		if got := checkAll(t, s); got != 4*badDiskBlocks || s.Stats().Corrupt != 0 {
			t.Errorf("blocks in the end = %d, %d corrupt, want %d and none", got, s.Stats().Corrupt, 4*badDiskBlocks)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openTest(t, b.cfg)
	}
}

// TestOpenFaultyIndex has an index that cannot be written, or not even read.
func TestOpenFaultyIndex(t *testing.T) {
	for _, readable := range []bool{true, false} {
		t.Run(fmt.Sprintf("readable %v", readable), func(t *testing.T) {
			bad := fastDir(t)
			b := newBadDisk(t, bad)
			var broken atomic.Bool
			broken.Store(true)
			b.cfg.indexFS = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
				hit := broken.Load() && strings.HasPrefix(op.Path, bad)
				if hit && (!readable || op.Kind.ReadOrWrite() == errorfs.OpIsWrite) {
					return unix.EIO
				}
				return nil
			}))
			b.check(t, unix.EIO, readable, func() { broken.Store(false) })
		})
	}
}

// TestOpenFullOrReadOnly starts with a file system that is full, or mounted read-only.
func TestOpenFullOrReadOnly(t *testing.T) {
	remount := func(dir string, flags uintptr) error {
		return unix.Mount("", dir, "", unix.MS_REMOUNT|flags, "size=32m")
	}
	filler := func(dir string) string { return filepath.Join(dir, "filler") }
	tests := []struct {
		fault      error
		hurt, heal func(dir string) error
	}{
		{
			unix.EROFS,
			func(dir string) error { return remount(dir, unix.MS_RDONLY) },
			func(dir string) error { return remount(dir, 0) },
		},
		{
			unix.ENOSPC,
			func(dir string) error {
				if err := os.WriteFile(filler(dir), make([]byte, 64<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
					return fmt.Errorf("filled: %w", err)
				}
				return nil
			},
			func(dir string) error { return os.Remove(filler(dir)) },
		},
	}
	for _, tt := range tests {
		t.Run(tt.fault.Error(), func(t *testing.T) {
			dir := mountTmpfs(t)
			b := newBadDisk(t, dir)
			if err := tt.hurt(dir); err != nil {
				t.Fatal(err)
			}
			b.check(t, tt.fault, true, func() {
				if err := tt.heal(dir); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// mountTmpfs returns an empty file system of 32 MiB.
func mountTmpfs(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root to mount a tmpfs")
	}
	dir := filepath.Join(fastDir(t), "tmpfs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("shoal-test", dir, "tmpfs", 0, "size=32m"); err != nil {
		t.Skipf("SKIPPED: cannot mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// TestOpenAllFail checks that a store without a disk that works is refused, in one line.
func TestOpenAllFail(t *testing.T) {
	cfg := Config{Disks: []Disk{{fastDir(t), 1 << 20}, {fastDir(t), 1 << 20}}}
	cfg.indexFS = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return unix.EIO
		}
		return nil
	}))
	_, err := Open(cfg)
	if !errors.Is(err, unix.EIO) || strings.Count(err.Error(), "\n") > 0 ||
		!strings.Contains(err.Error(), cfg.Disks[0].Path) || !strings.Contains(err.Error(), cfg.Disks[1].Path) {
		t.Errorf("Open() = %v, want %v of both disks in one line", err, unix.EIO)
	}
}

// TestUnlinkFaults checks that room is given back only when the container is gone, and
// that what could not be removed is removed later.
func TestUnlinkFaults(t *testing.T) {
	const room = 4
	var broken, stuck atomic.Bool
	var one string // a container that cannot be removed although the disk has healed
	cfg := oneDisk(fastDir(t), room*pageSize)
	cfg.RetryInterval = time.Hour
	cfg.files = &faultyFiles{fault: func(op, name string) error {
		if op == "remove" && (broken.Load() || stuck.Load() && name == one) {
			return unix.EIO
		}
		return nil
	}}
	s := openTest(t, cfg)
	data := randomBytes(1, 1000)
	for i := range uint32(room) {
		put(t, s, testKey(i), data)
	}
	one = container(t, s, testKey(0))
	broken.Store(true)
	stuck.Store(true)
	if err := s.Put(testKey(10), data, shoal.ChunkSums(testKey(10), data)); !errors.Is(err, unix.EIO) {
		t.Errorf("Put() that cannot evict = %v, want %v", err, unix.EIO)
	}
	if err := s.Remove(testKey(1)); err != nil {
		t.Fatal(err)
	}
	check := func(when string, blocks, pages int) {
		t.Helper()
		if st := s.Stats(); st.Blocks != blocks || st.Bytes != int64(pages)*pageSize {
			t.Errorf("%s: %d blocks in %d pages, want %d in %d", when, st.Blocks, st.Bytes/pageSize, blocks, pages)
		}
	}
	check("while nothing can be removed", room-2, room)
	broken.Store(false)
	s.disks[0].retry()
	check("healed but for one", room-2, room-1)
	for i := range uint32(room) {
		put(t, s, testKey(20+i), data)
	}
	check("full again", room-1, room)
	stuck.Store(false)
	s.disks[0].retry()
	check("in the end", room-1, room-1)
	if _, err := os.Stat(one); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("container of an evicted block: %v, want it removed", err)
	}
}
