package fleet

import "math/bits"

// A table is a hash table from blocks to slots and marks: open addressing, 8 bytes a cell, so that
// one cache line tells whether a node has a block, and what it was told of it.
type table struct {
	cells []cell
	n     int
}

// A cell is one place of a table. Cells move when blocks are put and removed.
type cell struct {
	block uint32 // its number + 1; 0 in an empty cell
	tag   uint32 // slot and mark
}

// maxSlots is how many slots a node has at most.
const maxSlots = 1 << (32 - markBits)

func (c *cell) slot() uint32   { return c.tag >> markBits }
func (c *cell) mark() mark     { return mark(c.tag & (1<<markBits - 1)) }
func (c *cell) setMark(m mark) { c.tag = c.tag&^(1<<markBits-1) | uint32(m) }

// newTable returns a table that takes n blocks before it grows.
func newTable(n int) table { return table{cells: make([]cell, n+n/3+8)} }

// home returns the cell in which a block is looked for first.
func (t *table) home(block uint32) int {
	hi, _ := bits.Mul64(uint64(block)*0x9e3779b97f4a7c15, uint64(len(t.cells)))
	return int(hi)
}

// get returns the cell of a block, nil when it is not there.
func (t *table) get(block uint32) *cell {
	for i := t.home(block); ; {
		c := &t.cells[i]
		if c.block == block+1 {
			return c
		}
		if c.block == 0 {
			return nil
		}
		if i++; i == len(t.cells) {
			i = 0
		}
	}
}

// look looks at the cell where a block is looked for first: see Fleet.Expect.
func (t *table) look(block uint32) uint32 { return t.cells[t.home(block)].block }

// put adds a block that is not there.
func (t *table) put(block, slot uint32, m mark) {
	if t.n*5 >= len(t.cells)*4 {
		t.grow()
	}
	t.n++
	i := t.home(block)
	for t.cells[i].block != 0 {
		if i++; i == len(t.cells) {
			i = 0
		}
	}
	t.cells[i] = cell{block + 1, slot<<markBits | uint32(m)}
}

// remove takes a block out that is there. Those behind it move up, so that no mark is left.
func (t *table) remove(block uint32) {
	i := t.home(block)
	for t.cells[i].block != block+1 {
		if i++; i == len(t.cells) {
			i = 0
		}
	}
	t.n--
	for j := i; ; {
		if j++; j == len(t.cells) {
			j = 0
		}
		c := t.cells[j]
		if c.block == 0 {
			break
		}
		// c may move to i unless its home lies between i, exclusive, and j, around the end.
		if h := t.home(c.block - 1); i <= j && (h <= i || h > j) || i > j && h <= i && h > j {
			t.cells[i] = c
			i = j
		}
	}
	t.cells[i] = cell{}
}

// grow makes room for half as many more.
func (t *table) grow() {
	old := t.cells
	*t = newTable(t.n + t.n/2)
	for _, c := range old {
		if c.block != 0 {
			t.put(c.block-1, c.slot(), c.mark())
		}
	}
}
