package blockstore

import (
	"slices"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore/policy"
)

// evictBatch is the most blocks that go in one step: one index batch, one OnEvict, holes
// that lie side by side punched by one call.
const evictBatch = 64

// punchBatch is about how many holes are punched in one step.
const punchBatch = 1024

// run does what a disk does on its own until quit is closed: make room ahead of need, and try a
// failed disk again.
func (d *disk) run(quit <-chan struct{}, retry time.Duration) {
	retries := time.NewTicker(retry)
	defer retries.Stop()
	for {
		select {
		case <-quit:
			return
		case <-d.kick:
			d.evict(quit)
		case <-retries.C:
			d.retry()
			d.unexpose()
			if d.exceeds() { // what was pinned or read then may go now, though nobody puts
				d.evict(quit)
			}
		}
	}
}

// exceeds reports whether the containers take more than the limit.
func (d *disk) exceeds() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err == nil && d.places.bytes() > d.limit
}

// runFlush flushes the index until quit is closed. It is apart from run, which may be at work for
// long.
func (d *disk) runFlush(quit <-chan struct{}, interval time.Duration) {
	flushes := time.NewTicker(interval)
	defer flushes.Stop()
	for {
		select {
		case <-quit:
			return
		case <-flushes.C:
			d.flush()
		}
	}
}

// A chore is one thing that makes room.
type chore struct {
	asked   []shoal.Key // of replicas that may not go unless their homes agree
	leaving []shoal.Key // of replicas to be handed over
	victims []block     // hidden, their keys claimed
	busy    <-chan struct{}
	holes   []uint32 // to punch, of one container
	idle    uint32   // the sparse container to remove; none
	empty   uint32   // the slab to empty; none
	discard bool     // an empty slab is to be given back
}

func noChore() chore { return chore{empty: none, idle: none} }

func (c chore) nothing() bool {
	return len(c.asked) == 0 && len(c.leaving) == 0 && len(c.victims) == 0 && c.busy == nil && len(c.holes) == 0 && c.empty == none && c.idle == none && !c.discard
}

// evict makes room until what is wanted can be had, or nothing more can be given up.
func (d *disk) evict(quit <-chan struct{}) {
	stuck := make(map[uint32]bool) // slabs that could not be emptied
	for {
		select {
		case <-quit:
			return
		default:
		}
		d.mu.Lock()
		c := d.chore(stuck)
		if c.nothing() {
			d.endPass()
			d.mu.Unlock()
			return
		}
		d.mu.Unlock()
		d.do(c, stuck)
		if !d.healthy() {
			d.mu.Lock()
			d.endPass()
			d.mu.Unlock()
			return // more would only be hidden
		}
	}
}

// endPass tells those who wait how evict went. Holds mu.
func (d *disk) endPass() {
	d.pass++
	d.changed.Broadcast()
}

// do does a chore. A slab that could not be emptied is stuck.
func (d *disk) do(c chore, stuck map[uint32]bool) {
	if len(c.asked) > 0 {
		d.resign(c.asked)
	}
	d.handOver(c.leaving)
	switch {
	case len(c.victims) > 0:
		d.drop(c.victims, d.onEvict)
	case len(c.holes) > 0:
		d.failIf(d.punchHoles(c.holes))
	case c.idle != none:
		d.failIf(d.removeFile(c.idle))
	case c.empty != none:
		if !d.emptySlab(c.empty) {
			stuck[c.empty] = true
		}
	case c.discard:
		d.mu.Lock()
		err := d.removeSlab()
		d.mu.Unlock()
		d.failIf(err)
	case c.busy != nil:
		<-c.busy
	}
}

