package policy

import "github.com/shoal-mesh/shoal"

// Insert adds a slot, read now. One that is present is replaced.
func (w *Weighted) Insert(slot uint32, item Item) { w.Restore(slot, item, w.now) }

// Restore adds a slot with a block of an earlier run that was last read at a tick. The order
// of what was not read since is that of the calls: oldest first is right.
func (w *Weighted) Restore(slot uint32, item Item, at Tick) {
	w.Remove(slot)
	w.store.reach(slot)
	e := w.store.at(slot)
	e.tick = at
	e.mark = uint32(sizeCode(item.SizeBytes)) << listBits
	g := w.group(item.Group)
	w.weighAlike(g, 1, e.code())
	w.join(slot, g.queue(item.Class), 1, float64(max(1, item.SizeBytes)), newest)
}

// Touch says that the block in slot was read here. hash tells the blocks of a group apart, any
// 64 bits of its key that are equally likely. Reads within one tick are one. Unknown slots are
// ignored.
func (w *Weighted) Touch(slot uint32, hash uint64) { w.touch(slot, hash, false) }

// Serve says that the block in slot was read by a peer, from here.
func (w *Weighted) Serve(slot uint32, hash uint64) { w.touch(slot, hash, true) }

func (w *Weighted) touch(slot uint32, hash uint64, peer bool) {
	e := w.store.present(slot)
	if e == nil {
		return
	}
	l := &w.store.lists[e.list()]
	g := w.queueAt(l.queue).group
	if e.is(deferred) {
		e.mark |= visited
	}
	again := e.tick == w.now
	e.tick = w.now
	if !e.is(deferred) && (!again || g.base() == BaseLRU) { // LRU has an order within a tick
		w.warm(slot, e, l)
	}
	if !again {
		w.count(g, hash, peer)
	}
}

// Credit says that another replica of the block in slot, dropped now, had not been read for
// so long: the rate of its reads is this one's from now on (policy.md §2.4). Unknown slots
// are ignored.
func (w *Weighted) Credit(slot uint32, idle Tick) {
	e := w.store.present(slot)
	if e == nil || idle >= w.age(e.tick) {
		return
	}
	e.tick = w.now - idle
	l := &w.store.lists[e.list()]
	if e.is(deferred) {
		return
	}
	w.settle(l)
	if l.head == slot {
		l.known = false
	}
	if idle <= w.age(l.headTick)/2 {
		w.warm(slot, e, l)
	}
}

// SetClass says that the replica in slot is of a class now. It joins those of the class with
// what is known of its reads: at the cold end (policy.md §5.2) if it is worth less than before,
// as others have the block, else at the end that its last read is nearer to; and at the hot
// end when it was deferred and read meanwhile. Unknown slots are ignored.
func (w *Weighted) SetClass(slot uint32, class shoal.Class) {
	e := w.store.present(slot)
	if e == nil {
		return
	}
	l := &w.store.lists[e.list()]
	q := w.queueAt(l.queue)
	to := q.group.queue(class)
	if to == q && !e.is(deferred) {
		return
	}
	w.rejoin(slot, e, to)
}

// Defer takes slot out of the order until SetClass or Resume: its home has been asked whether
// it may be given up. Unknown slots are ignored.
func (w *Weighted) Defer(slot uint32) {
	e := w.store.present(slot)
	if e == nil || e.is(deferred) {
		return
	}
	number := e.list()
	l := &w.store.lists[number]
	q := w.queueAt(l.queue)
	w.store.unlink(l, slot, e)
	e.mark = e.mark&^(late|visited) | deferred
	w.reorder(q, number)
}

// Resume takes a slot that was deferred back into the order, with the class it had.
func (w *Weighted) Resume(slot uint32) {
	if e := w.store.present(slot); e != nil && e.is(deferred) {
		q := w.queueAt(w.store.lists[e.list()].queue)
		w.rejoin(slot, e, q.group.queue(q.class))
	}
}

// Remove forgets slot. Unknown slots are ignored.
func (w *Weighted) Remove(slot uint32) {
	e := w.store.present(slot)
	if e == nil {
		return
	}
	l := &w.store.lists[e.list()]
	q := w.queueAt(l.queue)
	if l.size > 0 && len(q.heap) > 0 && q.heap[0] == e.list() && l.oldest == slot {
		q.level = max(q.level, l.key)
	}
	w.weighAlike(q.group, -1, e.code())
	w.delist(slot, e)
	e.mark = 0
}

// Move has slot to, which is not present, take the place of slot from.
func (w *Weighted) Move(from, to uint32) {
	f := w.store.present(from)
	if f == nil {
		return
	}
	w.store.reach(to)
	e := w.store.at(to)
	*e = *f
	f.mark = 0
	l := &w.store.lists[e.list()]
	if l.size > 0 {
		*w.store.stamp(to) = *w.store.stamp(from)
	}
	if e.is(deferred) {
		return
	}
	w.store.link(l, to, e.newer, e.older)
	if l.hand == from {
		l.hand = to
	}
	if l.head == from {
		l.head = to
	}
	if l.top == from {
		l.top = to
	}
}

