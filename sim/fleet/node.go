package fleet

import (
	"slices"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore/policy"
	"github.com/shoal-mesh/shoal/replicas"
)

// A node is one cache.
type node struct {
	number uint16 // as Holders call it: from 1
	zone   int
	seed   uint64
	state  state
	policy *policy.Weighted

	table  table
	blocks []uint32 // by slot
	free   []uint32 // slots not in use
	used   int64    // bytes of all blocks
	groups []int64  // the same by group
	asks   []uint32 // blocks whose homes have been asked, in order; some have been answered
	asked  int64    // of used: bytes of blocks that go as soon as their homes agree
	gone   int      // blocks given up, or asked for, since Expect

	askedOf  []int64 // the same by group
	load     replicas.Load
	frontier shoal.Frontier
	told     time.Duration // when frontier was taken
	placed   int64         // bytes placed here since
	counts   NodeStats
}

// A state is what a node does.
type state uint8

const (
	serving  state = iota
	draining       // it serves, but stores nothing more
	crashed        // it is silent; its cache is on its disk
)

// A mark is what a node was told of one of its replicas, and what it has asked.
type mark uint8

const (
	markClass  mark = 3 // shoal.Class
	markKeeper mark = 4
	markAsked  mark = 8 // its home has been asked whether it may go

	markBits = 4
)

func (m mark) class() shoal.Class { return shoal.Class(m & markClass) }
func (m mark) keeper() bool       { return m&markKeeper != 0 }

func markOf(s shoal.Standing) mark {
	m := mark(s.Class)
	if s.Keeper {
		m |= markKeeper
	}
	return m
}

func newNode(f *Fleet, i, slots int) (*node, error) {
	n := &node{
		number: uint16(i + 1), zone: i * f.cfg.Zones / f.cfg.Nodes, seed: hash(^uint32(i)),
		table: newTable(slots), blocks: make([]uint32, 0, slots),
	}
	return n, n.clear(f)
}

// clear makes the cache an empty one, with a policy that knows nothing.
func (n *node) clear(f *Fleet) (err error) {
	if n.policy, err = policy.NewWeighted(f.cfg.Policy); err != nil {
		return err
	}
	for g := range f.cfg.Groups {
		rules := f.cfg.Groups[g].Rules
		if f.cfg.Baseline != NoBaseline {
			rules.Base = policy.BaseLRU // of blocks that are not touched: in the order in which they came
		}
		n.policy.SetRules(policy.Group(g), rules)
	}
	clear(n.table.cells)
	n.table.n = 0
	n.blocks, n.free = n.blocks[:0], n.free[:0]
	n.groups, n.askedOf = make([]int64, len(f.cfg.Groups)), make([]int64, len(f.cfg.Groups))
	n.used, n.asked, n.told, n.placed, n.asks = 0, 0, -time.Hour, 0, n.asks[:0]
	return nil
}

// look looks at what is known of a block that may be there: see Fleet.Expect.
func (n *node) look(block uint32) uint32 {
	if c := n.table.get(block); c != nil {
		return uint32(n.policy.Idle(c.slot()))
	}
	return 0
}

// insert adds a block that is not there. Its home has said nothing of it yet.
func (n *node) insert(block uint32, b Block, class shoal.Class) {
	slot := uint32(len(n.blocks))
	if last := len(n.free) - 1; last >= 0 {
		slot = n.free[last]
		n.free = n.free[:last]
	} else {
		n.blocks = append(n.blocks, 0)
	}
	n.blocks[slot] = block
	n.table.put(block, slot, markOf(shoal.Standing{Class: class, Keeper: true}))
	n.used += int64(b.Bytes)
	n.groups[b.Group] += int64(b.Bytes)
	n.policy.Insert(slot, policy.Item{SizeBytes: int64(b.Bytes), Group: b.Group, Class: class})
}

// remove takes the block of a cell out.
func (n *node) remove(c *cell, b Block) {
	n.answered(c, b)
	n.policy.Remove(c.slot())
	n.free = append(n.free, c.slot())
	n.table.remove(c.block - 1)
	n.used -= int64(b.Bytes)
	n.groups[b.Group] -= int64(b.Bytes)
}

// ask notes that the home of a cell's block has been asked whether it may go.
func (n *node) ask(c *cell, b Block) {
	if len(n.asks) == cap(n.asks) {
		n.asks = slices.DeleteFunc(n.asks, func(block uint32) bool { return !n.hasAsked(block) })
	}
	n.asks = append(n.asks, c.block-1)
	c.setMark(c.mark() | markAsked)
	n.asked += int64(b.Bytes)
	n.askedOf[b.Group] += int64(b.Bytes)
	n.policy.Defer(c.slot())
}

// hasAsked reports whether the home of a block has been asked, and has not answered.
func (n *node) hasAsked(block uint32) bool {
	c := n.table.get(block)
	return c != nil && c.mark()&markAsked != 0
}

// firstAsked returns the cell of the block whose home was asked first, of those that have not
// answered. There is one.
func (n *node) firstAsked() *cell {
	i := slices.IndexFunc(n.asks, n.hasAsked)
	c := n.table.get(n.asks[i])
	n.asks = append(n.asks[:0], n.asks[i+1:]...)
	return c
}

// answered ends what ask began, if it did.
func (n *node) answered(c *cell, b Block) {
	if m := c.mark(); m&markAsked != 0 {
		c.setMark(m &^ markAsked)
		n.asked -= int64(b.Bytes)
		n.askedOf[b.Group] -= int64(b.Bytes)
	}
}

// stand takes in what the home of a cell's block says of the replica.
func (n *node) stand(c *cell, b Block, s shoal.Standing) {
	n.answered(c, b)
	c.setMark(markOf(s))
	n.policy.SetClass(c.slot(), s.Class)
}
