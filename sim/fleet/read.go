package fleet

import (
	"slices"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore/policy"
	"github.com/shoal-mesh/shoal/replicas"
)

// Served says where a read was served from, and what it moved.
type Served struct {
	Tier  shoal.Tier
	Far   bool   // a peer of another zone
	From  int    // the peer
	Moved uint32 // bytes that came from there
}

// Read reads some bytes of a block on a node, at once, and does with the block what an agent
// would: keep it, place it elsewhere, or fetch only what is read.
func (f *Fleet) Read(node int, block, bytes uint32) Served {
	if f.Hit(node, block) {
		return Served{Tier: shoal.TierLocal, Moved: bytes}
	}
	found := f.Find(node, block)
	s := Served{Tier: found.Tier, Far: found.Far, From: found.From, Moved: f.Moves(found, block, bytes)}
	if s.Tier == shoal.TierPeer {
		f.Serve(found.From, block, s.Moved)
	}
	f.Land(node, block, found)
	return s
}

// Hit reads a block that is in a node's own cache, and reports whether it is.
func (f *Fleet) Hit(node int, block uint32) bool {
	n := f.nodes[node]
	if !f.holds(n, block) {
		return false
	}
	if f.cfg.Baseline == NoBaseline {
		n.policy.Advance(f.tick)
		n.policy.Touch(n.table.get(block).slot(), hash(block))
	}
	return true
}

// holds reports whether a block is in the cache of n, which is alive: then the directory says so,
// whose entry each read looks at anyway.
func (f *Fleet) holds(n *node, block uint32) bool {
	h := &f.holders[block]
	switch h.First() {
	case n.number:
		return true
	case 0:
		return false
	}
	f.room = h.All(block, f.more, f.room[:0])
	return slices.Contains(f.room, n.number)
}

// Write has a node write a block, through its cache to the UFS: a block that is worth it stays
// there.
func (f *Fleet) Write(node int, block uint32) {
	n := f.nodes[node]
	if n.state == serving && f.admits(n, block) {
		f.store(n, block, shoal.Last)
	}
}

// Found is what a reader learns of a block that it does not have, and what is to become of it
// (design.md §3, steps 4 and 7).
type Found struct {
	Tier  shoal.Tier // peer or UFS
	Far   bool       // the peer is of another zone
	From  int        // the peer
	Class shoal.Class
	Keep  bool // it is kept where it is read
	Place int  // the node that is to keep it; -1 for none
}

// Find looks a block up that node misses, and decides what to do with it.
func (f *Fleet) Find(node int, block uint32) Found {
	n, b := f.nodes[node], f.cfg.Of(block)
	n.policy.Advance(f.tick)
	n.policy.Miss(b.Group, hash(block))
	f.stats.Lookups++
	found := f.locate(n, block)
	weight, ok := f.admit(n, b, found.Class)
	found.Keep, found.Place = ok && n.state == serving, -1
	if found.Tier == shoal.TierUFS && !found.Keep {
		found.Place = f.place(n, replicas.Offer{Weight: weight, SizeBytes: b.Bytes})
	}
	return found
}

// Moves returns how many bytes a read of some bytes of a block moves: all of the block if it is
// kept anywhere, else what is read.
func (f *Fleet) Moves(found Found, block, bytes uint32) uint32 {
	if found.Keep || found.Place >= 0 {
		return f.cfg.Of(block).Bytes
	}
	return bytes
}

// Serve counts that a node has sent bytes of a block to another. It is a read to the keeper, so
// that the one replica which must stay looks as warm as it is (policy.md §2.4).
func (f *Fleet) Serve(from int, block, bytes uint32) {
	n := f.nodes[from]
	n.counts.SentBytes += int64(bytes)
	c := n.table.get(block)
	if c != nil && f.rules(f.cfg.Of(block).Group).MustAsk(c.mark().keeper()) {
		n.policy.Advance(f.tick)
		n.policy.Serve(c.slot(), hash(block))
	}
}

// Land does with a block that has come to node what Find decided.
func (f *Fleet) Land(node int, block uint32, found Found) {
	switch {
	case found.Keep && f.nodes[node].state == serving:
		f.store(f.nodes[node], block, found.Class)
	case found.Place >= 0:
		if to := f.nodes[found.Place]; to.state == serving && f.admits(to, block) && f.store(to, block, shoal.Last) {
			f.stats.Placed++
		}
	default:
		f.stats.Bypassed++
	}
}

