package solo

import "math/bits"

// A table has a place for each id that was ever asked for: open addressing, 16 bytes a cell.
type table struct {
	cells []cell
	n     int
}

// A cell is one place.
type cell struct {
	id   uint64
	slot uint32 // that its block had last, see Cache.slotAt; nowhere before the first
	used bool
}

func newTable() table { return table{cells: make([]cell, 1<<10)} }

// home returns the place where an id is looked for first.
func (t *table) home(id uint64) uint32 {
	hi, _ := bits.Mul64(id*0x9e3779b97f4a7c15, uint64(len(t.cells)))
	return uint32(hi)
}

// find returns the place of an id, or the empty one where it belongs, from a place on that is not
// behind it.
func (t *table) find(id uint64, at uint32) uint32 {
	for {
		if c := &t.cells[at]; c.id == id && c.used || !c.used {
			return at
		}
		if at++; int(at) == len(t.cells) {
			at = 0
		}
	}
}

// take gives an empty place to an id.
func (t *table) take(at uint32, id uint64) {
	t.cells[at] = cell{id: id, slot: nowhere, used: true}
	t.n++
}

// reserve makes room for so many more ids, and tells the slots where theirs are then: places has
// where each was, or nowhere.
func (t *table) reserve(more int, places []uint32) {
	if (t.n+more)*4 <= len(t.cells)*3 {
		return
	}
	old := t.cells
	t.cells = make([]cell, 2*len(old))
	for _, c := range old {
		if c.used {
			t.cells[t.find(c.id, t.home(c.id))] = c
		}
	}
	for n, at := range places {
		if at != nowhere {
			id := old[at].id
			places[n] = t.find(id, t.home(id))
		}
	}
}
