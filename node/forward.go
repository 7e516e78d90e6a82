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

// leavers is what a forwarder asks of the block store.
type leavers interface {
	// Replica describes a block; ok is false when it is not there.
	Replica(key shoal.Key) (r blockstore.Replica, ok bool)
	// Decline says that nobody keeps a block that was to be handed over.
	Decline(key shoal.Key)
}

// frontiers is what a forwarder asks of the replica directory.
type frontiers interface {
	// Coldest returns the node that would best keep a block; ok is false when nobody wants it.
	Coldest(o replicas.Offer) (id shoal.NodeID, ok bool)
}

// offerer makes an offer to a node.
type offerer interface {
	offer(ctx context.Context, to shoal.NodeID, o offer) (accepted bool, err error)
}

const (
	// forwardMargin is how much more a block must be worth than replicas.Coldest asks of one that
	// is placed, which is 1.05 times what goes for it: 1.31 times in all. Weights know sizes to a
	// fifth, so that two blocks about as cold differ by up to 1.2 for nothing.
	forwardMargin = 1.25
	forwardCalls  = 4               // offers under way at once
	forwardQueue  = 1024            // offers that wait for these
	forwardCall   = 2 * time.Second // that one may take
)

// A forwarder hands last replicas that its node must evict to nodes that would evict something
// colder (policy.md §1.3: N-chance forwarding, by GMS's weights and the frontier of §2.3 as the
// hint of whom to ask). The node that takes one streams it from the store here, as one that is
// placed or drained. See docs/eviction.md.
type forwarder struct {
	where frontiers
	peers offerer
	store leavers
	jobs  chan forwarding
	stats forwardStats

	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex         // guards the field below
	buckets map[string]*bucket // by dataset; those whose blocks are handed over
}

// A forwarding is an offer on its way to a node.
type forwarding struct {
	to shoal.NodeID
	offer
}

// forwardStats counts replicas that were dropped after all.
type forwardStats struct {
	rate     atomic.Int64 // more than may be handed over in this time
	frontier atomic.Int64 // no node is known that would evict something clearly colder
	queue    atomic.Int64 // enough wait to be offered
	refused  atomic.Int64 // the node did not want it, or did not answer
}

// newForwarder returns a forwarder at work, of the blocks of datasets with a rate, in bytes per
// second. The caller must close it.
func newForwarder(where frontiers, peers offerer, store leavers, rates map[string]int64) *forwarder {
	ctx, cancel := context.WithCancel(context.Background())
	f := &forwarder{
		where: where, peers: peers, store: store, jobs: make(chan forwarding, forwardQueue), cancel: cancel,
		buckets: make(map[string]*bucket, len(rates)),
	}
	for dataset, rate := range rates {
		f.buckets[dataset] = newBucket(rate, time.Now())
	}
	for range forwardCalls {
		f.wg.Go(func() { f.run(ctx) })
	}
	return f
}

// close ends what is under way, and waits for it. It may be called twice.
func (f *forwarder) close() error {
	f.cancel()
	f.wg.Wait()
	return nil
}

// forward considers a last replica that must go, and says whether it is going to be offered. It
// does not wait: see blockstore.Config.
func (f *forwarder) forward(key shoal.Key, r blockstore.Replica) bool {
	switch paid, on := f.pay(r.File.Dataset, r.Length); {
	case !on:
		return false
	case !paid:
		f.stats.rate.Add(1)
		return false
	}
	to, ok := f.where.Coldest(replicas.Offer{Weight: r.Weight / forwardMargin, SizeBytes: uint32(r.Length)})
	if !ok {
		f.stats.frontier.Add(1)
		f.payBack(r.File.Dataset, r.Length)
		return false
	}
	j := forwarding{to, offer{key: key, size: r.File.SizeBytes, dataset: r.File.Dataset, passes: r.File.Passes + 1}}
	select {
	case f.jobs <- j:
		return true
	default:
		f.stats.queue.Add(1)
		f.payBack(r.File.Dataset, r.Length)
		return false
	}
}

// pay takes bytes from the bucket of a dataset, if it has one and they are in it.
func (f *forwarder) pay(dataset string, bytes int) (paid, on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, on := f.buckets[dataset]
	return on && b.take(bytes, time.Now()), on
}

func (f *forwarder) payBack(dataset string, bytes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.buckets[dataset].level += float64(bytes)
}

// run makes the offers, one after the other.
func (f *forwarder) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-f.jobs:
			f.ask(ctx, j)
		}
	}
}

// ask offers a block that is still to go: one that was read meanwhile stays here. Once a node
// has said that it will keep it, the store waits for what its home makes of that.
func (f *forwarder) ask(ctx context.Context, j forwarding) {
	if r, ok := f.store.Replica(j.key); !ok || !r.Leaving {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, forwardCall)
	defer cancel()
	if accepted, _ := f.peers.offer(ctx, j.to, j.offer); !accepted { // no matter why: it is dropped
		f.stats.refused.Add(1)
		f.store.Decline(j.key)
	}
}

// A bucket says how many bytes may be sent: rate per second, on average, and never more at once
// than it holds.
type bucket struct {
	rate, depth, level float64 // bytes per second; bytes
	at                 time.Time
}

// newBucket returns a bucket that is full. It holds what a second brings, and at least a block,
// or a block could never be sent.
func newBucket(rate int64, now time.Time) *bucket {
	depth := max(float64(rate), shoal.BlockSize)
	return &bucket{rate: float64(rate), depth: depth, level: depth, at: now}
}

// take takes bytes if they are there.
func (b *bucket) take(bytes int, now time.Time) bool {
	b.level = min(b.depth, b.level+b.rate*now.Sub(b.at).Seconds())
	b.at = now
	if b.level < float64(bytes) {
		return false
	}
	b.level -= float64(bytes)
	return true
}
