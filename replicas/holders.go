package replicas

import "slices"

// Holders are the nodes that hold one block, by number, and how many replicas of it are
// wanted. Keepers come first; the others are in the order in which they came. It takes 8
// bytes: holders beyond three are in a More, under the block's slot. Whoever keeps many says
// with each call which slot it is, and brings the More of all.
type Holders struct {
	few   [3]uint16 // 0 for none
	flags uint16
}

// More has holders beyond those that fit Holders, by slot.
type More map[uint32][]uint16

const (
	flagUsed   = 1 << 0 // the entry's that has the Holders
	flagLeased = 1 << 1 // likewise
	flagMore   = 1 << 2 // there are further holders

	shiftKeepers = 3 // 2 bits: how many of the holders, which are the first, are keepers
	shiftMin     = 5 // 2 bits: Limits.Min
	shiftMax     = 7 // 3 bits: Limits.Max
)

// Keepers returns how many of the holders are keepers.
func (h *Holders) Keepers() int { return int(h.flags >> shiftKeepers & 3) }

// SetKeepers makes the first n holders, and at most MostKeepers, keepers.
func (h *Holders) SetKeepers(n int) {
	h.flags = h.flags&^(3<<shiftKeepers) | uint16(n)<<shiftKeepers
}

// Limits returns how many replicas of the block are wanted.
func (h *Holders) Limits() Limits {
	return Limits{Min: uint8(h.flags >> shiftMin & 3), Max: uint8(h.flags >> shiftMax & 7)}
}

// SetLimits says how many replicas of the block are wanted.
func (h *Holders) SetLimits(l Limits) {
	l = l.clip()
	h.flags = h.flags&^(3<<shiftMin|7<<shiftMax) | uint16(l.Min)<<shiftMin | uint16(l.Max)<<shiftMax
}

// First returns the first holder, 0 if there is none.
func (h *Holders) First() uint16 { return h.few[0] }

// Empty reports whether there are none.
func (h *Holders) Empty() bool { return h.few == [3]uint16{} && h.flags&flagMore == 0 }

// Add records node n, which is not 0, as the last holder and reports whether it was none.
func (h *Holders) Add(slot uint32, more More, n uint16) bool {
	gap := -1
	for i, was := range h.few {
		if was == n {
			return false
		}
		if was == 0 && gap < 0 {
			gap = i
		}
	}
	if h.flags&flagMore != 0 && slices.Contains(more[slot], n) {
		return false
	}
	if gap >= 0 {
		h.few[gap] = n
		return true
	}
	more[slot] = append(more[slot], n)
	h.flags |= flagMore
	return true
}

// Place makes node n, if it is a holder, the one at index at.
func (h *Holders) Place(slot uint32, more More, n uint16, at int) {
	var few [16]uint16
	all := h.All(slot, more, few[:0])
	from := slices.Index(all, n)
	if from < 0 || from == at {
		return
	}
	all = slices.Insert(slices.Delete(all, from, from+1), at, n)
	copy(h.few[:], all)
	if len(all) > len(h.few) {
		copy(more[slot], all[len(h.few):])
	}
}

// Drop forgets node n as a holder and reports whether it was one. The others stay in their
// order, and what they are.
func (h *Holders) Drop(slot uint32, more More, n uint16) bool {
	all := h.few[:]
	if h.flags&flagMore != 0 {
		var few [16]uint16
		all = h.All(slot, more, few[:0])
	}
	at := slices.Index(all, n)
	if at < 0 || n == 0 {
		return false
	}
	if k := h.Keepers(); at < k {
		h.SetKeepers(k - 1)
	}
	all = slices.Delete(all, at, at+1)
	if h.flags&flagMore == 0 {
		return true // Delete has filled up with zeros
	}
	copy(h.few[:], all)
	if len(all) <= len(h.few) {
		h.forget(slot, more)
	} else {
		more[slot] = append(more[slot][:0], all[len(h.few):]...)
	}
	return true
}

// All appends the holders to dst, keepers first.
func (h *Holders) All(slot uint32, more More, dst []uint16) []uint16 {
	for _, n := range h.few {
		if n != 0 {
			dst = append(dst, n)
		}
	}
	if h.flags&flagMore != 0 {
		dst = append(dst, more[slot]...)
	}
	return dst
}

// forget gives back what the holders beyond three take.
func (h *Holders) forget(slot uint32, more More) {
	if h.flags&flagMore != 0 {
		delete(more, slot)
		h.flags &^= flagMore
	}
}
