package blockstore

import (
	"bytes"

	"github.com/shoal-mesh/shoal"
)

// findHoles gives back the room of all places that have no block, in containers of earlier
// runs: the last one may have come to take a block out of the index, and no further. False when
// quit was closed, or the disk failed.
//
// What there is of such room is not known, and little: it is not counted. To count all of it as
// holes would have the blocks of a whole disk given up for one large file of which little is
// cached.
func (d *disk) findHoles(quit <-chan struct{}) bool {
	for i := uint32(0); ; i++ {
		d.mu.Lock()
		if int(i) >= len(d.places.containers) {
			d.mu.Unlock()
			return true
		}
		c := d.places.containers[i]
		ours := !c.packed && c.made && c.name < d.first
		idle := ours && c.taken == 0 && c.held == 0
		if idle {
			d.places.retire(i)
		}
		d.mu.Unlock()
		var err error
		switch {
		case idle:
			err = d.removeFile(i)
		case ours:
			err = d.punchFree(i, c, quit)
		}
		if err != nil {
			d.fail(err)
			d.rescan.Store(true)
			return false
		}
		select {
		case <-quit:
			return false
		default:
		}
	}
}

// punchFree gives back the room of container i, which is c, where it has neither a block nor a
// hole.
func (d *disk) punchFree(i uint32, c container, quit <-chan struct{}) error {
	for from := uint32(0); from < c.n; from += punchBatch {
		select {
		case <-quit:
			return nil
		default:
		}
		d.mu.Lock()
		if now := &d.places.containers[i]; now.name != c.name || !now.made {
			d.mu.Unlock()
			return nil
		}
		free := d.holdFree(i, from, min(from+punchBatch, c.n))
		d.mu.Unlock()
		err := d.punchSlots(c, free)
		d.mu.Lock()
		d.letFree(i, free)
		d.mu.Unlock()
		if err = d.mend(err); err != nil {
			return err
		}
	}
	return nil
}

// holdFree marks the free slots of container i among some as deleted, so that nobody uses them,
// and keeps the container, until letFree. Holds mu.
func (d *disk) holdFree(i, from, end uint32) (free []uint32) {
	for slot := from; slot < end; slot++ {
		if e := d.places.at(d.places.reach(i, slot)); e.state == stateFree {
			e.state = stateDeleted
			free = append(free, slot)
		}
	}
	d.places.hold(i)
	return free
}

// letFree ends holdFree. Holds mu.
func (d *disk) letFree(i uint32, free []uint32) {
	for _, slot := range free {
		n, _ := d.places.number(i, slot)
		*d.places.at(n) = entry{}
		d.places.shed(n)
	}
	d.places.letGo(i)
	d.changed.Broadcast()
}

// punchSlots gives back the room of slots of a container, adjacent ones by one call. Records are
// only cleared where there are some: a sums file is as sparse as its container.
func (d *disk) punchSlots(c container, slots []uint32) error {
	cells, zeros := make([]byte, punchBatch*sumsCell), make([]byte, punchBatch*sumsCell)
	for len(slots) > 0 {
		n := 1
		for n < len(slots) && slots[n] == slots[0]+uint32(n) {
			n++
		}
		sums, err := d.handles.get(fileName{sumsFile, c.name})
		if err != nil {
			return err
		}
		err = readFull(sums, [][]byte{cells[:n*sumsCell]}, cellOffset(slots[0]), false)
		d.handles.release(sums)
		if err == nil && bytes.Equal(cells[:n*sumsCell], zeros[:n*sumsCell]) {
			err = d.punchBlocks(c, slots[0], n)
		} else {
			err = d.punchRun(c, slots[0], n)
		}
		if err != nil {
			return err
		}
		slots = slots[n:]
	}
	return nil
}

// punchBlocks gives back the room of n blocks from slot first on.
func (d *disk) punchBlocks(c container, first uint32, n int) error {
	h, err := d.handles.get(fileName{sparseFile, c.name})
	if err != nil {
		return err
	}
	defer d.handles.release(h)
	return h.Punch(int64(first)*shoal.BlockSize, int64(n)*shoal.BlockSize)
}
