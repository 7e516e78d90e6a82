// Package solo replays a trace through one cache, as quickly as it can: what a policy makes of
// requests, without a fleet (policy.md §4.4). The agents' own policies decide; for comparison
// there are two that agents do not have, FIFO and random.
//
// Fleets, jobs and times are for package sim.
//
// Memory: 21 to 43 bytes for each block that was ever asked for, and for each that is in the cache
// 24, or 20 where all count for one.
package solo

import (
	"fmt"
	"math/rand/v2"

	"github.com/shoal-mesh/shoal/blockstore/policy"
	"github.com/shoal-mesh/shoal/sim/trace"
)

// Config says what a Cache is like.
type Config struct {
	// Policy is "fifo", "random", "shoal", which is auto, or one of an agent's config.
	Policy string
	// Capacity is how many bytes of blocks there is room for; with Unit, how many blocks.
	Capacity int64
	// Unit has each block count for one byte, whatever its size.
	Unit bool
}

// Policies returns the policies there are.
func Policies() []string {
	return []string{"shoal", "auto", "uniform", "lru", "lfu", "sieve", "gdsf", "fifo", "random"}
}

// A Cache is one cache. It is not safe for concurrent use.
type Cache struct {
	cfg    Config
	base   policy.Base
	fifo   bool
	rng    *rand.PCG // nil unless victims are random
	policy *policy.Weighted
	ids    table
	places []uint32 // in ids, by slot; nowhere when the slot is not in use
	sizes  []uint32 // in bytes, by slot; none with Unit
	free   []uint32 // slots not in use
	used   int64
	begun  bool
	start  int64 // time of the first record
	warmed bool  // what the warm-up counted is forgotten
	stats  Stats

	room     [128]uint32 // places of a batch
	expected uint64      // of no use: what Replay looked at must go somewhere
}

// nowhere is the place of a block that is not in the cache.
const nowhere = ^uint32(0)

// Stats counts what went through a cache.
type Stats struct {
	Requests      int64 `json:"requests"`
	Hits          int64 `json:"hits"`
	Bytes         int64 `json:"bytes"` // of requests
	HitBytes      int64 `json:"hit_bytes"`
	Evicted       int64 `json:"evicted"`
	Blocks        int64 `json:"blocks"`         // distinct ones, from the beginning
	DistinctBytes int64 `json:"distinct_bytes"` // of these
}

// New returns an empty Cache.
func New(cfg Config) (*Cache, error) {
	c := &Cache{cfg: cfg, ids: newTable()}
	switch cfg.Policy {
	case "fifo":
		c.fifo, c.base = true, policy.BaseLRU
	case "random":
		c.rng, c.base = rand.NewPCG(1, 0), policy.BaseLRU
	case "shoal":
		c.base = policy.BaseAuto
	default:
		base, err := policy.ParseBase(cfg.Policy)
		if err != nil {
			return nil, fmt.Errorf("policy %q: want one of %v", cfg.Policy, Policies())
		}
		c.base = base
	}
	if cfg.Capacity < 1 {
		return nil, fmt.Errorf("capacity: %d is not positive", cfg.Capacity)
	}
	var err error
	if c.policy, err = policy.NewWeighted(policy.Config{}); err != nil {
		return nil, err
	}
	c.policy.SetRules(0, policy.Rules{Base: c.base})
	return c, nil
}

// Stats returns what went through so far.
func (c *Cache) Stats() Stats {
	s := c.stats
	s.Blocks = int64(c.ids.n)
	return s
}

// Replay has reads go through the cache, in order. Writes are left out.
func (c *Cache) Replay(records []trace.Record) {
	for len(records) > 0 {
		batch := records[:min(len(records), len(c.room))]
		records = records[len(batch):]
		c.ids.reserve(len(batch), c.places)
		c.look(batch)
		for i := range batch {
			if batch[i].Op == 0 {
				c.read(&batch[i], c.room[i])
			}
		}
	}
}

// look finds the places of a batch's ids: first it looks at all at once, so that the processor
// waits for the memory of many at a time.
func (c *Cache) look(batch []trace.Record) {
	sum := uint64(0)
	for i := range batch {
		at := c.ids.home(batch[i].Block)
		c.room[i] = at
		sum += c.ids.cells[at].id
	}
	for i := range batch {
		at := c.ids.find(batch[i].Block, c.room[i])
		c.room[i] = at
		if n, ok := c.slotAt(at); ok {
			sum += uint64(c.policy.Idle(n))
		}
	}
	c.expected += sum
}

// tick is how many microseconds the policies' unit of time has: that of agents.
const tick = 125_000

// read has one read go through. Its id is at a place, or at one behind it, if the same batch has
// brought it.
func (c *Cache) read(r *trace.Record, at uint32) {
	if !c.begun {
		c.begun, c.start = true, r.Time
	}
	c.policy.Advance(policy.Tick(max(0, r.Time-c.start) / tick))
	c.stats.Requests++
	c.stats.Bytes += int64(r.Bytes)
	at = c.ids.find(r.Block, at)
	if n, ok := c.slotAt(at); ok {
		c.stats.Hits++
		c.stats.HitBytes += int64(r.Bytes)
		if !c.fifo && c.rng == nil {
			c.policy.Touch(n, r.Block)
		}
		return
	}
	if !c.ids.cells[at].used {
		c.ids.take(at, r.Block)
		c.stats.DistinctBytes += int64(r.Size)
	}
	c.policy.Miss(0, r.Block)
	c.insert(at, r.Size)
}

// slotAt returns the slot of the block at a place, if it is in the cache. A cell is not told when
// its block goes, as cells of blocks that go are far away in memory: the slot knows whose it is.
func (c *Cache) slotAt(at uint32) (n uint32, ok bool) {
	n = c.ids.cells[at].slot
	return n, int(n) < len(c.places) && c.places[n] == at
}

// insert puts the block at a place into the cache, if it is worth it.
func (c *Cache) insert(at uint32, size uint32) {
	bytes := int64(size)
	if c.cfg.Unit {
		bytes = 1
	}
	item := policy.Item{SizeBytes: bytes}
	if c.used+bytes > c.cfg.Capacity {
		if bytes > c.cfg.Capacity {
			return
		}
		if c.base != policy.BaseLRU { // which takes in everything
			if _, ok := c.policy.Admit(item); !ok {
				return
			}
		}
	}
	for c.used+bytes > c.cfg.Capacity {
		c.evict()
	}
	n := c.vacant()
	c.places[n] = at
	if !c.cfg.Unit {
		c.sizes[n] = size
	}
	c.ids.cells[at].slot = n
	c.used += bytes
	c.policy.Insert(n, item)
}

// vacant returns a slot that is not in use.
func (c *Cache) vacant() uint32 {
	if last := len(c.free) - 1; last >= 0 {
		n := c.free[last]
		c.free = c.free[:last]
		return n
	}
	c.places = append(c.places, nowhere)
	if !c.cfg.Unit {
		c.sizes = append(c.sizes, 0)
	}
	return uint32(len(c.places) - 1)
}

// evict gives up the next victim.
func (c *Cache) evict() {
	n, ok := c.policy.Victim()
	if c.rng != nil {
		for ok {
			n = uint32(c.rng.Uint64() >> 32 * uint64(len(c.places)) >> 32)
			if c.places[n] != nowhere {
				break
			}
		}
	}
	c.policy.Remove(n)
	c.places[n] = nowhere
	if c.cfg.Unit {
		c.used--
	} else {
		c.used -= int64(c.sizes[n])
	}
	c.free = append(c.free, n)
	c.stats.Evicted++
}
