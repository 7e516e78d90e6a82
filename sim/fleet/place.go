package fleet

import (
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/replicas"
)

const (
	// frontierAge is how old the frontier of a node may be that others know.
	frontierAge = time.Second
	// hopeless is for how long it is believed that nobody wants a block, of one that is worth no
	// more: to ask each node anew for each block would take longer than all the rest.
	hopeless = time.Second / 4
)

// hope is the last offer that nobody wanted.
type hope struct {
	weight float32
	until  time.Duration
}

// place returns the node that had best keep a block which n will not; -1 when nobody wants it.
func (f *Fleet) place(n *node, o replicas.Offer) int {
	if f.now < f.hope.until && o.Weight <= f.hope.weight {
		return -1
	}
	at := o.Choose(len(f.nodes), func(i int) (replicas.Taker, bool) {
		q := f.nodes[i]
		if q == n || q.state != serving {
			return replicas.Taker{}, false
		}
		return replicas.Taker{Far: q.zone != n.zone, Frontier: f.frontier(q), Placed: q.placed, Seed: q.seed}, true
	})
	if at < 0 {
		f.hope = hope{o.Weight, f.now + hopeless}
		return -1
	}
	f.nodes[at].placed += int64(o.SizeBytes)
	return at
}

// frontier returns what others know of what q would give up next.
func (f *Fleet) frontier(q *node) shoal.Frontier {
	if f.now-q.told >= frontierAge {
		q.policy.Advance(f.tick)
		q.frontier.Surplus, q.frontier.Last = q.policy.Frontier()
		q.frontier.FreeBytes = max(0, f.cfg.Capacity-q.used+q.asked)
		q.told, q.placed = f.now, 0
	}
	return q.frontier
}
