package protocol

import (
	"slices"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/replicas"
)

// How long things take and how often they are tried, as in a Runner and the read path.
const (
	homeTimeout = 500
	retryPause  = 100
	pollEvery   = 50
	maxPolls    = 40     // of a node that is named as a source and does not know of its own yet
	patience    = 20_000 // with a node that brings nothing
)

// phase is what a read is at.
type phase uint8

const (
	looking phase = iota // asks homes
	getting              // streams from a holder, or from one who is getting or filling the block
	filling              // reads the UFS
)

// read is one fetch of one block by one node: design.md §3.
type read struct {
	node   *node
	boot   uint64
	key    shoal.Key
	phase  phase
	search *replicas.Search
	ask    replicas.Ask // without an answer yet
	avoid  []replicas.Avoid
	asks   int // of the search
	hops   int // nodes asked for the block
	polls  int // of the filler
	leased bool
	source *read // what this read follows
	ended  bool  // well
}

// Read makes a node read a block, unless it has it or is reading it.
func (m *Mesh) Read(id shoal.NodeID, key shoal.Key) {
	n := m.node(id)
	if _, ok := n.store[key]; ok || n.reads[key] != nil {
		return
	}
	r := &read{node: n, boot: n.member.Boot, key: key}
	n.reads[key] = r
	m.stats.Reads++
	m.log("%s reads %v", id, key.Index)
	m.lookFor(r)
}

// lookFor starts a search for the block.
func (m *Mesh) lookFor(r *read) {
	r.phase, r.asks = looking, 0
	r.search = replicas.NewSearch([]shoal.Key{r.key}, false)
	m.ask(r)
}

// ask goes on with the search.
func (m *Mesh) ask(r *read) {
	asks, pause := r.search.Next(r.node.core.Table(), nil)
	if len(asks) == 0 {
		m.follow(r, r.search.Answers()[0])
		return
	}
	r.asks++
	if r.asks > 2*replicas.Passes {
		m.fault("%s asks homes %d times for %v", r.node.member.ID, r.asks, r.key.Index)
	}
	m.stats.MostAsks = max(m.stats.MostAsks, r.asks)
	if pause {
		m.later(r, retryPause, func() { m.put(r, asks[0]) })
		return
	}
	m.put(r, asks[0])
}

// put puts one question to a home.
func (m *Mesh) put(r *read, a replicas.Ask) {
	n := r.node
	if a.To == n.member.ID {
		r.search.Answered(a, n.core.Ask(m.now, a, r.avoid, false, nil))
		m.ask(r)
		return
	}
	n.seq++
	seq := n.seq
	n.asks[seq] = r
	r.ask = a
	m.send([]replicas.Message{{
		Type: replicas.MsgLookup, From: n.member.ID, To: a.To, View: n.core.Table().View(),
		Boot: n.member.Boot, Seq: seq, Keys: a.Keys, Avoid: r.avoid, Last: a.Last,
	}})
	m.later(r, homeTimeout, func() {
		if n.asks[seq] == r {
			delete(n.asks, seq)
			r.search.Failed(a)
			m.ask(r)
		}
	})
}

// answered takes in what a home said, unless it came too late.
func (m *Mesh) answered(n *node, o replicas.Message) {
	r := n.asks[o.Seq]
	if r == nil || o.ToBoot != n.member.Boot {
		return
	}
	delete(n.asks, o.Seq)
	r.search.Answered(r.ask, o.Answers)
	m.ask(r)
}

// follow does what the answer says.
func (m *Mesh) follow(r *read, a replicas.Answer) {
	m.log("%s: %v is %s %v", r.node.member.ID, r.key.Index, a.Kind, a.Nodes)
	for _, id := range a.Nodes {
		avoided := slices.ContainsFunc(r.avoid, func(v replicas.Avoid) bool { return v.Node == id })
		if id == r.node.member.ID || avoided {
			m.fault("%s is sent to %s for %v in spite of %v", r.node.member.ID, id, r.key.Index, r.avoid)
		}
	}
	switch a.Kind {
	case replicas.Held, replicas.Filling:
		r.phase, r.polls, r.source = getting, 0, nil
		r.hops++
		m.stats.MostHops = max(m.stats.MostHops, r.hops)
		m.later(r, m.wire(), func() { m.get(r, a) })
	case replicas.Fill:
		m.fill(r, a.Lease)
	default:
		m.fault("%s: a search ended with %s", r.node.member.ID, a.Kind)
	}
}

