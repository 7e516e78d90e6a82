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

// place returns the member that had best keep a block which p will not (policy.md §2.3,
// design.md §3 step 7): one with free room, of p's zone rather than another; else one
// whose coldest block is worth less by a margin, likewise. Of several about as good the
// one that was sent the least, counting what was placed there since it last told its
// frontier, so that they take turns. Nil when nobody wants the block.
func (d *Directory) place(now Tick, p *member, o Offer) *member {
	var best [4]offeree
	for _, q := range d.members {
		if q == p || !d.fresh(now, q) || q.state != shoal.Serving {
			continue
		}
		far := 0
		if q.zone != p.zone {
			far = 1
		}
		coldest := min(q.front.frontier.Surplus, q.front.frontier.Last)
		placed := q.front.placed(now)
		switch free := q.front.frontier.FreeBytes - placed; {
		case free >= int64(o.SizeBytes):
			best[far].add(q, float64(free), placed)
		case o.Weight > margin*coldest && placed < placeBytes:
			best[2+far].add(q, 1/float64(coldest), placed)
		}
	}
	for _, b := range best {
		if b.member != nil {
			b.member.front.sent += int64(o.SizeBytes)
			return b.member
		}
	}
	return nil
}

// offeree is the best so far of members of one sort.
type offeree struct {
	member *member
	worth  float64 // the larger the better
	placed int64   // bytes it was sent lately
}

// add takes p if it is better by half, or about as good and was sent less.
func (b *offeree) add(p *member, worth float64, placed int64) {
	switch {
	case b.member == nil || worth > 1.5*b.worth:
	case 1.5*worth < b.worth:
		return
	case placed > b.placed || placed == b.placed && p.seed > b.member.seed:
		return
	}
	*b = offeree{p, worth, placed}
}
