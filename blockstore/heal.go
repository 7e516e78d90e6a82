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

// restore makes the index hold what is in memory and nothing else.
func (d *disk) restore() error {
	var gone []place
	err := d.index.load(blockPrefix, func(key, value []byte) {
		e, ok := parseIndexed(key, value)
		if p, isPlace := parsePlace(key); isPlace && (!ok || !d.stands(e)) {
			gone = append(gone, p)
		}
	})
	if err != nil {
		return err
	}
	if err := d.index.delete(gone...); err != nil {
		return err
	}
	if err := d.restoreContainers(); err != nil {
		return err
	}
	began, err := d.syncFiles() // else the entries written now would be of blocks not yet durable
	if err != nil {
		return err
	}
	for from := uint32(0); ; {
		blocks, next := d.batch(from)
		entries := make([]indexed, len(blocks))
		for i, b := range blocks {
			entries[i] = b.indexed(began - 1)
			if d.pastOf(b) == pastUnsynced {
				entries[i].syncs = began
			}
		}
		if err := d.index.set(entries...); err != nil {
			return err
		}
		if from = next; from == 0 {
			return d.index.flush()
		}
	}
}

// stands reports whether the index entry e is that of a visible block.
func (d *disk) stands(e indexed) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.table.get(e.key)
	if !ok {
		return false
	}
	c := d.places.owner(n)
	return c.name == e.container && d.places.slotOf(n) == e.slot
}

// indexed returns the index entry of a block put now, when so many Syncs have begun.
func (b block) indexed(syncs uint32) indexed {
	return indexed{
		place: b.place, key: b.key, length: uint32(b.loc.Length), dataset: b.dataset, stamp: stamp(), syncs: syncs, sum: b.sum,
	}
}

// restoreContainers makes the index hold the containers in memory and no others.
func (d *disk) restoreContainers() error {
	d.mu.Lock()
	known := make(map[uint64]header)
	for _, c := range d.places.containers {
		if c.made {
			h := header{name: c.name, file: c.file, size: c.size}
			if c.packed {
				h.slot, h.size = c.slot, d.slabBytes
			}
			known[c.name] = h
		}
	}
	d.mu.Unlock()
	var gone []uint64
	err := d.index.load(containerPrefix, func(_, value []byte) {
		if h, ok := parseHeader(value); ok && known[h.name] != h {
			gone = append(gone, h.name)
		}
	})
	if err != nil {
		return err
	}
	for _, name := range gone {
		if err := d.index.deleteContainer(name); err != nil {
			return err
		}
	}
	for _, h := range known {
		if err := d.index.setContainer(h); err != nil {
			return err
		}
	}
	return nil
}

// isGone reports that removing a file succeeded, or that it was not there.
func isGone(err error) bool { return err == nil || errors.Is(err, fs.ErrNotExist) }