// chore decides what to do next. Holds mu.
//
// Free slots of other classes are room too: once a class has as many as a slab, its slabs are
// moved closer together rather than more blocks given up. A slab is not emptied before there
// is a place for what is in it, or new blocks of a rare class would go before old ones.
func (d *disk) chore(stuck map[uint32]bool) chore {
	d.policy.Advance(d.tick())
	if c := d.popFreed(); !c.nothing() {
		return c
	}
	if c := d.popParting(); !c.nothing() {
		return c
	}
	if over := d.places.bytes() - d.limit; over > 0 {
		if len(d.places.empties) > 0 {
			return chore{empty: none, idle: none, discard: true}
		}
		if c := d.giveRoom(0); !c.nothing() {
			return c
		}
		if c := d.makeRoom(policy.NoClass, over, stuck); !c.nothing() {
			return c
		}
	}
	for number := range d.datasets.names {
		if c := d.trimDataset(uint16(number)); !c.nothing() {
			return c
		}
	}
	for _, class := range d.demanded() {
		missing := d.demand[class] - d.spare(class)
		if missing <= 0 {
			delete(d.demand, class)
			continue
		}
		if c := d.makeRoom(class, missing, stuck); !c.nothing() {
			return c
		}
		if d.asked > 0 {
			continue // the answers make room
		}
		delete(d.demand, class) // there is nothing to be had
		d.refused[class]++
	}
	return noChore()
}

// demanded returns the classes that want room, in order. Holds mu.
func (d *disk) demanded() []policy.Class {
	classes := make([]policy.Class, 0, len(d.demand))
	for c := range d.demand {
		classes = append(classes, c)
	}
	slices.Sort(classes)
	return classes
}

// trimDataset gives up blocks of a dataset that is near its quota, or that a put waits for.
// Holds mu.
func (d *disk) trimDataset(number uint16) chore {
	over := d.datasets.excess(number, d.high, d.low)
	if over == 0 {
		return noChore()
	}
	wait := d.datasets.counts[number].asked >= over
	c := d.pop(func() (uint32, bool) { return d.policy.VictimOf(policy.Group(number)) }, wait, func(_ block, size int64) bool {
		over -= size
		return over <= 0
	})
	if c.nothing() {
		if s := &d.datasets.counts[number]; s.wanted > 0 && s.asked == 0 {
			s.wanted = 0
			s.refused++
		}
	}
	return c
}

// makeRoom finds missing bytes for blocks of a class. Holds mu.
func (d *disk) makeRoom(class policy.Class, missing int64, stuck map[uint32]bool) chore {
	if class != policy.NoClass && d.places.holes >= min(missing, d.places.slabBytes) {
		if c := d.giveRoom(0); !c.nothing() {
			return c
		}
	}
	if c := d.giveRoom(d.keptHoles()); !c.nothing() {
		return c
	}
	if donor, ok := d.donor(class, stuck); ok {
		return chore{empty: donor, idle: none}
	}
	slabs := d.places.slabs
	gone := make(map[policy.Class]int) // slots
	c := d.pop(d.policy.Victim, d.asked >= missing, func(b block, size int64) bool {
		c, _ := d.places.classOf(b.loc.Length)
		if !b.packed || c == class {
			missing -= size // a sparse block's room is the file system's, and so everybody's
			return missing <= 0
		}
		gone[c]++
		return slabs.Free(c)+gone[c] >= slabs.Slots(c) // there is a donor now
	})
	if c.nothing() {
		return d.giveRoom(0)
	}
	return c
}

// keptHoles returns how many bytes of holes outside idle containers are left for when their
// containers are idle too, or filled again: an eighth of the limit. Holds mu.
func (d *disk) keptHoles() int64 { return d.limit / 8 }

// giveRoom gives room of sparse containers back to the file system: that of an idle one, or,
// when there are more than keep bytes of other holes, of the oldest with any. Holds mu.
func (d *disk) giveRoom(keep int64) chore {
	c := noChore()
	if idle := d.places.chains[idleChain].first; keep == 0 && idle != none {
		c.idle = idle
		d.places.retire(c.idle)
		return c
	}
	if d.places.holes-d.places.idleBytes-d.places.retired > keep {
		c.holes = d.places.oldHoles(punchBatch)
	}
	if len(c.holes) > 0 {
		d.holdHoles(c.holes)
	}
	return c
}

// donor returns the slab to empty for blocks of a class. Its class has free slots for all that
// is in it. Holds mu.
func (d *disk) donor(class policy.Class, stuck map[uint32]bool) (number uint32, ok bool) {
	slabs := d.places.slabs
	spared := func(c policy.Class) bool { return c == class || slabs.Free(c) < slabs.Slots(c) }
	return slabs.Donor(spared, func(number uint32) bool { return stuck[number] })
}

