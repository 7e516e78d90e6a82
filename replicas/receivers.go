package replicas

import "slices"

// receivers remember which nodes were sent to a source of a block lately, or to the UFS, so that
// later readers can be sent to them and follow the bytes as they arrive there (cut-through at
// every hop, design.md §3). Of a block they know the last few. A node that was sent more than ten
// seconds ago is taken to have nothing more than its announcements say; one that has no room for
// the block, a second after. The zero value is ready.
//
// No two nodes wait for each other: a node is sent to a receiver only with its first question
// for the block, and only if nobody was sent to it before. So it follows one that came before it,
// and whoever asks again goes to a holder or to the filler. Where two homes have answered, or
// what a home knows is old, the reader's patience ends the wait.
type receivers struct {
	sets [receiverSets][receiversOf]receiver
}

const (
	receiverSets = 1 << 12
	receiversOf  = 8      // that are remembered of a set of blocks; most often of one block
	receivesFor  = 10_000 // ticks, with what it keeps
	passesFor    = 1_000  // with what it does not keep
)

// A receiver is a node to which a block comes.
type receiver struct {
	block   uint32 // upper half of its hash
	number  uint16 // of the node; 0: there is none
	readers uint16 // that were sent there
	until   Tick
}

func (r *receivers) set(hash uint64) *[receiversOf]receiver { return &r.sets[hash>>16%receiverSets] }

func (v *receiver) is(hash uint64, now Tick) bool {
	return v.number != 0 && v.block == uint32(hash>>32) && now < v.until
}

// add remembers that the block with a hash comes to node number, in place of the one whose time is
// over first.
func (r *receivers) add(hash uint64, number uint16, now Tick, keeps bool) {
	until := now + passesFor
	if keeps {
		until = now + receivesFor
	}
	set := r.set(hash)
	first := 0
	for i := range set {
		if set[i].number == number && set[i].block == uint32(hash>>32) {
			set[i].until = until
			return
		}
		if set[i].until < set[first].until {
			first = i
		}
	}
	set[first] = receiver{block: uint32(hash >> 32), number: number, until: until}
}

// of appends to dst those to whom the block comes.
func (r *receivers) of(hash uint64, now Tick, dst []*receiver) []*receiver {
	set := r.set(hash)
	for i := range set {
		if set[i].is(hash, now) {
			dst = append(dst, &set[i])
		}
	}
	return dst
}

// drop forgets that the block comes to a node.
func (r *receivers) drop(hash uint64, number uint16) {
	set := r.set(hash)
	for i := range set {
		if set[i].number == number && set[i].block == uint32(hash>>32) {
			set[i] = receiver{}
		}
	}
}

// A relay is what a home knows of those to whom a block comes.
type relay struct {
	ranked           // the best of them that the one who asks may be sent to; none when member is nil
	at     *receiver // what is remembered of it; nil for a filler that has been at it for long
	first  bool      // the one who asks is going to be one of them
}

// receiving ranks those to whom the block comes: the filler, if there is one, and the receivers, if
// that makes no two nodes wait for each other.
func (d *Directory) receiving(q *query, held []uint16, filler *member) (r relay) {
	var few [receiversOf]*receiver
	all := d.receivers.of(q.hash, d.now, few[:0])
	mine := func(v *receiver) bool { return v.number == q.from.number }
	r.first = !q.peek && len(q.avoid) == 0 && !slices.Contains(held, q.from.number) &&
		!slices.ContainsFunc(all, mine) && d.hints.Readers(q.hash, q.from.number) == 0
	for _, v := range all {
		p := d.numbers[v.number]
		if !q.usable(p) || slices.Contains(held, v.number) || !r.first && p != filler {
			continue
		}
		if c := d.rank(q, p, v.readers >= MostRelayed); r.member == nil || c.before(r.ranked) {
			r.ranked, r.at = c, v
		}
		if p == filler {
			filler = nil
		}
	}
	if filler != nil {
		if c := d.rank(q, filler, true); r.member == nil || c.before(r.ranked) {
			r.ranked, r.at = c, nil
		}
	}
	return r
}

// relieves reports whether the one who asks is sent to r's node rather than to the best holder: when
// that one passes the block on already, is of another zone, or has more to do.
func (d *Directory) relieves(q *query, r relay, holder ranked) bool {
	switch {
	case r.member == nil:
		return false
	case r.Full == holder.Full && r.Near == holder.Near && d.hints.Readers(q.hash, holder.member.number) >= MostRelayed:
		return !r.Full
	}
	r.Score, holder.Score = 0, 0 // all else equal, a holder has the whole block
	return r.Before(holder.Source)
}
