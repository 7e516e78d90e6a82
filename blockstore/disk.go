package blockstore

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore/policy"
)

// disk is one cache directory: its containers, its index, and what is in memory of both.
//
// mu is never held over I/O or a callback. Lock order: mu, then claims.mu, pins.mu, sums.mu; the
// index and the handles have locks of their own, taken without mu.
type disk struct {
	path      string
	capacity  int64   // bytes
	high, low float64 // shares of the limit at which background eviction starts and stops
	seed      uint32  // tells the disks apart in Store.rank
	slabBytes int64   // of this directory's slabs, or of a new one's
	files     fileSystem
	freeBytes func(dir string) (int64, error)
	index     *index
	handles   *handles
	claims    *claims
	pins      *pins
	sums      *sumsCache
	newPolicy func() policy.Policy
	progress  func(Progress)
	onEvict   func([]Gone)
	resign    func([]shoal.Key)                // asks whether keepers' replicas may go; nil when none has to
	forward   func(shoal.Key, Replica) bool    // hands a last replica over; nil when none is
	began     time.Time                        // when ticks began
	quit      <-chan struct{}                  // closed when the store is
	elsewhere func(shoal.Key) bool             // whether another disk shows a block
	spawn     func(func(quit <-chan struct{})) // runs a goroutine that the store waits for
	log       *slog.Logger
	kick      chan struct{} // wakes run to evict; holds one
	tails     sync.Pool     // of *[]byte, page-aligned, tailBytes long
	scratch   sync.Pool     // of *[shoal.ChunkSize]byte
	evictions atomic.Uint64
	lastGone  atomic.Uint64 // of these, last replicas
	moved     atomic.Uint64
	corrupt   atomic.Uint64
	scrubbed  scrubProgress
	exposed   exposures
	scanned   atomic.Bool   // scan came to its end
	rescan    atomic.Bool   // it did not, because the disk failed
	scanning  sync.Mutex    // held while scan is at work; before mu
	syncs     atomic.Uint32 // Syncs that have begun, of all runs: see syncFiles
	marking   sync.Mutex    // held while the index is told of one that has ended; guards the field below
	marked    uint32        // what the index was told

	// Of Open, then of run.
	lock        *os.File // nil if not even that could be had
	prepared    bool     // the directory is laid out for this run
	loaded      bool     // its blocks are in memory
	scanStarted bool

	naming sync.Mutex // held while a dataset gets a number; before mu

	mu       sync.Mutex // guards the fields below
	changed  sync.Cond  // on mu: room was made, a container was made, or the disk failed
	places   *places
	ready    bool // places is not being filled by who does not hold mu
	table    table
	policy   policy.Policy
	datasets *datasets
	readers  map[uint32]int         // by entry number
	verified map[uint32]struct{}    // entries of earlier runs' blocks that Whole.Verify found good
	demand   map[policy.Class]int64 // bytes wanted without waiting; NoClass is for sparse blocks
	cutting  map[policy.Class]bool  // a slab is being made for the class
	classes  [shoal.Classes]Usage   // of visible blocks
	asked    int64                  // bytes of replicas whose homes have been asked whether they may go
	freed    []shoal.Key            // of replicas that are to go without need
	leaving  map[shoal.Key]*leave   // being handed over
	parting  []shoal.Key            // of these, those to go now
	forwards ForwardStats
	unusable int64                   // bytes of places that are not used again by this run
	closing  uint32                  // the slab that is being emptied; none
	pass     uint64                  // eviction passes that have ended
	refused  map[policy.Class]uint64 // how often there was nothing to give up for the class
	limit    int64                   // capacity, or what the file system had room for
	first    uint64                  // sparse containers below it are of earlier runs; 0 until known
	next     uint64                  // sparse container name
	crashed  bool                    // the last run did not end well
	err      error                   // why nothing is admitted
	waiting  int                     // calls that wait for changed
}

// A block is one visible block, as it was looked up.
type block struct {
	n       uint32 // entry number
	key     shoal.Key
	sum     shoal.Sum
	loc     Location
	place   place
	packed  bool
	dataset uint16
	idle    time.Duration // when it was hidden
}

