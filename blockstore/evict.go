package blockstore

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/shoal-mesh/shoal"
)

// evictBatch is the most blocks that go in one step: one index batch, one OnEvict.
const evictBatch = 64

// run does what a disk does on its own until quit is closed: evict ahead of need, flush
// the index, and try a failed disk again.
func (d *disk) run(quit <-chan struct{}, flush, retry time.Duration) {
	flushes, retries := time.NewTicker(flush), time.NewTicker(retry)
	defer flushes.Stop()
	defer retries.Stop()
	for {
		select {
		case <-quit:
			return
		case <-d.kick:
			d.evict(quit)
		case <-flushes.C:
			d.flush()
		case <-retries.C:
			d.retry()
		}
	}
}

// evict gives up blocks until the low watermark is reached.
func (d *disk) evict(quit <-chan struct{}) {
	for {
		select {
		case <-quit:
			return
		default:
		}
		d.mu.Lock()
		victims, busy := d.pop(d.used - d.leaving + d.reserved - d.low)
		d.mu.Unlock()
		switch {
		case len(victims) > 0:
			if !d.evicted(victims) {
				return // more would only be hidden
			}
		case busy != nil:
			<-busy
		default:
			return
		}
	}
}

// pop hides blocks that occupy need bytes, as far as a batch goes, and claims their keys.
// It stops at a block whose key another claims: busy is closed when that one has let go,
// which does not take long, as a visible block is not being put. Holds mu.
func (d *disk) pop(need int64) (victims []slot, busy <-chan struct{}) {
	for need > 0 && len(victims) < evictBatch {
		i, ok := d.policy.Victim()
		if !ok {
			break
		}
		s := *d.slots.at(i)
		if busy = d.claims.try(s.key); busy != nil {
			break
		}
		d.hide(i)
		victims = append(victims, s)
		need -= s.occupied()
	}
	return victims, busy
}

// evicted drops blocks that pop gave and counts them. It reports whether all their room
// is free.
func (d *disk) evicted(victims []slot) bool {
	d.evictions.Add(uint64(len(victims)))
	return d.drop(victims, d.onEvict)
}

// drop deletes hidden blocks whose keys are claimed: index first, so that a crash between
// the two leaves a container to clean up and not an entry without one. Then it tells of
// them and releases the claims. A container it cannot remove goes on the list of stranded
// ones, and its room stays in use; then drop returns false.
func (d *disk) drop(gone []slot, tell func([]shoal.Key)) bool {
	keys := make([]shoal.Key, len(gone))
	total := int64(0)
	for i, s := range gone {
		keys[i] = s.key
		total += s.occupied()
		d.handles.forget(s.container)
	}
	if err := d.index.delete(keys...); err != nil {
		_ = d.blame(err)
	}
	stranded, freed, err := d.remove(gone)
	if err != nil {
		_ = d.blame(err)
	}
	d.mu.Lock()
	d.used -= freed
	d.leaving -= total
	d.stranded = append(d.stranded, stranded...)
	d.freed.Broadcast()
	d.mu.Unlock()
	tell(keys)
	d.claims.release(keys...)
	return len(stranded) == 0
}

// remove removes the containers of blocks. It returns those it could not, what room the
// others gave, and the first error.
func (d *disk) remove(gone []slot) (stranded []slot, freed int64, first error) {
	for _, s := range gone {
		err := d.files.Remove(containerPath(d.path, s.container))
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			freed += s.occupied()
			continue
		}
		stranded = append(stranded, s)
		if first == nil {
			first = err
		}
	}
	return stranded, freed, first
}

// removeStranded tries again what drop could not remove.
func (d *disk) removeStranded() {
	d.mu.Lock()
	gone := d.stranded
	d.stranded = nil
	d.mu.Unlock()
	if len(gone) == 0 {
		return
	}
	stranded, freed, err := d.remove(gone)
	d.mu.Lock()
	d.used -= freed
	d.stranded = append(d.stranded, stranded...)
	d.freed.Broadcast()
	d.mu.Unlock()
	if err != nil {
		d.log.Debug("disk still keeps evicted containers", "disk", d.path, "containers", len(stranded), "err", err)
	}
}

// take drops the block of s if it is still the one that is visible, and reports whether it
// did. tell is called as by drop.
func (d *disk) take(s slot, tell func([]shoal.Key)) bool {
	d.claims.wait(s.key)
	d.mu.Lock()
	i, ok := d.table.get(s.key)
	if !ok || d.slots.at(i).container != s.container {
		d.mu.Unlock()
		d.claims.release(s.key)
		return false
	}
	d.hide(i)
	d.mu.Unlock()
	d.drop([]slot{s}, tell)
	return true
}

// takeBad drops a block that is not what was put, once, and counts and logs it.
func (d *disk) takeBad(s slot, cause error) {
	if d.take(s, d.onEvict) {
		d.corrupt.Add(1)
		d.log.Error("dropped a bad block", "disk", d.path, "key", s.key.String(), "container", s.container, "err", cause)
	}
}

// takeMissing drops a block of an earlier run whose container was not there when this one
// began: a crash kept the entry, not the container, or not that both were deleted.
func (d *disk) takeMissing(s slot) bool { return d.take(s, d.onEvict) }

// flush makes the index durable, if it was written to.
func (d *disk) flush() {
	if err := d.index.flush(); err != nil && d.healthy() {
		_ = d.blame(err)
	}
}

func (d *disk) healthy() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err == nil
}

// retry admits blocks again if the disk takes a trial write. An index that broke is opened
// again and made to hold the blocks in memory, so that none is lost.
func (d *disk) retry() {
	d.removeStranded()
	if d.healthy() {
		return
	}
	if err := d.trial(); err != nil {
		d.log.Debug("disk still admits nothing", "disk", d.path, "err", err)
		return
	}
	d.mu.Lock()
	d.err = nil
	d.mu.Unlock()
	d.wake()
	d.log.Info("disk admits blocks again", "disk", d.path)
}

func (d *disk) trial() error {
	if err := d.prepare(); err != nil {
		return err
	}
	path := filepath.Join(d.path, containersDir, "trial")
	if err := d.files.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("trial write: %w", err)
	}
	if err := d.files.Write(path, make([]byte, shoal.BlockSize), nil); err != nil {
		return fmt.Errorf("trial write: %w", err)
	}
	if err := d.files.Remove(path); err != nil {
		return fmt.Errorf("trial write: %w", err)
	}
	if d.index.err() != nil {
		if err := d.index.open(); err != nil {
			return err
		}
		if d.loaded {
			if err := d.restore(); err != nil {
				return err
			}
		}
	}
	if !d.loaded {
		if err := d.adopt(); err != nil {
			return err
		}
	}
	d.startScan()
	return nil
}

// restore makes the index hold the blocks in memory and no others.
func (d *disk) restore() error {
	var gone []shoal.Key
	err := d.index.load(func(s slot) {
		if !d.shows(s) {
			gone = append(gone, s.key)
		}
	})
	if err != nil {
		return err
	}
	if err := d.index.delete(gone...); err != nil {
		return err
	}
	for blocks, next := d.batch(0); ; blocks, next = d.batch(next) {
		if err := d.index.set(blocks...); err != nil {
			return err
		}
		if next == 0 {
			return d.index.flush()
		}
	}
}
