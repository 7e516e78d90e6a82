package protocol

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/replicas"
)

// Config holds the settings of a Mesh. A zero field means its default.
type Config struct {
	// Seed fixes every random choice of the run. Default 0.
	Seed uint64
	// Faults are what the network does to messages. Default: nothing but a delay of 1 ms.
	Faults Faults
	// ViewDelay is how many milliseconds it takes at most until a node sees that another
	// came or went. Default 0: all see it at once.
	ViewDelay replicas.Tick
	// Capacity is how many blocks a node has room for; when it has more it evicts some at
	// random. Default: any number.
	Capacity int
	// Limits are how many replicas of a block there should be. Default: the zero Limits.
	Limits func(shoal.Key) replicas.Limits
	// Fill is how many milliseconds a fill takes at most. Default 1,000.
	Fill replicas.Tick
	// Rules are those of every node's Core.
	Rules replicas.Rules
	// Transcript receives one line per event. Default: discard.
	Transcript io.Writer
}

// Faults are what the network does to messages.
type Faults struct {
	// Loss and Duplicate are the shares of messages, from 0 to 1, that never arrive, and
	// that arrive twice.
	Loss, Duplicate float64
	// Delay is how many milliseconds a message takes at most; the least is 1. Default 1.
	// Messages overtake one another.
	Delay replicas.Tick
}

// A Mesh is a simulated mesh. It is not safe for concurrent use.
type Mesh struct {
	// Faults may be changed between two calls of Run.
	Faults Faults

	cfg     Config
	rng     *rand.Rand
	now     replicas.Tick
	agenda  agenda
	planned int     // events so far
	nodes   []*node // sorted by ID, dead ones included
	change  int     // counts changes of membership
	stats   Stats
	gone    map[shoal.Key]bool // a node that may have been the keeper died, or lost the block, since another was told to
	broken  []string           // invariants that did not hold
}

// Stats are the counts of a run.
type Stats struct {
	Messages, Lost, Repeated int
	Announced                int // changes in batches, each time a batch was sent
	Reads, ReadsDone         int // ReadsDone without those that died with their node
	FromPeer, Filled         int
	FailOpen                 int // fills no home knew of
	WrongHints               int // a node named as holder, or as receiving the block, was not
	DoubleFills              int // fills begun while another node filled the same block
	Followed                 int // reads sent to a node that was itself receiving the block from another
	Circles                  int // of these, those of nodes that came to wait for each other
	MostHops                 int // of one read
	MostAsks                 int // of one lookup, per key
	Orders, Credits          int // orders that came to holders; those that told of a replica that had gone
	Resigned, Stayed         int // blocks a keeper would have dropped; of these, worth more when the answer came
	Dropped                  int // replicas dropped, all told
	LastDropped, LastLost    int // last ones among them, known to be; and because a keeper had died
}

// node is one simulated node.
type node struct {
	member shoal.Member
	core   *replicas.Core
	dead   bool
	store  map[shoal.Key]*replica
	reads  map[shoal.Key]*read
	asks   map[uint64]*read // by the Seq of a lookup without an answer yet
	seq    uint64
	hidden []shoal.NodeID                 // members this node has lost sight of
	again  map[shoal.NodeID]replicas.Tick // when it may lose sight of them again
	seen   int                            // last change of membership it knows
	truth  []shoal.Member                 // as of then
}

// New returns a Mesh without nodes.
func New(cfg Config) *Mesh {
	if cfg.Fill <= 0 {
		cfg.Fill = 1000
	}
	if cfg.Transcript == nil {
		cfg.Transcript = io.Discard
	}
	return &Mesh{
		Faults: cfg.Faults, cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0x5ea)),
		gone: make(map[shoal.Key]bool),
	}
}

// Now returns the time of the simulation in milliseconds.
func (m *Mesh) Now() replicas.Tick { return m.now }

// Stats returns the counts so far.
func (m *Mesh) Stats() Stats { return m.stats }

