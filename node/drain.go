package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore"
	"github.com/shoal-mesh/shoal/replicas"
)

// A DrainStatus tells how far a node is with handing its blocks over.
type DrainStatus struct {
	// State is "serving" when no drain was asked for, "draining", "done" when no block is here
	// of which the mesh has no other keeper, but for those that fit nowhere, or "stopped".
	State  string `json:"state"`
	Blocks int    `json:"blocks"` // in this node's store
	Kept   int    `json:"kept"`   // of these, the mesh relies on this node for
	Safe   int    `json:"safe"`   // of these, another node keeps
	Copied int64  `json:"copied"` // offered to other nodes, which took them
	Left   int    `json:"left"`   // last replicas that fit nowhere
}

// A drain makes a node's blocks safe elsewhere, one pass over the store after the other: it
// resigns as keeper, which moves the word to a node that holds the block too, and offers last
// replicas to those that have room, or something colder.
type drain struct {
	agent *Agent

	mu     sync.Mutex // guards the fields below
	status DrainStatus
	cancel context.CancelFunc // nil when none runs
	ended  chan struct{}
}

var errNotDraining = errors.New("the node is not draining")

const (
	drainPass  = time.Second      // between two passes
	drainIdle  = 30 * time.Second // without progress, and nobody has room: the rest is left
	drainBatch = 1024             // blocks resigned at a time
)

// Drain begins to hand the node's blocks over, unless that is under way, and returns how far
// it is.
func (a *Agent) Drain() (DrainStatus, error) {
	d := &a.drain
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cancel != nil || d.status.State == "done" {
		return d.status, nil
	}
	if err := a.mesh.SetState(shoal.Draining); err != nil {
		return d.status, err
	}
	a.fetch.draining.Store(true)
	d.status = DrainStatus{State: "draining"}
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel, d.ended = cancel, make(chan struct{})
	go func() {
		defer close(d.ended)
		d.run(ctx)
	}()
	return d.status, nil
}

// Undrain ends a drain: the node takes blocks again. Those handed over stay where they are.
func (a *Agent) Undrain() (DrainStatus, error) {
	d := &a.drain
	d.mu.Lock()
	if d.status.State == "" || d.status.State == "stopped" {
		d.mu.Unlock()
		return DrainStatus{}, errNotDraining
	}
	cancel, ended := d.cancel, d.ended
	d.mu.Unlock()
	if cancel != nil {
		cancel()
		<-ended
	}
	a.fetch.draining.Store(false)
	if err := a.mesh.SetState(shoal.Serving); err != nil {
		return a.DrainStatus(), err
	}
	d.update(func(s *DrainStatus) { s.State = "stopped" })
	return a.DrainStatus(), nil
}

// DrainStatus returns how far a drain is.
func (a *Agent) DrainStatus() DrainStatus {
	a.drain.mu.Lock()
	defer a.drain.mu.Unlock()
	s := a.drain.status
	if s.State == "" {
		s.State = "serving"
	}
	return s
}

// close ends a drain that runs.
func (d *drain) close() error {
	d.mu.Lock()
	cancel, ended := d.cancel, d.ended
	d.mu.Unlock()
	if cancel != nil {
		cancel()
		<-ended
	}
	return nil
}

func (d *drain) update(change func(*DrainStatus)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(&d.status)
}

// run goes over the store until nothing is left that can be handed over.
func (d *drain) run(ctx context.Context) {
	tick := time.NewTicker(drainPass)
	defer tick.Stop()
	best, since := -1, time.Now()
	offered := make(map[shoal.Key]time.Time)
	for {
		p := d.pass(ctx, offered)
		if left := p.kept + p.lone; best < 0 || left < best {
			best, since = left, time.Now()
		}
		over := p.kept+p.lone == 0 || time.Since(since) > drainIdle
		d.update(func(s *DrainStatus) {
			s.Blocks, s.Kept, s.Safe, s.Left = p.blocks, p.kept+p.lone, p.blocks-p.kept-p.lone, p.unwanted
			s.Copied += int64(p.copied)
			if over && ctx.Err() == nil {
				s.State = "done"
			}
			if over {
				d.cancel = nil
			}
		})
		if over {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			d.update(func(*DrainStatus) { d.cancel = nil })
			return
		}
	}
}

// A drainCount counts the blocks that one look at the store found.
type drainCount struct {
	blocks   int
	kept     int // resigned, and not yet answered
	lone     int // last replicas whose homes let them go
	copied   int // of these, taken by another node
	unwanted int // of these, nobody wants
}

// pass resigns the blocks this node keeps, and offers those of which it has the last replica.
// offered is when blocks were taken by others, which takes a while to be known.
func (d *drain) pass(ctx context.Context, offered map[shoal.Key]time.Time) (c drainCount) {
	var resign []shoal.Key
	flush := func() {
		if len(resign) > 0 {
			d.agent.where.Resign(resign...)
			resign = nil
		}
	}
	for key := range d.agent.store.Keys() {
		if ctx.Err() != nil {
			return c
		}
		r, ok := d.agent.store.Replica(key)
		if !ok {
			continue
		}
		c.blocks++
		switch {
		case r.Standing.Keeper:
			c.kept++
			if resign = append(resign, key); len(resign) == drainBatch {
				flush()
			}
		case r.Standing.Class == shoal.Last:
			c.lone++
			switch at, ok := offered[key]; {
			case ok && time.Since(at) < drainIdle/2:
			case d.copy(ctx, key, r):
				offered[key] = time.Now()
				c.copied++
			default:
				c.unwanted++
			}
		}
	}
	flush()
	return c
}

// copy offers a block to the node that would best keep it, and reports whether it will.
func (d *drain) copy(ctx context.Context, key shoal.Key, r blockstore.Replica) bool {
	to, ok := d.agent.where.Coldest(replicas.Offer{Weight: r.Weight, SizeBytes: uint32(r.Length)})
	if !ok {
		return false
	}
	accepted, _ := d.agent.fetch.offer(ctx, to, offer{key: key, size: r.File.SizeBytes, dataset: r.File.Dataset}) // another pass asks again
	return accepted
}
