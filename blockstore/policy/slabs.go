package policy

import (
	"math"
	"math/bits"
)

// A Class is a size class: the slots of a slab are all of one.
type Class uint8

// NoClass is the class of an empty slab.
const NoClass Class = math.MaxUint8

// Slabs says which slots of which slabs are taken. A slab has a fixed number of pages and is
// cut into slots of one class; once it is empty it may be cut anew for another, so that a
// store of small blocks can become one of larger blocks.
//
// Slots are taken from the slab that has the fewest left, which lets the others run empty. To
// find it, and the one with the most left, the slabs of a class are kept in lists by how many
// they have left.
type Slabs struct {
	pages   int   // of a slab
	sizes   []int // of a slot in pages, by class, ascending
	classes []classState
	slabs   []slab
}

type classState struct {
	filling uint32   // the slab that slots are taken from; noSlot when none has any
	free    int      // slots in all its slabs
	slabs   int      // slabs there are
	byLeft  []uint32 // the first slab in the list of those with so many slots left; noSlot when there is none
	fewest  int      // no slab has fewer slots left, but for those that have none
}

// A slab is cut for class, or empty.
type slab struct {
	class      Class
	left       int      // free slots
	free       []uint64 // bit i is set when slot i is free
	next, prev uint32   // in the list of its class and left; noSlot at the ends
}

// NewSlabs returns Slabs of so many pages each, with classes for slots of 1 to maxPages
// pages: every page up to eight, from there on at most 12.5 % apart.
func NewSlabs(pages, maxPages int) *Slabs {
	s := &Slabs{pages: pages}
	for size := 1; size <= maxPages; size += max(1, size/8) {
		s.sizes = append(s.sizes, size)
		s.classes = append(s.classes, classState{filling: noSlot})
	}
	if n := len(s.sizes); n > 0 && s.sizes[n-1] < maxPages {
		s.sizes = append(s.sizes, maxPages)
		s.classes = append(s.classes, classState{filling: noSlot})
	}
	return s
}

