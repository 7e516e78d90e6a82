package sim

import (
	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/sim/fleet"
	"github.com/shoal-mesh/shoal/sim/flow"
)

// A fetch is bytes on their way: a block that comes to a node, from its own cache too, or one
// that is written. Readers of a node share it.
type fetch struct {
	node, block uint32
	bytes       uint32 // that move
	kind        fetchKind
	generation  uint32 // events of an earlier one are void
	flow        flow.ID
	found       fleet.Found
	waiters     uint32 // the first slot + 1 that waits for it
	behind      uint32 // the fetch + 1 whose node it comes from, while that one goes on
	followers   uint32 // the first fetch + 1 behind it
	next        uint32 // the next one behind the same fetch
	readers     uint32 // how many of those behind it bring the whole block
	seat        uint32 // its place among those of its swarm that serve

	live    bool // it is not over
	flowing bool // on its links
	shared  bool // readers may join it: it is in under
	swarms  bool // it is in the swarm of its block
	root    bool // and counted as one that a holder serves
	serves  bool // and others are sent to its node
	whole   bool // all of the block comes
}

// A fetchKind is what a fetch is for.
type fetchKind uint8

const (
	bring fetchKind = iota // a block from another node or the UFS
	hit                    // a block from the own cache
	write                  // a write, through the cache to the UFS
	spill                  // blocks to the own cache, after they have come: nobody waits for it
	place                  // a block to another node that keeps it: likewise
)

// A flush is what a node still has to write to its cache.
type flush struct {
	busy  bool  // a fetch of kind spill is under way
	bytes int64 // that wait for the next one
}

// ask begins a read or a write of a rank, or joins one that is under way.
func (t *timed) ask(at uint32) {
	s := &t.slots[at]
	node := t.ranks[s.rank].node
	s.asked, s.next = t.now, 0
	switch {
	case s.read.Write:
		id := t.fetch(write, node, s.read.Block, s.read.Bytes)
		t.wait(id, at)
		t.queue.Push(t.request(), evFirst, id, t.fetches[id].generation, 0)
		return
	case t.join(node, at):
		return
	case !t.fleet.Hit(node, s.read.Block):
		t.locate(node, at)
		return
	case t.fresh(node, s.read.Block):
		t.served(at, fleet.Served{Tier: shoal.TierLocal, Moved: s.read.Bytes})
		return
	}
	id := t.fetch(hit, node, s.read.Block, s.read.Bytes)
	t.wait(id, at)
	t.start(id, append(t.links.path[:0], t.links.of(node, nvmeRead)))
}

// join has a read wait for a fetch of its node that is under way, if there is one.
func (t *timed) join(node int, at uint32) bool {
	id, ok := t.under[under(node, t.slots[at].read.Block)]
	if ok {
		t.wait(id, at)
	}
	return ok
}

// locate asks the home of a block who has it.
func (t *timed) locate(node int, at uint32) {
	s := &t.slots[at]
	id := t.fetch(bring, node, s.read.Block, s.read.Bytes)
	t.wait(id, at)
	f := &t.fetches[id]
	f.shared = true
	t.under[under(node, f.block)] = id
	t.queue.Push(t.at(lookupLeast+int64(t.rng.Uint64()%lookupSpread)), evLocated, id, f.generation, 0)
}

// located sends a fetch where its block is: to a holder, to who is filling it, or to the UFS.
func (t *timed) located(id uint32) {
	f := &t.fetches[id]
	node := int(f.node)
	if from, ok := t.source(id); ok {
		f.found = t.fleet.Follow(node, f.block, int(t.fetches[from].node))
		t.size(f)
		t.follow(id, from)
		return
	}
	f.found = t.fleet.Find(node, f.block)
	t.size(f)
	t.enter(id)
	if f.found.Tier == shoal.TierPeer {
		t.stream(id, !t.fresh(f.found.From, f.block))
		return
	}
	t.clock.requests++
	t.queue.Push(t.request(), evFirst, id, f.generation, 0)
}

// size says how much of its block a fetch brings. One that brings what its reader wants, and no
// more, is of no use to others.
func (t *timed) size(f *fetch) {
	_, all := t.data.Of(f.block)
	if f.bytes = all; t.slots[f.waiters-1].next == 0 {
		f.bytes = t.fleet.Moves(f.found, f.block, t.slots[f.waiters-1].read.Bytes)
	}
	if f.whole = f.bytes == all; !f.whole {
		t.unshare(f)
	}
}

// stream has a fetch come from another node, from its NVMe or from memory.
func (t *timed) stream(id uint32, nvme bool) {
	f := &t.fetches[id]
	node, from := int(f.node), f.found.From
	t.fleet.Serve(from, f.block, f.bytes)
	t.sends[from]++
	path := append(t.links.path[:0], t.links.of(from, nicOut), t.links.of(node, nicIn))
	if nvme {
		path = append(path, t.links.of(from, nvmeRead))
	}
	t.start(id, t.links.between(path, t.fleet.Zone(from), t.fleet.Zone(node)))
}

