package blockstore

import "math/bits"

// numbers says whose each entry number is. They are owned in granules of 16.
//
//	a slab              owns a run of granules, slot i is number first+i
//	a sparse container  owns a granule for each piece, that is each 16 blocks, of its file of
//	                    which one is a block or a hole; the granules lie anywhere
//
// So a file costs what is cached of it. Each granule knows its container and which of the
// container's slots its numbers are: that leads from a number to a slot. From a slot to a number
// leads arithmetic in a slab, and pieces in a sparse container.
type numbers struct {
	owners []owner           // by granule
	vacant []uint64          // bit g is set when granule g is nobody's
	lowest uint32            // no granule below it is vacant
	pieces map[pieceAt]piece // of sparse containers; no pointers, or the garbage collector would see each
}

// An owner says that a granule's numbers are slots [16*piece, 16*piece+16) of a container.
type owner struct{ container, piece uint32 }

// A pieceAt names a piece of a sparse container.
type pieceAt struct{ container, piece uint32 }

// A piece is the granule of a piece, and its neighbours in a ring of the container's pieces, in
// the order in which they got granules.
type piece struct{ granule, next, prev uint32 }

const (
	none    = ^uint32(0)
	granule = 16
)

// granules returns how many granules n numbers are.
func granules(n uint32) uint32 { return (n + granule - 1) / granule }

// slotOf returns which slot of its container number n is.
func (s *numbers) slotOf(n uint32) uint32 { return s.owners[n/granule].piece*granule + n%granule }

// allocate returns the first of count granules in a row that were nobody's: the lowest there
// are.
func (s *numbers) allocate(count uint32) (first uint32) {
	first = s.search(count)
	for uint32(len(s.owners)) < first+count {
		s.owners = append(s.owners, owner{none, 0})
	}
	for len(s.vacant)*64 < len(s.owners) {
		s.vacant = append(s.vacant, 0)
	}
	for g := first; g < first+count; g++ {
		s.vacant[g/64] &^= 1 << (g % 64)
	}
	if first == s.lowest || count == 1 {
		s.lowest = first + count
	}
	return first
}

// search finds the first count vacant granules in a row; those after the last one are vacant.
func (s *numbers) search(count uint32) (first uint32) {
	end := uint32(len(s.owners))
	first = s.lowest
	for g := s.lowest; g < end && g < first+count; {
		word := s.vacant[g/64] >> (g % 64)
		if row := uint32(bits.TrailingZeros64(^word)); row > 0 {
			g += row
			continue
		}
		g = min(g+uint32(bits.TrailingZeros64(word)), g&^63+64, end)
		first = g
	}
	return first
}

// release makes count granules nobody's.
func (s *numbers) release(first, count uint32) {
	for g := first; g < first+count; g++ {
		s.vacant[g/64] |= 1 << (g % 64)
		s.owners[g] = owner{none, 0}
	}
	s.lowest = min(s.lowest, first)
}

// own gives count granules to container i: its slots from the first on.
func (s *numbers) own(first, count, i uint32) {
	for g := range count {
		s.owners[first+g] = owner{i, g}
	}
}

// number returns the number of a slot of container i; ok is false when that has none yet.
func (p *places) number(i, slot uint32) (n uint32, ok bool) {
	c := &p.containers[i]
	if c.packed {
		return c.first + slot, true
	}
	at, ok := p.pieces[pieceAt{i, slot / granule}]
	return at.granule*granule + slot%granule, ok
}

// reach is number of a slot that gets one if it has none. If its entry is to stay free, shed must
// follow.
func (p *places) reach(i, slot uint32) (n uint32) {
	n, ok := p.number(i, slot)
	if ok {
		return n
	}
	g := p.allocate(1)
	p.grow((g + 1) * granule)
	c, name := &p.containers[i], slot/granule
	p.owners[g] = owner{i, name}
	p.pieces[pieceAt{i, name}] = piece{g, name, name}
	if c.head == none {
		c.head = name
	} else {
		tail := p.pieces[pieceAt{i, c.head}].prev
		p.join(i, tail, name)
		p.join(i, name, c.head)
	}
	return g*granule + slot%granule
}

// shed takes the granule of number n from its sparse container, if no entry of it is in use.
func (p *places) shed(n uint32) {
	g := n / granule
	for i := range uint32(granule) {
		if p.at(g*granule+i).state != stateFree {
			return
		}
	}
	i, name := p.owners[g].container, p.owners[g].piece
	at := p.pieces[pieceAt{i, name}]
	switch c := &p.containers[i]; {
	case at.next == name:
		c.head = none
	case c.head == name:
		c.head = at.next
	}
	p.join(i, at.prev, at.next)
	delete(p.pieces, pieceAt{i, name})
	p.release(g, 1)
}

// join makes two pieces neighbours in the ring of container i.
func (p *places) join(i, prev, next uint32) {
	a := p.pieces[pieceAt{i, prev}]
	a.next = next
	p.pieces[pieceAt{i, prev}] = a
	b := p.pieces[pieceAt{i, next}]
	b.prev = prev
	p.pieces[pieceAt{i, next}] = b
}

// eachPiece calls visit with the first number of each granule of sparse container i, until it
// returns false. visit may shed that granule and no other.
func (p *places) eachPiece(i uint32, visit func(first uint32) bool) {
	head := p.containers[i].head
	if head == none {
		return
	}
	tail := p.pieces[pieceAt{i, head}].prev
	for name, more := head, true; more; {
		at := p.pieces[pieceAt{i, name}]
		more = visit(at.granule*granule) && name != tail
		name = at.next
	}
}
