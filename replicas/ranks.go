package replicas

import (
	"slices"
	"strings"

	"github.com/shoal-mesh/shoal"
	"github.com/zeebo/xxh3"
)

// runner is a member that may be a home, for the length of a computation.
type runner struct {
	seed  uint64
	index uint16 // 1 + index into Table.members
}

// next returns the Table of live and away, which t need not have anything in common with.
// It equals the one made from scratch, and where few members differ costs a small part of
// that: a newcomer is scored against the homes there are, and only the shards of those
// that have gone are ranked anew.
func (t *Table) next(live, away []shoal.Member) *Table {
	n := tableOf(live, away)
	was, all := t.runners(nil)
	is, alsoAll := n.runners(nil)
	to := make([]uint16, len(t.members)+1)   // index in t to index in n, 0 for what is no runner there
	stays := make([]bool, len(n.members)+1)  // by index in n: was a runner in t
	runsIn := make([]bool, len(n.members)+1) // by index in n
	for _, r := range is {
		runsIn[r.index] = true
	}
	changes := 0
	for _, r := range was {
		if i := n.numberOf(t.members[r.index-1].ID); runsIn[i] {
			to[r.index], stays[i] = i, true
		} else {
			changes++
		}
	}
	came := slices.DeleteFunc(slices.Clone(is), func(r runner) bool { return stays[r.index] })
	changes += len(came)
	if all || alsoAll || 3*changes >= len(is) {
		n.rankAll()
	} else {
		n.rankFrom(t, to, is, came)
	}
	n.passOver()
	return n
}

// rankFrom fills in t.ranks from those of the table before, given where its runners are in
// t, which are runners now, and which of these are new.
func (t *Table) rankFrom(before *Table, to []uint16, is, came []runner) {
	seeds := make([]uint64, len(t.members)+1)
	for _, r := range is {
		seeds[r.index] = r.seed
	}
	for s, r := range before.ranks {
		a, b := to[r[0]], to[r[1]]
		place := mix(uint64(s) + 1)
		if a == 0 || b == 0 {
			t.ranks[s] = best(place, is)
			continue
		}
		if len(came) > 0 {
			top := pair{a: a, b: b, scoreA: score(place, seeds[a]), scoreB: score(place, seeds[b])}
			for _, c := range came {
				top.add(score(place, c.seed), c.index)
			}
			a, b = top.a, top.b
		}
		t.ranks[s] = [2]uint16{a, b}
	}
}

// rankAll fills in t.ranks from nothing.
func (t *Table) rankAll() {
	runners, _ := t.runners(nil)
	for s := range t.ranks {
		t.ranks[s] = best(mix(uint64(s)+1), runners)
	}
}

// passOver fills in t.homes from t.ranks and who is away.
func (t *Table) passOver() {
	t.homes = t.ranks
	if t.away == nil {
		return
	}
	t.homes = make([][2]uint16, Shards)
	present, _ := t.runners(t.isAway)
	for s, r := range t.ranks {
		a := r[0] != 0 && !t.isAway(int(r[0]-1))
		b := r[1] != 0 && !t.isAway(int(r[1]-1))
		switch {
		case a && b:
			t.homes[s] = r
		case a:
			t.homes[s] = [2]uint16{r[0]}
		case b:
			t.homes[s] = [2]uint16{r[1]}
		default:
			t.homes[s] = best(mix(uint64(s)+1), present)
		}
	}
}

// runners returns those who may be homes, without those skip names: the members that do
// not drain, or all when all do.
func (t *Table) runners(skip func(i int) bool) (runners []runner, all bool) {
	for _, drain := range []bool{false, true} {
		for i, m := range t.members {
			if (drain || m.State != shoal.Draining) && (skip == nil || !skip(i)) {
				runners = append(runners, runner{xxh3.HashString(string(m.ID)), uint16(i + 1)})
			}
		}
		if len(runners) > 0 {
			return runners, drain // somebody stays: those who drain are not asked
		}
	}
	return nil, true
}

// after returns the members, in order of rank, that would be homes of shard if neither of
// its homes were there, nor the node itself.
func (t *Table) after(shard uint16, self shoal.NodeID) [2]uint16 {
	h, me := t.homes[shard], t.numberOf(self)
	others, _ := t.runners(func(i int) bool {
		n := uint16(i + 1)
		return n == h[0] || n == h[1] || n == me || t.isAway(i)
	})
	return best(mix(uint64(shard)+1), others)
}

// tableOf returns a Table in which shards have no homes yet.
func tableOf(live, away []shoal.Member) *Table {
	t := &Table{live: slices.Clone(live), ranks: make([][2]uint16, Shards)}
	slices.SortFunc(t.live, byID)
	t.live = slices.CompactFunc(t.live, func(a, b shoal.Member) bool { return a.ID == b.ID })
	t.members = t.live
	if len(away) > 0 {
		t.members = slices.Concat(t.live, away)
		slices.SortFunc(t.members, byID)
		t.away = make([]bool, len(t.members))
		for _, m := range away {
			i, _ := t.find(m.ID)
			t.away[i] = true
		}
	}
	t.view = viewOf(t.members, t.away)
	return t
}

func byID(a, b shoal.Member) int { return strings.Compare(string(a.ID), string(b.ID)) }

func score(place, seed uint64) uint64 { return mix(place^seed) | 1 }

func best(place uint64, runners []runner) [2]uint16 {
	var top pair
	for _, r := range runners {
		top.add(score(place, r.seed), r.index)
	}
	return [2]uint16{top.a, top.b}
}

// pair keeps the two with the highest scores of those added to it.
type pair struct {
	a, b           uint16
	scoreA, scoreB uint64
}

func (p *pair) add(score uint64, index uint16) {
	switch {
	case score > p.scoreA:
		p.a, p.b, p.scoreA, p.scoreB = index, p.a, score, p.scoreA
	case score > p.scoreB:
		p.b, p.scoreB = index, score
	}
}
