package fleet

import (
	"slices"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore/policy"
)

// check fails unless all holds that must hold after each step.
func (h *history) check() {
	h.t.Helper()
	for i := range h.f.nodes {
		h.cache(i)
	}
	h.rows()
	if s := h.f.Stats(); !h.crashes && (s.LastLost != 0 || s.Crashed != 0) {
		h.fail("%d last replicas were lost, %d with a keeper, though no node crashed", s.LastLost, s.Crashed)
	}
	if h.f.cfg.News == 0 {
		h.marks()
	}
}

// cache checks the books of one node: what is used, of each group and in all, and what homes have
// been asked for, are what a walk over its table finds; what has not been asked for fits the
// cache and the quotas, always; slots and blocks name one another; and the policy's victims are
// slots in use that homes have not been asked for, one as long as there is any.
func (h *history) cache(i int) {
	h.t.Helper()
	n, groups := h.f.nodes[i], len(h.f.cfg.Groups)
	used, asked, waiting := make([]int64, groups), make([]int64, groups), make([]int, groups)
	count := 0
	for _, c := range n.table.cells {
		if c.block == 0 {
			continue
		}
		count++
		b := h.f.cfg.Of(c.block - 1)
		used[b.Group] += int64(b.Bytes)
		if c.mark()&markAsked != 0 {
			asked[b.Group] += int64(b.Bytes)
			h.counts.deferred++
			if !c.mark().keeper() {
				h.fail("node %d has asked for block %d, which it may drop alone", i, c.block-1)
			}
		} else {
			waiting[b.Group]++
		}
		if got := n.blocks[c.slot()]; got != c.block-1 {
			h.fail("node %d: slot %d is block %d, want %d", i, c.slot(), got, c.block-1)
		}
	}
	if !slices.Equal(used, n.groups) || !slices.Equal(asked, n.askedOf) || sum(used) != n.used || sum(asked) != n.asked {
		h.fail("node %d: used %d of %v, asked %d of %v; want %v and %v", i, n.used, n.groups, n.asked, n.askedOf, used, asked)
	}
	if count != n.table.n || count+len(n.free) != len(n.blocks) {
		h.fail("node %d: %d blocks, %d free of %d slots; want %d blocks", i, n.table.n, len(n.free), len(n.blocks), count)
	}
	if h.f.cfg.News == 0 && n.asked != 0 {
		h.fail("node %d: asked for %d bytes, want none where answers take no time", i, n.asked)
	}
	if n.used > h.f.cfg.Limit {
		h.fail("node %d: used %d, want at most %d", i, n.used, h.f.cfg.Limit)
	}
	if n.used-n.asked > h.f.cfg.Capacity {
		h.fail("node %d: used %d less %d asked for, want at most %d", i, n.used, n.asked, h.f.cfg.Capacity)
	}
	some := 0
	for g, quota := range h.f.cfg.Groups {
		if quota.Quota > 0 && used[g]-asked[g] > quota.Quota {
			h.fail("node %d: group %d uses %d less %d asked for, want at most %d", i, g, used[g], asked[g], quota.Quota)
		}
		if quota.Quota > 0 && used[g] > quota.Quota-500 {
			h.counts.quotas++
		}
		slot, ok := n.policy.VictimOf(policy.Group(g))
		h.victim(i, slot, ok, waiting[g] > 0)
		some += waiting[g]
	}
	slot, ok := n.policy.Victim()
	h.victim(i, slot, ok, some > 0)
}

// victim checks a victim that a node's policy has chosen.
func (h *history) victim(i int, slot uint32, ok, want bool) {
	h.t.Helper()
	n := h.f.nodes[i]
	if ok != want {
		h.fail("node %d: a victim is %v, want %v", i, ok, want)
	}
	if !ok {
		return
	}
	c := n.table.get(n.blocks[slot])
	if c == nil || c.slot() != slot || c.mark()&markAsked != 0 {
		h.fail("node %d: the victim is slot %d of cell %+v", i, slot, c)
	}
}

