package policy

import (
	"errors"
	"fmt"
	"math"

	"github.com/shoal-mesh/shoal"
)

// A Tick is a moment in the unit of the owner's choice, counted from where it likes: an
// agent takes eighths of a second, a simulator one per read. Ticks may wrap around, as no
// age comes near 2^32.
type Tick uint32

// Rules say how the replicas of one group are weighed. The zero value is the default.
type Rules struct {
	// Base orders replicas of one class. Default BaseAuto.
	Base Base
	// Classes has a replica's class count. Without, all are weighed as the last ones, and
	// what is said of classes is ignored.
	Classes bool
	// HalfLife is how long the group's read rate takes to halve once nobody reads, and how
	// far the rate looks back. Default 4800: 10 minutes in eighths of a second.
	HalfLife Tick
}

// Config holds the settings of a Weighted. A zero field means its default.
type Config struct {
	// Rho is the cost of a read from a peer of the zone, where one from the UFS costs 1.
	// Default 0.1; 0.02 to 0.8.
	Rho float64
	// RhoZone is the same for a peer of another zone. Default 0.3; Rho to 0.8.
	RhoZone float64
	// Epsilon is by which share a new block must be worth more than the one it displaces.
	// Default 0.05; 0 to 1, but 0 is the default.
	Epsilon float64
	// Burst is the time in which reads of one block are one read to the pattern detector.
	// Default 8: a second in eighths.
	Burst Tick
}

const (
	minCost = 0.02
	maxCost = 0.8
)

func (c Config) withDefaults() (Config, error) {
	if c.Rho == 0 {
		c.Rho = 0.1
	}
	if c.RhoZone == 0 {
		c.RhoZone = max(0.3, c.Rho)
	}
	if c.Epsilon == 0 {
		c.Epsilon = 0.05
	}
	if c.Burst == 0 {
		c.Burst = 8
	}
	var errs []error
	if !(c.Rho >= minCost && c.Rho <= maxCost) {
		errs = append(errs, fmt.Errorf("rho: %v is not within %v and %v", c.Rho, minCost, maxCost))
	}
	if !(c.RhoZone >= c.Rho && c.RhoZone <= maxCost) {
		errs = append(errs, fmt.Errorf("rho of a zone: %v is not within rho and %v", c.RhoZone, maxCost))
	}
	if !(c.Epsilon > 0 && c.Epsilon <= 1) {
		errs = append(errs, fmt.Errorf("epsilon: %v is not within 0 and 1", c.Epsilon))
	}
	return c, errors.Join(errs...)
}

// Weighted gives up the replica that saves least: it has the lowest weight
//
//	V = rate of reads x cost a read would have without it / bytes
//
// (policy.md §5.1). The cost is 1 for a last replica, RhoZone for the last in its zone, Rho
// for a surplus one and 0 for an excess one. The rate depends on the base: where it is
// uniform, it is the group's rate of reads divided by the blocks of an epoch, which makes
// giving up by V the allocation of SiloD (policy.md §3.6; see uniformRate); otherwise it is 1 / age of the
// group's next victim, times the reads counted for it.
//
// Replicas of one group and class are a queue, in the base's own order, so that the next
// victim of each is known, and only these are compared. One group of one class alone is
// exactly its base.
//
// A slot takes 16 bytes, and 8 more where a group is GDSF. Weights are per tick and byte.
type Weighted struct {
	cfg     Config
	now     Tick
	round   uint64                 // counts changes of now and costs
	costs   [shoal.Classes]float64 // by class
	store   slots
	groups  []*group // by Group; nil where nothing was said of one
	live    []*queue // those with something to give up, in no order
	subs    map[subKey]uint32
	inverse [sizeCodes]float64 // 1 / bytes, by size code
}

var _ Policy = (*Weighted)(nil)

// A group is what is known of one dataset.
type group struct {
	number  Group
	rules   Rules
	tau     float64 // HalfLife / ln 2, in ticks
	queues  [shoal.Classes]queue
	first   Tick    // when it was heard of first
	members int     // replicas, deferred ones included
	bytes   float64 // of these, as their size codes say
	reads   rate    // of readers here
	served  rate    // of peers
	pattern detector

	uniform   [2]float64 // rates of blocks when the base is uniform: see Weighted.uniformRate
	uniformAt Tick
	fresh     bool // uniform was computed at uniformAt, and nothing was read since
}

// NewWeighted returns an empty Weighted at tick 0.
func NewWeighted(cfg Config) (*Weighted, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("policy: config: %w", err)
	}
	w := &Weighted{cfg: cfg, subs: make(map[subKey]uint32)}
	w.store.init()
	for code := range w.inverse {
		w.inverse[code] = 1 / sizeOf(uint8(code))
	}
	w.SetCosts(cfg.Rho, cfg.RhoZone)
	return w, nil
}

// Advance sets the time. It must not go back.
func (w *Weighted) Advance(now Tick) {
	if now != w.now {
		w.now = now
		w.round++
	}
}

// SetCosts sets what a read from a peer of the zone and of another zone costs, where one from
// the UFS costs 1, as measured. What is out of bounds is taken for the nearest that is not,
// and another zone is never cheaper than this one.
func (w *Weighted) SetCosts(peer, zone float64) {
	if peer != peer || zone != zone {
		return // nothing was measured
	}
	peer = min(max(peer, minCost), maxCost)
	zone = min(max(zone, peer), maxCost)
	w.costs = [shoal.Classes]float64{shoal.Last: 1, shoal.LastInZone: zone, shoal.Surplus: peer, shoal.Excess: 0}
	w.round++
}

// SetRules sets the rules of a group. Going from one of auto, uniform, LRU and sieve to
// another keeps the order; to or from LFU and GDSF, or when classes begin or cease to count,
// all slots of the group are queued again, coldest first, which takes time for each.
func (w *Weighted) SetRules(number Group, rules Rules) {
	g := w.group(number)
	was := g.rules
	if rules.Classes == was.Classes && rules.Base.counts() == was.Base.counts() && rules.Base.sized() == was.Base.sized() {
		w.adopt(g, rules)
		return
	}
	var chains [shoal.Classes][]uint32
	for class := range g.queues {
		chains[class] = w.drain(&g.queues[class])
	}
	w.adopt(g, rules)
	for class := shoal.Excess; class < shoal.Classes; class-- {
		for _, slot := range chains[class] {
			w.join(slot, g.queue(class), 1, sizeOf(w.store.at(slot).code()), newest)
		}
	}
}

// adopt sets the rules of a group without a look at what is there.
func (w *Weighted) adopt(g *group, rules Rules) {
	if rules.HalfLife == 0 {
		rules.HalfLife = 4800
	}
	g.rules, g.tau = rules, float64(rules.HalfLife)/math.Ln2
	g.reads.scale, g.served.scale = 0, 0 // they were of another tau
	w.rebase(g)
}

// drain takes all slots out of a queue and returns them, oldest first.
func (w *Weighted) drain(q *queue) []uint32 {
	var all []uint32
	for q.live >= 0 {
		l := w.next(q)
		slot := l.oldest
		w.delist(slot, w.store.at(slot))
		all = append(all, slot)
	}
	return all
}
