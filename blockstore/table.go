package blockstore

import (
	"encoding/binary"

	"github.com/shoal-mesh/shoal"
)

// table finds the entry of a key: open addressing with linear probing over entry numbers,
// 4 bytes a cell; the keys themselves are compared in the entries. It is cut into parts that
// grow one at a time, so that no caller waits for the whole to be rehashed.
type table struct {
	entries *entries
	parts   [tableParts]tablePart
}

type tablePart struct {
	cells []uint32 // entry number +1, 0 when empty; the length is a power of two
	n     int
}

const tableParts = 64

// get returns the entry of key.
func (t *table) get(key shoal.Key) (n uint32, ok bool) {
	h := hashKey(key)
	p := &t.parts[h%tableParts]
	if p.n == 0 {
		return 0, false
	}
	for i := p.home(h); p.cells[i] != 0; i = p.after(i) {
		if n := p.cells[i] - 1; t.entries.at(n).key == key {
			return n, true
		}
	}
	return 0, false
}

// add enters entry n of a key that is not present.
func (t *table) add(key shoal.Key, n uint32) {
	h := hashKey(key)
	p := &t.parts[h%tableParts]
	if (p.n+1)*3 > len(p.cells)*2 {
		t.grow(p)
	}
	p.put(h, n)
	p.n++
}

// remove deletes key, while its entry still holds it. Cells behind it move up, so that
// there are no tombstones.
func (t *table) remove(key shoal.Key) {
	h := hashKey(key)
	p := &t.parts[h%tableParts]
	if p.n == 0 {
		return
	}
	i := p.home(h)
	for ; p.cells[i] == 0 || t.entries.at(p.cells[i]-1).key != key; i = p.after(i) {
		if p.cells[i] == 0 {
			return
		}
	}
	p.n--
	for j := p.after(i); p.cells[j] != 0; j = p.after(j) {
		// The cell at j may move to i unless its home lies in (i, j].
		home := p.home(hashKey(t.entries.at(p.cells[j] - 1).key))
		if (j-home)&p.mask() >= (j-i)&p.mask() {
			p.cells[i] = p.cells[j]
			i = j
		}
	}
	p.cells[i] = 0
}

// reserve makes room for n keys, evenly spread, in an empty table.
func (t *table) reserve(n int) {
	cells := 16
	for (n/tableParts+1)*3 > cells*2 {
		cells *= 2
	}
	for i := range t.parts {
		t.parts[i].cells = make([]uint32, cells)
	}
}

// A cell is an entry number with the part of its key's hash that chooses among a part's cells.
type cell struct{ n, hash uint32 }

// split returns in which part a key belongs, and its cell.
func (t *table) split(key shoal.Key, n uint32) (part int, c cell) {
	h := hashKey(key)
	return int(h % tableParts), cell{n, uint32(h >> 8)}
}

// fill adds cells to a part. Calls for other parts may run at the same time.
func (t *table) fill(part int, cells []cell) {
	p := &t.parts[part]
	for _, c := range cells {
		if (p.n+1)*3 > len(p.cells)*2 {
			t.grow(p)
		}
		p.put(uint64(c.hash)<<8, c.n)
		p.n++
	}
}

func (t *table) grow(p *tablePart) {
	old := p.cells
	p.cells = make([]uint32, max(16, 2*len(old)))
	for _, c := range old {
		if c != 0 {
			p.put(hashKey(t.entries.at(c-1).key), c-1)
		}
	}
}

func (p *tablePart) put(h uint64, n uint32) {
	i := p.home(h)
	for p.cells[i] != 0 {
		i = p.after(i)
	}
	p.cells[i] = n + 1
}

func (p *tablePart) mask() uint64          { return uint64(len(p.cells) - 1) }
func (p *tablePart) home(h uint64) uint64  { return (h >> 8) & p.mask() }
func (p *tablePart) after(i uint64) uint64 { return (i + 1) & p.mask() }

// hashKey mixes a key to 64 bits. The FileID is a hash already; the multiplications
// (constants of splitmix64) spread the indexes of one file.
func hashKey(key shoal.Key) uint64 {
	h := binary.LittleEndian.Uint64(key.File[:]) ^ binary.LittleEndian.Uint64(key.File[8:])
	h += (uint64(key.Index) + 1) * 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
