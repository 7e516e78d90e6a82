package blockstore

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore/policy"
)

// disk is one cache directory: its containers, its index, and what is in memory of both.
//
// mu is never held over I/O or a callback. Lock order: mu, then claims.mu; the index and
// the handles have locks of their own, taken without mu.
type disk struct {
	path      string
	capacity  int64  // bytes
	high, low int64  // bytes: background eviction starts above high and stops at low
	seed      uint32 // tells the disks apart in Store.rank
	files     fileSystem
	index     *index
	handles   *handles
	claims    *claims
	onEvict   func([]shoal.Key)
	elsewhere func(shoal.Key) bool             // whether another disk shows a block
	spawn     func(func(quit <-chan struct{})) // runs a goroutine that the store waits for
	log       *slog.Logger
	kick      chan struct{} // wakes run to evict; holds one
	scratch   sync.Pool     // of *[shoal.ChunkSize]byte
	evictions atomic.Uint64
	corrupt   atomic.Uint64

	// Of Open, then of run.
	lock        *os.File // nil if not even that could be had
	prepared    bool     // the directory is laid out for this run
	loaded      bool     // its blocks are in memory
	scanStarted bool

	mu       sync.Mutex // guards the fields below
	freed    sync.Cond  // on mu: room was made, or the disk failed
	slots    slots
	table    table
	policy   policy.Policy
	first    uint64 // containers below it are of earlier runs; 0 until known
	next     uint64 // container name
	scanned  bool   // the blocks of earlier runs had their containers
	used     int64  // bytes of visible blocks and of those on their way out
	leaving  int64  // the part of used that is on its way out
	reserved int64  // bytes of blocks being written
	err      error  // why nothing is admitted
	stranded []slot // dropped, but their containers are there still; in used
}

// add shows block s, which the policy learns of later or now. Holds mu.
func (d *disk) add(s slot) uint32 {
	i := d.slots.add(s)
	d.table.add(s.key, i)
	d.used += s.occupied()
	return i
}

// hide takes the block in slot i out of memory; drop does the rest. Holds mu.
func (d *disk) hide(i uint32) {
	s := *d.slots.at(i)
	d.table.remove(s.key)
	d.policy.Remove(i)
	d.slots.remove(i)
	d.leaving += s.occupied()
}

// lookup returns the block of key, and tells the policy of the read if touch is set.
func (d *disk) lookup(key shoal.Key, touch bool) (slot, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i, ok := d.table.get(key)
	if !ok {
		return slot{}, false
	}
	if touch {
		d.policy.Touch(i)
	}
	return *d.slots.at(i), true
}

// shows reports whether s is visible still: the same key in the same container.
func (d *disk) shows(s slot) bool {
	now, ok := d.lookup(s.key, false)
	return ok && now.container == s.container
}

// put writes a block that is not on this disk. The caller has claimed its key.
func (d *disk) put(key shoal.Key, data []byte, sums []shoal.Sum) error {
	container, err := d.reserve(len(data))
	if err != nil {
		return err
	}
	s := makeSlot(key, Location{Container: container, Length: len(data)}, shoal.BlockSum(sums))
	if err := d.write(s, data, sums); err != nil {
		d.settle(s, false)
		return d.blame(err)
	}
	d.settle(s, true)
	return nil
}

// write puts the bytes on disk, then the index entry.
func (d *disk) write(s slot, data []byte, sums []shoal.Sum) error {
	var buf [trailerMaxLen]byte
	path := containerPath(d.path, s.container)
	if err := d.files.Write(path, data, appendTrailer(buf[:0], s.key, len(data), sums)); err != nil {
		return err
	}
	if err := d.index.set(s); err != nil {
		_ = d.files.Remove(path) // else the next run does
		return err
	}
	return nil
}

// settle ends what reserve began: the block is shown, or its room given back.
func (d *disk) settle(s slot, show bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reserved -= s.occupied()
	if show {
		d.policy.Insert(d.add(s), policy.Item{SizeBytes: s.occupied()})
	}
	d.freed.Broadcast()
}

// reserve makes room for a block of length bytes and names its container. It evicts only
// when the limit would be exceeded now, and waits only for room that others are making.
func (d *disk) reserve(length int) (container uint64, err error) {
	size := occupied(length)
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		if d.err != nil {
			return 0, fmt.Errorf("disk %s admits nothing: %w", d.path, d.err)
		}
		over := d.used + d.reserved + size - d.capacity
		if over <= 0 {
			break
		}
		if size > d.capacity {
			return 0, fmt.Errorf("disk %s of %d bytes: %w", d.path, d.capacity, ErrFull)
		}
		victims, busy := d.pop(over - d.leaving)
		switch {
		case len(victims) > 0:
			d.mu.Unlock()
			_ = d.evicted(victims) // if not, the disk has failed
			d.mu.Lock()
		case busy != nil:
			d.mu.Unlock()
			<-busy
			d.mu.Lock()
		case d.leaving > 0 || d.reserved > 0:
			d.freed.Wait()
		default:
			return 0, fmt.Errorf("disk %s of %d bytes: %w", d.path, d.capacity, ErrFull)
		}
	}
	d.reserved += size
	if d.used-d.leaving+d.reserved > d.high {
		d.wake()
	}
	d.next++
	return d.next - 1, nil
}

// wake tells run to evict.
func (d *disk) wake() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// blame decides whether an error of a write is the disk's; if so it admits nothing until
// retry has succeeded. It returns the error, wrapping ErrFull where the disk is full.
func (d *disk) blame(err error) error {
	switch {
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOMEM):
		return err
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		err = fmt.Errorf("%w: %w", ErrFull, err)
	}
	d.mu.Lock()
	first := d.err == nil
	if first {
		d.err = err
	}
	d.freed.Broadcast()
	d.mu.Unlock()
	if first {
		d.log.Warn("disk admits nothing", "disk", d.path, "err", err)
	}
	return err
}

// batchSize is how many blocks batch returns at most: what is copied under the lock.
const batchSize = 1024

// batch returns visible blocks from slot number from on, and the number to go on from; 0
// when there are no more.
func (d *disk) batch(from uint32) (blocks []slot, next uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for ; from < d.slots.next; from++ {
		if len(blocks) == batchSize {
			return blocks, from
		}
		if s := d.slots.at(from); s.length > 0 {
			blocks = append(blocks, *s)
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
	return d.capacity - d.used + d.leaving - d.reserved
}

func (d *disk) stats() DiskStats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return DiskStats{
		Path: d.path, Blocks: d.slots.used, Bytes: d.used + d.reserved, CapacityBytes: d.capacity, Err: d.err,
	}
}
