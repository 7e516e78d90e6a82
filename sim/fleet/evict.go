package fleet

import (
	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore/policy"
)

// store puts a block into n's cache, for which others may have to go, and reports whether there
// was room. Of a block that is there already it is read.
func (f *Fleet) store(n *node, block uint32, class shoal.Class) bool {
	if f.Hit(int(n.number)-1, block) {
		return true
	}
	b := f.cfg.Of(block)
	if !f.fit(n, b.Group, int64(b.Bytes)) {
		return false
	}
	n.insert(block, b, class)
	n.counts.WrittenBytes += int64(b.Bytes)
	f.join(n, block, b)
	return true
}

// fit has n give up what it must for so many more bytes of a group, and reports whether they
// fit. What homes have been asked for counts as gone, as far as there is room for it besides:
// else who stores waits for the first answers.
func (f *Fleet) fit(n *node, g policy.Group, more int64) bool {
	for {
		for quota := f.cfg.Groups[g].Quota; quota > 0 && n.groups[g]-n.askedOf[g]+more > quota; {
			if slot, ok := n.policy.VictimOf(g); !f.giveUp(n, slot, ok) {
				return false
			}
		}
		for n.used-n.asked+more > f.cfg.Capacity {
			if slot, ok := f.victim(n); !f.giveUp(n, slot, ok) {
				return false
			}
		}
		if n.asked == 0 || n.used+more <= f.cfg.Limit {
			return true
		}
		f.relieve(n, n.firstAsked().block-1)
	}
}

// victim chooses the next victim; false: there is none.
func (f *Fleet) victim(n *node) (slot uint32, ok bool) {
	switch {
	case f.cfg.Baseline != Random:
		return n.policy.Victim()
	case n.table.n == 0:
		return 0, false
	}
	for {
		slot := uint32(f.rng.Uint64() >> 32 * uint64(len(n.blocks)) >> 32)
		if c := n.table.get(n.blocks[slot]); c != nil && c.slot() == slot {
			return slot, true
		}
	}
}

// giveUp evicts a victim, if there is one, or has its home asked whether it may go.
func (f *Fleet) giveUp(n *node, slot uint32, ok bool) bool {
	if !ok {
		return false
	}
	n.gone++
	c := n.table.get(n.blocks[slot])
	b := f.cfg.Of(n.blocks[slot])
	if f.rules(b.Group).MustAsk(c.mark().keeper()) {
		f.resign(n, c, b)
	} else {
		f.evict(n, c, b)
	}
	return true
}

// evict drops a replica, and tells its home.
func (f *Fleet) evict(n *node, c *cell, b Block) {
	block, m, idle := c.block-1, c.mark(), n.policy.Idle(c.slot())
	f.age.add(idle)
	n.counts.Evicted++
	n.remove(c, b)
	f.part(n, block, b)
	switch {
	case !f.alone(block):
		f.credit(block, idle)
	case m.class() == shoal.Last || !f.rules(b.Group).Classes:
		f.stats.Last++
	case !f.holders[block].Empty():
		f.stats.Crashed++ // its keeper has died, and nobody knows yet
	default:
		f.stats.LastLost++
	}
}

// alone reports whether no node that is alive holds a block.
func (f *Fleet) alone(block uint32) bool {
	h := &f.holders[block]
	if h.Empty() {
		return true
	}
	f.room = h.All(block, f.more, f.room[:0])
	for _, number := range f.room {
		if f.nodes[number-1].state != crashed {
			return false
		}
	}
	return true
}

// resign asks the home of a block whether n's replica may go.
func (f *Fleet) resign(n *node, c *cell, b Block) {
	f.stats.Resigned++
	n.ask(c, b)
	f.tell(item{kind: resigned, node: n.number, block: c.block - 1})
}

// relieve answers who resigned, and has n give up something else if the answer is that its replica
// had better stay.
func (f *Fleet) relieve(n *node, block uint32) {
	if n.hasAsked(block) {
		f.answer(n, n.table.get(block))
		f.fit(n, f.cfg.Of(block).Group, 0) // its room was counted on
	}
}

// answer tells who resigned what it may do: another holder keeps the block from now on, or n's is
// the last replica, and may go.
func (f *Fleet) answer(n *node, c *cell) {
	block := c.block - 1
	if f.choose(block, n) {
		f.stats.Moved++
		f.sync(block)
		return
	}
	f.holders[block].SetKeepers(0)
	f.stand(n, c, f.cfg.Of(block), shoal.Standing{Class: shoal.Last})
}

// credit tells the keeper of a block that a replica has gone which had not been read for idle.
func (f *Fleet) credit(block uint32, idle policy.Tick) {
	if f.holders[block].Keepers() == 0 {
		return
	}
	f.room = f.holders[block].All(block, f.more, f.room[:0])
	keeper := f.nodes[f.room[0]-1]
	if c := keeper.table.get(block); c != nil {
		keeper.policy.Advance(f.tick)
		keeper.policy.Credit(c.slot(), idle)
	}
}
