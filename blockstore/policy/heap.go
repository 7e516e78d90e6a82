package policy

// sift puts a list of a counting base where it belongs in its queue's heap, or takes it out
// when it is empty.
func (w *Weighted) sift(q *queue, number uint32) {
	l := &w.store.lists[number]
	switch {
	case l.place < 0 && l.oldest == noSlot, l.place >= 0 && l.oldest == l.top:
		return
	case l.oldest == noSlot:
		i := int(l.place)
		last := len(q.heap) - 1
		w.put(q, i, q.heap[last])
		q.heap = q.heap[:last]
		l.place = -1
		if i < last {
			w.down(q, w.up(q, i))
		}
		return
	case l.place < 0:
		q.heap = append(q.heap, number)
		l.place = int32(len(q.heap) - 1)
	}
	l.top, l.topTick, l.key = l.oldest, w.store.at(l.oldest).tick, w.priority(l)
	w.down(q, w.up(q, int(l.place)))
}

func (w *Weighted) put(q *queue, i int, number uint32) {
	q.heap[i] = number
	w.store.lists[number].place = int32(i)
}

func (w *Weighted) up(q *queue, i int) int {
	for i > 0 {
		parent := (i - 1) / 2
		if !w.before(q.heap[i], q.heap[parent]) {
			break
		}
		w.swap(q, i, parent)
		i = parent
	}
	return i
}

func (w *Weighted) down(q *queue, i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(q.heap); child++ {
			if w.before(q.heap[child], q.heap[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		w.swap(q, i, least)
		i = least
	}
}

func (w *Weighted) swap(q *queue, i, j int) {
	a, b := q.heap[i], q.heap[j]
	w.put(q, i, b)
	w.put(q, j, a)
}

// before reports whether list a has the next victim rather than b. Of equals the one not read
// for longer goes first, then the one read less often, then the larger one.
func (w *Weighted) before(a, b uint32) bool {
	k, l := &w.store.lists[a], &w.store.lists[b]
	if k.key != l.key {
		return k.key < l.key
	}
	if k.topTick != l.topTick {
		return w.age(k.topTick) > w.age(l.topTick)
	}
	return k.reads < l.reads || k.reads == l.reads && k.size > l.size
}

// priority is what a counting base orders the oldest of a list by: for LFU the reads, for GDSF
// the level it came in at + reads / size.
func (w *Weighted) priority(l *list) float64 {
	if l.size == 0 {
		return float64(l.reads)
	}
	return *w.store.stamp(l.oldest) + float64(l.reads)/l.size
}
