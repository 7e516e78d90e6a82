package replicas

import (
	"github.com/shoal-mesh/shoal"
)

// An Offer says what a reader would have another node keep.
type Offer struct {
	Weight    float32 // what a byte of it saves per second as the only replica (policy.md §5.1)
	SizeBytes uint32  // of a block
}

const (
	// margin is how much more a block must be worth than what it would push out, so that
	// equal blocks do not chase one another round the mesh (policy.md §5.1: epsilon).
	margin = 1.05
	// placeBytes is how much a home sends to a node that must give something up for it,
	// until the node tells what its frontier has become.
	placeBytes = 64 << 20
)

// Coldest returns the node that would best keep a block that o offers, and which this node
// will not: see Directory.place. ok is false when nobody wants it.
func (c *Core) Coldest(now Tick, o Offer) (id shoal.NodeID, ok bool) {
	p := c.Directory.byID[c.self]
	if p == nil {
		return "", false
	}
	q := c.Directory.place(now, p, o)
	if q == nil {
		return "", false
	}
	return q.id, true
}

// place returns the member that had best keep a block which p will not: see Offer.Choose. Nil
// when nobody wants it.
func (d *Directory) place(now Tick, p *member, o Offer) *member {
	i := o.Choose(len(d.members), func(i int) (Taker, bool) {
		q := d.members[i]
		if q == p || !d.fresh(now, q) || q.state != shoal.Serving {
			return Taker{}, false
		}
		return Taker{Far: q.zone != p.zone, Frontier: q.front.frontier, Placed: q.front.placed(now), Seed: q.seed}, true
	})
	if i < 0 {
		return nil
	}
	q := d.members[i]
	q.front.sent += int64(o.SizeBytes)
	return q
}

// A Taker is a node that may keep a block.
type Taker struct {
	Far      bool // it is of another zone than who offers
	Frontier shoal.Frontier
	Placed   int64  // bytes it was sent since it told its frontier
	Seed     uint64 // hash of its ID
}

// Choose returns which of n nodes had best keep the block (policy.md §2.3, design.md §3 step
// 7): one with free room, of the zone rather than another; else one whose coldest block is
// worth less by a margin, likewise. Of several about as good the one that was sent the least,
// counting what was placed there since it last told its frontier, so that they take turns. It
// is -1 when nobody wants the block. at tells of a node; false: not that one.
func (o Offer) Choose(n int, at func(i int) (Taker, bool)) int {
	var best [4]taken
	for i := range n {
		t, ok := at(i)
		if !ok {
			continue
		}
		far := 0
		if t.Far {
			far = 1
		}
		coldest := min(t.Frontier.Surplus, t.Frontier.Last)
		switch free := t.Frontier.FreeBytes - t.Placed; {
		case free >= int64(o.SizeBytes):
			best[far].add(i, t, float64(free))
		case o.Weight > margin*coldest && t.Placed < placeBytes:
			best[2+far].add(i, t, 1/float64(coldest))
		}
	}
	for _, b := range best {
		if b.some {
			return b.index
		}
	}
	return -1
}

// taken is the best so far of nodes of one sort.
type taken struct {
	some  bool
	index int
	worth float64 // the larger the better
	Taker
}

// add takes t if it is better by half, or about as good and was sent less.
func (b *taken) add(i int, t Taker, worth float64) {
	switch {
	case !b.some || worth > 1.5*b.worth:
	case 1.5*worth < b.worth:
		return
	case t.Placed > b.Placed || t.Placed == b.Placed && t.Seed > b.Seed:
		return
	}
	*b = taken{true, i, worth, t}
}
