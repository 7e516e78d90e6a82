package blockstore

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
)

// A robbed is a store whose files somebody else removes.
type robbed struct {
	*Store
	t    *testing.T
	disk *disk
	cfg  Config
	data map[shoal.Key][]byte

	mu   sync.Mutex // guards the field below
	told map[shoal.Key]int
}

func newRobbed(t *testing.T) *robbed {
	t.Helper()
	r := &robbed{t: t, data: make(map[shoal.Key][]byte), told: make(map[shoal.Key]int)}
	r.cfg = smallConfig(fastDir(t))
	r.cfg.RetryInterval = time.Hour
	r.cfg.OnEvict = func(went []Gone) {
		keys := keysOf(went)
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, key := range keys {
			r.told[key]++
		}
	}
	r.Store = openTest(t, r.cfg)
	r.disk = r.disks[0]
	return r
}

// robbedFile is the file of two blocks that a sparse container is for.
var robbedFile = File{SizeBytes: 2 * shoal.BlockSize}

// put puts a block: one of robbedFile when the key's first byte is below 0x80, else a file of
// its own in a slab.
func (r *robbed) put(key shoal.Key, file File) {
	r.t.Helper()
	data := randomBytes(uint64(key.File[0])<<8|uint64(key.File[1])+uint64(key.Index), shoal.BlockLen(file.SizeBytes, key.Index))
	r.data[key] = data
	if err := r.Put(key, file, data, shoal.ChunkSums(key, data)); err != nil {
		r.t.Fatalf("Put(%v) = %v, want it put anew", key, err)
	}
}

// rob removes a file of the container that a block is in, and has it opened anew.
func (r *robbed) rob(key shoal.Key, kind fileKind) {
	r.t.Helper()
	_, b, ok := r.find(key)
	if !ok {
		r.t.Fatalf("block %v is not there", key)
	}
	r.remove(fileName{kind, b.loc.Container})
}

func (r *robbed) remove(name fileName) {
	r.t.Helper()
	if err := os.Remove(name.path(r.disk.path)); err != nil {
		r.t.Fatal(err)
	}
	r.disk.handles.close()
}

// check checks that the blocks in gone and no others were dropped, told of and counted, that the
// disk is in use, and that the next run finds what this one has.
func (r *robbed) check(gone ...shoal.Key) {
	r.t.Helper()
	lost := make(map[shoal.Key]bool)
	for _, key := range gone {
		lost[key] = true
		if r.told[key] != 1 {
			r.t.Errorf("OnEvict told %d times of %v, want once", r.told[key], key)
		}
	}
	st := r.Stats()
	if st.Disks[0].Err != nil || st.Corrupt != uint64(len(gone)) || st.Disks[0].UnusableBytes != 0 || len(r.told) != len(gone) {
		r.t.Errorf("Stats() = %+v, %d told of, want a disk in use that lost %d blocks", st, len(r.told), len(gone))
	}
	checkSums(r.t, r.Store)
	r.checkRoom()
	for range 2 {
		there := 0
		for key, data := range r.data {
			got := make([]byte, len(data))
			switch _, err := r.ReadAt(key, got, 0); {
			case lost[key] && !errors.Is(err, fs.ErrNotExist):
				r.t.Errorf("ReadAt(lost block) = %v, want %v", err, fs.ErrNotExist)
			case !lost[key] && (err != nil || string(got) != string(data)):
				r.t.Errorf("ReadAt(%v) = %v, want its bytes", key, err)
			case err == nil:
				there++
			}
		}
		if n := r.Stats().Blocks; n != there {
			r.t.Errorf("blocks = %d, want %d", n, there)
		}
		if err := r.Close(); err != nil {
			r.t.Errorf("Close() = %v", err)
		}
		r.Store = openTest(r.t, r.cfg)
		r.disk = r.disks[0]
	}
	if n := r.Stats().Corrupt; n != 0 {
		r.t.Errorf("corrupt after a restart = %d, want 0", n)
	}
}

// checkRoom compares the sums of the room of sparse containers with their entries.
func (r *robbed) checkRoom() {
	r.t.Helper()
	d := r.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	var sparse, holes, idle int64
	for i, c := range d.places.containers {
		if c.name == 0 || c.packed {
			continue
		}
		var own int64
		taken := uint32(0)
		d.places.eachPiece(uint32(i), func(first uint32) bool {
			for n := first; n < first+granule; n++ {
				switch d.places.at(n).state {
				case stateFree:
					continue
				case stateHole:
					own += d.places.occupied(n)
				default:
					taken++
				}
				sparse += d.places.occupied(n)
			}
			return true
		})
		if holes += own; taken == 0 {
			idle += own
		}
		if c.holes != own || c.taken != taken {
			r.t.Errorf("container %x has %d blocks and holes of %d bytes, want %d and %d", c.name, c.taken, c.holes, taken, own)
		}
	}
	if p := d.places; p.sparse != sparse || p.holes != holes || p.idleBytes != idle || p.retired != 0 {
		r.t.Errorf("sparse, holes, idle, retired = %d, %d, %d, %d, want %d, %d, %d, 0", p.sparse, p.holes, p.idleBytes, p.retired, sparse, holes, idle)
	}
}

