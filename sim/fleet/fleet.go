// Package fleet is the caches of many nodes and the directory of who holds what, as the
// engines of package sim see them: blocks come, are read, told of and go, and nothing takes
// time but news.
//
// What is decided is decided by the agents' own code: policy.Weighted orders each cache,
// policy.Room admits, and the rules of package replicas say what a replica is worth beside
// others, who keeps it, where a reader is sent and who takes what a reader will not keep. What
// is left out is how the agents come to agree (package sim/protocol tries that): the directory
// is one table that knows the truth at once, and holders are told what they are worth a fixed
// time later. So a keeper's word passes from one node to another in one step, and only a
// crash can lose the last replica of a block.
//
// Memory: 8 bytes a block, and about 33 a replica: 16 of policy.Weighted, 12 of the hash table
// from block to slot, 5 of what it is.
package fleet

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/shoal-mesh/shoal/blockstore/policy"
	"github.com/shoal-mesh/shoal/replicas"
)

// MaxNodes is how many nodes a Fleet may have: Holders number them by 16 bits.
const MaxNodes = 1<<16 - 1

// Config holds the settings of a Fleet.
type Config struct {
	// Nodes is how many there are. 1 to MaxNodes.
	Nodes int
	// Zones is how many zones they are of: the first ones of the first, and so on. 1 to Nodes.
	// Default 1.
	Zones int
	// Capacity is how many bytes of blocks each node's cache holds.
	Capacity int64
	// Limit is how many bytes it may take while homes are asked whether some may go: agents keep
	// some room free for that. At least Capacity. Default Capacity.
	Limit int64
	// Blocks is how many there are; they are numbered from 0. At least 1.
	Blocks uint32
	// Of describes a block. It is called often, and always says the same of one.
	Of func(block uint32) Block
	// Groups are the datasets. At least one.
	Groups []Group
	// Policy are the settings of each node's policy.
	Policy policy.Config
	// Tick is the policies' unit of time. Default 125 ms, as the agents'.
	Tick time.Duration
	// News is how long it takes until a block's home hears of a change, and as long again
	// until holders are told what follows. Default 0: they know at once.
	News time.Duration
	// Baseline has victims chosen as agents never do, for comparison. Default: none.
	Baseline Baseline
	// Seed is that of a baseline's random choices.
	Seed uint64
	// Readers is how many readers of a block are sent to one holder in two seconds, if there
	// are others. Default 4, as the agents'.
	Readers int
}

// A Baseline is a rule of eviction that agents do not have, for comparison.
type Baseline uint8

// The baselines. Both take in every block, and know no classes.
const (
	NoBaseline Baseline = iota // the policies decide
	FIFO                       // the block that came first goes
	Random                     // any block goes
)

// A Block is what a Fleet is told of one block.
type Block struct {
	Group policy.Group // index into Config.Groups
	Bytes uint32
}

// A Group is what a Fleet is told of one dataset.
type Group struct {
	Rules  policy.Rules
	Limits replicas.Limits
	Quota  int64 // bytes of each node's cache that it may take; 0: all
}

func (c Config) withDefaults() (Config, error) {
	if c.Zones == 0 {
		c.Zones = 1
	}
	if c.Limit == 0 {
		c.Limit = c.Capacity
	}
	if c.Tick == 0 {
		c.Tick = 125 * time.Millisecond
	}
	if c.Readers == 0 {
		c.Readers = replicas.MostReaders
	}
	var errs []error
	for _, bad := range []struct {
		is   bool
		text string
	}{
		{c.Nodes < 1 || c.Nodes > MaxNodes, fmt.Sprintf("nodes: %d is not within 1 and %d", c.Nodes, MaxNodes)},
		{c.Zones < 1 || c.Zones > max(1, c.Nodes), fmt.Sprintf("zones: %d is not within 1 and the %d nodes", c.Zones, c.Nodes)},
		{c.Capacity < 0, fmt.Sprintf("capacity: %d is negative", c.Capacity)},
		{c.Limit < c.Capacity, fmt.Sprintf("limit: %d is below the capacity of %d", c.Limit, c.Capacity)},
		{c.Blocks < 1, "blocks: there are none"},
		{c.Of == nil, "of: nothing describes blocks"},
		{len(c.Groups) == 0, "groups: there are none"},
		{c.Tick < 0 || c.News < 0, "tick and news: must not be negative"},
		{c.Baseline != NoBaseline && slices.ContainsFunc(c.Groups, func(g Group) bool { return g.Rules.Classes }), "baseline: none knows classes"},
	} {
		if bad.is {
			errs = append(errs, errors.New(bad.text))
		}
	}
	return c, errors.Join(errs...)
}

