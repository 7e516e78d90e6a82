package flow

// An Event is something that is to happen. What Kind, A, B and C mean is its owner's business.
type Event struct {
	At      int64  // nanoseconds of simulated time
	Seq     uint64 // how many events were pushed before it: of two at one moment the first goes first
	Kind    uint16
	A, B, C uint32
}

// A Queue gives events back in the order of their moments, and of one moment in the order in
// which they came. Its zero value is empty and ready.
//
// It is a heap of values in which each has four children: a path from the root is half as long
// as with two, and the children compared on it lie side by side. It allocates only to grow.
type Queue struct {
	heap []Event
	seq  uint64
}

// fan is how many children a place of a heap has.
const fan = 4

// Push adds an event.
func (q *Queue) Push(at int64, kind uint16, a, b, c uint32) {
	e := Event{At: at, Seq: q.seq, Kind: kind, A: a, B: b, C: c}
	q.seq++
	q.heap = append(q.heap, e)
	q.rise(len(q.heap)-1, e)
}

// Peek returns the event that Pop would; ok is false if there is none.
func (q *Queue) Peek() (e Event, ok bool) {
	if len(q.heap) == 0 {
		return Event{}, false
	}
	return q.heap[0], true
}

// Pop removes the first event and returns it; ok is false if there is none.
func (q *Queue) Pop() (e Event, ok bool) {
	if len(q.heap) == 0 {
		return Event{}, false
	}
	first := q.heap[0]
	last := len(q.heap) - 1
	e = q.heap[last]
	q.heap = q.heap[:last]
	if last > 0 {
		q.rise(q.sink(), e)
	}
	return first, true
}

// Len returns how many events there are.
func (q *Queue) Len() int { return len(q.heap) }

// before tells whether e goes before o.
func (e *Event) before(o *Event) bool {
	return e.At < o.At || e.At == o.At && e.Seq < o.Seq
}

// rise puts e where it belongs on the way from the free place i to the root.
func (q *Queue) rise(i int, e Event) {
	h := q.heap
	for i > 0 {
		up := (i - 1) / fan
		if !e.before(&h[up]) {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = e
}

// sink moves the free place at the root down to a leaf, the first of its children going up in
// its stead each time, and returns where it ended. What comes from the end of the heap belongs
// near a leaf: looking for its place from below takes fewer comparisons than from above.
func (q *Queue) sink() int {
	h := q.heap
	i := 0
	for {
		child := i*fan + 1
		if child >= len(h) {
			return i
		}
		least := child
		for c := child + 1; c < min(child+fan, len(h)); c++ {
			if h[c].before(&h[least]) {
				least = c
			}
		}
		h[i] = h[least]
		i = least
	}
}
