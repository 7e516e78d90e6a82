package blockstore

import (
	"sync"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore/policy"
)

// sumsCache keeps the chunk sums of blocks that are read in pieces, so that their record is
// read once.
type sumsCache struct {
	mu    sync.Mutex // guards the fields below
	slots map[shoal.Key]uint32
	kept  []keptSums
	free  []uint32
	order *policy.LRU
}

type keptSums struct {
	key  shoal.Key
	sum  shoal.Sum   // of the block
	sums []shoal.Sum // read-only
}

func newSumsCache(limit int) *sumsCache {
	c := &sumsCache{slots: make(map[shoal.Key]uint32), kept: make([]keptSums, limit), order: policy.NewLRU()}
	for i := range limit {
		c.free = append(c.free, uint32(i))
	}
	return c
}

// get returns the sums of a block, or nil. Those of another block sum are none: a read that began
// before the block was dropped may have entered what was there then.
func (c *sumsCache) get(key shoal.Key, sum shoal.Sum) []shoal.Sum {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, ok := c.slots[key]
	if !ok || c.kept[i].sum != sum {
		return nil
	}
	c.order.Touch(i)
	return c.kept[i].sums
}

// put keeps the sums of a block that get did not know.
func (c *sumsCache) put(key shoal.Key, sum shoal.Sum, sums []shoal.Sum) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i, ok := c.slots[key]; ok {
		c.kept[i].sum, c.kept[i].sums = sum, sums
		return
	}
	if len(c.free) == 0 {
		oldest, _ := c.order.Victim()
		c.drop(oldest)
	}
	i := c.free[len(c.free)-1]
	c.free = c.free[:len(c.free)-1]
	c.kept[i], c.slots[key] = keptSums{key, sum, sums}, i
	c.order.Insert(i, policy.Item{})
}

// forget drops the sums of a block that goes.
func (c *sumsCache) forget(key shoal.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i, ok := c.slots[key]; ok {
		c.drop(i)
	}
}

// drop drops what is in slot i. Holds mu.
func (c *sumsCache) drop(i uint32) {
	c.order.Remove(i)
	delete(c.slots, c.kept[i].key)
	c.kept[i] = keptSums{}
	c.free = append(c.free, i)
}
