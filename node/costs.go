package node

import (
	"sync"
	"time"
)

// costs measures what a read costs by where it comes from: seconds a byte, as readers wait for
// it. What a replica is worth depends on what a read would cost without it (policy.md §5.1).
// Its zero value is ready.
type costs struct {
	mu    sync.Mutex // guards the fields below
	perB  [sourceKinds]float64
	seen  [sourceKinds]int
	since int // observations since the ratios were told last

	near, far float64 // the ratios told last; 0 before
}

// A sourceKind is where a block came from.
type sourceKind uint8

const (
	fromUFS sourceKind = iota
	fromNear
	fromFar
	sourceKinds
)

const (
	costWindow = 64 // observations that count, about
	costFloor  = 16 // observations of each kind before ratios are told
	// costMost bounds the ratios: a read of the UFS costs more than the time it takes, as it
	// is paid for, and takes from a link that all nodes share.
	costMost = 0.5
)

// note takes in that n bytes took so long. Every so often it returns the ratios of a read from
// a peer of this zone, and of another, to one from the UFS; ok is false else.
func (c *costs) note(kind sourceKind, n int, took time.Duration) (near, far float64, ok bool) {
	if n <= 0 {
		return 0, 0, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	per := took.Seconds() / float64(n)
	c.seen[kind]++
	c.perB[kind] += (per - c.perB[kind]) / float64(min(c.seen[kind], costWindow))
	if c.since++; c.since < costFloor || c.seen[fromUFS] < costFloor || c.seen[fromNear]+c.seen[fromFar] < costFloor {
		return 0, 0, false
	}
	c.since = 0
	c.near, c.far = c.ratio(fromNear, fromFar), c.ratio(fromFar, fromNear)
	return c.near, c.far, true
}

// told returns the ratios that note returned last, 0 before.
func (c *costs) told() (near, far float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.near, c.far
}

// cost notes what a transfer took, and tells the store when what reads cost has been measured
// anew.
func (r *Fetcher) cost(kind sourceKind, n int, took time.Duration) {
	if near, far, ok := r.costs.note(kind, n, took); ok {
		r.store.SetCosts(near, far)
	}
}

// ratio returns the cost of a kind by that of the UFS; if it was not seen, that of another.
func (c *costs) ratio(kind, other sourceKind) float64 {
	if c.seen[kind] < costFloor {
		kind = other
	}
	if c.perB[fromUFS] <= 0 {
		return costMost
	}
	return min(c.perB[kind]/c.perB[fromUFS], costMost)
}
