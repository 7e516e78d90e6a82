package node

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore"
	"github.com/shoal-mesh/shoal/replicas"
)

// An admission is what is to become of a block that is on its way here (design.md §3, step 7).
type admission struct {
	room   bool         // its only replica would be kept here
	leased bool         // the block's home counts on this node to fill it
	class  shoal.Class  // of a replica here, as far as the directory's answer says
	keep   bool         // it is stored here
	place  shoal.NodeID // the node that stores it, if this one does not; "" for none
	stays  atomic.Bool  // either of these

	passes uint8 // how often it was handed over to be here

	taken     chan struct{} // closed once that node streams it from here
	takenOnce sync.Once
}

// takenWithin is how long a block is kept in memory for the node it is placed on.
const takenWithin = 2 * time.Second

// file describes the block's file to the store, for a replica of a class.
func (f *fetch) file(class shoal.Class) blockstore.File {
	return blockstore.File{SizeBytes: f.entry.Info.Size, Dataset: f.entry.Mount, Class: class, Passes: f.passes}
}

// weigh notes what blocks that are not here would be worth here, and returns what of them
// another node had better keep; nil when there is room for all.
func (r *Fetcher) weigh(started []*fetch) (offer *replicas.Offer) {
	for _, ft := range started {
		weight, room := r.store.Miss(ft.key, ft.file(shoal.Last))
		room = room && !r.draining.Load()
		ft.room = room
		switch {
		case room:
		case offer == nil:
			offer = &replicas.Offer{Weight: weight, SizeBytes: uint32(ft.length)}
		default:
			offer.Weight, offer.SizeBytes = min(offer.Weight, weight), max(offer.SizeBytes, uint32(ft.length))
		}
	}
	return offer
}

// admit decides, by what the directory answered, whether the block is kept here, placed on
// another node, or only read. A replica beside others is worth less than the first one, least
// beside one of this zone: it gets free room, or that of another such. Of a block that goes
// nowhere, only what its reader wants is fetched.
func (r *Fetcher) admit(ctx context.Context, ft *fetch, answer replicas.Answer) {
	ft.leased = answer.Kind == replicas.Fill && answer.Lease > 0
	ft.place = ""
	ft.class = r.classBeside(answer.Nodes)
	if answer.Kind == replicas.Fill {
		ft.keep = ft.room
	} else {
		ft.keep = !r.draining.Load() && r.store.Admits(ft.key, ft.file(ft.class))
	}
	ft.stays.Store(ft.keep || answer.Place != "")
	switch {
	case ft.keep:
	case answer.Place != "":
		r.place(ctx, ft, answer.Place)
	case ft.buf == nil && ft.narrow():
		r.stats.bypassed.Add(1)
		r.giveBack(ft) // the others are not to wait for the rest of it
	}
}

// classBeside returns what a replica here is worth beside those of other nodes.
func (r *Fetcher) classBeside(others []shoal.NodeID) shoal.Class {
	near := 0
	for _, id := range others {
		if r.cfg.Near(id) {
			near++
		}
	}
	return replicas.ClassBeside(len(others), near)
}

// giveBack ends the lease on ft's block, if there is one.
func (r *Fetcher) giveBack(ft *fetch) {
	if ft.leased {
		ft.leased = false
		r.where.Release(ft.key)
	}
}

// settle does with a complete block what was decided.
func (r *Fetcher) settle(ctx context.Context, ft *fetch) {
	switch {
	case ft.keep:
		r.keep(ft, ft.counts())
		return
	case ft.place != "":
		r.awaitTaken(ctx, ft)
	}
	r.giveBack(ft)
}

// counts returns what a replica here counts as until its home says what it is worth.
func (a *admission) counts() shoal.Class {
	switch {
	case a.leased:
		return shoal.Last
	case a.class == shoal.Last:
		return shoal.Surplus // its home did not say that nobody else has it
	}
	return a.class
}

// keep stores a complete block and tells its homes; it counts as of a class. A block that
// cannot be stored has been read all the same.
func (r *Fetcher) keep(ft *fetch, class shoal.Class) {
	if err := r.store.Put(ft.key, ft.file(class), ft.buf, ft.sums); err != nil {
		r.stats.notKept.Add(1)
		r.giveBack(ft)
		r.cfg.Logger.Debug("block not kept", "key", ft.key, "err", err)
		return
	}
	r.where.Add(ft.key, shoal.BlockSum(ft.sums), r.cfg.Limits(ft.entry.Mount), class, ft.leased)
	if !r.store.Has(ft.key) { // evicted in between: its Drop may have overtaken the Add
		r.where.Drop(ft.key, 0)
	}
}