// rows checks the directory: it names as holders those nodes that have a block, but for those
// that crashed and were forgotten, each once; it has at most as many keepers as are wanted; and
// what is counted is what a walk finds.
func (h *history) rows() {
	h.t.Helper()
	f := h.f
	copies, blocks := int64(0), int64(0)
	var want Contents
	want.ByGroup = make([]int64, len(f.cfg.Groups))
	for block := range f.cfg.Blocks {
		row := &f.holders[block]
		all := row.All(block, f.more, nil)
		for i, n := range f.nodes {
			there, times := n.table.get(block) != nil && !h.forgotten[i], 0
			for _, number := range all {
				if number == n.number {
					times++
				}
			}
			if there && times != 1 || !there && times != 0 {
				h.fail("block %d: node %d is %d times among the holders, has it: %v", block, i, times, there)
			}
		}
		if k := row.Keepers(); k > len(all) || len(all) > 0 && k > row.Limits().Keepers() {
			h.fail("block %d: %d keepers of %d holders, want at most %d", block, k, len(all), row.Limits().Keepers())
		}
		if len(all) > 0 {
			b := f.cfg.Of(block)
			copies, blocks = copies+int64(len(all)), blocks+1
			want.Bytes += int64(len(all)) * int64(b.Bytes)
			want.KeptBytes += int64(b.Bytes)
			want.ByGroup[b.Group] += int64(b.Bytes)
			want.Histogram[[]int{0, 0, 1, 2, 2, 3, 3}[len(all)]]++
		}
	}
	if c, b := f.Copies(); c != copies || b != blocks {
		h.fail("Copies() = %d, %d, want %d, %d", c, b, copies, blocks)
	}
	want.Copies, want.Blocks = copies, blocks
	got := f.Contents()
	if !slices.Equal(got.ByGroup, want.ByGroup) {
		h.fail("Contents().ByGroup = %v, want %v", got.ByGroup, want.ByGroup)
	}
	if got.ByGroup, want.ByGroup = nil, nil; got.Blocks != want.Blocks || got.Copies != want.Copies || got.Bytes != want.Bytes ||
		got.KeptBytes != want.KeptBytes || got.Histogram != want.Histogram {
		h.fail("Contents() = %+v, want %+v", got, want)
	}
}

// marks checks that holders know what the directory says, where no news is on its way: of a group
// whose classes count each one that has not crashed has the class that the rules give it, and is
// a keeper if it is among the first; or its home has let it go as the last one while all others
// were away. So no block is without a keeper but where the last replica was given free.
func (h *history) marks() {
	h.t.Helper()
	f := h.f
	for block := range f.cfg.Blocks {
		if !f.rules(f.cfg.Of(block).Group).Classes {
			continue
		}
		row := &f.holders[block]
		all := row.All(block, f.more, nil)
		kept := len(all) == 0
		for i, number := range all {
			n := f.nodes[number-1]
			m := n.table.get(block).mark()
			if n.state == crashed {
				kept = true // nothing is known of it
				continue
			}
			want := shoal.Standing{Class: h.class(block, all, i), Keeper: i < row.Keepers()}
			free := row.Keepers() == 0 && m == markOf(shoal.Standing{Class: shoal.Last}) // others are away
			if !free && m&^markAsked != markOf(want) {
				h.fail("block %d: node %d was told %v, keeper %v; want %+v, of holders %v, %d of them keepers", block, number-1, m.class(), m.keeper(), want, all, row.Keepers())
			}
			kept = kept || m.keeper() || m.class() == shoal.Last
		}
		if !kept {
			h.fail("block %d: nobody was told to keep it, nor that it is the last: holders %v", block, all)
		}
	}
}

// class says what the replica of one of the holders is worth, by the words of policy.md §5.2.
func (h *history) class(block uint32, all []uint16, place int) shoal.Class {
	me := h.f.nodes[all[place]-1]
	elsewhere, near := false, false
	for i, number := range all {
		n := h.f.nodes[number-1]
		if i != place && n.state != draining {
			near = near || n.zone == me.zone
			elsewhere = elsewhere || n.zone != me.zone
		}
	}
	limit := h.f.cfg.Groups[h.f.cfg.Of(block).Group].Limits
	switch {
	case limit.Max > 0 && place >= int(limit.Max) && place >= h.f.holders[block].Keepers():
		return shoal.Excess
	case near:
		return shoal.Surplus
	case elsewhere:
		return shoal.LastInZone
	}
	return shoal.Last
}

func sum(all []int64) (s int64) {
	for _, v := range all {
		s += v
	}
	return s
}
