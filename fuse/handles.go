package fuse

import (
	"sync"
	"sync/atomic"
)

// handleShards is how many locks a table is spread over, a power of two.
const handleShards = 16

// A table keeps what is open under handle numbers that it never uses twice. Handles
// share nothing, also those of the same id.
type table[T any] struct {
	limit  int64
	open   atomic.Int64
	last   atomic.Uint64
	shards [handleShards]struct {
		sync.RWMutex // guards the fields below
		open         map[uint64]T
	}
}

func newTable[T any](limit int) *table[T] {
	t := &table[T]{limit: int64(limit)}
	for i := range t.shards {
		t.shards[i].open = make(map[uint64]T)
	}
	return t
}

// add returns a new handle to v; ok is false when too many are open.
func (t *table[T]) add(v T) (fh uint64, ok bool) {
	if t.open.Add(1) > t.limit {
		t.open.Add(-1)
		return 0, false
	}
	fh = t.last.Add(1)
	s := &t.shards[fh%handleShards]
	s.Lock()
	defer s.Unlock()
	s.open[fh] = v
	return fh, true
}

// at returns what fh is a handle to.
func (t *table[T]) at(fh uint64) (T, bool) {
	s := &t.shards[fh%handleShards]
	s.RLock()
	defer s.RUnlock()
	v, ok := s.open[fh]
	return v, ok
}

// remove frees fh and returns what it was a handle to.
func (t *table[T]) remove(fh uint64) (T, bool) {
	s := &t.shards[fh%handleShards]
	s.Lock()
	defer s.Unlock()
	v, ok := s.open[fh]
	if ok {
		delete(s.open, fh)
		t.open.Add(-1)
	}
	return v, ok
}

// drain frees every handle and returns what they were handles to.
func (t *table[T]) drain() []T {
	var all []T
	for i := range t.shards {
		s := &t.shards[i]
		s.Lock()
		for fh, v := range s.open {
			all = append(all, v)
			delete(s.open, fh)
			t.open.Add(-1)
		}
		s.Unlock()
	}
	return all
}
