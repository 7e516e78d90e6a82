package blockstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
)

// badSectors is osFiles with stretches of files that cannot be read. Writing over the whole of
// one mends it; writing a part of it fails, since the kernel reads the rest of the page before.
type badSectors struct {
	osFiles
	dirs []string // cannot be listed

	mu  sync.Mutex // guards the field below
	bad []stretch
}

func (f *badSectors) List(dir string) ([]string, error) {
	if slices.Contains(f.dirs, dir) {
		return nil, &fs.PathError{Op: "list", Path: dir, Err: unix.EIO}
	}
	return f.osFiles.List(dir)
}

func (f *badSectors) Open(name string) (file, error) {
	opened, err := f.osFiles.Open(name)
	if err != nil {
		return nil, err
	}
	return &badSectorFile{opened, f, name}, nil
}

type badSectorFile struct {
	file
	fs   *badSectors
	name string
}

// hit returns the bad stretches that n bytes at off touch.
func (f *badSectorFile) hit(off int64, parts [][]byte) (hit []stretch) {
	n := totalLen(parts)
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	for _, b := range f.fs.bad {
		if b.path == f.name && off < b.off+int64(b.n) && b.off < off+n {
			hit = append(hit, b)
		}
	}
	return hit
}

func (f *badSectorFile) ReadAt(parts [][]byte, off int64, direct bool) error {
	if len(f.hit(off, parts)) > 0 {
		return &fs.PathError{Op: "read", Path: f.name, Err: unix.EIO}
	}
	return f.file.ReadAt(parts, off, direct)
}

func (f *badSectorFile) WriteAt(parts [][]byte, off int64) error {
	end := off + totalLen(parts)
	for _, b := range f.hit(off, parts) {
		if off > b.off || end < b.off+int64(b.n) {
			return &fs.PathError{Op: "write", Path: f.name, Err: unix.EIO}
		}
		f.fs.mu.Lock()
		f.fs.bad = slices.DeleteFunc(f.fs.bad, func(s stretch) bool { return s == b })
		f.fs.mu.Unlock()
	}
	return f.file.WriteAt(parts, off)
}

func totalLen(parts [][]byte) (n int64) {
	for _, p := range parts {
		n += int64(len(p))
	}
	return n
}

// open and close are of the store as it is, to look into.
func (l *lostIndex) open(t *testing.T) {
	t.Helper()
	l.Store = openTest(t, l.cfg)
}

func (l *lostIndex) close(t *testing.T) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// forget takes blocks for which lost is true out of what must be there, and returns how many.
func (l *lostIndex) forget(lost func(b block) bool) (n int) {
	for key := range l.data {
		if _, b, _ := l.find(key); lost(b) {
			delete(l.data, key)
			n++
		}
	}
	return n
}