// ClassOf returns the smallest class whose slots have so many pages; ok is false when none
// has.
func (s *Slabs) ClassOf(pages int) (c Class, ok bool) {
	lo, hi := 0, len(s.sizes)
	for lo < hi {
		if mid := (lo + hi) / 2; s.sizes[mid] < pages {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return Class(lo), lo < len(s.sizes)
}

// Size returns the pages of a slot of class c.
func (s *Slabs) Size(c Class) int { return s.sizes[c] }

// Classes returns how many classes there are.
func (s *Slabs) Classes() int { return len(s.sizes) }

// Slots returns how many slots a slab of class c has.
func (s *Slabs) Slots(c Class) int { return s.pages / s.sizes[c] }

// Add makes an empty slab known. Numbers are the caller's; small ones cost less.
func (s *Slabs) Add(number uint32) {
	for uint32(len(s.slabs)) <= number {
		s.slabs = append(s.slabs, slab{class: NoClass})
	}
	s.slabs[number] = slab{class: NoClass}
}

// Drop forgets an empty slab.
func (s *Slabs) Drop(number uint32) { s.slabs[number] = slab{class: NoClass} }

// Cut makes an empty slab one of class c, all slots free.
func (s *Slabs) Cut(number uint32, c Class) {
	b := &s.slabs[number]
	n := s.Slots(c)
	state := &s.classes[c]
	for len(state.byLeft) <= n {
		state.byLeft = append(state.byLeft, noSlot)
	}
	b.class = c
	b.free = make([]uint64, (n+63)/64)
	for i := range n {
		b.free[i/64] |= 1 << (i % 64)
	}
	state.slabs++
	s.link(number, n)
	if state.filling == noSlot {
		state.filling = number
	}
}

// link enters a slab with so many slots left in the list of its class.
func (s *Slabs) link(number uint32, left int) {
	b := &s.slabs[number]
	c := &s.classes[b.class]
	b.left, b.prev, b.next = left, noSlot, c.byLeft[left]
	if b.next != noSlot {
		s.slabs[b.next].prev = number
	}
	c.byLeft[left] = number
	c.free += left
	if left > 0 {
		c.fewest = min(c.fewest, left)
	}
}

// unlink takes a slab out of its list.
func (s *Slabs) unlink(number uint32) {
	b := &s.slabs[number]
	c := &s.classes[b.class]
	if b.prev == noSlot {
		c.byLeft[b.left] = b.next
	} else {
		s.slabs[b.prev].next = b.next
	}
	if b.next != noSlot {
		s.slabs[b.next].prev = b.prev
	}
	c.free -= b.left
}

// Clear makes a slab of which no slot is taken empty.
func (s *Slabs) Clear(number uint32) {
	s.unlink(number)
	b := &s.slabs[number]
	c := &s.classes[b.class]
	c.slabs--
	if c.filling == number {
		c.filling = noSlot
	}
	*b = slab{class: NoClass}
}

// Take takes a free slot of class c; ok is false when there is none. Slabs for which avoid
// is true are left alone; nil avoids none.
func (s *Slabs) Take(c Class, avoid func(number uint32) bool) (number uint32, slot int, ok bool) {
	state := &s.classes[c]
	number = state.filling
	if number == noSlot || s.slabs[number].left == 0 || avoid != nil && avoid(number) {
		if number, ok = s.fullest(c, avoid); !ok {
			return 0, 0, false
		}
		state.filling = number
	}
	b := &s.slabs[number]
	for w, word := range b.free {
		if word != 0 {
			slot = 64*w + bits.TrailingZeros64(word)
			break
		}
	}
	s.Use(number, slot)
	return number, slot, true
}

// fullest returns the slab of class c with the fewest free slots, but one.
func (s *Slabs) fullest(c Class, avoid func(uint32) bool) (number uint32, ok bool) {
	state := &s.classes[c]
	if state.free == 0 {
		return noSlot, false
	}
	state.fewest = max(1, state.fewest)
	for state.byLeft[state.fewest] == noSlot {
		state.fewest++
	}
	for left := state.fewest; left < len(state.byLeft); left++ {
		if number, ok = s.firstOf(state.byLeft[left], avoid); ok {
			return number, true
		}
	}
	return noSlot, false
}

// firstOf returns the first slab of a list that is not to be avoided.
func (s *Slabs) firstOf(list uint32, avoid func(uint32) bool) (number uint32, ok bool) {
	for number = list; number != noSlot; number = s.slabs[number].next {
		if avoid == nil || !avoid(number) {
			return number, true
		}
	}
	return noSlot, false
}

// Use takes one particular slot, which must be free.
func (s *Slabs) Use(number uint32, slot int) {
	b := &s.slabs[number]
	b.free[slot/64] &^= 1 << (slot % 64)
	s.unlink(number)
	s.link(number, b.left-1)
}

// Taken reports whether a slot is taken.
func (s *Slabs) Taken(number uint32, slot int) bool {
	b := &s.slabs[number]
	return b.free[slot/64]&(1<<(slot%64)) == 0
}

// Give gives a slot back, and reports whether its slab has none taken now.
func (s *Slabs) Give(number uint32, slot int) (none bool) {
	b := &s.slabs[number]
	b.free[slot/64] |= 1 << (slot % 64)
	s.unlink(number)
	s.link(number, b.left+1)
	return b.left == s.Slots(b.class)
}

// Free returns how many free slots class c has.
func (s *Slabs) Free(c Class) int { return s.classes[c].free }

// Count returns how many slabs class c has.
func (s *Slabs) Count(c Class) int { return s.classes[c].slabs }

// ClassAt returns the class of a slab.
func (s *Slabs) ClassAt(number uint32) Class { return s.slabs[number].class }

// Donor returns the slab that costs least to empty: of those with a free slot the one with
// the smallest taken share. Slabs of classes for which spared is true, and slabs for which
// avoid is, are no donors.
func (s *Slabs) Donor(spared func(Class) bool, avoid func(number uint32) bool) (number uint32, ok bool) {
	best := 2.0
	for i := range s.classes {
		c := Class(i)
		if s.classes[i].free == 0 || spared(c) {
			continue
		}
		for left := s.Slots(c); left > 0; left-- {
			candidate, found := s.firstOf(s.classes[i].byLeft[left], avoid)
			if !found {
				continue
			}
			if share := 1 - float64(left)/float64(s.Slots(c)); share < best {
				number, best, ok = candidate, share, true
			}
			break
		}
	}
	return number, ok
}
