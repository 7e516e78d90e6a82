package blockstore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
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
			dir := mountTmpfs(t, "size=32m")
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

// mountTmpfs returns an empty file system.
func mountTmpfs(t *testing.T, options string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root to mount a tmpfs")
	}
	dir := filepath.Join(fastDir(t), "tmpfs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("shoal-test", dir, "tmpfs", 0, options); err != nil {
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

// lostFile is how long the large files of a lostIndex are: of two whole blocks and a short one.
const lostFile = 2*shoal.BlockSize + 5000

// A lostIndex is a store whose index is about to be lost.
type lostIndex struct {
	*Store // while a test looks into it
	cfg    Config
	data   map[shoal.Key][]byte
	sets   map[shoal.Key]string // dataset of each
	want   Stats
}

// newLostIndex fills a store with packed blocks of several classes and sparse ones, of which
// some were removed, evicted and moved, and closes it.
func newLostIndex(t *testing.T) *lostIndex {
	t.Helper()
	l := &lostIndex{cfg: smallConfig(fastDir(t)), data: make(map[shoal.Key][]byte), sets: make(map[shoal.Key]string)}
	l.cfg.Quotas = map[string]int64{"a": 100 * pageSize}
	s := openTest(t, l.cfg)
	put := func(key shoal.Key, file File, set string, data []byte) {
		t.Helper()
		file.Dataset = set
		if err := s.Put(key, file, data, shoal.ChunkSums(key, data)); err != nil {
			t.Fatal(err)
		}
		l.data[key], l.sets[key] = data, set
	}
	for i := range uint32(120) {
		data := randomBytes(uint64(i), 100+int(i)*60)
		put(pageKey(i), File{SizeBytes: int64(len(data))}, []string{"", "a", "b"}[i%3], data)
	}
	for i := range uint32(6) {
		file := File{SizeBytes: lostFile}
		key := shoal.Key{File: shoal.FileID{0xcc, byte(i % 3)}, Index: i / 2}
		put(key, file, "c", randomBytes(uint64(i), shoal.BlockLen(file.SizeBytes, key.Index)))
	}
	for i := uint32(0); i < 120; i += 5 {
		if err := s.Remove(pageKey(i)); err != nil {
			t.Fatal(err)
		}
		delete(l.data, pageKey(i))
	}
	gone := shoal.Key{File: shoal.FileID{0xcc, 1}}
	if err := s.Remove(gone); err != nil {
		t.Fatal(err)
	}
	delete(l.data, gone)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	l.want = s.Stats()
	return l
}

// check opens the store and compares it with what it was. Removed and evicted blocks may be
// there again if extra is set.
func (l *lostIndex) check(t *testing.T, extra bool) *Store {
	t.Helper()
	s := openTest(t, l.cfg)
	buf := make([]byte, shoal.BlockSize) // one for all: the race detector makes a new one dear
	for key, want := range l.data {
		if n, err := s.ReadAt(key, buf, 0); err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(buf[:n], want) {
			t.Errorf("ReadAt(%v) = %d, %v, want the %d bytes as put", key, n, err, len(want))
		}
	}
	for key := range s.Keys() {
		if l.data[key] == nil {
			if err := s.Check(key); err != nil {
				t.Error(err)
			}
		}
	}
	st := s.Stats()
	if st.Corrupt != 0 || st.Blocks < len(l.data) || !extra && (st.Blocks != l.want.Blocks || st.Bytes != l.want.Bytes) {
		t.Errorf("Stats() = %+v, want the blocks of %+v", st, l.want)
	}
	checkSums(t, s)
	return s
}

// checkSums checks that the statistics are what the visible blocks add up to.
func checkSums(t *testing.T, s *Store) {
	t.Helper()
	var bytes int64
	blocks, sets := 0, make(map[string]DatasetStats)
	for _, d := range s.disks {
		d.mu.Lock()
		for n := range d.places.end() {
			if d.places.at(n).state != stateVisible {
				continue
			}
			name := d.datasets.names[d.places.at(n).dataset]
			set := sets[name]
			set.Blocks++
			set.Bytes += d.places.occupied(n)
			sets[name] = set
			blocks++
			bytes += d.places.occupied(n)
		}
		d.mu.Unlock()
	}
	st := s.Stats()
	for _, d := range st.Disks {
		bytes += d.UnusableBytes
	}
	if st.Blocks != blocks || st.Bytes != bytes {
		t.Errorf("Stats() = %d blocks in %d bytes, want %d in %d", st.Blocks, st.Bytes, blocks, bytes)
	}
	for _, d := range st.Datasets {
		if want := sets[d.Name]; d.Blocks != want.Blocks || d.Bytes != want.Bytes {
			t.Errorf("dataset %q: %d blocks in %d bytes, want %d in %d", d.Name, d.Blocks, d.Bytes, want.Blocks, want.Bytes)
		}
	}
}

// TestRebuild loses the index in one way or another: all blocks are there again, in their
// datasets, and what is put then outlives the next restart.
func TestRebuild(t *testing.T) {
	noise := func(pattern string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			names, err := filepath.Glob(filepath.Join(dir, "index", pattern))
			if err != nil || len(names) == 0 {
				t.Fatalf("Glob(%s) = %v, %v, want some", pattern, names, err)
			}
			for _, name := range names {
				st, err := os.Stat(name)
				if err == nil {
					err = os.WriteFile(name, randomBytes(1, int(st.Size())), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	tests := []struct {
		name  string
		harm  func(t *testing.T, dir string)
		extra bool // blocks removed before may be there again
		whole bool // nothing need be rebuilt
	}{
		{"nothing", func(*testing.T, string) {}, false, true},
		{"no index", func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "index")); err != nil {
				t.Fatal(err)
			}
		}, true, false},
		{"table of noise", noise("*.sst"), true, false},
		{"manifest of noise", noise("MANIFEST-*"), true, false},
		{"options of noise", noise("OPTIONS-*"), true, false},
		{"empty manifest", func(t *testing.T, dir string) {
			names, _ := filepath.Glob(filepath.Join(dir, "index", "MANIFEST-*"))
			for _, name := range names {
				if err := os.Truncate(name, 0); err != nil {
					t.Fatal(err)
				}
			}
		}, true, false},
		{"rebuild did not end", func(t *testing.T, dir string) {
			if err := os.WriteFile(rebuildPath(dir), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLostIndex(t)
			dir := l.cfg.Disks[0].Path
			if err := openTest(t, l.cfg).Close(); err != nil { // the log becomes a table
				t.Fatal(err)
			}
			tt.harm(t, dir)
			before := openFiles(t)
			var last Progress
			l.cfg.Progress = func(p Progress) { last = p }
			s := l.check(t, tt.extra)
			if rebuilt := last.Total > 0; rebuilt == tt.whole || last.Done != last.Total || rebuilt && last.Blocks != s.Stats().Blocks {
				t.Errorf("Progress = %+v in the end, want a rebuild: %v", last, !tt.whole)
			}
			if _, err := os.Stat(rebuildPath(dir)); err == nil {
				t.Error("REBUILD is there after a rebuild")
			}
			for key := range l.data {
				if dataset := datasetOf(s, key); dataset != l.sets[key] {
					t.Errorf("dataset of %v = %q, want %q", key, dataset, l.sets[key])
				}
			}
			for i := range uint32(20) {
				data := randomBytes(uint64(i), 6000)
				l.data[pageKey(1000+i)] = data
				put(t, s, pageKey(1000+i), data)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			l.want = s.Stats()
			if err := l.check(t, false).Close(); err != nil {
				t.Fatal(err)
			}
			if after := openFiles(t); after != before {
				t.Errorf("open files = %d, %d before", after, before)
			}
		})
	}
}

// TestQuotaAfterRebuild checks that what a dataset takes is known when the index was lost: it
// exceeds its quota neither then nor with what is put, and no other dataset pays for it.
func TestQuotaAfterRebuild(t *testing.T) {
	l := newLostIndex(t)
	for range 2 { // with the index as it is, and with one made anew
		l.cfg.Quotas["a"] -= 30 * pageSize
		s := openTest(t, l.cfg)
		for i := range uint32(100) {
			key, data := pageKey(2000+i), randomBytes(uint64(i), 3000)
			if err := s.Put(key, File{SizeBytes: 3000, Dataset: "a"}, data, shoal.ChunkSums(key, data)); err != nil {
				t.Fatal(err)
			}
			for _, d := range s.Stats().Datasets {
				if d.Name == "a" && (d.Bytes > l.cfg.Quotas["a"] || d.Quota != l.cfg.Quotas["a"]) {
					t.Fatalf("after %d puts: dataset %+v, want at most %d bytes", i+1, d, l.cfg.Quotas["a"])
				}
			}
		}
		for key, data := range l.data {
			if l.sets[key] != "a" {
				checkReadAt(t, s, key, data, 0, len(data))
			}
		}
		checkSums(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(l.cfg.Disks[0].Path, "index")); err != nil {
			t.Fatal(err)
		}
	}
}

// datasetOf returns the dataset that a block counts for.
func datasetOf(s *Store, key shoal.Key) string {
	d, b, ok := s.find(key)
	if !ok {
		return "not there"
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.datasets.names[b.dataset]
}

// TestRebuildTornSlot checks that a rebuild shows no block whose write did not come to its end.
func TestRebuildTornSlot(t *testing.T) {
	l := newLostIndex(t)
	dir := l.cfg.Disks[0].Path
	s := openTest(t, l.cfg)
	torn := 0
	for key, data := range l.data {
		_, b, _ := s.find(key)
		if !b.packed || torn == 10 || len(data) < 100 {
			continue
		}
		torn++
		delete(l.data, key)
		f, err := os.OpenFile(b.file().path(dir), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		// As if another block were on its way here: its bytes are, its record is not.
		if _, err := f.WriteAt(randomBytes(uint64(1000+torn), len(data)/2), b.loc.Offset); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "index")); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, l.cfg)
	for key, data := range l.data {
		checkReadAt(t, s, key, data, 0, len(data))
	}
	bad := 0
	for key := range s.Keys() {
		if err := s.Check(key); errors.Is(err, ErrCorrupt) {
			bad++
		} else if err != nil {
			t.Error(err)
		}
	}
	if bad != torn {
		t.Errorf("bad blocks = %d, want the %d torn ones", bad, torn)
	}
}
