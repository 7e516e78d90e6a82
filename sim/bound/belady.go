package bound

// Belady tells of each request whether it is a hit in a cache for capacity blocks of one size that
// gives up, or does not take in, the block whose next request is furthest away. No policy has
// more hits on that sequence (Belady, IBM Systems Journal 5(2), 1966; Mattson et al., ibid. 9(2),
// 1970; with bypass as policy.md §3.1 has it).
//
// Of n requests for m blocks it takes time in O(n log capacity), and 17 bytes per request besides
// some 40 per block.
func Belady(ids []uint64, capacity int) []bool {
	block, next, blocks := nextUses(ids)
	r := residents{place: make([]int, blocks)}
	hits := make([]bool, len(ids))
	for i, b := range block {
		switch {
		case r.place[b] > 0:
			hits[i] = true
			r.rise(r.place[b]-1, resident{next[i], b})
		case len(r.heap) < capacity:
			r.heap = append(r.heap, resident{})
			r.rise(len(r.heap)-1, resident{next[i], b})
		case capacity > 0 && r.heap[0].next > next[i]:
			r.place[r.heap[0].block] = 0
			r.sink(resident{next[i], b})
		}
	}
	return hits
}

// nextUses numbers the blocks of a sequence, and returns of each request which block it is for
// and the index of the next one for the same: len(ids) if there is none.
func nextUses(ids []uint64) (block, next []int, blocks int) {
	number := make(map[uint64]int)
	block, next = make([]int, len(ids)), make([]int, len(ids))
	var last []int // by block: the latest request for it so far
	for i, id := range ids {
		next[i] = len(ids)
		b, known := number[id]
		if known {
			next[last[b]] = i
			last[b] = i
		} else {
			b = len(last)
			number[id] = b
			last = append(last, i)
		}
		block[i] = b
	}
	return block, next, len(last)
}

// A resident is a block in the cache.
type resident struct {
	next  int // the index of the next request for it
	block int
}

// residents is a heap of those, the one needed last at the root. When a block is read it is the
// one that is needed first, and from then on later: blocks only rise.
type residents struct {
	heap  []resident
	place []int // by block: its index in heap + 1; 0 if it is not in the cache
}

// rise puts e where it belongs on the way from index i to the root.
func (r *residents) rise(i int, e resident) {
	for i > 0 {
		up := (i - 1) / 2
		if r.heap[up].next >= e.next {
			break
		}
		r.put(i, r.heap[up])
		i = up
	}
	r.put(i, e)
}

// sink puts e where it belongs on the way from the root to a leaf.
func (r *residents) sink(e resident) {
	i := 0
	for {
		child := 2*i + 1
		if child+1 < len(r.heap) && r.heap[child+1].next > r.heap[child].next {
			child++
		}
		if child >= len(r.heap) || r.heap[child].next <= e.next {
			break
		}
		r.put(i, r.heap[child])
		i = child
	}
	r.put(i, e)
}

func (r *residents) put(i int, e resident) {
	r.heap[i] = e
	r.place[e.block] = i + 1
}
