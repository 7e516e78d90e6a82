package policy

import (
	"math"

	"github.com/shoal-mesh/shoal"
)

// Victim returns the slot with the lowest weight and leaves it in place: the owner calls
// Remove once it has given the block up. ok is false when there is none. Of equal weights the
// worse class goes first, then the lower group.
func (w *Weighted) Victim() (slot uint32, ok bool) { return w.victimOf(w.live) }

// VictimOf is Victim among the slots of one group.
func (w *Weighted) VictimOf(number Group) (slot uint32, ok bool) {
	if int(number) >= len(w.groups) || w.groups[number] == nil {
		return 0, false
	}
	return w.victimOf(w.groups[number].alive(new([shoal.Classes]*queue)))
}

// victimOf is Victim among some queues. Of one alone it need not be known what its slots weigh.
func (w *Weighted) victimOf(queues []*queue) (slot uint32, ok bool) {
	switch len(queues) {
	case 0:
		return 0, false
	case 1:
		l := w.next(queues[0])
		w.settle(l)
		return l.head, true
	}
	q, _ := w.coldest(queues)
	return w.next(q).head, true
}

// Upcoming appends to dst up to n slots that Victim is likely to return next, soonest first, and
// changes nothing: who is to give up many looks at all of them at once, so that the processor waits
// for the memory of many at a time.
func (w *Weighted) Upcoming(dst []uint32, n int) []uint32 {
	var from *list
	for _, q := range w.live {
		if l := w.next(q); from == nil || l.value < from.value { // as far as it is known
			from = l
		}
	}
	if from == nil {
		return dst
	}
	uniform := w.queueAt(from.queue).group.base() == BaseUniform
	slot := from.oldest
	switch {
	case uniform:
		slot = from.newest
	case from.hand != noSlot:
		slot = from.hand
	}
	for ; slot != noSlot && n > 0; n-- {
		dst = append(dst, slot)
		if e := w.store.at(slot); uniform {
			slot = e.older
		} else {
			slot = e.newer
		}
	}
	return dst
}

// Admit returns the weight a new replica would have, and whether it is worth giving up what
// Victim returns; where there is nothing to give up, it is. With a uniform base it must be
// worth more than an equal one that is here. Elsewhere it counts as twice as warm as the
// coldest of its group: so one group alone admits everything, and a surplus replica does not
// displace a last one of its group (policy.md §3.4, "both"). Among those of its own group and
// class it is always admitted.
func (w *Weighted) Admit(item Item) (value float32, ok bool) {
	return w.admitOver(w.live, item)
}

// AdmitIn is Admit where only replicas of the item's own group may be given up for it.
func (w *Weighted) AdmitIn(item Item) (value float32, ok bool) {
	return w.admitOver(w.group(item.Group).alive(new([shoal.Classes]*queue)), item)
}

// admitOver is Admit where what goes is of some queues.
func (w *Weighted) admitOver(queues []*queue, item Item) (value float32, ok bool) {
	g := w.group(item.Group)
	v := w.newWeight(g, item)
	least, lowest := w.coldest(queues)
	if least != nil && least == g.queue(item.Class) && g.base() != BaseUniform {
		v = 2 * lowest
	}
	return float32(v), least == nil || v > lowest*(1+w.cfg.Epsilon)
}

// Frontier returns the weights of the coldest replica that is not the last of its block in
// the fleet, and of the coldest that is; +Inf where there is none.
func (w *Weighted) Frontier() (surplus, last float32) {
	lowest := [2]float64{math.Inf(1), math.Inf(1)}
	for _, q := range w.live {
		i := 0
		if q.class == shoal.Last {
			i = 1
		}
		lowest[i] = min(lowest[i], w.headWeight(q))
	}
	return float32(lowest[0]), float32(lowest[1])
}

// Weight returns the weight of the replica in slot, 0 when there is none.
func (w *Weighted) Weight(slot uint32) float32 {
	e := w.store.present(slot)
	if e == nil {
		return 0
	}
	l := &w.store.lists[e.list()]
	return float32(w.weight(w.queueAt(l.queue), l, e.tick, e.code()))
}

// Idle returns for how long the block in slot has not been read, 0 when there is none.
func (w *Weighted) Idle(slot uint32) Tick {
	if e := w.store.present(slot); e != nil {
		return w.age(e.tick)
	}
	return 0
}