// get asks the node a names for the block.
func (m *Mesh) get(r *read, a replicas.Answer) {
	from := m.node(a.Nodes[0])
	if from == nil || from.dead {
		m.wrong(r, a.Nodes[0], replicas.Unreachable)
		return
	}
	if _, ok := from.store[r.key]; ok {
		m.stats.FromPeer++
		m.done(r, true)
		return
	}
	other := from.reads[r.key]
	switch {
	case r.source != nil && r.source.node == from && r.source.ended:
		m.stats.FromPeer++ // though the filler has not kept it
		m.done(r, true)
	case other != nil && other.waitsFor(r):
		m.stats.Circles++
		m.log("%s and %s wait for each other", r.node.member.ID, from.member.ID)
		m.later(r, patience, func() { m.wrong(r, a.Nodes[0], replicas.Unreachable) })
	case other != nil && other.phase != looking:
		if r.source != other && other.phase == getting {
			m.stats.Followed++
		}
		r.source = other
		m.later(r, pollEvery, func() { m.get(r, a) }) // streams as it comes there
	case other != nil && r.polls < maxPolls:
		// It does not know yet where the block comes from: the home's answer is still under way.
		r.polls++
		m.later(r, pollEvery, func() { m.get(r, a) })
	default:
		m.wrong(r, a.Nodes[0], replicas.NotFound)
	}
}

// waitsFor reports whether r comes to an end only once o has.
func (r *read) waitsFor(o *read) bool {
	for ; r != nil && r.phase == getting; r = r.source {
		if r.source == o {
			return true
		}
	}
	return false
}

// wrong goes on after a hint was false: it costs this one hop, and never comes again.
func (m *Mesh) wrong(r *read, id shoal.NodeID, why replicas.Reason) {
	m.stats.WrongHints++
	m.log("%s: %s has no %v", r.node.member.ID, id, r.key.Index)
	r.avoid = append(r.avoid, replicas.Avoid{Node: id, Reason: why})
	if len(r.avoid) > len(m.nodes) {
		m.fault("%s: %d wrong hints for %v", r.node.member.ID, len(r.avoid), r.key.Index)
	}
	m.lookFor(r)
}

// fill reads the UFS, renewing the lease in time.
func (m *Mesh) fill(r *read, lease time.Duration) {
	r.phase, r.leased = filling, lease > 0
	if !r.leased {
		m.stats.FailOpen++
	}
	for _, n := range m.nodes {
		other := n.reads[r.key]
		if !n.dead && other != nil && other != r && other.phase == filling {
			m.stats.DoubleFills++
			m.log("%s fills %v although %s does", r.node.member.ID, r.key.Index, n.member.ID)
		}
	}
	m.renew(r)
	m.later(r, 1+replicas.Tick(m.rng.Int64N(int64(m.cfg.Fill))), func() {
		m.stats.Filled++
		m.done(r, m.rng.IntN(8) > 0)
	})
}

func (m *Mesh) renew(r *read) {
	m.later(r, 10_000, func() {
		if r.node.reads[r.key] == r && r.leased {
			m.send(r.node.core.Renew(m.now, r.key))
			m.renew(r)
		}
	})
}

// done ends a read; with keep, the node keeps the block.
func (m *Mesh) done(r *read, keep bool) {
	n := r.node
	m.log("%s has read %v", n.member.ID, r.key.Index)
	delete(n.reads, r.key)
	r.ended = true
	m.stats.ReadsDone++
	switch {
	case keep:
		m.store(n, r.key, r.leased)
	case r.leased:
		m.send(n.core.Release(m.now, r.key))
	}
}

// later plans do for a read, unless its node has died by then.
func (m *Mesh) later(r *read, ms replicas.Tick, do func()) {
	m.at(ms, func() {
		if !r.node.dead && r.node.member.Boot == r.boot {
			do()
		}
	})
}

// wire returns how long a request for a block takes.
func (m *Mesh) wire() replicas.Tick {
	return 1 + replicas.Tick(m.rng.Int64N(max(1, int64(m.Faults.Delay))))
}
