package blockstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
)

// TestPunchedWhileIdle has a container lose its last block while holes of it are punched, and a
// file come that would take it over: what is punched is not what came.
func TestPunchedWhileIdle(t *testing.T) {
	var meanwhile atomic.Pointer[func()]
	cfg := smallConfig(fastDir(t))
	cfg.files = &faultyFiles{fault: func(op, _ string) error {
		if f := meanwhile.Load(); f != nil && op == "punch" && meanwhile.CompareAndSwap(f, nil) {
			(*f)()
		}
		return nil
	}}
	s := openTest(t, cfg)
	d := s.disks[0]
	r := &robbed{Store: s, t: t, disk: d, cfg: cfg, data: make(map[shoal.Key][]byte), told: make(map[shoal.Key]int)}
	for i := range uint32(2) {
		r.put(robbedKey(1, i), robbedFile)
	}
	remove := func(key shoal.Key) {
		if err := s.Remove(key); err != nil {
			t.Error(err)
		}
		delete(r.data, key)
	}
	remove(robbedKey(1, 0))
	punched := false
	during := func() {
		punched = true
		remove(robbedKey(1, 1))
		r.put(robbedKey(2, 0), robbedFile)
	}
	meanwhile.Store(&during)
	if err := d.giveAllRoom(); err != nil || !punched {
		t.Errorf("giveAllRoom() = %v, holes punched: %v, want them punched", err, punched)
	}
	r.check()
}

// openedFiles is osFiles that calls opened once a file is open.
type openedFiles struct {
	osFiles
	opened atomic.Pointer[func(name string)]
}

func (o *openedFiles) Open(name string) (file, error) {
	f, err := o.osFiles.Open(name)
	if call := o.opened.Swap(nil); call != nil {
		(*call)(name)
	}
	return f, err
}

// TestWillNeedWhileRemoved has a slab go, and another get its number, while WillNeed opens the
// first: nobody is to write to a file that has been removed.
func TestWillNeedWhileRemoved(t *testing.T) {
	files := &openedFiles{}
	cfg := pageStore(fastDir(t), 4)
	cfg.files = files
	s := openTest(t, cfg)
	d := s.disks[0]
	put(t, s, pageKey(1), randomBytes(1, 1000))
	d.handles.close()
	during := func(string) {
		if err := s.Remove(pageKey(1)); err != nil {
			t.Error(err)
		}
		if d.emptySlab(0) {
			d.mu.Lock()
			if err := d.removeSlab(); err != nil {
				t.Error(err)
			}
			d.mu.Unlock()
		}
		put(t, s, pageKey(2), randomBytes(2, 1000))
		d.handles.close()
	}
	files.opened.Store(&during)
	if !s.WillNeed(pageKey(1), 0, shoal.BlockSize) {
		t.Error("WillNeed() = false, want true")
	}
	checkReadAt(t, s, pageKey(2), randomBytes(2, 1000), 0, 1000)
	if st := s.Stats(); st.Hits != 1 || st.Misses != 0 || st.Corrupt != 0 {
		t.Errorf("Stats() = %+v, want the one read", st)
	}
}

// TestStaleSums enters chunk sums of a block that has been dropped since, as a read does that
// began before: they are not taken for those of the block that comes next.
func TestStaleSums(t *testing.T) {
	s := newSmallStore(t)
	key, data := s.sparse[0], s.data[s.sparse[0]]
	d, b, _ := s.find(key)
	wrong := shoal.ChunkSums(key, randomBytes(77, shoal.BlockSize))
	d.sums.put(key, shoal.BlockSum(wrong), wrong)
	for range 2 {
		got := make([]byte, 1000)
		if _, err := s.ReadAt(key, got, 0); err != nil || string(got) != string(data[:1000]) {
			t.Errorf("ReadAt() = %v, want the block's bytes", err)
		}
	}
	if got := d.sums.get(key, b.sum); len(got) != shoal.Chunks(len(data)) {
		t.Errorf("%d chunk sums are kept, want the block's", len(got))
	}
}

// TestScrubReadsDisk checks that the scrub is not content with what is in memory: the record of a
// block whose sums are kept, and the file of a handle that is open.
func TestScrubReadsDisk(t *testing.T) {
	tests := []struct {
		name   string
		damage func(s *smallStore, at stretch) error
		gone   int
	}{
		{"record", func(s *smallStore, at stretch) error { s.zero(at); return nil }, 1},
		{"sums file", func(_ *smallStore, at stretch) error { return os.Remove(at.path) }, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSmallStore(t)
			for _, key := range s.sparse {
				if err := s.Check(key); err != nil { // keeps the sums and the handle
					t.Fatal(err)
				}
			}
			if err := tt.damage(s, s.recordOf(s.sparse[1])); err != nil {
				t.Fatal(err)
			}
			s.disks[0].scrubPass(nil, 1<<40)
			if _, err := s.ReadAt(s.sparse[1], make([]byte, 1), 0); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("ReadAt(block without a record) = %v, want %v", err, fs.ErrNotExist)
			}
			st := s.Stats()
			if st.Corrupt != uint64(tt.gone) || len(s.told) != tt.gone || st.Disks[0].Scrub.Bad == 0 {
				t.Errorf("Stats() = %+v, %d told of, want %d bad", st, len(s.told), tt.gone)
			}
			if st.Disks[0].Err != nil || !s.Has(s.packed) {
				t.Errorf("Stats() = %+v, want a disk in use and the other block there", st)
			}
			s.put(s.sparse[1])
			checkReadAt(t, s.Store, s.sparse[1], s.data[s.sparse[1]], 0, smallLast)
		})
	}
}

