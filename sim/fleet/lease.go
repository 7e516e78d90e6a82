package fleet

import (
	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/replicas"
)

// Holders returns how many nodes that are alive hold a block.
func (f *Fleet) Holders(block uint32) (n int) {
	f.room = f.holders[block].All(block, f.more, f.room[:0])
	for _, number := range f.room {
		if f.nodes[number-1].state != crashed {
			n++
		}
	}
	return n
}

// Follow is Find for a reader that is sent to a node which is itself receiving the block
// (design.md §3, step 4). What it keeps is a replica beside that one, and beside those that
// there are.
func (f *Fleet) Follow(node int, block uint32, from int) Found {
	n, q, b := f.nodes[node], f.nodes[from], f.cfg.Of(block)
	n.policy.Advance(f.tick)
	n.policy.Miss(b.Group, hash(block))
	f.stats.Lookups++
	others, near := 1, 0
	if q.zone == n.zone {
		near++
	}
	f.room = f.holders[block].All(block, f.more, f.room[:0])
	for _, number := range f.room {
		if h := f.nodes[number-1]; h.state != crashed && h.zone == n.zone {
			near++
			break // that is enough
		}
	}
	class := replicas.ClassBeside(others, near)
	_, ok := f.admit(n, b, class)
	return Found{
		Tier: shoal.TierPeer, Far: q.zone != n.zone, From: from, Class: class,
		Keep: ok && n.state == serving, Place: -1,
	}
}