// TestRebuildUnreadable has a rebuild meet a bad sector: it loses what lies there, says so, and
// comes to its end, and what is put then goes well.
func TestRebuildUnreadable(t *testing.T) {
	t.Parallel()
	slab := func(b block) bool { return b.packed && b.loc.Container == 1 }
	sparse := func(b block) bool { return !b.packed }
	tests := []struct {
		name string
		hurt func(dir string, b block) stretch // a block for which of is true
		of   func(b block) bool
		lost func(b, hurt block) bool
	}{
		{"a record", func(dir string, b block) stretch {
			end := b.loc.Offset + packedBytes(b.loc.Length)
			return stretch{b.file().path(dir), end - pageSize, pageSize}
		}, slab, func(b, hurt block) bool { return b.key == hurt.key }},
		{"a slab's header", func(dir string, b block) stretch {
			return stretch{b.file().path(dir), 0, pageSize}
		}, slab, func(b, _ block) bool { return slab(b) }},
		{"a cell", func(dir string, b block) stretch {
			return stretch{fileName{sumsFile, b.loc.Container}.path(dir), cellOffset(b.place.slot), sumsCell}
		}, sparse, func(b, hurt block) bool { return b.key == hurt.key }},
		{"a sums file", func(dir string, b block) stretch {
			return stretch{fileName{sumsFile, b.loc.Container}.path(dir), 0, 4 * sumsCell}
		}, sparse, func(b, hurt block) bool { return !b.packed && b.loc.Container == hurt.loc.Container }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLostIndex(t)
			l.open(t)
			dir := l.cfg.Disks[0].Path
			var hurt block
			for key := range l.data {
				if _, b, _ := l.find(key); tt.of(b) {
					hurt = b
				}
			}
			lost := make(map[shoal.Key][]byte)
			for key, data := range l.data {
				if _, b, _ := l.find(key); tt.lost(b, hurt) {
					lost[key] = data
					delete(l.data, key)
				}
			}
			l.close(t)
			if err := os.RemoveAll(filepath.Join(dir, "index")); err != nil {
				t.Fatal(err)
			}
			files := &badSectors{bad: []stretch{tt.hurt(dir, hurt)}}
			l.cfg.files = files
			var last Progress
			l.cfg.Progress = func(p Progress) { last = p }
			s := l.check(t, true)
			if last.Unreadable != 1 || last.Done != last.Total || len(lost) == 0 {
				t.Errorf("Progress = %+v with %d blocks lost, want one place that cannot be read", last, len(lost))
			}
			for key, data := range lost {
				if s.Has(key) {
					t.Errorf("block %v is there, which cannot be read", key)
				}
				file := File{SizeBytes: int64(len(data))}
				if key.File[0] == 0xcc {
					file.SizeBytes = lostFile
				}
				if err := s.Put(key, file, data, shoal.ChunkSums(key, data)); err != nil {
					t.Errorf("Put() of a block that was lost = %v", err)
				}
				l.data[key] = data
			}
			for i := range uint32(200) { // of all classes
				data := randomBytes(uint64(i), 100+int(i)*40)
				put(t, s, pageKey(5000+i), data)
			}
			if err := s.Stats().Disks[0].Err; err != nil {
				t.Errorf("Stats().Disks[0].Err = %v", err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			l.check(t, true)
		})
	}
}

// TestRebuildUnreadableFolder has a folder that cannot be listed.
func TestRebuildUnreadableFolder(t *testing.T) {
	l := newLostIndex(t)
	dir := l.cfg.Disks[0].Path
	folder := filepath.Dir(offlineGlob(t, dir, "files/*/*.sums")[0])
	l.open(t)
	if n := l.forget(func(b block) bool { return !b.packed && filepath.Dir(b.file().path(dir)) == folder }); n == 0 {
		t.Fatal("there is no block in the folder")
	}
	l.close(t)
	if err := os.RemoveAll(filepath.Join(dir, "index")); err != nil {
		t.Fatal(err)
	}
	l.cfg.files = &badSectors{dirs: []string{folder}}
	l.check(t, true)
}

// TestRebuildOfFailedDisk checks that a rebuild of a disk that reads nothing ends, and that all is
// there when the disk is well.
func TestRebuildOfFailedDisk(t *testing.T) {
	l := newLostIndex(t)
	dir := l.cfg.Disks[0].Path
	if err := os.RemoveAll(filepath.Join(dir, "index")); err != nil {
		t.Fatal(err)
	}
	good := l.cfg
	for from := range 12 { // reads that go well before
		var reads atomic.Int64
		l.cfg.files = &faultyFiles{fault: func(op, _ string) error {
			if op == "read" && reads.Add(1) > int64(3*from) {
				return unix.EIO
			}
			return nil
		}}
		if s, err := Open(l.cfg); !errors.Is(err, unix.EIO) {
			t.Errorf("Open() when the disk reads nothing after %d reads = %v, want %v", 3*from, err, unix.EIO)
			if err == nil {
				_ = s.Close()
			}
			return
		}
	}
	l.cfg = good
	l.check(t, true)
}

// TestRunNumberLost loses what numbers the runs: containers made then have names of their own all
// the same.
func TestRunNumberLost(t *testing.T) {
	t.Parallel()
	for _, contents := range []string{"", "x7\n", "99999999999999999999\n", "gone"} {
		l := newLostIndex(t)
		dir := l.cfg.Disks[0].Path
		if err := os.WriteFile(bootsPath(dir), []byte(contents), 0o600); err != nil {
			t.Fatal(err)
		}
		if contents == "gone" {
			offlineRemove(t, bootsPath(dir))
		}
		s := l.check(t, false)
		for i := range uint32(4) {
			key, data := shoal.Key{File: shoal.FileID{0xcd, byte(i)}, Index: 1}, randomBytes(uint64(i), 1000)
			put(t, s, key, data)
			l.data[key] = data
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		l.want = s.Stats()
		if err := l.check(t, false).Close(); err != nil {
			t.Fatal(err)
		}
		if r := offlineCheck(t, dir, CheckOptions{}); len(r.Bad)+len(r.Problems)+len(r.Leftovers) > 0 {
			t.Errorf("BOOTS %q: Check() = %+v, want nothing", contents, r)
		}
	}
}

// TestRebuildStrays has copies of container files lie where they do not belong: a rebuild enters
// each container once, and they are removed.
func TestRebuildStrays(t *testing.T) {
	l := newLostIndex(t)
	dir := l.cfg.Disks[0].Path
	for _, sums := range offlineGlob(t, dir, "files/*/*.sums") {
		b, err := os.ReadFile(sums)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filesDir, "ee", filepath.Base(sums)), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, slabsDir, "0000000A"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "index")); err != nil {
		t.Fatal(err)
	}
	var last Progress
	l.cfg.Progress = func(p Progress) { last = p }
	s := l.check(t, true)
	if want := len(offlineGlob(t, dir, "slabs/0000000?")) - 1 + 3; last.Total != want {
		t.Errorf("Progress = %+v, want %d containers", last, want)
	}
	s.disks[0].scan(nil)
	if strays, _ := filepath.Glob(filepath.Join(dir, "files/ee/*")); len(strays) > 0 {
		t.Errorf("strays are there still: %v", strays)
	}
	for i := range uint32(300) {
		put(t, s, pageKey(5000+i), randomBytes(uint64(i), 100+int(i)*40))
	}
	if err := s.Stats().Disks[0].Err; err != nil {
		t.Errorf("Stats().Disks[0].Err = %v", err)
	}
}

// TestRepairOfBadSector checks that a repair drops a block that cannot be read, and does not take
// the disk for one that has failed.
func TestRepairOfBadSector(t *testing.T) {
	dir, cfg, data := offlineDir(t)
	for range 2 { // a crash before makes no difference
		s, d, err := openOffline(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.readIndex(); err != nil {
			t.Fatal(err)
		}
		blocks, _ := d.batch(0)
		b := blocks[0]
		files := &badSectors{bad: []stretch{{b.file().path(dir), b.loc.Offset, pageSize}}}
		d.files, d.handles = files, newHandles(files, dir, 8)
		r, err := d.check(t.Context(), CheckOptions{Repair: true})
		if err != nil || !r.Repaired || len(r.Bad) != 1 || r.Bad[0].Key != b.key {
			t.Errorf("check(repair) = %+v, %v, want it repaired but for %v", r, err, b.key)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		delete(data, b.key)
		crashed(t, dir)
	}
	offlineReopen(t, cfg, data)
}
