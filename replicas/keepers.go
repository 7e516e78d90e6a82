package replicas

import (
	"slices"

	"github.com/shoal-mesh/shoal"
)

// told is what a holder of a block has been told, or is about to be.
type told struct {
	p      *member
	class  shoal.Class
	keeper bool
	near   shoal.Class // what class would be if any number of replicas were wanted
}

// same reports whether o is the same holder, told the same.
func (t told) same(o told) bool { return t.p == o.p && t.class == o.class && t.keeper == o.keeper }

// later is a block to look at again.
type later struct {
	key   shoal.Key
	at    Tick
	doubt bool
}

// standings appends to dst what the holders of slot ought to be told, in the entry's order
// (policy.md §5.2). Those that are away count as if they were there, as they come back, and
// those that drain as if they had gone.
func (d *Directory) standings(slot uint32, dst []told) []told {
	e := d.entries.at(slot)
	keepers, limits := e.Keepers(), e.Limits()
	var few [16]uint16
	var zones zoneCount
	start := len(dst)
	for i, n := range d.entries.holders(slot, few[:0]) {
		p := d.numbers[n]
		if p == nil {
			continue
		}
		if !p.drains() {
			zones.add(p.zone)
		}
		dst = append(dst, told{p: p, keeper: i < keepers})
	}
	for i := range dst[start:] {
		t := &dst[start+i]
		all, near := zones.all, zones.of(t.p.zone)
		if !t.p.drains() {
			all, near = all-1, near-1
		}
		t.near = ClassBeside(all, near)
		t.class = limits.Class(t.near, i, t.keeper)
	}
	return dst
}

// joined arranges what follows from p being a holder of slot now, which takes its replica for
// one of a class and itself for a keeper; was is what the others had been told.
func (d *Directory) joined(slot uint32, p *member, was []told, class shoal.Class) {
	e := d.entries.at(slot)
	if k := e.Keepers(); e.Limits().Keeps(k, p.drains()) {
		d.entries.place(slot, p.number, k)
		e.SetKeepers(k + 1)
	}
	d.differ(slot, append(was, told{p: p, class: class, keeper: true}))
}

// parted arranges what follows from p being no holder of slot any more.
func (d *Directory) parted(slot uint32, p *member, was []told) {
	key := d.entries.at(slot).key
	p.orders.cancel(key)
	if mv := d.moves[key]; mv != nil {
		if slices.Contains(mv.chosen, p) {
			mv.abort()
		}
		mv.asked = slices.DeleteFunc(mv.asked, func(a asked) bool { return a.p == p })
		mine := func(l leaving) bool { return l.p == p }
		mv.clears, mv.waits = slices.DeleteFunc(mv.clears, mine), slices.DeleteFunc(mv.waits, mine)
	}
	d.differ(slot, was)
}

// differ tells the holders of slot what they ought to know and, as was says, do not: to
// keepers at once, to others in a round.
func (d *Directory) differ(slot uint32, was []told) {
	e := d.entries.at(slot)
	var few [8]told
	for _, is := range d.standings(slot, few[:0]) {
		i := slices.IndexFunc(was, func(t told) bool { return t.p == is.p })
		if i < 0 || is.same(was[i]) {
			continue
		}
		if is.keeper {
			d.keep(e.key, is.p, is.class, false)
		} else {
			d.moveOf(e.key).wait(leavingAsOf(is.p, is.p.version))
		}
	}
	switch k := e.Keepers(); {
	case k == 0:
		d.moveOf(e.key)
	case k < int(e.Limits().Min):
		d.lookLater(e.key, false) // who resigned a moment ago will drop its replica, or not
	}
	d.review(e.key)
}

// untold is the class of a replica of which nobody knows what its holder was told.
const untold shoal.Class = shoal.Classes

// retellTo tells p, a holder of slot, what it is, as nobody knows what it was told before.
func (d *Directory) retellTo(slot uint32, p *member) {
	if d.arranges(ShardOf(d.entries.at(slot).key)) {
		d.differ(slot, []told{{p: p, class: untold}})
	}
}

// retell orders all holders of slot anew, as if nobody knew what they were told.
func (d *Directory) retell(slot uint32) {
	key := d.entries.at(slot).key
	d.moveOf(key).all = true
	d.review(key)
}

// keep orders p to be a keeper of key.
func (d *Directory) keep(key shoal.Key, p *member, class shoal.Class, quick bool) {
	d.order(p, Order{Key: key, Standing: shoal.Standing{Class: class, Keeper: true}, Basis: p.version}, quick)
}

// credit tells a keeper of slot that a replica which had not been read for idle has gone.
func (d *Directory) credit(slot uint32, idle Idle) {
	var few [8]told
	for _, t := range d.standings(slot, few[:0]) {
		if t.keeper && idle != 0 {
			d.order(t.p, Order{
				Key: d.entries.at(slot).key, Credit: idle,
				Standing: shoal.Standing{Class: t.class, Keeper: true}, Basis: t.p.version,
			}, false)
			return
		}
	}
}

// toldOf returns what the holders of slot have been told, if this home arranges that.
func (d *Directory) toldOf(slot uint32, hash uint64) ([]told, bool) {
	if !d.arranges(uint16(hash)) {
		return nil, false
	}
	return d.standings(slot, nil), true
}

// limit takes in how many replicas of slot its dataset wants, unless l says nothing.
func (d *Directory) limit(slot uint32, l Limits) {
	e := d.entries.at(slot)
	if l == (Limits{}) || l.clip() == e.Limits() {
		return
	}
	was, arranged := d.toldOf(slot, HashKey(e.key))
	e.SetLimits(l)
	if arranged {
		d.differ(slot, was)
	}
}

// zoneCount counts holders by zone: few of them without a map.
type zoneCount struct {
	all   int
	zones [4]string
	few   [4]int
	more  map[string]int
}

func (z *zoneCount) add(zone string) {
	z.all++
	for i := range z.zones {
		if z.few[i] > 0 && z.zones[i] == zone || z.few[i] == 0 {
			z.zones[i] = zone
			z.few[i]++
			return
		}
	}
	if z.more == nil {
		z.more = make(map[string]int)
	}
	z.more[zone]++
}

func (z *zoneCount) of(zone string) int {
	for i := range z.zones {
		if z.few[i] > 0 && z.zones[i] == zone {
			return z.few[i]
		}
	}
	return z.more[zone]
}
