package blockstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/shoal-mesh/shoal"
)

// retry admits blocks again if the disk takes a trial write. An index that broke is opened
// again and made to hold the blocks in memory, so that none is lost.
func (d *disk) retry() {
	d.mu.Lock()
	failed, lowered := d.err != nil, d.limit < d.capacity
	d.mu.Unlock()
	if !failed && !lowered {
		return
	}
	if failed { // the file system may be full of it; if this fails, so does what follows
		_ = d.giveAllRoom()
	}
	if err := d.trial(); err != nil {
		d.log.Debug("disk still admits nothing, or less", "disk", d.path, "err", err)
		return
	}
	d.handles.close() // what was opened while the file system was read-only cannot be written to
	d.mu.Lock()
	d.err = nil
	d.limit = d.capacity
	d.mu.Unlock()
	d.wake()
	d.log.Info("disk admits blocks again", "disk", d.path)
}

// trial finds out whether the disk can be written to and has room.
func (d *disk) trial() error {
	if err := d.prepare(); err != nil {
		return err
	}
	path := filepath.Join(d.path, "trial")
	if err := d.files.Remove(path); !isGone(err) {
		return fmt.Errorf("trial write: %w", err)
	}
	if err := d.tryWrite(path); err != nil {
		_ = d.files.Remove(path)
		return fmt.Errorf("trial write: %w", err)
	}
	if err := d.files.Remove(path); err != nil {
		return fmt.Errorf("trial write: %w", err)
	}
	switch {
	case !d.loaded:
		if err := d.openIndex(context.Background()); err != nil {
			return err
		}
		d.loaded = true
	case d.index.err() != nil:
		if err := d.mendIndex(); err != nil {
			return err
		}
	}
	d.startScan()
	return nil
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

func (d *disk) tryWrite(path string) error {
	if err := d.files.Create(path, max(d.slabBytes, shoal.BlockSize), false); err != nil {
		return err
	}
	f, err := d.files.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.WriteAt([][]byte{make([]byte, shoal.BlockSize)}, 0), f.Close())
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
	for from := uint32(0); ; {
		blocks, next := d.batch(from)
		entries := make([]indexed, len(blocks))
		for i, b := range blocks {
			entries[i] = b.indexed()
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
	return c.name == e.container && n-c.first == e.slot
}

// indexed returns the index entry of a block put now.
func (b block) indexed() indexed {
	return indexed{
		place: b.place, key: b.key, length: uint32(b.loc.Length), dataset: b.dataset, stamp: stamp(), sum: b.sum,
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
