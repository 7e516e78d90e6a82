package replicas

import (
	"math"
	"math/bits"
)

// hints counts to whom readers were sent lately, so that they are spread (design.md §3): of
// a block no more than a few concurrent readers to one holder, and over all blocks to those
// that got the fewest. Readers do not say when they are done; one that was sent more than
// two seconds ago is taken to be.
type hints struct {
	second Tick              // the last one that began
	now    [hintSlots]uint16 // readers sent in it, by block and holder; two pairs may share a count
	before [hintSlots]uint16 // in the one before
}

const hintSlots = 1 << 14

func hintSlot(hash uint64, number uint16) int { return int(mix(hash^uint64(number)<<48) % hintSlots) }

// turn begins a new second if it is time.
func (h *hints) turn(now Tick) {
	second := now / 1000
	switch second {
	case h.second:
		return
	case h.second + 1:
		h.before = h.now
	default:
		h.before = [hintSlots]uint16{}
	}
	h.now, h.second = [hintSlots]uint16{}, second
}

// readers returns how many readers of the block were sent to the member lately.
func (h *hints) readers(hash uint64, number uint16) int {
	i := hintSlot(hash, number)
	return int(h.now[i]) + int(h.before[i])
}

// sent counts one more reader of the block sent to p.
func (d *Directory) sent(now Tick, hash uint64, p *member) {
	if n := &d.hints.now[hintSlot(hash, p.number)]; *n < 1<<16-1 {
		*n++
	}
	p.load = p.loadAt(now) + 1
	p.loaded = now
}

// loadAt returns how many readers were sent to p lately: each counts half as much after
// every second.
func (p *member) loadAt(now Tick) float32 {
	if p.load < 1.0/1024 || now <= p.loaded {
		return p.load
	}
	return p.load * float32(math.Exp2(-float64(now-p.loaded)/1000))
}

// loadStep makes steps of load: members are about equally loaded until one has twice as
// much to do as the other.
func loadStep(load float32) int { return bits.Len(uint(load) / 4) }