// TestMovedWhileTold has a block be bad that is to be moved, and who is told of it read one that
// is on its way to another slab, and is bad as well: nobody waits for the other.
func TestMovedWhileTold(t *testing.T) {
	var s *Store
	cfg := pageStore(fastDir(t), 4)
	flipAt := func(key shoal.Key) {
		d, b, _ := s.find(key)
		flip(t, openFlip(t, b.file().path(d.path)), b.loc.Offset, 1)
	}
	var told []shoal.Key
	cfg.OnEvict = func(went []Gone) {
		keys := keysOf(went)
		if told = append(told, keys...); len(told) == 1 {
			flipAt(pageKey(0))
			if err := s.Check(pageKey(0)); !errors.Is(err, ErrCorrupt) {
				t.Errorf("Check(bad block) = %v, want %v", err, ErrCorrupt)
			}
		}
	}
	s = openTest(t, cfg)
	for i := range uint32(pageSlots + 3) { // a slab, and a part of another
		put(t, s, pageKey(i), randomBytes(uint64(i), 1000))
	}
	flipAt(pageKey(2))
	d := s.disks[0]
	_, b, _ := s.find(pageKey(2))
	if d.emptySlab(uint32(b.loc.Container)) {
		t.Error("emptySlab() = true, want the bad block's slot to keep the slab")
	}
	if st := s.Stats(); len(told) != 2 || st.Corrupt != 2 || st.Moved != 2 {
		t.Errorf("told of %d, Stats() = %+v, want 2 bad blocks and 2 moved", len(told), st)
	}
	checkAll(t, s)
}

// TestCloseEndsLateRebuild closes a store while the index of a disk is made anew that failed when
// it was opened: containers that were not begun then are not begun.
func TestCloseEndsLateRebuild(t *testing.T) {
	const slabs = 60
	cfg := pageStore(fastDir(t), slabs+4)
	cfg.Disks = append(cfg.Disks, Disk{Path: fastDir(t), SizeBytes: cfg.Disks[0].SizeBytes})
	inBubble(t, func(t *testing.T) {
		s := openTest(t, cfg)
		for i := range uint32(slabs * pageSlots) {
			put(t, s, pageKey(i), randomBytes(uint64(i), 1000))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		late := newLateRebuild(t, cfg)
		if last := late.closeAmid(t); last.Done == 0 || last.Done > rebuildWorkers+1 || last.Total < 3*rebuildWorkers {
			t.Errorf("the rebuild went on to %+v, want it ended with those of the workers and the next, which waited for one", last)
		}
		if got := openTest(t, cfg).Stats(); got.Blocks != slabs*pageSlots {
			t.Errorf("blocks after a restart = %d, want %d", got.Blocks, slabs*pageSlots)
		}
	})
}

// A lateRebuild is a store whose second disk fails while it is opened, and has lost its index.
type lateRebuild struct {
	cfg    Config
	slow   string // the second disk
	broken atomic.Bool
	opened atomic.Int64  // slabs
	goOn   chan struct{} // closed when others may be
}

func newLateRebuild(t *testing.T, cfg Config) *lateRebuild {
	t.Helper()
	l := &lateRebuild{cfg: cfg, slow: cfg.Disks[1].Path, goOn: make(chan struct{})}
	if err := os.RemoveAll(filepath.Join(l.slow, "index")); err != nil {
		t.Fatal(err)
	}
	l.cfg.RetryInterval = time.Millisecond
	l.cfg.files = &faultyFiles{fault: func(op, name string) error {
		switch {
		case !strings.HasPrefix(name, l.slow):
		case op == "list" && l.broken.Load():
			return unix.EIO
		case op == "open" && !l.broken.Load() && filepath.Dir(name) == filepath.Join(l.slow, slabsDir) && l.opened.Add(1) > 1:
			<-l.goOn
		}
		return nil
	}}
	return l
}

// closeAmid opens the store, closes it when one container of the rebuild is done, and returns how
// far the rebuild came. The other containers that were begun go on when all has heard of Close
// that is to hear of it.
func (l *lateRebuild) closeAmid(t *testing.T) (last Progress) {
	t.Helper()
	var s *Store
	closed := make(chan error, 1)
	l.cfg.Progress = func(p Progress) {
		if last = p; p.Done == 1 {
			go func() { closed <- s.Close() }()
			synctest.Wait()
			close(l.goOn)
		}
	}
	l.broken.Store(true)
	var err error
	if s, err = Open(l.cfg); err != nil {
		t.Fatal(err)
	}
	l.broken.Store(false)
	if err := <-closed; err != nil {
		t.Errorf("Close() = %v", err)
	}
	return last
}