// pop hides victims until enough says so, as far as a batch goes, and claims their keys. It
// stops at a block whose key another claims: busy is closed when that one has let go, which
// does not take long, as a visible block is not being put. Victims that may not go unless their
// homes agree are only asked for; with wait, as enough have been, it stops at these. Others may be
// handed over before they go. Holds mu.
func (d *disk) pop(victim func() (uint32, bool), wait bool, enough func(b block, size int64) bool) chore {
	c := noChore()
	for len(c.victims)+len(c.asked)+len(c.leaving) < evictBatch {
		n, ok := victim()
		if !ok {
			break
		}
		b := d.block(n)
		if d.mustAsk(n) {
			if wait {
				break
			}
			d.ask(n)
			c.asked = append(c.asked, b.key)
			if enough(b, d.places.occupied(n)) {
				break
			}
			continue
		}
		if d.leave(n) {
			c.leaving = append(c.leaving, b.key)
			continue
		}
		if c.busy = d.claims.try(b.key); c.busy != nil {
			break
		}
		size := d.places.occupied(n)
		d.evictNow(&b)
		c.victims = append(c.victims, b)
		if enough(b, size) {
			break
		}
	}
	return c
}

// evictNow counts and hides a victim whose key is claimed. Holds mu.
func (d *disk) evictNow(b *block) {
	if d.places.at(b.n).marks.class() == shoal.Last {
		d.lastGone.Add(1)
	}
	d.evictions.Add(1)
	d.hide(b)
}

// drop deletes hidden blocks whose keys are claimed: index first, so that no place is used
// again while the index names the block that was there. Then it tells of them, gives their
// places back, and releases the claims.
func (d *disk) drop(gone []block, tell func([]Gone)) {
	keys, places, went := make([]shoal.Key, len(gone)), make([]place, len(gone)), make([]Gone, len(gone))
	for i, b := range gone {
		keys[i], places[i], went[i] = b.key, b.place, Gone{b.key, b.idle}
	}
	d.index.gate.enter()
	err := d.index.delete(places...)
	d.index.gate.leave()
	if err != nil {
		_ = d.blame(err) // the index is made to fit when the disk heals
	}
	d.mu.Lock()
	for _, b := range gone {
		e := d.places.at(b.n)
		if e.state == stateLeaving {
			e.state = stateDeleted
		}
		if d.readers[b.n] == 0 && e.state == stateDeleted {
			d.vacate(b.n)
		}
	}
	d.mu.Unlock()
	tell(went)
	d.claims.release(keys...)
}

// failIf is fail of an error, if there is one.
func (d *disk) failIf(err error) {
	if err != nil {
		d.fail(err)
	}
}

// take drops the block b if it is still the one that is visible, and reports whether it did.
// tell is called as by drop.
func (d *disk) take(b block, tell func([]Gone)) bool {
	return d.takeAnd(b, func() {}, tell)
}

// takeAnd is take that calls then once the block is hidden, with mu held.
func (d *disk) takeAnd(b block, then func(), tell func([]Gone)) bool {
	d.claims.wait(b.key)
	d.mu.Lock()
	n, ok := d.table.get(b.key)
	if !ok || n != b.n {
		d.mu.Unlock()
		d.claims.release(b.key)
		return false
	}
	d.hide(&b)
	then()
	d.mu.Unlock()
	d.drop([]block{b}, tell)
	return true
}

// takeBad drops a block that is not what was put, once, and counts and logs it. Its place is
// not used again by this run: what is there may be the disk's fault.
func (d *disk) takeBad(b block, cause error) {
	_, gone := missing(cause)
	spoil := func() {
		if b.packed && !gone {
			d.places.at(b.n).state = stateUnusable
			d.unusable += d.places.occupied(b.n)
			d.datasets.add(b.dataset, -d.places.occupied(b.n))
		}
	}
	if !d.takeAnd(b, spoil, d.onEvict) {
		return
	}
	d.corrupt.Add(1)
	d.log.Error("dropped a bad block", "disk", d.path, "key", b.key.String(), "container", b.loc.Container, "err", cause)
}

// takeMissing drops a block of an earlier run whose container does not have it: a power loss
// kept the entry, not the block, or not that the entry was deleted.
func (d *disk) takeMissing(b block) bool { return d.take(b, d.onEvict) }

// flush makes the index durable, if it was written to.
func (d *disk) flush() {
	if err := d.index.flush(); err != nil && d.healthy() {
		_ = d.blame(err)
	}
}
