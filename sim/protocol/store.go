package protocol

import (
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/replicas"
)

// replica is one block in a node's store. Of what it was told nothing survives a restart.
type replica struct {
	standing shoal.Standing
	let      bool        // its home said that it is the last, and may go
	resigned bool        // the node would drop it, and has asked
	as       shoal.Class // the least it was worth since then
}

// Store puts a block into a node's store, which announces it, and makes room for it.
func (m *Mesh) Store(id shoal.NodeID, key shoal.Key) { m.store(m.node(id), key, false) }

// store has a node which did not have the lease to fill the block take its replica for a
// surplus one, whether that is so or not: its home is to tell it.
func (m *Mesh) store(n *node, key shoal.Key, leased bool) {
	standing := shoal.Standing{Class: shoal.Surplus, Keeper: true}
	if leased {
		standing.Class = shoal.Last
	}
	n.store[key] = &replica{standing: standing}
	m.send(n.core.Add(m.now, key, sumOf(key), m.limits(key), leased))
	m.makeRoom(n)
}

// Evict makes a node drop a block: at once if it may, else when others have become keepers.
func (m *Mesh) Evict(id shoal.NodeID, key shoal.Key) {
	n := m.node(id)
	r := n.store[key]
	if r == nil || r.resigned {
		return
	}
	if !r.standing.Keeper {
		m.drop(n, key)
		return
	}
	r.resigned, r.as = true, r.standing.Class
	m.stats.Resigned++
	m.log("%s resigns from %v, %v", id, key.Index, r.as)
	n.core.Resign(m.now, key)
}

// Lose makes a block go from a node's store without a word.
func (m *Mesh) Lose(id shoal.NodeID, key shoal.Key) {
	delete(m.node(id).store, key)
	m.gone[key] = true
}

// makeRoom evicts blocks, chosen at random, until those that stay have room.
func (m *Mesh) makeRoom(n *node) {
	for m.cfg.Capacity > 0 {
		var stay []shoal.Key
		for _, key := range n.keys() {
			if !n.store[key].resigned {
				stay = append(stay, key)
			}
		}
		if len(stay) <= m.cfg.Capacity {
			return
		}
		m.Evict(n.member.ID, stay[m.rng.IntN(len(stay))])
	}
}

// drop removes a block from n's store alone, which must not lose it to the mesh: unless n
// was told that it may, or a node that was to keep it has died.
func (m *Mesh) drop(n *node, key shoal.Key) {
	r := n.store[key]
	delete(n.store, key)
	m.stats.Dropped++
	m.log("%s drops %v, %v", n.member.ID, key.Index, r.standing.Class)
	switch {
	case r.standing.Keeper:
		m.fault("%s drops %v, which it is to keep", n.member.ID, key.Index)
	case len(m.holders(key)) > 0:
	case r.let:
		m.stats.LastDropped++
	case m.gone[key]:
		m.stats.LastLost++
	default:
		m.fault("%s drops %v, which nobody else has", n.member.ID, key.Index)
	}
	idle := time.Duration(1+m.rng.IntN(1000)) * time.Second
	m.send(n.core.Drop(m.now, key, idle))
}

// carryOut does for a Core what a Runner does with the orders of homes. The answer goes out
// a moment later; the store may change meanwhile.
func (m *Mesh) carryOut(n *node) {
	orders := n.core.TakeOrders()
	if orders == nil {
		return
	}
	for i, o := range orders {
		orders[i].Held = m.stand(n, o)
	}
	boot := n.member.Boot
	m.at(1, func() {
		if !n.dead && n.member.Boot == boot {
			m.send(n.core.EndOrders(m.now, orders))
		}
	})
}

// stand carries out one order.
func (m *Mesh) stand(n *node, o replicas.Order) bool {
	r := n.store[o.Key]
	m.stats.Orders++
	m.log("%s is told of %v: %v keeper=%v held=%v", n.member.ID, o.Key.Index, o.Standing.Class, o.Standing.Keeper, r != nil)
	if r == nil {
		return false
	}
	if o.Credit > 0 {
		m.stats.Credits++
	}
	was := r.as
	r.standing = o.Standing
	r.as = max(r.as, o.Standing.Class)
	if o.Standing.Keeper {
		r.let, m.gone[o.Key] = false, false
		return true
	}
	m.checkKept(n, o.Key, r)
	if r.resigned {
		r.resigned = false
		if r.standing.Class >= was {
			m.drop(n, o.Key)
		} else {
			m.stats.Stayed++ // it is worth more than when n would have dropped it
			m.makeRoom(n)
		}
	}
	return true
}

// checkKept checks that a block of which n was just told that it need not keep it has
// another keeper; or if n was told that it is the last, that it is.
func (m *Mesh) checkKept(n *node, key shoal.Key, r *replica) {
	others := 0
	for _, other := range m.nodes {
		if c := other.store[key]; c != nil && !other.dead && other != n {
			if c.standing.Keeper {
				return
			}
			if !c.let {
				others++
			}
		}
	}
	r.let = r.standing.Class == shoal.Last && others == 0
	switch {
	case m.gone[key], r.let:
	case r.standing.Class == shoal.Last:
		m.fault("%s is told that it is the last to hold %v, but %d others do and may drop it", n.member.ID, key.Index, others)
	default:
		m.fault("nobody keeps %v", key.Index)
	}
}

// limits returns how many replicas of a block there should be.
func (m *Mesh) limits(key shoal.Key) replicas.Limits {
	if m.cfg.Limits == nil {
		return replicas.Limits{}
	}
	return m.cfg.Limits(key)
}
