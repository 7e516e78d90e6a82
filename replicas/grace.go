package replicas

import (
	"slices"
	"strings"

	"github.com/shoal-mesh/shoal"
)

// presence is the membership as gossip tells it, and who has been gone from it for less
// than Rules.Grace (policy.md §2.5, design.md §5): such a member is away. It keeps its
// place, so that a node which restarts, or loses its network for a moment, moves no shard.
type presence struct {
	live []shoal.Member // sorted by ID
	away []absence      // sorted by ID
}

type absence struct {
	member shoal.Member
	until  Tick
}

// see takes in who is there now, and reports whether that is news. A member that drained
// has said goodbye: nobody waits for it.
func (p *presence) see(now, grace Tick, members []shoal.Member) bool {
	live := slices.Clone(members)
	slices.SortFunc(live, byID)
	live = slices.CompactFunc(live, func(a, b shoal.Member) bool { return a.ID == b.ID })
	if viewOf(live, nil) == viewOf(p.live, nil) {
		return false
	}
	is := func(id shoal.NodeID) bool {
		_, ok := slices.BinarySearchFunc(live, shoal.Member{ID: id}, byID)
		return ok
	}
	p.away = slices.DeleteFunc(p.away, func(a absence) bool { return is(a.member.ID) })
	for _, m := range p.live {
		if !is(m.ID) && m.State != shoal.Draining && grace > 0 {
			p.away = append(p.away, absence{m, now + grace})
		}
	}
	slices.SortFunc(p.away, func(a, b absence) int { return strings.Compare(string(a.member.ID), string(b.member.ID)) })
	p.live = live
	return true
}

// expire forgets those who have been away for too long, and reports whether there are any.
func (p *presence) expire(now Tick) bool {
	n := len(p.away)
	p.away = slices.DeleteFunc(p.away, func(a absence) bool { return now >= a.until })
	return len(p.away) < n
}

// table returns the Table of p, made from the one before.
func (p *presence) table(from *Table) *Table {
	var away []shoal.Member
	for _, a := range p.away {
		away = append(away, a.member)
	}
	return from.next(p.live, away)
}

// SetMembers makes members, in any order, the membership the node acts under, as gossip
// sees it; it must include the node itself. Those that are missing from it are away for
// Rules.Grace. A call that brings nothing new is cheap.
func (c *Core) SetMembers(now Tick, members []shoal.Member) []Message {
	if !c.presence.see(now, c.rules.Grace, members) {
		return nil
	}
	return c.SetTable(now, c.presence.table(c.table))
}

// endGrace lets those go who have been away for too long.
func (c *Core) endGrace(now Tick) []Message {
	if len(c.presence.away) == 0 || !c.presence.expire(now) {
		return nil
	}
	return c.SetTable(now, c.presence.table(c.table))
}
