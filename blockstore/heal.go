package blockstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// retry admits blocks again if the disk takes a trial write, and raises a limit that was lowered
// when there is room again. An index that broke is opened again and made to hold the blocks in
// memory, so that none is lost.
func (d *disk) retry() {
	d.mu.Lock()
	failed, lowered := d.err != nil, d.limit < d.capacity
	d.mu.Unlock()
	if !failed && !lowered {
		return
	}
	if failed {
		d.giveAway()
		if err := d.trial(); err != nil {
			d.log.Debug("disk still admits nothing", "disk", d.path, "err", err)
			return
		}
		d.handles.close() // what was opened while the file system was read-only cannot be written to
	}
	room := d.room()
	d.mu.Lock()
	if failed {
		d.err = nil
		d.limit = min(d.limit, d.places.bytes()) // what it has can be overwritten
	}
	before := d.limit
	d.limit = max(d.limit, min(d.capacity, room))
	limit := d.limit
	d.mu.Unlock()
	d.wake()
	switch {
	case failed:
		d.log.Info("disk admits blocks again", "disk", d.path, "limit", limit)
	case limit > before:
		d.log.Info("file system has room again", "disk", d.path, "limit", limit)
	}
}

// giveAway gives back to the file system what is of no use to blocks: it may be full of it. If
// that fails, so does what follows.
func (d *disk) giveAway() {
	if d.giveAllRoom() != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.places.empties) > 0 {
		if d.removeSlab() != nil {
			return
		}
	}
}

// trial finds out whether the disk can be written to.
func (d *disk) trial() error {
	if err := d.prepare(); err != nil {
		return err
	}
	if err := d.mendLayout(); err != nil {
		return explain(d.path, err)
	}
	if err := d.tryWrite(); err != nil {
		return fmt.Errorf("trial write: %w", err)
	}
	_, gone := d.index.base.Stat(d.index.dir)
	switch {
	case !d.loaded:
		if err := d.openIndex(quitContext(d.quit)); err != nil {
			return err
		}
		d.loaded = true
	case d.index.err() != nil, errors.Is(gone, fs.ErrNotExist):
		if err := d.mendIndex(); err != nil {
			return err
		}
	}
	d.startScan()
	return nil
}

// mendLayout makes what somebody has removed of the directory while it was in use, so that the
// disk can go on and the next run finds a cache directory.
func (d *disk) mendLayout() error {
	boots := d.first >> bootShift
	for path, contents := range map[string]string{
		formatPath(d.path):  formatLine(d.slabBytes),
		bootsPath(d.path):   bootsLine(boots),
		runningPath(d.path): "",
	} {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := writeFile(path, contents); err != nil {
			return err
		}
		d.log.Error("cache directory lacked a file", "path", path)
	}
	return makeFolders(d.path)
}

// mendIndex opens an index that broke, a new one if it is damaged, and makes it hold what is in
// memory.
func (d *disk) mendIndex() error {
	_, err := d.index.open()
	if err == nil {
		err = d.restore()
	}
	if !damaged(err) {
		return err
	}
	d.log.Error("cache index is damaged", "disk", d.path, "err", err)
	if err := d.index.discard(); err != nil {
		return err
	}
	if _, err := d.index.open(); err != nil {
		return err
	}
	return d.restore()
}

// indexed returns the index entry of a block put now, when so many Syncs have begun.
func (b block) indexed(syncs uint32) indexed {
	return indexed{
		place: b.place, key: b.key, length: uint32(b.loc.Length), dataset: b.dataset, stamp: stamp(), syncs: syncs, sum: b.sum,
	}
}

// isGone reports that removing a file succeeded, or that it was not there.
func isGone(err error) bool { return err == nil || errors.Is(err, fs.ErrNotExist) }
