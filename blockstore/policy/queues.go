package policy

import (
	"math"

	"github.com/shoal-mesh/shoal"
)

// A queue orders the replicas of one group and class. The bases that count reads have a list
// for each count (GDSF: count and size) and a heap of those that are not empty; the others
// have one list.
type queue struct {
	group *group
	class shoal.Class
	base  uint32   // the list of the bases that do not count, and for what has no other
	heap  []uint32 // lists, the one with the next victim first
	live  int      // its place among the live ones; -1 when it has nothing to give up
	level float64  // GDSF's L: the priority of the last victim
}

// A subKey names a list of a base that counts, in two words, which are quick to look up.
type subKey struct{ queueReads, size uint64 }

func subKeyOf(queue uint32, reads uint8, size float64) subKey {
	return subKey{uint64(queue)<<8 | uint64(reads), math.Float64bits(size)}
}

// maxReads is where reads of a block cease to be counted.
const maxReads = 255

// counts reports whether b orders by the number of reads.
func (b Base) counts() bool { return b == BaseLFU || b == BaseGDSF }

// sized reports whether b orders by size.
func (b Base) sized() bool { return b == BaseGDSF }

func queueNumber(group Group, class shoal.Class) uint32 {
	return uint32(group)*shoal.Classes + uint32(class)
}

// queueAt returns the queue of a number.
func (w *Weighted) queueAt(number uint32) *queue {
	return &w.groups[number/shoal.Classes].queues[number%shoal.Classes]
}

// group returns what is known of a group, and enters it when nothing is.
func (w *Weighted) group(number Group) *group {
	for len(w.groups) <= int(number) {
		w.groups = append(w.groups, nil)
	}
	if w.groups[number] == nil {
		g := &group{number: number, first: w.now, pattern: detector{burst: w.cfg.Burst}}
		for class := range g.queues {
			g.queues[class] = queue{group: g, class: shoal.Class(class), live: -1}
		}
		w.groups[number] = g
		w.adopt(g, Rules{})
	}
	return w.groups[number]
}

// base returns the base that orders a group now.
func (g *group) base() Base {
	switch {
	case g.rules.Base != BaseAuto:
		return g.rules.Base
	case g.pattern.epochs:
		return BaseUniform
	}
	return BaseSieve
}

// queue returns the queue for replicas of a class.
func (g *group) queue(class shoal.Class) *queue {
	if !g.rules.Classes {
		class = shoal.Last
	}
	return &g.queues[min(class, shoal.Excess)]
}

// listFor returns the number of the list of a queue for slots of a size and read so often.
func (w *Weighted) listFor(q *queue, reads uint8, size float64) uint32 {
	number := queueNumber(q.group.number, q.class)
	if base := q.group.rules.Base; base.counts() {
		if !base.sized() {
			size = 0
		}
		key := subKeyOf(number, reads, size)
		if l, ok := w.subs[key]; ok {
			return l
		}
		if !w.store.crowded() {
			l := w.store.newList(number, reads, size)
			w.subs[key] = l
			return l
		}
	}
	if q.base == 0 {
		q.base = w.store.newList(number, 1, 0)
	}
	return q.base
}

// hotter returns the number of the list for a slot that is read once more, without a search
// where it was found before.
func (w *Weighted) hotter(q *queue, e *entry) uint32 {
	number := e.list()
	l := &w.store.lists[number]
	if l.reads == maxReads {
		return number
	}
	k := &w.store.lists[l.after]
	if k.queue == l.queue && k.reads == l.reads+1 && k.size == l.size && number != q.base {
		return l.after
	}
	after := w.listFor(q, l.reads+1, w.sizeIn(e, l))
	w.store.lists[number].after = after
	return after
}

// kin returns the number of the list of another queue of the group for slots of the same size, read
// as often, without a search where it was found before.
func (w *Weighted) kin(number uint32, to *queue) uint32 {
	l := &w.store.lists[number]
	k := &w.store.lists[l.kin[to.class]]
	if k.queue == queueNumber(to.group.number, to.class) && k.reads == l.reads && k.size == l.size &&
		l.kin[to.class] != 0 && l.kin[to.class] != to.base {
		return l.kin[to.class]
	}
	like := w.listFor(to, l.reads, l.size)
	w.store.lists[number].kin[to.class] = like
	return like
}

// An end says where a slot joins a list.
type end uint8

const (
	newest end = iota
	cold       // where the next victim is looked for
	hot        // the other end
)

// enlist puts a slot that is in no list, but may be a member of one, into a list.
func (w *Weighted) enlist(slot, number uint32, where end) {
	s := &w.store
	l, e := &s.lists[number], s.at(slot)
	q := w.queueAt(l.queue)
	base := q.group.base()
	e.mark = e.mark&^(listMask|late|deferred) | number
	if where == cold && base != BaseUniform && l.oldest != noSlot {
		w.settle(l)
		if w.age(e.tick) < w.age(l.headTick) {
			e.mark |= late
		}
	}
	newer, older := noSlot, l.newest
	switch {
	case where == hot && base == BaseUniform, where == cold && base != BaseUniform:
		newer, older = l.oldest, noSlot
		if base == BaseSieve && l.hand != noSlot {
			newer, older = l.hand, s.at(l.hand).older
		}
		if base == BaseSieve {
			l.hand = slot
		}
		l.known = false
	case base == BaseUniform, l.oldest == noSlot:
		l.known = false
	}
	s.link(l, slot, newer, older)
	l.members++
	w.reorder(q, number)
}

// delist takes a slot out of its list, and out of its members.
func (w *Weighted) delist(slot uint32, e *entry) {
	number := e.list()
	l := &w.store.lists[number]
	q := w.queueAt(l.queue)
	if !e.is(deferred) {
		w.store.unlink(l, slot, e)
		w.reorder(q, number)
	}
	if l.members--; l.members == 0 && number != q.base {
		delete(w.subs, subKeyOf(l.queue, l.reads, l.size))
		w.store.freeList(number)
	}
}

// reorder tells a queue that one of its lists has changed.
func (w *Weighted) reorder(q *queue, number uint32) {
	if number != q.base {
		w.sift(q, number)
	}
	switch some := len(q.heap) > 0 || q.base != 0 && w.store.lists[q.base].oldest != noSlot; {
	case some && q.live < 0:
		q.live = len(w.live)
		w.live = append(w.live, q)
	case !some && q.live >= 0:
		last := w.live[len(w.live)-1]
		last.live = q.live
		w.live[q.live] = last
		w.live = w.live[:len(w.live)-1]
		q.live = -1
	}
}

// next returns the list the next victim of a queue is in. The queue has one.
func (w *Weighted) next(q *queue) *list {
	if len(q.heap) > 0 {
		return &w.store.lists[q.heap[0]]
	}
	return &w.store.lists[q.base]
}

// settle finds the next victim of a list that is not empty.
func (w *Weighted) settle(l *list) {
	if l.known {
		return
	}
	l.head = l.oldest
	switch w.queueAt(l.queue).group.base() {
	case BaseUniform:
		l.head = l.newest
	case BaseSieve:
		l.head = w.store.sweep(l)
	}
	e := w.store.at(l.head)
	l.headTick, l.headCode, l.known, l.round = e.tick, e.code(), true, 0
	if e.is(late) && w.age(l.cold) > w.age(e.tick) {
		l.headTick = l.cold
	}
	l.cold = l.headTick
}

func (w *Weighted) age(at Tick) Tick { return w.now - at }
