package blockstore

import (
	"container/list"
	"sync"

	"github.com/shoal-mesh/shoal"
)

// sumsCache keeps the chunk sums of blocks that are read in pieces, so that their record is
// read once.
type sumsCache struct {
	limit int

	mu    sync.Mutex // guards the fields below
	kept  map[shoal.Key]*list.Element
	order *list.List // of *keptSums, those used last first
}

type keptSums struct {
	key  shoal.Key
	sum  shoal.Sum   // of the block
	sums []shoal.Sum // read-only
}

func newSumsCache(limit int) *sumsCache {
	return &sumsCache{limit: limit, kept: make(map[shoal.Key]*list.Element), order: list.New()}
}

// get returns the sums of a block, or nil. Those of another block sum are none: a read that began
// before the block was dropped may have entered what was there then.
func (c *sumsCache) get(key shoal.Key, sum shoal.Sum) []shoal.Sum {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.kept[key]
	if e == nil || e.Value.(*keptSums).sum != sum {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*keptSums).sums
}

// put keeps the sums of a block that get did not know.
func (c *sumsCache) put(key shoal.Key, sum shoal.Sum, sums []shoal.Sum) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.kept[key]; e != nil {
		e.Value = &keptSums{key, sum, sums}
		return
	}
	if len(c.kept) == c.limit {
		c.drop(c.order.Back())
	}
	c.kept[key] = c.order.PushFront(&keptSums{key, sum, sums})
}

// forget drops the sums of a block that goes.
func (c *sumsCache) forget(key shoal.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.kept[key]; e != nil {
		c.drop(e)
	}
}

// drop drops what is in e. Holds mu.
func (c *sumsCache) drop(e *list.Element) {
	c.order.Remove(e)
	delete(c.kept, e.Value.(*keptSums).key)
}