// file returns the file the block's bytes are in.
func (b block) file() fileName {
	if b.packed {
		return fileName{slabFile, b.loc.Container}
	}
	return fileName{sparseFile, b.loc.Container}
}

// block returns the block of entry n. Holds mu.
func (d *disk) block(n uint32) block {
	e, c := d.places.at(n), d.places.owner(n)
	return block{
		n: n, key: e.key, sum: e.sum, loc: d.places.locate(n), place: place{c.name, d.places.slotOf(n)}, packed: c.packed, dataset: e.dataset,
	}
}

// lookup returns the block of key.
func (d *disk) lookup(key shoal.Key) (block, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.table.get(key)
	if !ok {
		return block{}, false
	}
	return d.block(n), true
}

// hold is lookup for a read: the block's place is not given to another until release.
func (d *disk) hold(key shoal.Key) (block, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.table.get(key)
	if !ok {
		return block{}, false
	}
	d.touch(n, key, false)
	d.readers[n]++
	return d.block(n), true
}

// touch counts a read of the block of entry n, by a reader here or by a peer. Holds mu.
func (d *disk) touch(n uint32, key shoal.Key, peer bool) {
	d.policy.Advance(d.tick())
	if peer {
		d.policy.Serve(n, hashKey(key))
	} else {
		d.policy.Touch(n, hashKey(key))
	}
	d.places.setPasses(n, 0)
	d.stay(n, key)
}

// holdMore holds a block once more that is held.
func (d *disk) holdMore(b block) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.readers[b.n]++
}

// release ends a hold.
func (d *disk) release(b block) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.releaseLocked(b.n)
}

func (d *disk) releaseLocked(n uint32) {
	if d.readers[n]--; d.readers[n] > 0 {
		return
	}
	delete(d.readers, n)
	if d.places.at(n).state == stateDeleted {
		d.vacate(n)
	}
}

// shows reports whether b is visible still, in its place.
func (d *disk) shows(b block) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.table.get(b.key)
	return ok && n == b.n
}

// A putting is a block on its way to a disk.
type putting struct {
	key      shoal.Key
	fileSize int64 // bytes of the file the block is of
	dataset  string
	class    shoal.Class
	passes   uint8
	data     []byte
	sums     []shoal.Sum
}

// put writes a block that is not on this disk. The caller has claimed its key.
func (d *disk) put(p putting) (err error) {
	for range putTries {
		var n uint32
		if n, err = d.reserve(p); err != nil {
			break
		}
		if err = d.write(n, p); err == nil {
			return nil
		}
		if _, ok := missing(err); !ok {
			break
		}
		if merr := d.mend(err); merr != nil {
			err = merr
			break
		}
	}
	return d.blame(err)
}

// putTries is how often a put may come upon a container whose files have been removed.
const putTries = 3

// settle ends what reserve began: the block is shown, or its room given back.
func (d *disk) settle(n uint32, show bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !show {
		e := d.places.at(n)
		e.state = stateDeleted
		if d.readers[n] == 0 {
			d.vacate(n)
		}
		return
	}
	d.show(n)
}

// show makes a written block visible. Holds mu.
func (d *disk) show(n uint32) {
	e := d.places.at(n)
	e.state = stateVisible
	d.places.used++
	d.classes[e.marks.class()].add(d.places.occupied(n))
	d.table.add(e.key, n)
	d.policy.Advance(d.tick())
	d.policy.Insert(n, d.item(n))
	if d.pins.pinned(e.key) {
		d.policy.Defer(n)
	}
}

// item returns what the policy is told of entry n. Holds mu.
func (d *disk) item(n uint32) policy.Item {
	e := d.places.at(n)
	return policy.Item{SizeBytes: d.places.occupied(n), Group: policy.Group(e.dataset), Class: e.marks.class()}
}

// repin tells the policy whether it may give a block up, and reports whether it is there.
func (d *disk) repin(key shoal.Key) (there bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.table.get(key)
	if !ok {
		return false
	}
	d.stay(n, key)
	switch {
	case d.pins.pinned(key):
		d.policy.Defer(n)
	case !d.places.at(n).marks.has(markAsked):
		d.policy.Touch(n, hashKey(key)) // as if read now: it was wanted until now
		d.policy.Resume(n)
	}
	return true
}

