package fleet

import (
	"slices"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/replicas"
)

// join makes n a holder of a block, or one anew that has come back before it was forgotten.
func (f *Fleet) join(n *node, block uint32, b Block) {
	f.stats.Deltas++
	h := &f.holders[block]
	if h.Empty() {
		*h = replicas.Holders{}
		h.SetLimits(f.cfg.Groups[b.Group].Limits)
		f.blocks++
	}
	if h.Add(block, f.more, n.number) {
		f.copies++
	}
	f.room = h.All(block, f.more, f.room[:0])
	if k := h.Keepers(); !slices.Contains(f.room[:k], n.number) && h.Limits().Keeps(k, n.state == draining) {
		h.Place(block, f.more, n.number, k)
		h.SetKeepers(k + 1)
	}
	if f.rules(b.Group).Classes {
		f.tell(item{kind: changed, block: block})
	}
}

// part makes n no holder of a block any more, unless it was forgotten as one before. Where too
// few keepers are left others are chosen.
func (f *Fleet) part(n *node, block uint32, b Block) {
	f.stats.Deltas++
	h := &f.holders[block]
	if !h.Drop(block, f.more, n.number) {
		return
	}
	f.copies--
	if h.Empty() {
		f.blocks--
	}
	if h.Empty() || !f.rules(b.Group).Classes {
		return
	}
	if h.Keepers() < h.Limits().Keepers() {
		f.choose(block, nil)
	}
	f.tell(item{kind: changed, block: block})
}

// choose makes those keepers of a block whom the rules want, not resigning; false: there is
// nobody else. Who is chosen knows at once: nobody is relieved before.
func (f *Fleet) choose(block uint32, resigning *node) bool {
	h := &f.holders[block]
	f.room = h.All(block, f.more, f.room[:0])
	if len(f.room) == 1 && resigning != nil {
		return false // it is who resigns
	}
	f.candidates = f.candidates[:0]
	for i, number := range f.room {
		n := f.nodes[number-1]
		f.candidates = append(f.candidates, replicas.Candidate{
			Zone: f.zones[n.zone], Score: replicas.Score(hash(block), n.seed), Keeper: i < h.Keepers(),
			Away: n.state == crashed, Draining: n.state == draining, Resigning: n == resigning,
		})
	}
	var places [replicas.MostKeepers]int
	chosen := replicas.ChooseKeepers(places[:0], f.candidates, h.Limits())
	if len(chosen) == 0 {
		return false
	}
	f.before = append(f.before[:0], f.room...)
	for i, at := range chosen {
		h.Place(block, f.more, f.before[at], i)
	}
	h.SetKeepers(len(chosen))
	f.room = h.All(block, f.more, f.room[:0])
	for i := range chosen {
		n := f.nodes[f.room[i]-1]
		if c := n.table.get(block); c != nil && !c.mark().keeper() {
			f.stand(n, c, f.cfg.Of(block), shoal.Standing{Class: f.classOf(block, i), Keeper: true})
		}
	}
	return true
}

// sync tells the holders of a block what their replicas are worth, if they do not know. Who had
// asked whether its may go has its answer, and has to make its room elsewhere.
func (f *Fleet) sync(block uint32) {
	h := &f.holders[block]
	if h.Empty() {
		return
	}
	b := f.cfg.Of(block)
	var answered []*node
	f.room = h.All(block, f.more, f.room[:0])
	for i, number := range f.room {
		n := f.nodes[number-1]
		c := n.table.get(block)
		if c == nil || n.state == crashed {
			continue
		}
		s := shoal.Standing{Class: f.classOf(block, i), Keeper: i < h.Keepers()}
		if c.mark()&^markAsked != markOf(s) {
			if c.mark()&markAsked != 0 {
				answered = append(answered, n)
			}
			f.stand(n, c, b, s)
		}
	}
	for _, n := range answered {
		f.fit(n, b.Group, 0)
	}
}

// classOf returns what the replica at a place in the order of its holders, which are in room,
// is worth.
func (f *Fleet) classOf(block uint32, place int) shoal.Class {
	h := &f.holders[block]
	me := f.nodes[f.room[place]-1]
	others, near := 0, 0
	for i, number := range f.room {
		n := f.nodes[number-1]
		if i == place || n.state == draining {
			continue
		}
		if others++; n.zone == me.zone {
			near++
			break // that is enough
		}
	}
	return h.Limits().Class(replicas.ClassBeside(others, near), place, place < h.Keepers())
}

// stand tells a holder what its replica is worth.
func (f *Fleet) stand(n *node, c *cell, b Block, s shoal.Standing) {
	f.stats.Orders++
	n.policy.Advance(f.tick)
	n.stand(c, b, s)
}

// news is what is on its way to homes and from there to holders, oldest first: all of it takes
// as long.
type news struct {
	items []item
	first int
}

// An item is one piece of news.
type item struct {
	due   time.Duration
	block uint32
	node  uint16 // who resigned
	kind  uint8
}

const (
	changed  uint8 = iota // holders of the block are to be told what they are
	resigned              // node would drop it
)

// tell has an item come to where it matters, at once if news takes no time. Of a block of which
// a change is on its way nothing more need be sent: holders are told what is so when it comes.
func (f *Fleet) tell(i item) {
	if f.cfg.News == 0 {
		f.take(i)
		return
	}
	if word, bit := &f.changing[i.block/64], uint64(1)<<(i.block%64); i.kind == changed {
		if *word&bit != 0 {
			return
		}
		*word |= bit
	}
	i.due = f.now + 2*f.cfg.News
	if n := &f.news; n.first > 1024 && n.first*2 > len(n.items) {
		n.items = n.items[:copy(n.items, n.items[n.first:])]
		n.first = 0
	}
	f.news.items = append(f.news.items, i)
}

// deliver takes in what is due.
func (f *Fleet) deliver() {
	for n := &f.news; n.first < len(n.items) && n.items[n.first].due <= f.now; {
		i := n.items[n.first]
		n.first++
		if i.kind == changed {
			f.changing[i.block/64] &^= 1 << (i.block % 64)
		}
		f.take(i)
	}
}

func (f *Fleet) take(i item) {
	if i.kind == changed {
		f.sync(i.block)
		return
	}
	if n := f.nodes[i.node-1]; n.state != crashed {
		f.relieve(n, i.block)
	}
}