func robbedKey(file byte, index uint32) shoal.Key {
	return shoal.Key{File: shoal.FileID{file}, Index: index}
}

// TestContainerRemoved has somebody remove a file of a container that is in use: its blocks are
// lost and no others, whether a put or a read comes upon it, and the disk stays in use.
func TestContainerRemoved(t *testing.T) {
	t.Parallel()
	small := File{SizeBytes: smallPacked}
	for _, kind := range []fileKind{slabFile, sparseFile, sumsFile} {
		for _, first := range []string{"put", "read", "scrub"} {
			t.Run([]string{"slab", "container", "sums"}[kind]+" "+first, func(t *testing.T) {
				r := newRobbed(t)
				packed := []shoal.Key{robbedKey(0x80, 0), robbedKey(0x81, 0), robbedKey(0x82, 0)}
				for _, key := range packed {
					r.put(key, small)
				}
				sparse := robbedKey(1, 0)
				other := robbedKey(2, 0)
				r.put(sparse, robbedFile)
				r.put(other, robbedFile)
				gone, next := packed, robbedKey(0x83, 0)
				if kind != slabFile {
					gone, next = []shoal.Key{sparse}, robbedKey(1, 1)
				}
				r.rob(gone[0], kind)
				switch first {
				case "read":
					if _, err := r.ReadAt(gone[0], make([]byte, 10), 0); !errors.Is(err, ErrCorrupt) {
						t.Errorf("ReadAt(block without a file) = %v, want %v", err, ErrCorrupt)
					}
				case "scrub":
					r.disk.scrubPass(nil, 1<<40)
				}
				file := small
				if kind != slabFile {
					file = robbedFile
				}
				r.put(next, file)
				r.check(gone...)
			})
		}
	}
}

// TestContainerRemovedUnseen is as TestContainerRemoved where no block is in the container.
func TestContainerRemovedUnseen(t *testing.T) {
	small := File{SizeBytes: smallPacked}
	key := robbedKey(1, 0)
	begin := func(r *robbed, key shoal.Key, file File) fileName {
		r.put(key, file)
		_, b, _ := r.find(key)
		if err := r.Remove(key); err != nil {
			r.t.Fatal(err)
		}
		delete(r.data, key)
		return b.file()
	}
	t.Run("another block of its file", func(t *testing.T) {
		r := newRobbed(t)
		name := begin(r, key, robbedFile)
		r.remove(name)
		r.remove(fileName{sumsFile, name.name})
		r.put(robbedKey(1, 1), robbedFile)
		r.check()
	})
	t.Run("to be taken over", func(t *testing.T) {
		for _, kind := range []fileKind{sparseFile, sumsFile} {
			r := newRobbed(t)
			r.remove(fileName{kind, begin(r, key, robbedFile).name})
			r.put(robbedKey(2, 0), robbedFile)
			r.check()
		}
	})
	t.Run("to be punched", func(t *testing.T) {
		for _, kind := range []fileKind{sparseFile, sumsFile} {
			r := newRobbed(t)
			r.put(robbedKey(1, 1), robbedFile)
			r.remove(fileName{kind, begin(r, key, robbedFile).name})
			if err := r.disk.giveAllRoom(); err != nil {
				t.Errorf("giveAllRoom() = %v", err)
			}
			r.check(robbedKey(1, 1))
		}
	})
	t.Run("slab to be cut", func(t *testing.T) {
		r := newRobbed(t)
		name := begin(r, robbedKey(0x80, 0), small)
		if !r.disk.emptySlab(uint32(name.name)) {
			t.Fatal("emptySlab() = false")
		}
		r.remove(name)
		r.put(robbedKey(0x81, 0), small)
		r.check()
	})
	t.Run("slab to be removed", func(t *testing.T) {
		r := newRobbed(t)
		name := begin(r, robbedKey(0x80, 0), small)
		r.disk.emptySlab(uint32(name.name))
		r.remove(name)
		r.disk.mu.Lock()
		err := r.disk.removeSlab()
		r.disk.mu.Unlock()
		if err != nil {
			t.Errorf("removeSlab() = %v", err)
		}
		r.put(robbedKey(0x81, 0), small)
		r.check()
	})
	t.Run("slab to be moved", func(t *testing.T) {
		r := newRobbed(t)
		r.put(robbedKey(0x80, 0), small)
		r.put(robbedKey(0x81, 0), small)
		r.rob(robbedKey(0x80, 0), slabFile)
		_, b, _ := r.find(robbedKey(0x80, 0))
		r.disk.emptySlab(uint32(b.loc.Container))
		r.put(robbedKey(0x82, 0), small)
		r.check(robbedKey(0x80, 0), robbedKey(0x81, 0))
	})
}

// TestSlabLeftOver has a file lie where a new slab is to be: one that could not be removed.
func TestSlabLeftOver(t *testing.T) {
	r := newRobbed(t)
	if err := os.WriteFile(fileName{slabFile, 0}.path(r.disk.path), []byte("left"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.put(robbedKey(0x80, 0), File{SizeBytes: smallPacked})
	r.check()
}