// Miss says that a block of a group was read that is not here.
func (w *Weighted) Miss(number Group, hash uint64) { w.count(w.group(number), hash, false) }

// count counts a read for the rate and the pattern of a group.
func (w *Weighted) count(g *group, hash uint64, peer bool) {
	if peer {
		g.served.add(w.now, g.tau)
	} else {
		g.reads.add(w.now, g.tau)
	}
	if b := g.rules.Base; b != BaseAuto && b != BaseUniform {
		return
	}
	if g.pattern.read(hash, w.now) {
		w.rebase(g)
	} else if g.base() == BaseUniform {
		w.reweigh(g)
	}
}

// weighAlike counts a replica of a group in or out: where the base is uniform, the weight of
// all depends on it.
func (w *Weighted) weighAlike(g *group, n int, code uint8) {
	g.members += n
	g.bytes += float64(n) * sizeOf(code)
	if g.base() == BaseUniform {
		w.reweigh(g)
	}
}

// warm moves a slot that was read to where its base wants it.
func (w *Weighted) warm(slot uint32, e *entry, l *list) {
	q := w.queueAt(l.queue)
	switch base := q.group.base(); {
	case base == BaseSieve:
		e.mark |= visited
		l.known = l.known && l.head != slot
	case base == BaseUniform:
		l.known = l.known && l.head != slot
	case base.counts():
		to := w.hotter(q, e)
		w.store.lists[to].members++ // or it were given back, should it be the one the slot is in
		w.delist(slot, e)
		w.store.lists[to].members--
		w.enter(slot, q, to, newest)
	case l.newest == slot:
		e.mark &^= late
		l.known = l.known && l.head != slot
	default:
		w.store.unlink(l, slot, e)
		w.store.link(l, slot, noSlot, l.newest)
		e.mark &^= late
	}
}

// rejoin puts a slot into a queue with what is known of its reads.
func (w *Weighted) rejoin(slot uint32, e *entry, to *queue) {
	l := &w.store.lists[e.list()]
	q, reads, size, where := w.queueAt(l.queue), l.reads, w.sizeIn(e, l), cold
	if e.is(deferred) && e.is(visited) {
		reads += min(1, maxReads-reads)
		where = hot
	}
	number, was := uint32(0), q.class
	if to != q && reads == l.reads && e.list() != q.base {
		number = w.kin(e.list(), to)
	}
	w.delist(slot, e)
	if number == 0 {
		number = w.listFor(to, reads, size)
	}
	if to.class < was && w.recent(&w.store.lists[number], e.tick) {
		where = hot
	}
	w.enter(slot, to, number, where)
	if to.class > was && where == cold {
		w.chill(e, to)
	}
}

// chill has a slot that has just joined the cold end of a queue count as cold as the coldest of its
// group that are worth as much or more, and forget that it was read: a replica of what others have as
// well goes before any that nobody else has (policy.md §3.4, "both").
func (w *Weighted) chill(e *entry, q *queue) {
	if q.group.base() == BaseUniform {
		return
	}
	e.mark &^= visited
	l, coldest := &w.store.lists[e.list()], e.tick
	if e.is(late) {
		coldest = l.cold
	}
	for class := range q.class + 1 {
		if other := &q.group.queues[class]; other.live >= 0 {
			next := w.next(other)
			w.settle(next)
			if w.age(next.headTick) > w.age(coldest) {
				coldest = next.headTick
			}
		}
	}
	if w.age(coldest) > w.age(e.tick) {
		e.mark |= late
		l.cold, l.known = coldest, false
	}
}

// recent reports whether a read at a tick is nearer to that of the newest slot of a list than to
// that of the oldest.
func (w *Weighted) recent(l *list, at Tick) bool {
	if l.oldest == noSlot {
		return false
	}
	first, last := w.age(w.store.at(l.oldest).tick), w.age(w.store.at(l.newest).tick)
	return w.age(at) < last+(max(first, last)-last)/2
}

// join puts a slot that is in no list into a queue.
func (w *Weighted) join(slot uint32, q *queue, reads uint8, size float64, where end) {
	w.enter(slot, q, w.listFor(q, reads, size), where)
}

// enter puts a slot that is in no list into one of a queue.
func (w *Weighted) enter(slot uint32, q *queue, number uint32, where end) {
	if l := &w.store.lists[number]; l.size > 0 {
		level := q.level
		if where == cold && l.oldest != noSlot {
			level = *w.store.stamp(l.oldest)
		}
		*w.store.stamp(slot) = level
	}
	w.enlist(slot, number, where)
}

// sizeIn returns the size of a slot of a list, as exactly as it is known.
func (w *Weighted) sizeIn(e *entry, l *list) float64 {
	if l.size > 0 {
		return l.size
	}
	return sizeOf(e.code())
}
