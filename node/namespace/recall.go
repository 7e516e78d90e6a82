package namespace

import (
	"hash/maphash"
	"sync"
)

const (
	// maxRecalled bounds how many names are kept in RAM, about 250 bytes each and the name.
	maxRecalled  = 64 << 10
	recallShards = 64
)

// recall keeps the records of names that were looked up lately. A read of Pebble is 10 to 15 µs
// of waiting for memory, and a kernel that dropped its names asks for one after the other.
type recall struct {
	seed   maphash.Seed
	shards [recallShards]recallShard
}

type recallShard struct {
	mu    sync.Mutex // guards the fields below
	names map[nameOf]nameRecord
	edits uint64 // how often a record was dropped because it changed
}

func newRecall() *recall {
	c := &recall{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].names = make(map[nameOf]nameRecord)
	}
	return c
}

func (c *recall) shard(of nameOf) *recallShard {
	return &c.shards[maphash.Comparable(c.seed, of)%recallShards]
}

// find returns the record of a name, if it is kept; else what add is to be told.
func (c *recall) find(of nameOf) (r nameRecord, edits uint64, ok bool) {
	s := c.shard(of)
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok = s.names[of]
	return r, s.edits, ok
}

// add keeps a record that was read from the store, unless it may have changed since find. When
// full it drops any other.
func (c *recall) add(of nameOf, r nameRecord, edits uint64) {
	s := c.shard(of)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.edits != edits {
		return
	}
	if len(s.names) >= maxRecalled/recallShards {
		for k := range s.names {
			delete(s.names, k)
			break
		}
	}
	s.names[of] = r
}

// drop forgets names that the store has other records of now, or none.
func (c *recall) drop(changed []nameOf) {
	for _, of := range changed {
		s := c.shard(of)
		s.mu.Lock()
		delete(s.names, of)
		s.edits++
		s.mu.Unlock()
	}
}
