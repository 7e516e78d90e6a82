package blockstore

import (
	"time"

	"github.com/shoal-mesh/shoal"
)

// MaxPasses is how often a block is handed over without being read in between: what nobody
// wants must not go round the mesh (policy.md §1.3, N-chance with n = 2).
const MaxPasses = 2

// leaveWithin is how long a replica may wait to be handed over. Most of it is for homes: the
// other node announces the block, and its home tells.
const leaveWithin = 5 * time.Second

// maxLeaving is how many bytes of replicas may wait on a disk to be handed over, if eviction gives
// up as much at once (Config.Low).
const maxLeaving = 64 << 20

// ForwardStats tells of last replicas that had to go for room while Config.Forward is set. Those
// it refused, and those that were declined, only their caller counts.
type ForwardStats struct {
	Leaving      int    // blocks that wait for it now
	LeavingBytes int64  // what they take
	HandedOver   uint64 // went after their homes had told that another node holds them
	Kept         uint64 // stayed: were read here meanwhile, pinned, or made a keeper's
	Passed       uint64 // dropped: handed over MaxPasses times already
	Full         uint64 // dropped: enough wait
	Hurried      uint64 // dropped: a put waits for the room
	Late         uint64 // dropped: waited too long
}

func (s *ForwardStats) add(o ForwardStats) {
	s.Leaving += o.Leaving
	s.LeavingBytes += o.LeavingBytes
	s.HandedOver += o.HandedOver
	s.Kept += o.Kept
	s.Passed += o.Passed
	s.Full += o.Full
	s.Hurried += o.Hurried
	s.Late += o.Late
}

// Decline says that nobody keeps a block which Config.Forward was to have kept: its replica here
// goes now, unless it has been read.
func (s *Store) Decline(key shoal.Key) {
	if s.enter() != nil {
		return
	}
	defer s.calls.Done()
	for _, d := range s.disks {
		d.mu.Lock()
		d.part(key)
		d.mu.Unlock()
	}
}

// A leave is a replica that would have been evicted: it is in the table still, and out of the
// policy's order.
type leave struct {
	bytes int64 // that it takes
	over  bool  // it goes as soon as run gets there
	late  *time.Timer
}

// A departure is what decides how a replica that must go for room goes.
type departure struct {
	standing shoal.Standing
	classes  bool  // its dataset has the mesh keep last replicas
	passes   uint8 // since it was read last
	bytes    int64 // that it takes
	room     int64 // that more may wait
	hurry    bool  // a put waits
}

// A farewell is how a replica goes.
type farewell uint8

const (
	plainly  farewell = iota // it is dropped, as others are: others hold the block, or it is not known
	forward                  // it is handed over, if somebody wants it
	hurried                  // it is dropped, as its room is wanted now
	passedOn                 // it is dropped, as it was handed over often enough
	crowded                  // it is dropped, as enough wait
)

// farewell decides. Only the last replica is handed over, and only when its home has said that
// it is: until then it is a keeper's (policy.md §2.4, rule 5).
func (p departure) farewell() farewell {
	switch {
	case !p.classes || p.standing != shoal.Standing{Class: shoal.Last}:
		return plainly
	case p.passes >= MaxPasses:
		return passedOn
	case p.hurry:
		return hurried
	case p.bytes > p.room:
		return crowded
	}
	return forward
}

