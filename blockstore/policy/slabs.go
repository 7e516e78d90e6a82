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
// Slots are taken from the slab that has the fewest left, which lets the others run empty.
type Slabs struct {
	pages   int   // of a slab
	sizes   []int // of a slot in pages, by class, ascending
	classes []classState
	slabs   []slab
}

type classState struct {
	filling uint32 // the slab that slots are taken from; noSlot when none has any
	free    int    // slots in all its slabs
}

// A slab is cut for class, or empty.
type slab struct {
	class Class
	left  int      // free slots
	free  []uint64 // bit i is set when slot i is free
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
	b.class, b.left = c, n
	b.free = make([]uint64, (n+63)/64)
	for i := range n {
		b.free[i/64] |= 1 << (i % 64)
	}
	s.classes[c].free += n
	if s.classes[c].filling == noSlot {
		s.classes[c].filling = number
	}
}

// Clear makes a slab of which no slot is taken empty.
func (s *Slabs) Clear(number uint32) {
	b := &s.slabs[number]
	c := &s.classes[b.class]
	c.free -= b.left
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
	best := math.MaxInt
	for i := range s.slabs {
		b := &s.slabs[i]
		if b.class == c && b.left > 0 && b.left < best && (avoid == nil || !avoid(uint32(i))) {
			number, best, ok = uint32(i), b.left, true
		}
	}
	return number, ok
}

// Use takes one particular slot, which must be free.
func (s *Slabs) Use(number uint32, slot int) {
	b := &s.slabs[number]
	b.free[slot/64] &^= 1 << (slot % 64)
	b.left--
	s.classes[b.class].free--
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
	b.left++
	s.classes[b.class].free++
	return b.left == s.Slots(b.class)
}

// Free returns how many free slots class c has.
func (s *Slabs) Free(c Class) int { return s.classes[c].free }

// ClassAt returns the class of a slab.
func (s *Slabs) ClassAt(number uint32) Class { return s.slabs[number].class }

// Donor returns the slab that costs least to empty: of those with a free slot the one with
// the smallest taken share. Slabs for which avoid is true are no donors.
func (s *Slabs) Donor(avoid func(number uint32) bool) (number uint32, ok bool) {
	best := 2.0
	for i := range s.slabs {
		b := &s.slabs[i]
		if b.class == NoClass || b.left == 0 || avoid(uint32(i)) {
			continue
		}
		n := s.Slots(b.class)
		if share := float64(n-b.left) / float64(n); share < best {
			number, best, ok = uint32(i), share, true
		}
	}
	return number, ok
}
