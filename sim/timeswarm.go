package sim

import (
	"math"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/replicas"
)

// mostSources is how many holders, and of those that are receiving the block how many, are looked
// at for a reader.
const mostSources = 16

// A swarm is the fetches of one block that are under way and bring all of it. At most one of them
// comes from the UFS: single-flight over the fleet.
type swarm struct {
	fetches int      // how many there are
	roots   int      // those that holders serve
	serving []uint32 // those whose nodes may serve more readers
}

// source returns the fetch whose node a reader is sent to while its block still comes there: the
// one of the zone, and of the least load, if that is less than the holders'. false: the reader is
// sent to a holder, or to the UFS.
func (t *timed) source(id uint32) (from uint32, ok bool) {
	f := &t.fetches[id]
	at, ok := t.swarmOf[f.block]
	if !ok {
		return 0, false
	}
	s, best := &t.swarms[at], t.fromHolder(&t.swarms[at], int(f.node), f.block)
	ok = false
	n := len(s.serving)
	for i := range min(n, mostSources) {
		if i == 0 {
			at = uint32(t.rng.Uint64() % uint64(n))
		}
		q := s.serving[(int(at)+i)%n]
		rank := t.rankOf(int(f.node), int(t.fetches[q].node))
		if rank < best && (f.followers == 0 || !t.waitsFor(q, id)) {
			from, best, ok = q, rank, true
		}
	}
	return from, ok
}

// fromHolder returns the rank of the best holder of a block.
func (t *timed) fromHolder(s *swarm, node int, block uint32) int {
	best := math.MaxInt
	t.holders = t.fleet.Holders(node, block, t.holders[:0])
	if s.roots >= replicas.MostReaders*len(t.holders) {
		return best
	}
	for _, h := range t.holders[:min(mostSources, len(t.holders))] {
		best = min(best, t.rankOf(node, h))
	}
	return best
}

// rankOf says how good a source a node is for another, in the order of replicas.Source.Before; less
// is better.
func (t *timed) rankOf(node, from int) int {
	rank := int(t.sends[from])
	if t.fleet.Zone(node) != t.fleet.Zone(from) {
		rank += 1 << 20
	}
	return rank
}

// waitsFor reports whether fetch a waits for fetch b, if by way of others.
func (t *timed) waitsFor(a, b uint32) bool {
	for ; a != b; a = t.fetches[a].behind - 1 {
		if t.fetches[a].behind == 0 {
			return false
		}
	}
	return true
}

// enter makes a fetch one of its block's swarm.
func (t *timed) enter(id uint32) {
	f := &t.fetches[id]
	if !f.whole {
		return
	}
	at, ok := t.swarmOf[f.block]
	if !ok {
		if last := len(t.noSwarms) - 1; last >= 0 {
			at, t.noSwarms = t.noSwarms[last], t.noSwarms[:last]
		} else {
			at = uint32(len(t.swarms))
			t.swarms = append(t.swarms, swarm{})
		}
		t.swarms[at] = swarm{serving: t.swarms[at].serving[:0]}
		t.swarmOf[f.block] = at
	}
	s := &t.swarms[at]
	s.fetches++
	f.swarms, f.root = true, f.behind == 0 && f.found.Tier == shoal.TierPeer
	if f.root {
		s.roots++
	}
	t.open(s, id)
}

// open has readers sent to the node of a fetch.
func (t *timed) open(s *swarm, id uint32) {
	f := &t.fetches[id]
	f.serves, f.seat = true, uint32(len(s.serving))
	s.serving = append(s.serving, id)
}

// exit takes a fetch out of its block's swarm, if it is in there.
func (t *timed) exit(id uint32) {
	f := &t.fetches[id]
	if !f.swarms {
		return
	}
	at := t.swarmOf[f.block]
	s := &t.swarms[at]
	t.close(s, id)
	f.swarms = false
	if f.root {
		s.roots--
	}
	if s.fetches--; s.fetches == 0 {
		delete(t.swarmOf, f.block)
		t.noSwarms = append(t.noSwarms, at)
	}
}

// close has no more readers sent there.
func (t *timed) close(s *swarm, id uint32) {
	f := &t.fetches[id]
	if !f.serves {
		return
	}
	f.serves = false
	last := s.serving[len(s.serving)-1]
	s.serving[f.seat], t.fetches[last].seat = last, f.seat
	s.serving = s.serving[:len(s.serving)-1]
}

// follow has a fetch come from the node of another one as its bytes get there (cut-through).
func (t *timed) follow(id, from uint32) {
	f, q := &t.fetches[id], &t.fetches[from]
	f.behind, f.next = from+1, q.followers
	q.followers = id + 1
	if f.whole { // else it takes the place of nobody who could serve others
		if q.readers++; q.readers == replicas.MostRelayed {
			t.close(&t.swarms[t.swarmOf[q.block]], from)
		}
		t.enter(id)
	}
	t.stream(id, false)
}

// unfollow takes a fetch off those behind another one, if it is.
func (t *timed) unfollow(id uint32) {
	f := &t.fetches[id]
	if f.behind == 0 {
		return
	}
	q := &t.fetches[f.behind-1]
	if f.whole {
		if q.readers--; q.swarms && !q.serves {
			t.open(&t.swarms[t.swarmOf[q.block]], f.behind-1)
		}
	}
	next := &q.followers
	for *next != id+1 {
		next = &t.fetches[*next-1].next
	}
	*next = f.next
	f.behind, f.next = 0, 0
}

// caughtUp tells those behind a fetch that all of it has come.
func (t *timed) caughtUp(followers uint32) {
	for followers > 0 {
		id := followers - 1
		f := &t.fetches[id]
		followers = f.next
		f.behind, f.next = 0, 0
		if !f.flowing {
			t.queue.Push(t.at(follows), evFollowed, id, f.generation, 0)
		}
	}
}