// leave begins to hand a victim over, and reports whether it does: else it is to be dropped.
// Holds mu.
func (d *disk) leave(n uint32) bool {
	e := d.places.at(n)
	if d.forward == nil || d.leaving[e.key] != nil {
		return false
	}
	p := departure{
		standing: shoal.Standing{Class: e.marks.class(), Keeper: e.marks.has(markKeeper)},
		classes:  d.datasets.counts[e.dataset].rules.Classes, passes: d.places.passes(n), bytes: d.places.occupied(n),
		room: min(maxLeaving, d.headroom(d.low)) - d.forwards.LeavingBytes, hurry: d.waiting > 0,
	}
	switch p.farewell() {
	case passedOn:
		d.forwards.Passed++
	case hurried:
		d.forwards.Hurried++
	case crowded:
		d.forwards.Full++
	case forward:
		key, l := e.key, &leave{bytes: p.bytes}
		l.late = time.AfterFunc(leaveWithin, func() { d.expire(key, l) })
		d.leaving[key] = l
		d.forwards.Leaving++
		d.forwards.LeavingBytes += l.bytes
		d.policy.Defer(n)
		return true
	}
	return false
}

// leaves reports whether a replica is being handed over, and not to go already. Holds mu.
func (d *disk) leaves(key shoal.Key) bool {
	l := d.leaving[key]
	return l != nil && !l.over
}

// handOver offers replicas that leave to Config.Forward. Those it does not want go next.
func (d *disk) handOver(keys []shoal.Key) {
	for _, key := range keys {
		if r, ok := d.replica(key); ok && r.Leaving && !d.forward(key, r) {
			d.mu.Lock()
			d.part(key)
			d.mu.Unlock()
		}
	}
}

// stood takes in what was said of the replica of entry n, if it leaves. Once it is not the last,
// another node holds the block, and is its keeper. Holds mu.
func (d *disk) stood(n uint32, s shoal.Standing) {
	key := d.places.at(n).key
	switch l := d.leaving[key]; {
	case l == nil:
	case s.Keeper:
		d.stay(n, key) // the mesh relies on it again
	case s.Class == shoal.Last:
		d.policy.Defer(n) // SetClass ended that
	default:
		if !l.over {
			d.forwards.HandedOver++
		}
		d.part(key)
	}
}

// stay has the replica of entry n not leave: it was read, pinned, or made a keeper's. Holds mu.
func (d *disk) stay(n uint32, key shoal.Key) {
	if d.leaving[key] == nil {
		return
	}
	d.left(key)
	d.forwards.Kept++
	if !d.pins.pinned(key) {
		d.policy.Resume(n)
	}
}

// left forgets that a replica leaves. Holds mu.
func (d *disk) left(key shoal.Key) {
	if l := d.leaving[key]; l != nil {
		l.late.Stop()
		delete(d.leaving, key)
		d.forwards.Leaving--
		d.forwards.LeavingBytes -= l.bytes
	}
}

// part has a replica go that leaves. Holds mu.
func (d *disk) part(key shoal.Key) {
	if d.leaves(key) {
		d.leaving[key].over = true
		d.parting = append(d.parting, key)
		d.wake()
	}
}

// expire is part of a replica that has waited too long.
func (d *disk) expire(key shoal.Key, l *leave) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.leaving[key] == l && !l.over {
		d.forwards.Late++
		d.part(key)
	}
}

// recall has all replicas go that leave, as a put waits for their room. Holds mu.
func (d *disk) recall() {
	for key, l := range d.leaving {
		if !l.over {
			d.forwards.Hurried++
			d.part(key)
		}
	}
}

// popParting is pop of what parts. Holds mu.
func (d *disk) popParting() chore {
	c := noChore()
	for len(d.parting) > 0 && len(c.victims) < evictBatch {
		key := d.parting[0]
		if n, ok := d.table.get(key); ok && d.leaving[key] != nil && d.leaving[key].over {
			b := d.block(n)
			if c.busy = d.claims.try(key); c.busy != nil {
				return c
			}
			d.evictNow(&b)
			c.victims = append(c.victims, b)
		}
		d.parting = d.parting[1:]
	}
	return c
}

// forgetLeaving makes the disk one that nothing leaves. Holds mu.
func (d *disk) forgetLeaving() {
	for key := range d.leaving {
		d.left(key)
	}
	d.leaving, d.parting = make(map[shoal.Key]*leave), nil
}
