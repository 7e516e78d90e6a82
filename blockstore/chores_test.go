package blockstore

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
)

// TestIndexWithoutDescriptors checks that the disk heals when the index broke for want of file
// descriptors: that is not the disk's fault, but the index takes no writes until it is opened
// again.
func TestIndexWithoutDescriptors(t *testing.T) {
	var none atomic.Bool
	cfg := oneDisk(fastDir(t), 1<<30)
	cfg.RetryInterval = time.Hour
	cfg.indexFS = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if none.Load() && op.Kind == errorfs.OpCreate {
			return unix.EMFILE
		}
		return nil
	}))
	s := openTest(t, cfg)
	none.Store(true)
	last := breakIndex(t, s)
	if err := s.Stats().Disks[0].Err; !errors.Is(err, unix.EMFILE) {
		t.Errorf("Stats().Disks[0].Err = %v, want %v", err, unix.EMFILE)
	}
	none.Store(false)
	s.disks[0].retry()
	put(t, s, pageKey(last), randomBytes(uint64(last), 1000))
	checkAll(t, s)
}

// openHook is osFiles that calls opened, if there is one, once it has opened a file.
type openHook struct {
	osFiles
	opened atomic.Pointer[func(name string)]
}

func (f *openHook) Open(name string) (file, error) {
	opened, err := f.osFiles.Open(name)
	if hook := f.opened.Swap(nil); hook != nil {
		(*hook)(name)
	}
	return opened, err
}

// TestWillNeedOfGoingSlab has a slab go, and its number used again, while WillNeed opens its
// file: no block may be written to a file that is gone.
func TestWillNeedOfGoingSlab(t *testing.T) {
	files := &openHook{}
	cfg := oneDisk(fastDir(t), 1<<20)
	cfg.SlabBytes = 256 << 10
	cfg.files = files
	s := openTest(t, cfg)
	d := s.disks[0]
	key, err := putOf(s, "", 1, 1000)
	if err != nil {
		t.Fatal(err)
	}
	d.handles.close()
	hook := func(string) {
		if err := s.Remove(key); err != nil {
			t.Error(err)
		}
		if d.emptySlab(0) {
			d.mu.Lock()
			defer d.mu.Unlock()
			if err := d.removeSlab(); err != nil {
				t.Error(err)
			}
		}
	}
	files.opened.Store(&hook)
	if !s.WillNeed(key, 0, shoal.BlockSize) {
		t.Error("WillNeed() = false, want true")
	}
	again, err := putOf(s, "", 2, 1000)
	if err != nil {
		t.Fatal(err)
	}
	d.handles.close()
	wantThere(t, s, again)
}

// TestFlushWhileEvicting checks that the index is flushed while what makes room is held up.
func TestFlushWhileEvicting(t *testing.T) {
	evicting, goOn, synced := make(chan struct{}, 1), make(chan struct{}), make(chan struct{}, 1)
	var watch atomic.Bool
	cfg := oneDisk(fastDir(t), 1<<20)
	cfg.SlabBytes = 64 << 10
	cfg.FlushInterval = time.Millisecond
	cfg.OnEvict = func([]Gone) {
		select {
		case evicting <- struct{}{}:
		default:
		}
		<-goOn
	}
	cfg.indexFS = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if watch.Load() && op.Kind == errorfs.OpFileSyncData && strings.HasSuffix(op.Path, ".log") {
			select {
			case synced <- struct{}{}:
			default:
			}
		}
		return nil
	}))
	s := openTest(t, cfg)
	defer close(goOn)
	var newest shoal.Key
	for i := range uint32(40) {
		key, err := putOf(s, "", i, 1000)
		if err != nil {
			t.Fatal(err)
		}
		newest = key
	}
	d := s.disks[0]
	d.mu.Lock()
	d.limit = 64 << 10
	d.mu.Unlock()
	d.wake()
	<-evicting
	watch.Store(true)
	if err := s.Remove(newest); err != nil { // which writes to the index
		t.Fatal(err)
	}
	select {
	case <-synced:
	case <-time.After(20 * time.Second):
		t.Error("the index was not flushed while blocks were given up")
	}
}

// TestLimitAfterPins checks that a store which exceeds its limit because of pinned blocks gives
// them up once they are not pinned, though nobody puts a block.
func TestLimitAfterPins(t *testing.T) {
	cfg := oneDisk(fastDir(t), 1<<20)
	cfg.SlabBytes = 64 << 10
	cfg.RetryInterval = time.Millisecond
	s := openTest(t, cfg)
	d, pins := s.disks[0], s.NewPins("test")
	for i := range uint32(100) {
		key, err := putOf(s, "", i, 1000)
		if err != nil {
			t.Fatal(err)
		}
		pins.Add(key)
	}
	d.mu.Lock()
	d.limit, d.capacity = 128<<10, 128<<10
	pass := d.pass
	d.mu.Unlock()
	d.wake()
	awaitDisk(t, d, "a look for room", func(d *disk) bool { return d.pass > pass })
	if err := pins.Close(); err != nil {
		t.Fatal(err)
	}
	awaitDisk(t, d, "room within the limit", func(d *disk) bool { return d.places.bytes() <= d.limit })
}

// TestContainerWithoutBlocks has a put find its dataset full once it has made a container: the
// container must go when others need room, and no room be kept for it.
func TestContainerWithoutBlocks(t *testing.T) {
	cfg := oneDisk(fastDir(t), 1<<20)
	cfg.Quotas = map[string]int64{"a": 16 << 10}
	files := &faultyFiles{}
	cfg.files = files
	var s *Store
	var late error
	files.fault = func(op, name string) error {
		if op == "create" && strings.HasSuffix(name, sumsSuffix) {
			var key shoal.Key
			key, late = putOf(s, "a", 1, 10_000)
			s.NewPins("test").Add(key)
		}
		return nil
	}
	s = openTest(t, cfg)
	key, data := sparseKey(0), randomBytes(1, 5000)
	file := fileOf(key, data)
	file.Dataset = "a"
	if err := s.Put(key, file, data, shoal.ChunkSums(key, data)); !errors.Is(err, ErrFull) || late != nil {
		t.Fatalf("Put() = %v and %v, want %v and the other block put", err, late, ErrFull)
	}
	d := s.disks[0]
	if err := d.giveAllRoom(); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats().Disks[0]; st.Files != 0 || d.places.lacking() != 0 {
		t.Errorf("%d containers without blocks, %d bytes kept for them, want none", st.Files, d.places.lacking())
	}
}
