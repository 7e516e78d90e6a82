package fleet

import (
	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/replicas"
)

// Holders appends to dst the nodes that are alive and hold a block, from a place on that depends
// on the node that asks.
func (f *Fleet) Holders(node int, block uint32, dst []int) []int {
	f.room = f.holders[block].All(block, f.more, f.room[:0])
	if len(f.room) == 0 {
		return dst
	}
	first := (hash(block) ^ f.nodes[node].seed) % uint64(len(f.room))
	for i := range f.room {
		number := f.room[(int(first)+i)%len(f.room)]
		if f.nodes[number-1].state != crashed {
			dst = append(dst, int(number)-1)
		}
	}
	return dst
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