// coldest returns the one of some queues with the next victim, and its weight; nil when there
// is none.
func (w *Weighted) coldest(queues []*queue) (least *queue, lowest float64) {
	lowest = math.Inf(1)
	for _, q := range queues {
		if v := w.headWeight(q); least == nil || v < lowest || v == lowest && q.before(least) {
			least, lowest = q, v
		}
	}
	return least, lowest
}

// alive returns the queues of a group that have something to give up, in room for them.
func (g *group) alive(room *[shoal.Classes]*queue) []*queue {
	n := 0
	for i := range g.queues {
		if q := &g.queues[i]; q.live >= 0 {
			room[n] = q
			n++
		}
	}
	return room[:n]
}

// before says which of two queues whose next victims weigh the same gives up first.
func (q *queue) before(other *queue) bool {
	if q.class != other.class {
		return q.class > other.class // dearest first is how classes are numbered
	}
	return q.group.number < other.group.number
}

// headWeight returns the weight of the next victim of a queue that has one. It is kept until
// something it depends on changes: the victim, the time, a cost, or the group's rate.
func (w *Weighted) headWeight(q *queue) float64 {
	l := w.next(q)
	w.settle(l)
	if l.round != w.round {
		l.value, l.round = w.weight(q, l, l.headTick, l.headCode), w.round
	}
	return l.value
}

// reweigh has the next victims of a group weighed again.
func (w *Weighted) reweigh(g *group) {
	g.fresh = false
	for class := range g.queues {
		w.store.lists[g.queues[class].base].round = 0
	}
}

// rebase has the next victims of a group found again, as its base is another one.
func (w *Weighted) rebase(g *group) {
	g.fresh = false
	for class := range g.queues {
		w.store.lists[g.queues[class].base].known = false
	}
}

// weight is V of a slot of a list. Where the base is uniform, a block counts with the mean size
// of the group's: were small ones dearer than large ones, the subset would not be stable.
func (w *Weighted) weight(q *queue, l *list, tick Tick, code uint8) float64 {
	inverse := w.inverse[code]
	if g := q.group; g.base() == BaseUniform {
		inverse = float64(g.members) / g.bytes
	}
	return w.rateOf(q.group, l, tick) * w.costs[q.class] * inverse
}

// rateOf estimates the reads per tick of a slot of a list.
func (w *Weighted) rateOf(g *group, l *list, tick Tick) float64 {
	if g.base() == BaseUniform {
		if f := w.uniformRate(g, w.queueAt(l.queue).class); f > 0 {
			return f
		}
	}
	return float64(l.reads) / (float64(w.age(tick)) + 1)
}

// uniformRate returns the reads per tick of each block of a group that is read in epochs: f*/d
// (policy.md §3.6). For a last replica these are all reads by all that are read in a pass here,
// as readers of the whole fleet come here for it. Without another one its own node's readers
// alone would go elsewhere: these by all blocks that are known, of which each may be read here
// once in as many epochs as there are nodes (policy.md §5.1: λ_loc). It is 0 when none was read
// yet.
func (w *Weighted) uniformRate(g *group, class shoal.Class) float64 {
	if !g.fresh || g.uniformAt != w.now {
		g.uniform, g.uniformAt, g.fresh = [2]float64{}, w.now, true
		if d := g.pattern.blocks(); d > 0 {
			own := g.reads.perTick(w.now, g.tau)
			g.uniform[0] = (own + g.served.perTick(w.now, g.tau)) / d
			g.uniform[1] = own / max(d, g.pattern.known())
		}
	}
	if class == shoal.Last {
		return g.uniform[0]
	}
	return g.uniform[1]
}

// newWeight returns what V of a replica that comes in would be, see Admit. A group of which
// nothing is here has the rate of one read since it was heard of first.
func (w *Weighted) newWeight(g *group, item Item) float64 {
	class := g.queue(item.Class).class
	cost := w.costs[class]
	unit := cost * w.inverse[sizeCode(item.SizeBytes)]
	if g.base() == BaseUniform {
		if g.members > 0 {
			unit = cost * float64(g.members) / g.bytes
		}
		if f := w.uniformRate(g, class); f > 0 {
			return f * unit
		}
	}
	lowest := math.Inf(1)
	for _, q := range g.alive(new([shoal.Classes]*queue)) {
		l := w.next(q)
		w.settle(l)
		lowest = min(lowest, w.rateOf(g, l, l.headTick))
	}
	if math.IsInf(lowest, 1) {
		return unit / (float64(w.age(g.first)) + 1)
	}
	return 2 * lowest * unit
}
