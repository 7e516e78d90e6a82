package blockstore

import (
	"errors"

	"github.com/shoal-mesh/shoal"
)

// The room of a sparse block that goes stays with its container, as a hole: freeing space and
// taking new space costs twice what overwriting does (docs/block-store.md). A hole is used
// again by the same block, or, once its container has no blocks at all, by another file that
// takes the container over. When others need the room, idle containers are removed and holes
// are punched.

// removeFile removes a sparse container that is retired.
func (d *disk) removeFile(i uint32) error {
	d.index.gate.enter()
	defer d.index.gate.leave()
	d.mu.Lock()
	name := d.places.containers[i].name
	d.mu.Unlock()
	err := d.index.deleteContainer(name)
	if d.index.err() != nil {
		err = nil // it is made to fit when the disk heals
	}
	for _, f := range []fileName{{sparseFile, name}, {sumsFile, name}} {
		d.handles.forget(f)
		if rerr := d.files.Remove(f.path(d.path)); err == nil && !isGone(rerr) {
			err = rerr
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.places.revive(i)
		return err
	}
	d.places.dropFile(i)
	d.changed.Broadcast()
	return nil
}

// holdHoles marks holes of one container as deleted, so that nobody uses them, and keeps the
// container, before punchHoles. Holds mu.
func (d *disk) holdHoles(holes []uint32) {
	for _, n := range holes {
		d.places.at(n).state = stateDeleted
	}
	d.places.hold(d.places.owners[holes[0]/granule].container)
}

// punchHoles gives back the room of holes of one container, adjacent ones by one call. Those it
// fails for are holes again.
func (d *disk) punchHoles(holes []uint32) error {
	d.mu.Lock()
	i := d.places.owners[holes[0]/granule].container
	c := d.places.containers[i]
	d.mu.Unlock()
	var err error
	for len(holes) > 0 && err == nil {
		d.mu.Lock()
		slot, adjacent := d.places.slotOf(holes[0]), 1
		for adjacent < len(holes) && d.places.slotOf(holes[adjacent]) == slot+uint32(adjacent) {
			adjacent++
		}
		d.mu.Unlock()
		err = d.punchRun(c, slot, adjacent)
		d.mu.Lock()
		for i, n := range holes {
			if i < adjacent || err != nil {
				d.places.at(n).state = stateHole
			}
			if i < adjacent && err == nil {
				d.places.fill(n)
				d.places.shed(n)
			}
		}
		d.changed.Broadcast()
		d.mu.Unlock()
		holes = holes[adjacent:]
	}
	d.mu.Lock()
	d.places.letGo(i)
	d.mu.Unlock()
	return d.mend(err)
}

// punchRun clears the records of n blocks from slot first on, then punches the blocks.
func (d *disk) punchRun(c container, first uint32, n int) error {
	if err := d.writeTo(fileName{sumsFile, c.name}, [][]byte{make([]byte, n*sumsCell)}, cellOffset(first)); err != nil {
		return err
	}
	return d.punchBlocks(c, first, n)
}

// giveAllRoom gives back the room of all holes, before the store is closed: the next run would
// not know of them.
func (d *disk) giveAllRoom() error {
	for {
		d.mu.Lock()
		c := d.giveRoom(0)
		d.mu.Unlock()
		var err error
		switch {
		case c.idle != none:
			err = d.removeFile(c.idle)
		case len(c.holes) > 0:
			err = d.punchHoles(c.holes)
		default:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// takeOver makes the files of the retired container named from those of the new container h.
func (d *disk) takeOver(from uint64, fromSize int64, h header) error {
	keep := keptBlocks(fromSize, h.size)
	for _, k := range []struct {
		kind       fileKind
		keep, size int64
	}{{sumsFile, sumsCell, sumsBytes(h.size)}, {sparseFile, keep * shoal.BlockSize, h.size}} {
		old, now := fileName{k.kind, from}, fileName{k.kind, h.name}
		d.handles.forget(old)
		if err := d.files.Reuse(old.path(d.path), now.path(d.path), k.keep, k.size); err != nil {
			return err
		}
	}
	if err := d.writeTo(fileName{sumsFile, h.name}, [][]byte{h.bytes()}, 0); err != nil {
		return err
	}
	return errors.Join(d.index.deleteContainer(from), d.index.setContainer(h))
}

// sumsBytes returns the length of the sums file for a file of size bytes.
func sumsBytes(size int64) int64 { return int64(1+max(1, shoal.Blocks(size))) * sumsCell }
