package blockstore

import (
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore/policy"
)

// SetStanding says what the home of a block has said of the replica here, and reports whether
// there is one.
func (s *Store) SetStanding(key shoal.Key, standing shoal.Standing) bool {
	if s.enter() != nil {
		return false
	}
	defer s.calls.Done()
	for _, d := range s.disks {
		if d.setStanding(key, standing) {
			return true
		}
	}
	return false
}

// A Replica is what the store knows of one of its blocks.
type Replica struct {
	File     File
	Length   int // bytes of the block
	Standing shoal.Standing
	Weight   float32 // what a byte of it saves (policy.md §5.1)
	Freed    bool    // it goes as soon as its home agrees: see Free
	Leaving  bool    // it is being handed over: see Config.Forward
}

// Replica describes a block; ok is false when it is not here. It does not count as a read.
func (s *Store) Replica(key shoal.Key) (r Replica, ok bool) {
	for _, d := range s.disks {
		if r, ok = d.replica(key); ok {
			break
		}
	}
	return r, ok
}

// Credit says that another replica of a block, which has just been dropped, had not been read
// for so long: its readers come here from now on (policy.md §2.4).
func (s *Store) Credit(key shoal.Key, idle time.Duration) {
	for _, d := range s.disks {
		d.credit(key, idle)
	}
}

// setStanding ends what asking for consent began, too. Holds the disk's block for no longer
// than the call: a replica that is just being given up is not here any more.
func (d *disk) setStanding(key shoal.Key, s shoal.Standing) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.table.get(key)
	if !ok {
		return false
	}
	e := d.places.at(n)
	d.policy.Advance(d.tick())
	d.answered(n)
	d.classes[e.marks.class()].add(-d.places.occupied(n))
	d.classes[s.Class].add(d.places.occupied(n))
	e.marks = e.marks&^(markClass|markKeeper) | marksOf(s)
	d.policy.SetClass(n, s.Class)
	if d.pins.pinned(key) {
		d.policy.Defer(n)
	}
	d.stood(n, s)
	d.freeOrKeep(n)
	if !s.Keeper && len(d.demand) > 0 {
		d.wake() // it may go
	}
	return true
}

func (d *disk) replica(key shoal.Key) (r Replica, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.table.get(key)
	if !ok {
		return r, false
	}
	e, c := d.places.at(n), d.places.owner(n)
	d.policy.Advance(d.tick())
	r = Replica{
		File:   File{SizeBytes: int64(e.length), Dataset: d.datasets.names[e.dataset], Class: e.marks.class(), Passes: d.places.passes(n)},
		Length: int(e.length), Standing: shoal.Standing{Class: e.marks.class(), Keeper: e.marks.has(markKeeper)}, Weight: d.policy.Weight(n),
		Freed: e.marks.freed() != shoal.Last, Leaving: d.leaves(key),
	}
	if !c.packed {
		r.File.SizeBytes = c.size
	}
	return r, true
}

func (d *disk) credit(key shoal.Key, idle time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n, ok := d.table.get(key); ok {
		d.policy.Advance(d.tick())
		d.policy.Credit(n, policy.Tick(idle/tickLength))
	}
}

// holdForPeer is hold for a peer's read.
func (d *disk) holdForPeer(key shoal.Key) (block, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.table.get(key)
	if !ok {
		return block{}, false
	}
	if d.mustAsk(n) {
		d.touch(n, key, true)
	}
	d.readers[n]++
	return d.block(n), true
}

// mustAsk reports whether the replica of entry n may not be evicted unless its home agrees.
// Holds mu.
func (d *disk) mustAsk(n uint32) bool {
	return d.datasets.counts[d.places.at(n).dataset].rules.MustAsk(d.keeps(n))
}

// keeps reports whether the mesh relies on the replica of entry n. Holds mu.
func (d *disk) keeps(n uint32) bool {
	return d.resign != nil && d.places.at(n).marks.has(markKeeper)
}

// ask notes that the home of entry n is being asked whether it may be given up. Until it has
// answered, others are looked at. Holds mu.
func (d *disk) ask(n uint32) {
	e, size := d.places.at(n), d.places.occupied(n)
	e.marks |= markAsked
	d.asked += size
	d.datasets.counts[e.dataset].asked += size
	d.policy.Defer(n)
}

// answered ends what ask began, if it did. Holds mu.
func (d *disk) answered(n uint32) {
	e, size := d.places.at(n), d.places.occupied(n)
	if !e.marks.has(markAsked) {
		return
	}
	e.marks &^= markAsked
	d.asked -= size
	d.datasets.counts[e.dataset].asked -= size
}

// tickLength is the policy's unit of time.
const tickLength = time.Second / 8

// tick returns the time as the policy has it.
func (d *disk) tick() policy.Tick {
	return tickOf(uint32(d.began.Unix())) + policy.Tick(time.Since(d.began)/tickLength)
}

// tickOf returns the tick of a stamp of the index, in seconds.
func tickOf(stamp uint32) policy.Tick {
	return policy.Tick(stamp) * policy.Tick(time.Second/tickLength)
}