// first has a fetch from the UFS, or a write, flow.
func (t *timed) first(id uint32) {
	f := &t.fetches[id]
	node, path := int(f.node), t.links.path[:0]
	if f.kind == write {
		t.start(id, append(path, t.links.of(node, nicOut), t.links.ufs(ufsUp), t.links.of(node, nvmeWrite)))
		return
	}
	t.start(id, append(path, t.links.ufs(ufsDown), t.links.of(node, nicIn)))
	if to := t.fetches[id].found.Place; to >= 0 && t.fleet.Alive(to) {
		t.send(node, to, f.block, f.bytes)
	}
}

// send has a block go to a node that keeps it.
func (t *timed) send(from, to int, block, bytes uint32) {
	id := t.fetch(place, to, block, bytes)
	t.fetches[id].found.From = from
	t.sends[from]++
	path := append(t.links.path[:0], t.links.of(from, nicOut), t.links.of(to, nicIn))
	t.start(id, t.links.between(path, t.fleet.Zone(from), t.fleet.Zone(to)))
}

// arrived handles the end of a flow.
func (t *timed) arrived(id uint32) {
	f := &t.fetches[id]
	f.flowing = false
	t.carry(f, int64(f.bytes))
	if f.behind == 0 {
		t.landed(id)
	}
}

// landed does with what has come what is to become of it.
func (t *timed) landed(id uint32) {
	f := &t.fetches[id]
	node := int(f.node)
	served := fleet.Served{Tier: shoal.TierLocal, Moved: f.bytes}
	switch f.kind {
	case bring:
		served = fleet.Served{Tier: f.found.Tier, Far: f.found.Far, From: f.found.From, Moved: f.bytes}
		t.unshare(f)
		t.fleet.Land(node, f.block, f.found)
		if f.found.Keep {
			t.keep(node, f.block, f.bytes)
		}
	case write:
		t.fleet.Write(node, f.block)
	case place:
		t.keep(node, f.block, f.bytes)
	case spill:
		t.flushes[node].busy = false
		t.spill(node)
	}
	waiters, followers := f.waiters, f.followers
	t.exit(id)
	t.drop(id)
	t.caughtUp(followers)
	for waiters > 0 {
		at := waiters - 1
		waiters = t.slots[at].next
		t.served(at, served)
		served.Moved = 0 // the bytes came once
	}
}

// keep notes that a block has come to a node which stores it: it is in the page cache, and is to
// be written.
func (t *timed) keep(node int, block, bytes uint32) {
	t.recent[recentPlace(node, block)] = block + 1
	t.flushes[node].bytes += int64(bytes)
	t.spill(node)
}

// spill writes what a node still has to write: one flow at a time takes all that has come.
func (t *timed) spill(node int) {
	n := &t.flushes[node]
	if n.busy || n.bytes == 0 {
		return
	}
	id := t.fetch(spill, node, 0, uint32(min(n.bytes, 1<<31)))
	n.bytes -= int64(t.fetches[id].bytes)
	n.busy = true
	t.start(id, append(t.links.path[:0], t.links.of(node, nvmeWrite)))
}

// served gives a rank what it has asked for.
func (t *timed) served(at uint32, s fleet.Served) {
	w := &t.slots[at]
	w.ready = true
	r := &t.ranks[w.rank]
	if w.read.Write {
		t.tally.write(w.read)
	} else {
		t.tally.read(int(r.job), r.node, &w.read, s)
	}
	t.clock.jobs[r.job].latencies.add(int64(t.now - w.asked))
	if r.state == rankWaiting && t.slotOf(r, r.took) == at {
		t.take(w.rank)
	}
}

// fetch returns a new fetch.
func (t *timed) fetch(kind fetchKind, node int, block, bytes uint32) uint32 {
	var id uint32
	if last := len(t.unused) - 1; last >= 0 {
		id, t.unused = t.unused[last], t.unused[:last]
	} else {
		id = uint32(len(t.fetches))
		t.fetches = append(t.fetches, fetch{})
	}
	t.fetches[id] = fetch{
		kind: kind, node: uint32(node), block: block, bytes: bytes, generation: t.fetches[id].generation,
		found: fleet.Found{Place: -1}, live: true,
	}
	return id
}

// drop forgets a fetch that is over.
func (t *timed) drop(id uint32) {
	f := &t.fetches[id]
	t.unshare(f)
	f.generation++
	f.waiters, f.followers, f.live = 0, 0, false
	t.unused = append(t.unused, id)
}

// unshare has nobody join a fetch any more.
func (t *timed) unshare(f *fetch) {
	if f.shared {
		delete(t.under, under(int(f.node), f.block))
	}
	f.shared = false
}

// wait has a read wait for a fetch, after those that do already.
func (t *timed) wait(id, at uint32) {
	next := &t.fetches[id].waiters
	for *next > 0 {
		next = &t.slots[*next-1].next
	}
	*next = at + 1
}

// under returns the name of a block at a node.
func under(node int, block uint32) uint64 { return uint64(node)<<32 | uint64(block) }

// fresh reports whether a block is in a node's page cache.
func (t *timed) fresh(node int, block uint32) bool {
	return t.recent[recentPlace(node, block)] == block+1
}

func recentPlace(node int, block uint32) int {
	return node*recentPlaces + int(block*0x9e3779b9>>24)
}
