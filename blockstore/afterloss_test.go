package blockstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/shoal-mesh/shoal"
)

// crashed makes a closed cache directory look as if the power had failed.
func crashed(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(runningPath(dir), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// overwrite writes b at the beginning of a file.
func overwrite(t *testing.T, path string, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(b, 0)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestHeadersAfterPowerLoss has a power loss keep what the index says of containers and not their
// headers: they are written anew, so that a rebuild finds what is put and synced from then on.
func TestHeadersAfterPowerLoss(t *testing.T) {
	dir, cfg, data := offlineDir(t)
	slabs, sums := offlineGlob(t, dir, "slabs/*"), offlineGlob(t, dir, "files/*/*.sums")
	other := header{name: 0, slot: 3 * pageSize, size: 1 << 20} // as it was cut before
	overwrite(t, slabs[0], other.bytes())
	overwrite(t, slabs[1], make([]byte, pageSize))
	overwrite(t, sums[0], header{name: 1<<bootShift + 77, size: 5 << 20}.bytes())
	overwrite(t, sums[1], make([]byte, sumsCell))
	crashed(t, dir)
	s := openTest(t, cfg)
	h, err := s.disks[0].handles.get(fileName{slabFile, 0})
	if err != nil {
		t.Fatal(err)
	}
	head, err := readHeader(h)
	if s.disks[0].handles.release(h); err != nil || head == other {
		t.Errorf("header of a slab when the store is open = %+v, %v, want it written anew", head, err)
	}
	for i := range uint32(4) {
		key := pageKey(100 + i)
		data[key] = randomBytes(uint64(i), 3000+int(i%2)*37_000)
		put(t, s, key, data[key])
	}
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	s.disks[0].scan(nil) // to its end
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if r := offlineCheck(t, dir, CheckOptions{}); len(r.Bad)+len(r.Problems) > 0 {
		t.Errorf("Check() = %+v, want nothing", r)
	}
	if err := os.RemoveAll(filepath.Join(dir, "index")); err != nil {
		t.Fatal(err)
	}
	offlineReopen(t, cfg, data)
}

// TestHeadersOfContainersTakenOver has a container lose its blocks, and another file want one, while
// its header is looked at: the header is not written over that of the other file.
func TestHeadersOfContainersTakenOver(t *testing.T) {
	dir, cfg, data := offlineDir(t)
	sums := offlineGlob(t, dir, "files/*/*.sums")[0]
	overwrite(t, sums, make([]byte, sumsCell))
	crashed(t, dir)
	var there atomic.Pointer[Store]
	var looked atomic.Bool
	cfg.files = &faultyFiles{fault: func(op, name string) error {
		s := there.Load()
		if op != "read" || name != sums || s == nil || looked.Swap(true) {
			return nil
		}
		for key := range data {
			if key.File[1] == 0xbb {
				_ = s.Remove(key) // all of the large files
			}
		}
		var errs []error
		for i := range byte(2) { // one for each container
			key, block := shoal.Key{File: shoal.FileID{i, 0xdd}}, randomBytes(1, shoal.BlockSize)
			errs = append(errs, s.Put(key, File{SizeBytes: 2*shoal.BlockSize - 1000}, block, shoal.ChunkSums(key, block)))
		}
		return errors.Join(errs...)
	}}
	opened := openTest(t, cfg)
	opened.disks[0].scan(nil) // the one that Open has begun is through then
	overwrite(t, sums, make([]byte, sumsCell))
	there.Store(opened)
	opened.disks[0].mendFiles(nil)
	if !looked.Load() {
		t.Fatal("nobody looked at the header")
	}
	if err := opened.Close(); err != nil {
		t.Fatal(err)
	}
	if r := offlineCheck(t, dir, CheckOptions{}); len(r.Bad)+len(r.Problems) > 0 {
		t.Errorf("Check() = %+v, want nothing", r)
	}
}

// tear damages a block as a power loss does that comes amid its being written.
func (s *smallStore) tear(key shoal.Key) {
	s.t.Helper()
	at := s.bytesOf(key)
	if key == s.sparse[1] {
		if err := os.Truncate(at.path, at.off+10); err != nil {
			s.t.Fatal(err)
		}
		return
	}
	at.n = 1000
	s.zero(at)
}

// TestTornPuts tears blocks by a power loss. One that no Sync had made durable is lost by that and
// nothing is wrong with the disk; one that was durable is bad.
func TestTornPuts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		durable bool
		prepare func(s *smallStore) // and closes the store
	}{
		{"never synced", false, func(*smallStore) {}},
		{"synced", true, func(s *smallStore) { s.sync() }},
		{"synced before", false, func(s *smallStore) {
			s.sync()
			for key := range s.data {
				if err := s.Remove(key); err != nil {
					s.t.Fatal(err)
				}
				s.put(key)
			}
		}},
		{"closed well", true, func(s *smallStore) {
			s.close()
			s.Store = openTest(s.t, smallConfig(s.disks[0].path))
		}},
		{"closed well, synced before", true, func(s *smallStore) {
			s.sync()
			key := pageKey(77)
			put(s.t, s.Store, key, randomBytes(1, 100))
			s.close()
			s.Store = openTest(s.t, smallConfig(s.disks[0].path))
		}},
		{"synced after a crash", true, func(s *smallStore) {
			s.close()
			crashed(s.t, s.disks[0].path)
			s.Store = openTest(s.t, smallConfig(s.disks[0].path))
			s.sync()
		}},
		{"index made anew after a crash", false, func(s *smallStore) {
			s.sync()
			s.close()
			crashed(s.t, s.disks[0].path)
			if err := os.RemoveAll(filepath.Join(s.disks[0].path, "index")); err != nil {
				s.t.Fatal(err)
			}
			s.Store = openTest(s.t, smallConfig(s.disks[0].path))
		}},
		{"index made anew", true, func(s *smallStore) {
			s.close()
			if err := os.RemoveAll(filepath.Join(s.disks[0].path, "index")); err != nil {
				s.t.Fatal(err)
			}
			s.Store = openTest(s.t, smallConfig(s.disks[0].path))
		}},
		{"disk failed and healed", true, func(s *smallStore) {
			d := s.disks[0]
			d.index.mu.Lock()
			d.index.fs.freeze(errors.New("broken"))
			d.index.mu.Unlock()
			d.fail(errors.New("broken"))
			d.retry()
			if err := s.Stats().Disks[0].Err; err != nil {
				s.t.Fatal(err)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSmallStore(t)
			dir := s.disks[0].path
			tt.prepare(s)
			for key := range s.data {
				s.tear(key)
			}
			s.close()
			crashed(t, dir)
			s.Store = openTest(t, smallConfig(dir))
			for key := range s.data {
				err := s.Check(key)
				if tt.durable != errors.Is(err, ErrCorrupt) || !tt.durable && !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("Check(%v) = %v, want it bad: %v, else missing", key, err, tt.durable)
				}
			}
			want := 0
			if tt.durable {
				want = len(s.data)
			}
			st := s.Stats()
			if st.Corrupt != uint64(want) || (st.Disks[0].UnusableBytes > 0) != tt.durable {
				t.Errorf("Stats() = %d corrupt, %d bytes unusable, want %d", st.Corrupt, st.Disks[0].UnusableBytes, want)
			}
			for key, data := range s.data {
				s.put(key)
				checkReadAt(t, s.Store, key, data, 0, len(data))
			}
			checkSums(t, s.Store)
		})
	}
}

func (s *smallStore) sync() {
	s.t.Helper()
	if err := s.Sync(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *smallStore) close() {
	s.t.Helper()
	if err := s.Close(); err != nil {
		s.t.Fatal(err)
	}
}

// TestMovedIsSynced checks that a block that was moved, which is durable by that, counts as such,
// and those put before it, but none that was put since.
func TestMovedIsSynced(t *testing.T) {
	s := openTest(t, pageStore(fastDir(t), 4))
	d := s.disks[0]
	const moved, later = pageSlots, pageSlots + 1
	for i := range uint32(pageSlots + 1) {
		put(t, s, pageKey(i), randomBytes(uint64(i), 1000))
	}
	if err := s.Remove(pageKey(0)); err != nil {
		t.Fatal(err)
	}
	_, b, _ := s.find(pageKey(moved))
	if !d.emptySlab(uint32(b.loc.Container)) {
		t.Fatal("the slab cannot be emptied")
	}
	put(t, s, pageKey(later), randomBytes(1, 1000))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	crashed(t, d.path)
	s = openTest(t, pageStore(d.path, 4))
	for i, want := range map[uint32]past{1: pastSynced, moved: pastSynced, later: pastUnsynced} {
		_, b, _ := s.find(pageKey(i))
		if got := s.disks[0].pastOf(b); got != want {
			t.Errorf("past of block %d = %v, want %v", i, got, want)
		}
	}
}
