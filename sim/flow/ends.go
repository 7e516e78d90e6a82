package flow

import "math"

// never is when a flow ends that gets nothing.
const never = math.MaxInt64

// An end is when a flow will have delivered all its bytes if its rate stays.
type end struct {
	at   int64
	flow ID
}

func (e end) before(o end) bool {
	return e.at < o.at || e.at == o.at && e.flow < o.flow
}

// ends is a heap of the ends of all flows. Each flow knows its place in it, so that its end can
// be moved.
type ends struct {
	heap  []end
	place []int32 // by ID; -1 if it has none
}

// set says when f ends, for the first time or anew.
func (h *ends) set(f ID, at int64) {
	for int(f) >= len(h.place) {
		h.place = append(h.place, -1)
	}
	e := end{at, f}
	i := int(h.place[f])
	if i < 0 {
		h.heap = append(h.heap, e)
		h.rise(len(h.heap)-1, e)
		return
	}
	if e.before(h.heap[i]) {
		h.rise(i, e)
	} else {
		h.sink(i, e)
	}
}

// remove forgets f.
func (h *ends) remove(f ID) {
	i := int(h.place[f])
	h.place[f] = -1
	last := len(h.heap) - 1
	e := h.heap[last]
	h.heap = h.heap[:last]
	switch {
	case i == last:
	case i > 0 && e.before(h.heap[(i-1)/fan]):
		h.rise(i, e)
	default:
		h.sink(i, e)
	}
}

// rise puts e where it belongs on the way from place i to the root.
func (h *ends) rise(i int, e end) {
	for i > 0 {
		up := (i - 1) / fan
		if !e.before(h.heap[up]) {
			break
		}
		h.put(i, h.heap[up])
		i = up
	}
	h.put(i, e)
}

// sink puts e where it belongs on the way from place i to a leaf.
func (h *ends) sink(i int, e end) {
	for {
		child := i*fan + 1
		if child >= len(h.heap) {
			break
		}
		least := child
		for c := child + 1; c < min(child+fan, len(h.heap)); c++ {
			if h.heap[c].before(h.heap[least]) {
				least = c
			}
		}
		if !h.heap[least].before(e) {
			break
		}
		h.put(i, h.heap[least])
		i = least
	}
	h.put(i, e)
}

func (h *ends) put(i int, e end) {
	h.heap[i] = e
	h.place[e.flow] = int32(i)
}
