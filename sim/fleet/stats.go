package fleet

import (
	"math"
	"time"

	"github.com/shoal-mesh/shoal/blockstore/policy"
)

// Stats counts what a Fleet has done.
type Stats struct {
	Lookups, Deltas, Orders, Resigned int64 // of the directory
	WrongHints                        int64 // lookups that named a node which was not there
	Last, LastLost                    int64 // last replicas evicted: with their homes' consent, and without
	Crashed                           int64 // last replicas that went with a node, or after their keeper had
	Moved                             int64 // keepers that handed over before they went
	Placed, Bypassed                  int64 // blocks placed on others; reads of blocks that nobody kept
}

// NodeStats counts what one node has done.
type NodeStats struct {
	Evicted, SentBytes, WrittenBytes int64
}

// Stats returns what has been done so far.
func (f *Fleet) Stats() Stats { return f.stats }

// NodeStats returns what a node has done so far.
func (f *Fleet) NodeStats(node int) NodeStats { return f.nodes[node].counts }

// Copies returns how many replicas there are, and of how many blocks.
func (f *Fleet) Copies() (copies, blocks int64) { return f.copies, f.blocks }

// EvictionAge returns the age, since they were read last, that a share of the evicted blocks
// was below, to about 10 %.
func (f *Fleet) EvictionAge(share float64) time.Duration {
	return time.Duration(f.age.quantile(share)) * f.cfg.Tick
}

// Contents counts what is in the caches.
type Contents struct {
	Blocks, Copies int64
	Bytes          int64
	KeptBytes      int64          // of Bytes, those of one replica of each block
	Histogram      [maxHist]int64 // blocks by the number of holders: 1, 2, 3-4, 5-8, ...
	ByGroup        []int64        // bytes of one replica of each block
}

const maxHist = 18

// Contents walks over all blocks.
func (f *Fleet) Contents() Contents {
	c := Contents{ByGroup: make([]int64, len(f.cfg.Groups))}
	for i := range f.holders {
		h := &f.holders[i]
		if h.Empty() {
			continue
		}
		block := uint32(i)
		f.room = h.All(block, f.more, f.room[:0])
		b, n := f.cfg.Of(block), len(f.room)
		c.Blocks++
		c.Copies += int64(n)
		c.Bytes += int64(n) * int64(b.Bytes)
		c.KeptBytes += int64(b.Bytes)
		c.ByGroup[b.Group] += int64(b.Bytes)
		c.Histogram[bucketOf(n)]++
	}
	return c
}

// bucketOf returns the bar of a histogram that a count belongs to: 1, 2, 3-4, 5-8, ...
func bucketOf(n int) int { return int(math.Ceil(math.Log2(float64(n)))) }

// ages is a histogram of ticks, of 8 steps to each doubling.
type ages struct{ counts [256]int64 }

func (a *ages) add(t policy.Tick) {
	a.counts[min(255, int(8*math.Log2(1+float64(t))))]++
}

func (a *ages) quantile(share float64) float64 {
	total := int64(0)
	for _, n := range a.counts {
		total += n
	}
	seen := int64(0)
	for i, n := range a.counts {
		if seen += n; n > 0 && float64(seen) >= share*float64(total) {
			return math.Exp2(float64(i)/8) - 1
		}
	}
	return 0
}

// Capacity returns how many bytes each node's cache holds.
func (f *Fleet) Capacity() int64 { return f.cfg.Capacity }
