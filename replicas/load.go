package replicas

import (
	"math"
	"math/bits"
)

// A Source is a holder of a block as a reader may be sent to it.
type Source struct {
	Full  bool   // enough readers of the block were sent there lately
	Near  bool   // it is of the reader's zone
	Load  int    // Load.Step of the holder
	Score uint64 // differs from reader to reader and from block to block
}

const (
	// MostReaders is how many readers of a block are sent to one holder at a time while there is
	// somebody else (design.md §3).
	MostReaders = 4
	// MostRelayed is how many are sent to a node that is receiving the block itself: what it
	// takes in it passes on once.
	MostRelayed = 1
)

// Before reports whether a reader is sent to s rather than to o: first those that not too many
// readers of the block were just sent to, those of the reader's zone, those with less to do, and
// among equals in an order such that neither a reader nor a popular block burdens one holder
// alone.
func (s Source) Before(o Source) bool {
	if s.Full != o.Full {
		return o.Full
	}
	if s.Near != o.Near {
		return s.Near
	}
	if s.Load != o.Load {
		return s.Load < o.Load
	}
	return s.Score > o.Score
}

// Hints count to whom readers were sent lately, so that they are spread (design.md §3): of
// a block no more than a few concurrent readers to one holder, and over all blocks to those
// that got the fewest. Readers do not say when they are done; one that was sent more than
// two seconds ago is taken to be. The zero value is ready.
type Hints struct {
	second Tick              // the last one that began
	now    [hintSlots]uint16 // readers sent in it, by block and holder; two pairs may share a count
	before [hintSlots]uint16 // in the one before
}

const hintSlots = 1 << 14

func hintSlot(hash uint64, number uint16) int { return int(mix(hash^uint64(number)<<48) % hintSlots) }

// Turn begins a new second if it is time.
func (h *Hints) Turn(now Tick) {
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

// Readers returns how many readers of the block with a hash were sent to node number lately.
func (h *Hints) Readers(hash uint64, number uint16) int {
	i := hintSlot(hash, number)
	return int(h.now[i]) + int(h.before[i])
}

// Sent counts one more.
func (h *Hints) Sent(hash uint64, number uint16) {
	if n := &h.now[hintSlot(hash, number)]; *n < 1<<16-1 {
		*n++
	}
}

// A Load is how many readers were sent to a node lately: each counts half as much after every
// second. The zero value is none.
type Load struct {
	readers float32 // as of at
	at      Tick
}

// Add counts one more reader.
func (l *Load) Add(now Tick) { *l = Load{l.as(now) + 1, now} }

// Step returns the load in steps: nodes are about equally loaded until one has twice as much to
// do as the other.
func (l Load) Step(now Tick) int { return bits.Len(uint(l.as(now)) / 4) }

func (l Load) as(now Tick) float32 {
	if l.readers < 1.0/1024 || now <= l.at {
		return l.readers
	}
	return l.readers * float32(math.Exp2(-float64(now-l.at)/1000))
}

// sent counts one more reader of the block sent to p.
func (d *Directory) sent(now Tick, hash uint64, p *member) {
	d.hints.Sent(hash, p.number)
	p.load.Add(now)
}