// hide takes a visible block out of memory; drop does the rest. Holds mu.
func (d *disk) hide(b *block) {
	n := b.n
	e := d.places.at(n)
	b.idle = time.Duration(d.policy.Idle(n)) * tickLength
	e.state = stateLeaving
	d.places.used--
	d.classes[e.marks.class()].add(-d.places.occupied(n))
	d.table.remove(e.key)
	d.policy.Remove(n)
	d.answered(n)
	d.left(e.key)
	d.sums.forget(e.key)
	delete(d.verified, n)
}

// vacate gives back the place of a block that is out of the index and that nobody reads.
// Holds mu.
func (d *disk) vacate(n uint32) {
	d.datasets.add(d.places.at(n).dataset, -d.places.occupied(n))
	d.places.give(n)
	d.broadcast()
}

// wait waits for a change. Holds mu.
func (d *disk) wait() {
	d.waiting++
	d.changed.Wait()
	d.waiting--
}

func (d *disk) broadcast() {
	if d.waiting > 0 {
		d.changed.Broadcast()
	}
}

// wake tells run to evict.
func (d *disk) wake() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// blame decides whether an error of a write is the disk's; if so it admits nothing until
// retry has succeeded. It returns the error, wrapping ErrFull where the disk is full: then
// the store makes do with less.
func (d *disk) blame(err error) error {
	switch {
	case errors.Is(err, ErrFull), errors.Is(err, errQuota), errors.Is(err, errAdmitsNothing):
		return err
	case exhausted(err) && d.index.err() == nil: // else the index is to be opened again
		return err
	case (errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)) && d.index.err() == nil:
		d.shrink()
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	d.fail(err)
	return err
}

// fail has the disk admit nothing until retry has succeeded. It is for what gives room back,
// too: a file system that is too full even for that is no help by making do with less.
func (d *disk) fail(err error) {
	d.mu.Lock()
	first := d.err == nil
	if first {
		d.err = err
	}
	d.changed.Broadcast()
	d.mu.Unlock()
	if first {
		d.log.Warn("disk admits nothing", "disk", d.path, "err", err)
	}
}

// shrink lowers the limit to what the file system had room for, less a part that is given
// back for others to use. retry raises it again.
func (d *disk) shrink() {
	d.mu.Lock()
	defer d.mu.Unlock()
	room := d.places.bytes() - max(d.places.bytes()/64, d.slabBytes)
	if room >= d.limit {
		return
	}
	if d.limit == d.capacity {
		d.log.Warn("file system is full, the cache makes do with less", "disk", d.path, "limit", d.capacity, "bytes", room)
	}
	d.limit = max(0, room)
	d.demand[policy.NoClass] = max(d.demand[policy.NoClass], 1)
	d.wake()
}

func (d *disk) healthy() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err == nil
}

// sync makes what was put durable: the containers first, so that no entry is without its
// block.
func (d *disk) sync() error {
	_, err := d.syncFiles()
	if err == nil {
		err = d.index.flush()
	}
	if err != nil {
		return d.blame(err)
	}
	return nil
}

// batchSize is how many blocks batch returns at most: what is copied under the lock. batchSpan
// is how many entries it looks at.
const (
	batchSize = 1024
	batchSpan = 16 * batchSize
)

// batch returns visible blocks from entry number from on, maybe none, and the number to go on
// from; 0 when there are no more.
func (d *disk) batch(from uint32) (blocks []block, next uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.ready {
		return nil, 0
	}
	last := from + batchSpan
	for end := d.places.end(); from < end; from++ {
		if len(blocks) == batchSize || from == last {
			return blocks, from
		}
		if d.places.at(from).state == stateVisible {
			blocks = append(blocks, d.block(from))
		}
	}
	return blocks, 0
}

// free returns what may be put before anything is evicted; 0 when nothing is admitted.
func (d *disk) free() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return 0
	}
	return max(0, d.limit-d.places.taken)
}
