package blockstore

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore/policy"
)

// open makes the disk ready and shows what is on it. If that fails for a fault of the
// device, the blocks are shown that can be had by reading alone, and the disk admits
// nothing until retry has mended it. fatal: waiting does not mend the error.
func (d *disk) open() (fatal bool, err error) {
	err = d.prepare()
	if err == nil {
		if err = d.index.open(); err == nil {
			err = d.load(d.index.load)
		}
		err = explain(d.path, err)
	}
	switch {
	case err == nil:
		d.loaded = true
		return false, nil
	case errors.Is(err, ErrLocked), errors.Is(err, ErrFormat), errors.Is(err, fs.ErrPermission):
		return true, err
	}
	d.err = err
	d.loaded = d.lock != nil && d.loadReadOnly() == nil
	d.log.Warn("disk admits nothing", "disk", d.path, "blocks", d.slots.used, "err", err)
	return false, err
}

// loadReadOnly is load without a write to the disk.
func (d *disk) loadReadOnly() error {
	if _, err := readFormat(d.path); err != nil {
		return err
	}
	if d.first == 0 {
		boots, err := readBoots(d.path)
		if err != nil {
			return err
		}
		d.first = (boots + 1) << bootShift
	}
	return d.load(d.index.peek)
}

// load fills memory from the index, without reading a container. Blocks that another disk
// shows are deleted. The oldest container comes first in the policy's order.
func (d *disk) load(from func(visit func(slot)) error) error {
	blocks, unwanted, err := d.entries(from)
	if err != nil {
		return fmt.Errorf("disk %s: %w", d.path, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range blocks {
		d.policy.Insert(d.add(s), policy.Item{SizeBytes: s.occupied()})
	}
	if d.index.err() != nil { // read only
		return nil
	}
	return d.index.delete(unwanted...)
}

// adopt is load while other disks are at work: one of them may have got a block meanwhile.
func (d *disk) adopt() error {
	blocks, unwanted, err := d.entries(d.index.load)
	if err != nil {
		return fmt.Errorf("disk %s: %w", d.path, err)
	}
	for _, s := range blocks {
		d.claims.wait(s.key)
		if d.elsewhere(s.key) {
			unwanted = append(unwanted, s.key)
		} else {
			d.mu.Lock()
			d.policy.Insert(d.add(s), policy.Item{SizeBytes: s.occupied()})
			d.mu.Unlock()
		}
		d.claims.release(s.key)
	}
	d.loaded = true
	return d.index.delete(unwanted...)
}

// entries reads the blocks of an index, the oldest container first, and the keys of those
// that are not to be shown.
func (d *disk) entries(from func(visit func(slot)) error) (blocks []slot, unwanted []shoal.Key, err error) {
	err = from(func(s slot) {
		if d.elsewhere(s.key) || s.container >= d.first {
			unwanted = append(unwanted, s.key)
			return
		}
		blocks = append(blocks, s)
	})
	slices.SortFunc(blocks, func(a, b slot) int { return cmp.Compare(a.container, b.container) })
	return blocks, unwanted, err
}
