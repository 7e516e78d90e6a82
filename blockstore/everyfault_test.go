package blockstore

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
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
	r.cfg.OnEvict = func(went []Gone) {
		keys := keysOf(went)
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
		for range 2 { // one pass may be at its end just now
			d.mu.Lock()
			before := d.pass
			d.mu.Unlock()
			d.wake()
			awaitDisk(r.t, d, "nothing is to be evicted: "+fmt.Sprint(r.plan.name, r.fault.n, when), func(d *disk) bool { return d.pass > before })
		}
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
	for _, key := range r.missing(s) {
		r.errorf("%s: block %v is lost", when, key)
	}
	n := 0
	for key := range s.Keys() {
		n++
		r.read(s, key)
	}
	r.mu.Lock()
	kept := len(r.have) // after the keys: some may have been evicted meanwhile
	r.mu.Unlock()
	if n < kept || s.Stats().Corrupt > 0 && when != "healed" {
		r.errorf("%s: %d blocks of %d, %d corrupt", when, n, kept, s.Stats().Corrupt)
	}
	settled()
	checkSums(r.t, s)
}

// missing returns the keys that were put, are not there, and were not told of. Whoever evicts a
// block hides it first and holds its key until OnEvict has been told.
func (r *faultRun) missing(s *Store) (lost []shoal.Key) {
	r.mu.Lock()
	keys := slices.Collect(maps.Keys(r.have))
	r.mu.Unlock()
	for _, key := range keys {
		if s.Has(key) {
			continue
		}
		s.disks[0].claims.wait(key)
		r.mu.Lock()
		if _, kept := r.have[key]; kept {
			lost = append(lost, key)
		}
		r.mu.Unlock()
		s.disks[0].claims.release(key)
	}
	return lost
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
