package policy

import (
	"math/bits"

	"github.com/shoal-mesh/shoal"
)

const (
	noSlot       = ^uint32(0)
	slotsPerPage = 1 << 12
)

// slots holds the order of replicas: lists linked by slot numbers inside one array. It is
// pointer-free, 16 bytes a slot, all of a slot in one cache line (policy.md §5.4).
type slots struct {
	pages  []*entryPage // so that growing copies nothing
	stamps []*stampPage // of the same slots; nil where no group is GDSF
	lists  []list       // number 0 is none
	spare  uint32       // the first of the lists not in use, linked by newest; 0 is none
}

type (
	entryPage [slotsPerPage]entry
	stampPage [slotsPerPage]float64
)

// An entry is what is known of one slot.
type entry struct {
	newer, older uint32 // neighbours in its list; noSlot at the ends
	tick         Tick   // when the block was read, as far as anybody knows
	mark         uint32 // list, size code and flags; 0 for a slot that is not present
}

// The parts of entry.mark. Each slot is in a list or, while it is deferred, counted by the
// list it left.
const (
	listBits = 22
	codeBits = 7

	listMask = 1<<listBits - 1
	codeMask = sizeCodes - 1

	visited  = 1 << 29 // read since the hand came by (sieve), or while deferred
	deferred = 1 << 30 // out of the order
	late     = 1 << 31 // at the cold end of its list, but read after what follows

	sizeCodes = 1 << codeBits
)

// A list orders slots by when they came to it. What each read of a slot asks of it comes first,
// in one cache line: GDSF has thousands of lists.
type list struct {
	newest, oldest uint32  // noSlot when it is empty
	hand           uint32  // of sieve: where to look next; noSlot is oldest
	head           uint32  // the next victim, if known
	top            uint32  // the oldest when it was put into the heap of its queue
	after          uint32  // perhaps the list of those read once more, see Weighted.hotter
	queue          uint32  // group and class, see queueNumber
	members        uint32  // deferred ones included
	place          int32   // in the heap of its queue; -1 when it is not there
	reads          uint8   // of each slot, as counted for LFU and GDSF
	known          bool    // head is
	headCode       uint8   // its size
	size           float64 // of each slot, for GDSF
	key            float64 // the priority of top
	headTick       Tick    // when head counts as read
	topTick        Tick    // when top was read

	value float64 // the weight of the next victim, see Weighted.headWeight
	round uint64  // for which value holds, while known
	cold  Tick    // what late slots count as: when the coldest was read that was no late one

	kin [shoal.Classes]uint32 // perhaps the lists of other classes that are like this, see Weighted.kin

	_ [28]byte // so that none straddles a third line
}

func (s *slots) init() { s.lists = make([]list, 1) }

// reach has an entry for slot.
func (s *slots) reach(slot uint32) {
	for len(s.pages) <= int(slot/slotsPerPage) {
		s.pages = append(s.pages, new(entryPage))
	}
}

func (s *slots) at(slot uint32) *entry { return &s.pages[slot/slotsPerPage][slot%slotsPerPage] }

// present returns the entry of a slot, and nil when there is none.
func (s *slots) present(slot uint32) *entry {
	if int(slot/slotsPerPage) >= len(s.pages) {
		return nil
	}
	if e := s.at(slot); e.mark != 0 {
		return e
	}
	return nil
}

func (e *entry) list() uint32        { return e.mark & listMask }
func (e *entry) code() uint8         { return uint8(e.mark >> listBits & codeMask) }
func (e *entry) is(flag uint32) bool { return e.mark&flag != 0 }

// stamp returns where the level of its queue is kept that a slot of GDSF came in at.
func (s *slots) stamp(slot uint32) *float64 {
	page := int(slot / slotsPerPage)
	for len(s.stamps) <= page {
		s.stamps = append(s.stamps, nil)
	}
	if s.stamps[page] == nil {
		s.stamps[page] = new(stampPage)
	}
	return &s.stamps[page][slot%slotsPerPage]
}

// crowded reports whether there are so many lists that the rest is kept for one per queue.
func (s *slots) crowded() bool {
	return s.spare == 0 && len(s.lists) > listMask-shoal.Classes<<16
}

// newList returns the number of a new list.
func (s *slots) newList(queue uint32, reads uint8, size float64) uint32 {
	number := s.spare
	if number != 0 {
		s.spare = s.lists[number].newest
	} else {
		number = uint32(len(s.lists))
		s.lists = append(s.lists, list{})
	}
	s.lists[number] = list{
		newest: noSlot, oldest: noSlot, hand: noSlot, head: noSlot,
		place: -1, queue: queue, reads: reads, size: size,
	}
	return number
}

// freeList gives an empty list back.
func (s *slots) freeList(number uint32) {
	s.lists[number] = list{newest: s.spare}
	s.spare = number
}

// join makes two slots of a list neighbours; noSlot is the end of the list.
func (s *slots) join(l *list, newer, older uint32) {
	if newer == noSlot {
		l.newest = older
	} else {
		s.at(newer).older = older
	}
	if older == noSlot {
		l.oldest = newer
	} else {
		s.at(older).newer = newer
	}
}

// link puts slot, which is in no list, between two neighbours.
func (s *slots) link(l *list, slot, newer, older uint32) {
	s.join(l, newer, slot)
	s.join(l, slot, older)
}

// unlink takes slot out of its list.
func (s *slots) unlink(l *list, slot uint32, e *entry) {
	s.join(l, e.newer, e.older)
	if l.hand == slot {
		l.hand = e.newer
	}
	if l.head == slot {
		l.known = false
	}
}

// sweepLimit is how many visited slots the hand of sieve passes at a time: when all of twenty
// million were read, one victim must not take seconds to find.
const sweepLimit = 4096

// sweep moves the hand of a list, which is not empty, to its next victim.
func (s *slots) sweep(l *list) uint32 {
	if l.hand == noSlot {
		l.hand = l.oldest
	}
	for range sweepLimit {
		e := s.at(l.hand)
		if !e.is(visited) {
			break
		}
		e.mark &^= visited
		if l.hand = e.newer; l.hand == noSlot {
			l.hand = l.oldest
		}
	}
	return l.hand
}

// sizeCode rounds a size down to one of four per octave, from 256 bytes up: by a fifth at most,
// and so is the weight that is told from it; GDSF keeps sizes as they are.
func sizeCode(bytes int64) uint8 {
	bytes = max(bytes, 256)
	octave := bits.Len64(uint64(bytes)) - 1
	code := (octave-8)*4 + int(bytes>>(octave-2)&3)
	return uint8(min(code, sizeCodes-1))
}

// sizeOf returns the bytes at the lower end of what a size code stands for, which are exact
// for powers of two.
func sizeOf(code uint8) float64 {
	return float64(int64(4+code%4) << (code/4 + 6))
}