// A Fleet is the caches of many nodes. It is not safe for concurrent use. Nodes are numbered
// from 0.
type Fleet struct {
	cfg   Config
	now   time.Duration
	tick  policy.Tick
	nodes []*node
	zones []string

	holders  []replicas.Holders // by block; nodes are numbered from 1 in there
	more     replicas.More
	hints    replicas.Hints
	news     news
	changing []uint64 // by block, a bit: a change of its holders is on its way
	hope     hope
	stats    Stats
	age      ages
	blocks   int64 // that any node is said to hold
	copies   int64

	going    []Access // blocks that Expect looks at, reused
	slots    []uint32 // likewise
	expected uint32   // of no use: what Expect looked at must go somewhere

	rng        *rand.PCG
	room       []uint16 // of holders, reused
	before     []uint16 // likewise
	candidates []replicas.Candidate
}

// New returns a Fleet of empty caches.
func New(cfg Config) (*Fleet, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	f := &Fleet{
		cfg: cfg, holders: make([]replicas.Holders, cfg.Blocks), more: make(replicas.More), changing: make([]uint64, cfg.Blocks/64+1), rng: rand.NewPCG(cfg.Seed, 0),
	}
	for i := range cfg.Zones {
		f.zones = append(f.zones, fmt.Sprintf("zone-%d", i))
	}
	slots := f.slotsPerNode()
	if slots > maxSlots {
		return nil, fmt.Errorf("fleet: capacity: more than %d blocks fit a node", maxSlots)
	}
	for i := range cfg.Nodes {
		n, err := newNode(f, i, slots)
		if err != nil {
			return nil, fmt.Errorf("fleet: %w", err)
		}
		f.nodes = append(f.nodes, n)
	}
	return f, nil
}

// slotsPerNode estimates how many blocks fit a cache, so that tables are made of the right
// size: by the sizes of a few blocks.
func (f *Fleet) slotsPerNode() int {
	const looks = 64
	sum := int64(0)
	for i := range uint64(looks) {
		sum += int64(f.cfg.Of(uint32(i * uint64(f.cfg.Blocks) / looks)).Bytes)
	}
	fit := f.cfg.Capacity * looks / max(1, sum)
	return int(min(fit, int64(f.cfg.Blocks)))
}

// Advance sets the time, which must not go back, and delivers the news that is due.
func (f *Fleet) Advance(now time.Duration) {
	f.now = now
	f.tick = policy.Tick(now / f.cfg.Tick)
	f.deliver()
}

// SetCosts sets what reads from peers cost a node where one from the UFS costs 1, as it has
// measured it: from one of its zone, and of another.
func (f *Fleet) SetCosts(node int, peer, zone float64) { f.nodes[node].policy.SetCosts(peer, zone) }

// Zone returns the number of a node's zone.
func (f *Fleet) Zone(node int) int { return f.nodes[node].zone }

// Alive reports whether a node serves: it has not crashed.
func (f *Fleet) Alive(node int) bool { return f.nodes[node].state != crashed }

// Used returns how many bytes of blocks are in a node's cache.
func (f *Fleet) Used(node int) int64 { return f.nodes[node].used }

// hash returns 64 bits that are equally likely for each block.
func hash(block uint32) uint64 {
	x := uint64(block) + 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// ms returns the time in the unit of package replicas.
func (f *Fleet) ms() replicas.Tick { return replicas.Tick(f.now.Milliseconds()) }

// rules returns those of a group.
func (f *Fleet) rules(g policy.Group) *policy.Rules { return &f.cfg.Groups[g].Rules }
