package blockstore

import "github.com/shoal-mesh/shoal"

// slots keeps what is in memory of each block of a disk: 40 bytes, no pointer. They lie in
// pages, so that growing never copies more than a list of pages.
type slots struct {
	pages [][]slot
	next  uint32 // the first slot number never used
	free  uint32 // the first of the list of free slots, +1; 0 when there is none
	used  int
}

// A slot is one block, or free if length is 0 (then container links the next free one).
type slot struct {
	container uint64
	key       shoal.Key
	sum       shoal.Sum // of the block: BlockSum of its chunk sums
	page      uint32    // offset in the container, in pages of 4 KiB
	length    uint32    // bytes, at most BlockSize
}

const slotsPerPage = 1 << 12

func makeSlot(key shoal.Key, loc Location, sum shoal.Sum) slot {
	return slot{
		container: loc.Container, key: key, sum: sum,
		page: uint32(loc.Offset / pageSize), length: uint32(loc.Length),
	}
}

// location returns where the block lies.
func (s slot) location() Location {
	return Location{Container: s.container, Offset: int64(s.page) * pageSize, Length: int(s.length)}
}

// occupied returns what the block takes on disk.
func (s slot) occupied() int64 { return occupied(int(s.length)) }

// at returns slot number i, which must have been handed out before.
func (t *slots) at(i uint32) *slot { return &t.pages[i/slotsPerPage][i%slotsPerPage] }

// add puts s into a free slot and returns its number.
func (t *slots) add(s slot) uint32 {
	t.used++
	if t.free != 0 {
		i := t.free - 1
		t.free = uint32(t.at(i).container)
		*t.at(i) = s
		return i
	}
	i := t.next
	t.next++
	if int(i/slotsPerPage) == len(t.pages) {
		t.pages = append(t.pages, make([]slot, slotsPerPage))
	}
	*t.at(i) = s
	return i
}

// remove frees slot i.
func (t *slots) remove(i uint32) {
	*t.at(i) = slot{container: uint64(t.free)}
	t.free = i + 1
	t.used--
}