// locate says where a block is read from, and what a replica at n would be worth.
func (f *Fleet) locate(n *node, block uint32) Found {
	const most = 16 // holders that are looked at: of more, those from a place that depends on the reader
	all := f.holders[block].All(block, f.more, f.room[:0])
	f.room = all
	salt := hash(block) ^ n.seed
	at := 0
	if len(all) > most {
		at = int(salt % uint64(len(all)))
	}
	if len(all) > 1 {
		f.hints.Turn(f.ms())
	}
	var best replicas.Source
	from, others, near := (*node)(nil), 0, 0
	for i := range min(most, len(all)) {
		h := f.nodes[all[(at+i)%len(all)]-1]
		if h.state == crashed {
			f.stats.WrongHints++
			continue
		}
		if others++; h.zone == n.zone {
			near++
		}
		s := f.source(n, h, block, salt, len(all))
		if from == nil || s.Before(best) {
			from, best = h, s
		}
	}
	class := replicas.ClassBeside(others, near)
	if from == nil {
		return Found{Tier: shoal.TierUFS, Class: class}
	}
	if len(all) > 1 {
		f.hints.Sent(hash(block), from.number)
		from.load.Add(f.ms())
	}
	return Found{Tier: shoal.TierPeer, Far: from.zone != n.zone, From: int(from.number) - 1, Class: class}
}

// source describes holder h as reader n may be sent to it. One alone needs no description.
func (f *Fleet) source(n, h *node, block uint32, salt uint64, holders int) replicas.Source {
	if holders == 1 {
		return replicas.Source{}
	}
	return replicas.Source{
		Full: f.hints.Readers(hash(block), h.number) >= f.cfg.Readers, Near: h.zone == n.zone,
		Load: h.load.Step(f.ms()), Score: replicas.Score(salt, h.seed),
	}
}

// admit says what a replica of a class would be worth to n, and whether it takes one in.
func (f *Fleet) admit(n *node, b Block, class shoal.Class) (weight float32, ok bool) {
	bytes, quota := int64(b.Bytes), f.cfg.Groups[b.Group].Quota
	room := policy.Room{
		Never: bytes > f.cfg.Capacity,
		Quota: quota > 0 && n.groups[b.Group]-n.askedOf[b.Group]+bytes > quota,
		Free:  n.used-n.asked+bytes <= f.cfg.Capacity,
	}
	if f.cfg.Baseline != NoBaseline {
		return 0, !room.Never
	}
	return room.Admit(n.policy, policy.Item{SizeBytes: bytes, Group: b.Group, Class: class})
}

// admits reports whether n would take a block in that nobody else has.
func (f *Fleet) admits(n *node, block uint32) bool {
	if n.table.get(block) != nil {
		return false
	}
	n.policy.Advance(f.tick)
	_, ok := f.admit(n, f.cfg.Of(block), shoal.Last)
	return ok
}

// An Access is a block that a node is about to read.
type Access struct {
	Node  int
	Block uint32
}

// Expect looks at what Reads to come will look at, and changes nothing: the processor waits for
// the memory of many at once here, where each Read by itself waits several times. What a node's
// table has is looked at where the directory names the node first, and where it takes blocks in.
func (f *Fleet) Expect(reads []Access) {
	sum := uint32(0)
	for _, r := range reads {
		sum += uint32(f.holders[r.Block].First())
	}
	for _, r := range reads {
		if first := f.holders[r.Block].First(); first != 0 {
			sum += f.nodes[first-1].table.look(r.Block)
		}
		if n := f.nodes[r.Node]; n.gone > 0 {
			sum += n.table.look(r.Block)
		}
	}
	for _, r := range reads {
		if first := f.holders[r.Block].First(); first != 0 {
			sum += f.nodes[first-1].look(r.Block)
		}
		if n := f.nodes[r.Node]; n.gone > 0 {
			sum += n.look(r.Block)
		}
	}
	f.expected += sum + f.expectVictims(reads)
}

// expectVictims is Expect for the blocks that go for those that come: as many of each node as went
// since the last time.
func (f *Fleet) expectVictims(reads []Access) (seen uint32) {
	f.going = f.going[:0]
	for _, r := range reads {
		n := f.nodes[r.Node]
		if n.gone == 0 {
			continue
		}
		f.slots = n.policy.Upcoming(f.slots[:0], min(n.gone, len(reads)))
		n.gone = 0
		for _, slot := range f.slots {
			f.going = append(f.going, Access{r.Node, slot})
		}
	}
	for i := range f.going {
		g := &f.going[i]
		g.Block = f.nodes[g.Node].blocks[g.Block]
	}
	for _, g := range f.going {
		seen += f.nodes[g.Node].table.look(g.Block) + uint32(f.holders[g.Block].First())
	}
	return seen
}
