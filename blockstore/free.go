package blockstore

import (
	"slices"

	"github.com/shoal-mesh/shoal"
)

// Free gives replicas up though there is no need, as far as the mesh does not lose their blocks
// by it. One that is nobody's to keep goes at once, unless it is the last of its block. For a
// keeper's its home is asked (Config.Resign), whatever the rules of the dataset: it goes when
// SetStanding says that it is the last no more than it was, and no keeper's, and stays when that
// says anything else. Pinned blocks stay. Free does not wait: Replica tells what is still to go.
func (s *Store) Free(keys ...shoal.Key) {
	if s.enter() != nil {
		return
	}
	defer s.calls.Done()
	for _, d := range s.disks {
		for part := range slices.Chunk(keys, evictBatch) {
			if asked := d.giveUp(part); len(asked) > 0 {
				d.resign(asked)
			}
		}
	}
}

// giveUp marks what is to go of some blocks, and returns those whose homes are to be asked.
func (d *disk) giveUp(keys []shoal.Key) (asked []shoal.Key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.policy.Advance(d.tick())
	for _, key := range keys {
		n, ok := d.table.get(key)
		if !ok || d.pins.pinned(key) {
			continue
		}
		e := d.places.at(n)
		keeps := d.keeps(n)
		if !keeps && e.marks.class() == shoal.Last {
			continue
		}
		// Nothing has been said of a replica that counts as the last, so anything else is news.
		dearest := max(e.marks.class(), shoal.LastInZone)
		e.marks = e.marks&^markFreed | marks(dearest)<<freedShift
		if !keeps {
			d.freeOrKeep(n)
			continue
		}
		asked = append(asked, key)
		if !e.marks.has(markAsked) {
			d.ask(n)
		}
	}
	return asked
}

// freeOrKeep has the replica of entry n go, if it was freed and may go by what is said of it now;
// else it stays. Holds mu.
func (d *disk) freeOrKeep(n uint32) {
	e := d.places.at(n)
	switch {
	case e.marks.freed() == shoal.Last:
	case d.mayFree(n):
		d.freed = append(d.freed, e.key)
		d.wake()
	default:
		e.marks &^= markFreed
	}
}

// mayFree reports whether the replica of entry n was freed and may go. Holds mu.
func (d *disk) mayFree(n uint32) bool {
	e := d.places.at(n)
	freed := e.marks.freed()
	return freed != shoal.Last && e.marks.class() >= freed && !d.keeps(n) && !d.pins.pinned(e.key)
}

// popFreed is pop of what was freed. Holds mu.
func (d *disk) popFreed() chore {
	c := noChore()
	for len(d.freed) > 0 && len(c.victims) < evictBatch {
		if n, ok := d.table.get(d.freed[0]); ok && d.mayFree(n) {
			b := d.block(n)
			if c.busy = d.claims.try(b.key); c.busy != nil {
				return c
			}
			d.hide(&b)
			c.victims = append(c.victims, b)
		}
		d.freed = d.freed[1:]
	}
	return c
}