// Nodes returns the nodes that are alive, sorted by ID.
func (m *Mesh) Nodes() []shoal.NodeID {
	var ids []shoal.NodeID
	for _, n := range m.nodes {
		if !n.dead {
			ids = append(ids, n.member.ID)
		}
	}
	return ids
}

// Run lets ms milliseconds pass.
func (m *Mesh) Run(ms replicas.Tick) {
	end := m.now + ms
	for len(m.agenda) > 0 && m.agenda[0].at <= end {
		e := m.agenda.next()
		m.now = e.at
		e.do()
	}
	m.now = end
}

// Join adds a node, or brings one back that crashed: with another boot, and with the
// blocks it had.
func (m *Mesh) Join(id shoal.NodeID, zone string) {
	n := m.start(id, zone)
	m.look(n)
	m.membership()
	m.tick(n, n.member.Boot)
}

// Begin adds nodes that all see one another from their start.
func (m *Mesh) Begin(ids []shoal.NodeID, zone func(i int) string) {
	var truth []shoal.Member
	for i, id := range ids {
		truth = append(truth, m.start(id, zone(i)).member)
	}
	for _, id := range ids {
		n := m.node(id)
		n.truth = truth
		m.look(n)
		m.tick(n, n.member.Boot)
	}
}

// start makes a node that sees only itself.
func (m *Mesh) start(id shoal.NodeID, zone string) *node {
	n := m.node(id)
	if n == nil {
		n = &node{member: shoal.Member{ID: id, Zone: zone}, store: make(map[shoal.Key]*replica), again: make(map[shoal.NodeID]replicas.Tick)}
		at, _ := slices.BinarySearchFunc(m.nodes, id, func(n *node, id shoal.NodeID) int {
			return strings.Compare(string(n.member.ID), string(id))
		})
		m.nodes = slices.Insert(m.nodes, at, n)
	}
	n.member.Boot++
	n.member.State = shoal.Serving
	n.dead, n.hidden = false, nil
	n.core = replicas.NewCore(id, m.cfg.Rules)
	n.reads, n.asks = make(map[shoal.Key]*read), make(map[uint64]*read)
	n.truth = []shoal.Member{n.member}
	for _, key := range n.keys() {
		*n.store[key] = replica{standing: shoal.Untold()}
	}
	m.log("%s joins, boot %d, %d blocks", id, n.member.Boot, len(n.store))
	return n
}

// Crash stops a node at once. Its blocks stay on its disk.
func (m *Mesh) Crash(id shoal.NodeID) {
	n := m.node(id)
	n.dead = true
	m.log("%s crashes", id)
	for key, r := range n.store {
		if r.standing.Keeper {
			m.gone[key] = true
		}
	}
	for range n.reads {
		m.stats.Reads--
	}
	m.membership()
}

// Drain makes a node give up its shards; it goes on to serve its blocks.
func (m *Mesh) Drain(id shoal.NodeID) {
	m.node(id).member.State = shoal.Draining
	m.log("%s drains", id)
	m.membership()
}

// Hide makes node id lose sight of other for ms milliseconds, though both are alive.
// A node sees itself, and whoever has just found another again does not lose it once more:
// the mesh is built for views that differ for less than Rules.Settle.
func (m *Mesh) Hide(id, other shoal.NodeID, ms replicas.Tick) {
	n := m.node(id)
	if id == other || m.now < n.again[other] {
		return
	}
	n.again[other] = m.now + 2*ms + m.cfg.Rules.Settle
	boot := n.member.Boot
	m.log("%s loses sight of %s", id, other)
	n.hidden = append(n.hidden, other)
	m.look(n)
	m.at(ms, func() {
		if i := slices.Index(n.hidden, other); i >= 0 && n.member.Boot == boot && !n.dead {
			n.hidden = slices.Delete(n.hidden, i, i+1)
			m.log("%s sees %s again", id, other)
			m.look(n)
		}
	})
}

// Holds reports whether a node, alive or not, has a block.
func (m *Mesh) Holds(id shoal.NodeID, key shoal.Key) bool {
	_, ok := m.node(id).store[key]
	return ok
}

