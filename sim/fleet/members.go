package fleet

import (
	"slices"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore/policy"
	"github.com/shoal-mesh/shoal/replicas"
)

// Crash silences a node at once. Its cache stays on its disk, and its blocks' homes name it as
// a holder until Forget.
func (f *Fleet) Crash(node int) {
	n := f.nodes[node]
	if n.state == crashed {
		return
	}
	n.state = crashed
	for _, c := range n.table.cells {
		if c.block != 0 && f.alone(c.block-1) {
			f.stats.Crashed++
		}
	}
}

// Forget has homes learn that a node that crashed is dead: it holds nothing any more. One that
// is back by now stays.
func (f *Fleet) Forget(node int) {
	n := f.nodes[node]
	if n.state != crashed {
		return
	}
	for _, c := range n.table.cells {
		if c.block != 0 {
			f.part(n, c.block-1, f.cfg.Of(c.block-1))
		}
	}
}

// Restart brings a node back that crashed or drained, with what is in its cache, or with an
// empty one.
func (f *Fleet) Restart(node int, empty bool) error {
	n := f.nodes[node]
	n.state = serving
	if empty {
		for _, c := range n.table.cells {
			if c.block != 0 {
				f.part(n, c.block-1, f.cfg.Of(c.block-1)) // if they were not forgotten yet
			}
		}
		return n.clear(f)
	}
	for i := range n.table.cells {
		c := &n.table.cells[i]
		if c.block == 0 {
			continue
		}
		block := c.block - 1
		b := f.cfg.Of(block)
		n.policy.Advance(f.tick)
		n.stand(c, b, shoal.Untold())
		f.join(n, block, b)
	}
	for g := range f.cfg.Groups {
		f.fit(n, policy.Group(g), 0) // what it had asked for it has to ask for again
	}
	return nil
}

// Drain has a node leave in order: it stores nothing more, and last replicas of its cache move
// to nodes that want them, at once.
func (f *Fleet) Drain(node int) {
	n := f.nodes[node]
	n.state = draining
	n.policy.Advance(f.tick)
	for _, c := range n.table.cells {
		if c.block == 0 {
			continue
		}
		block := c.block - 1
		b := f.cfg.Of(block)
		f.room = f.holders[block].All(block, f.more, f.room[:0])
		stays := slices.ContainsFunc(f.room, func(number uint16) bool { return f.nodes[number-1].state == serving })
		if len(f.room) > 1 && f.rules(b.Group).Classes {
			f.tell(item{kind: changed, block: block}) // it counts as gone
		}
		if stays {
			continue
		}
		at := f.place(n, replicas.Offer{Weight: n.policy.Weight(c.slot()), SizeBytes: b.Bytes})
		if at < 0 || !f.admits(f.nodes[at], block) {
			continue
		}
		f.Serve(node, block, b.Bytes)
		if f.store(f.nodes[at], block, shoal.Last) {
			f.stats.Placed++
		}
	}
}
