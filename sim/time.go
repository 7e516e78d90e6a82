package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/shoal-mesh/shoal/sim/flow"
)

// A timed is one run of a scenario in which transfers share links (engine B of policy.md §4.1).
// What it models, and what not, is in docs/simulator.md, "What engine time models".
//
// It goes from event to event. An event is something that was due at a moment (flow.Queue) or a
// flow that ends (flow.Network); what follows from it happens at the same moment. Ranks
// (timerank.go) ask for reads, fetches (timefetch.go) bring blocks, from one another's nodes too
// (timeswarm.go), and nodes fail (timefail.go).
type timed struct {
	*engine
	net    *flow.Network
	queue  flow.Queue
	links  links
	owners []uint32 // by flow.ID: its fetch
	clock  *timing
	rng    *rand.PCG

	fetches  []fetch
	unused   []uint32
	under    map[uint64]uint32 // fetches that readers of a node share, by node and block
	swarmOf  map[uint32]uint32 // swarms, by block
	swarms   []swarm
	noSwarms []uint32 // places in swarms that are not in use
	flushes  []flush  // by node
	sends    []uint32 // by node: flows to others
	holders  []int    // scratch
	recent   []uint32 // by node and hash: a block that has just come, + 1
	nextUFS  int64    // when it takes the next one

	ranks []timedRank
	slots []slot // of all ranks
	teams []team // by job
	left  int    // jobs that have not ended
	ended bool
}

// What is due at a moment. A is the rank, fetch, or place in the list of happenings; B its
// generation, by which events are told that came too late.
const (
	evBegin    uint16 = iota // a rank begins, or its next version is there
	evComputed               // a rank has computed
	evLocated                // the home of a fetch's block has answered
	evFirst                  // the first byte comes from, or may go to, the UFS
	evFollowed               // the last byte has come from whoever was itself receiving
	evHappens                // something happens to a node
	evOver                   // the time is over
)

const (
	// lookupLeast and lookupSpread are how long a lookup takes: at least, and up to how much
	// more. Without a spread the first of many equal readers would fill each block.
	lookupLeast, lookupSpread = 200_000, 200_000
	// follows is how long after its source's last byte that of a reader comes which is served
	// meanwhile (cut-through).
	follows = 100_000
	// patience is how long a reader waits for a node that has crashed before it asks again: the
	// most that agents wait for a holder that brings nothing (docs/read-path.md).
	patience = int64(2 * time.Second)
	// recentPlaces is how many blocks at most are in a node's page cache because they came last.
	recentPlaces = 256
)

// tolerance is by how much of a link's bandwidth rates may be off (flow.Config): half as much work
// as the default of one per cent where a thousand nodes pass on to one another what they have.
const tolerance = 0.02

// newTimed returns a run that has not begun.
func newTimed(e *engine) (*timed, error) {
	t := &timed{
		engine: e, rng: rand.NewPCG(e.scenario.Seed, 7),
		under: make(map[uint64]uint32), swarmOf: make(map[uint32]uint32),
		sends: make([]uint32, e.scenario.Fleet.Nodes), flushes: make([]flush, e.scenario.Fleet.Nodes), recent: make([]uint32, e.scenario.Fleet.Nodes*recentPlaces),
		left: len(e.jobs),
	}
	t.links = linksOf(&e.scenario.Fleet)
	t.clock = newTiming(e.jobs, &t.links)
	var err error
	if t.net, err = flow.New(t.links.capacities, flow.Config{Tolerance: tolerance}); err != nil {
		return nil, fmt.Errorf("links: %w", err)
	}
	e.tally.clock = t.clock
	for _, j := range e.jobs {
		t.recruit(j)
	}
	return t, nil
}

// run goes through all that happens, in the order of time, until all jobs have ended.
func (t *timed) run(ctx context.Context) error {
	for i, h := range t.happen {
		t.queue.Push(int64(h.at), evHappens, uint32(i), 0, 0)
	}
	if d := t.scenario.Duration; d > 0 {
		t.queue.Push(int64(d), evOver, 0, 0, 0)
	}
	for t.left > 0 && !t.ended {
		more, err := t.step()
		if err != nil {
			return err
		}
		if !more {
			break // who is left waits for nodes that do not come back
		}
		if t.clock.events++; t.clock.events%(1<<16) == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	t.advance(max(t.now, t.scenario.Duration))
	t.clock.pass(t.now)
	t.stop()
	t.tally.close(t.now, t.fleet)
	return nil
}

// step goes on to the next event; false: there is none.
func (t *timed) step() (more bool, err error) {
	at, flows := t.net.Next()
	e, due := t.queue.Peek()
	switch {
	case due && (!flows || e.At <= at):
		t.queue.Pop()
		t.advance(time.Duration(e.At))
		return true, t.due(e)
	case flows:
		t.advance(time.Duration(at))
		t.arrived(t.owners[t.net.Finish()])
		return true, nil
	}
	return false, nil
}

// due handles an event of the queue.
func (t *timed) due(e flow.Event) error {
	switch e.Kind {
	case evBegin:
		if r := &t.ranks[e.A]; r.generation == e.B {
			t.wake(e.A)
		}
	case evComputed:
		if r := &t.ranks[e.A]; r.generation == e.B {
			t.computed(e.A)
		}
	case evHappens:
		return t.occur(t.happen[e.A])
	case evOver:
		t.ended = true
	default:
		f := &t.fetches[e.A]
		if f.generation != e.B {
			return nil
		}
		switch e.Kind {
		case evLocated:
			t.located(e.A)
		case evFirst:
			t.first(e.A)
		case evFollowed:
			t.landed(e.A)
		}
	}
	return nil
}

// at returns the moment of something that is to happen in so many nanoseconds.
func (t *timed) at(later int64) int64 { return int64(t.now) + later }

// start has the bytes of a fetch flow over a path.
func (t *timed) start(id uint32, path []flow.Link) {
	f := &t.fetches[id]
	f.flow, f.flowing = t.net.Start(int64(t.now), int64(f.bytes), path...), true
	for int(f.flow) >= len(t.owners) {
		t.owners = append(t.owners, 0)
	}
	t.owners[f.flow] = id
}