// membership lets every live node see, sooner or later, who is alive now.
func (m *Mesh) membership() {
	m.change++
	change := m.change
	var all []shoal.Member
	for _, n := range m.nodes {
		if !n.dead {
			all = append(all, n.member)
		}
	}
	for _, n := range m.nodes {
		if n.dead {
			continue
		}
		boot := n.member.Boot
		see := func() {
			if n.dead || n.member.Boot != boot || n.seen > change {
				return
			}
			n.seen, n.truth = change, all
			m.look(n)
		}
		if m.cfg.ViewDelay == 0 {
			see()
		} else {
			m.at(1+replicas.Tick(m.rng.Int64N(int64(m.cfg.ViewDelay))), see)
		}
	}
}

// look makes n act under what it sees of the membership.
func (m *Mesh) look(n *node) {
	seen := slices.DeleteFunc(slices.Clone(n.truth), func(member shoal.Member) bool {
		return slices.Contains(n.hidden, member.ID)
	})
	m.send(n.core.SetMembers(m.now, seen))
}

// tick lets n's clock run for as long as it lives.
func (m *Mesh) tick(n *node, boot uint64) {
	const every = 25
	m.at(every, func() {
		if n.dead || n.member.Boot != boot {
			return
		}
		m.send(n.core.Tick(m.now))
		m.serve(n)
		m.tick(n, boot)
	})
}

// serve does for a Core what a Runner does between messages: answer doubts, and walk
// over the store for homes that are new.
func (m *Mesh) serve(n *node) {
	m.carryOut(n)
	if asked := n.core.Announcer.TakeChecks(); asked != nil {
		for i := range asked {
			_, asked[i].Held = n.store[asked[i].Key]
			asked[i].Limits = m.limits(asked[i].Key)
		}
		boot := n.member.Boot
		m.at(1, func() { // the store may change meanwhile
			if !n.dead && n.member.Boot == boot {
				m.send(n.core.EndChecks(m.now, asked))
			}
		})
	}
	if n.core.Announcer.WantsScan(m.now) {
		n.core.Announcer.BeginScan(m.now)
		m.log("%s scans", n.member.ID)
		m.feed(n, n.member.Boot, n.keys())
	}
}

// feed goes on with a scan, a few keys at a time.
func (m *Mesh) feed(n *node, boot uint64, keys []shoal.Key) {
	if n.dead || n.member.Boot != boot {
		return
	}
	for i := 0; len(keys) > 0 && i < 16; i++ {
		ok, out := n.core.Feed(m.now, keys[0], sumOf(keys[0]), m.limits(keys[0]))
		m.send(out)
		if !ok {
			break
		}
		keys = keys[1:]
	}
	if len(keys) == 0 {
		m.send(n.core.EndScan(m.now))
		return
	}
	m.at(2, func() { m.feed(n, boot, keys) })
}

func (m *Mesh) node(id shoal.NodeID) *node {
	for _, n := range m.nodes {
		if n.member.ID == id {
			return n
		}
	}
	return nil
}

// keys returns the blocks of n in order.
func (n *node) keys() []shoal.Key {
	return slices.SortedFunc(maps.Keys(n.store), func(a, b shoal.Key) int {
		return strings.Compare(string(a.AppendTo(nil)), string(b.AppendTo(nil)))
	})
}

func (m *Mesh) log(format string, args ...any) {
	if m.cfg.Transcript != io.Discard {
		fmt.Fprintf(m.cfg.Transcript, "%d "+format+"\n", append([]any{m.now}, args...)...)
	}
}

// fault records that an invariant did not hold.
func (m *Mesh) fault(format string, args ...any) {
	text := fmt.Sprintf("at %d ms: ", m.now) + fmt.Sprintf(format, args...)
	m.log("BROKEN %s", text)
	m.broken = append(m.broken, text)
}

// sumOf stands for the BlockSum of a block, which is the same on every node.
func sumOf(key shoal.Key) shoal.Sum { return shoal.Sum(key.Index + 1) }
