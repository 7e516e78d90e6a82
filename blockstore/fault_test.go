package blockstore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
)

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
	settled(s) // the room that was asked for is made, too
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
	cfg.OnEvict = func(went []Gone) {
		keys := keysOf(went)
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
