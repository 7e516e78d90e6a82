package node

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore"
	"github.com/shoal-mesh/shoal/blockstore/policy"
	"github.com/shoal-mesh/shoal/node/peer"
	"github.com/shoal-mesh/shoal/replicas"
)

// A duo is two nodes, each with a store, a fetcher and a forwarder, and one home for all blocks.
type duo struct {
	nodes map[shoal.NodeID]*duoNode

	mu      sync.Mutex // guards the fields below
	holders map[shoal.Key][]shoal.NodeID
	offers  map[shoal.Key]int
	lost    map[shoal.Key]bool
	willing shoal.NodeID // the node that takes blocks
	number  byte
}

type duoNode struct {
	duo   *duo
	id    shoal.NodeID
	store *blockstore.Store
	fetch *Fetcher
	hand  *forwarder
}

var (
	_ directory = &duoNode{}
	_ transfers = &duoNode{}
	_ frontiers = &duoNode{}
)

// newDuo returns nodes "a" and "b", of 504 slots each, which make room when a tenth is left.
func newDuo(t *testing.T) *duo {
	t.Helper()
	d := &duo{
		nodes: make(map[shoal.NodeID]*duoNode), holders: make(map[shoal.Key][]shoal.NodeID),
		offers: make(map[shoal.Key]int), lost: make(map[shoal.Key]bool),
	}
	for _, id := range []shoal.NodeID{"a", "b"} {
		d.nodes[id] = &duoNode{duo: d, id: id}
	}
	for _, n := range d.nodes {
		n.open(t)
	}
	return d
}

func (n *duoNode) open(t *testing.T) {
	t.Helper()
	store, err := blockstore.Open(blockstore.Config{
		Disks: []blockstore.Disk{{Path: t.TempDir(), SizeBytes: 8 * 64 * 4096}}, SlabBytes: 64 * 4096, High: 0.9, Low: 0.8,
		Rules:   func(string) policy.Rules { return policy.Rules{Base: policy.BaseLRU, Classes: true} },
		Resign:  n.resign,
		OnEvict: n.evicted,
		Forward: func(key shoal.Key, r blockstore.Replica) bool { return travels(key) && n.hand.forward(key, r) },
	})
	if err != nil {
		t.Fatal(err)
	}
	n.store = store
	n.fetch = NewFetcher(n, n, store, nil, FetcherConfig{})
	n.hand = newForwarder(n, n.fetch, store, map[string]int64{"/m": 1 << 40})
	t.Cleanup(func() {
		_ = n.hand.close()
		n.fetch.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
}

// travels reports whether a block may be handed over: the first two that are put.
func travels(key shoal.Key) bool { return key == testBlock(1, 0) || key == testBlock(1, 1) }

// testBlock returns the key of a block of a filling.
func testBlock(number byte, i int) shoal.Key {
	return shoal.Key{File: shoal.FileID{number, byte(i), byte(i >> 8)}}
}

// Add has the home count a holder, whose replica is a keeper's, and tell the other that its own
// is not the last any more.
func (n *duoNode) Add(key shoal.Key, _ shoal.Sum, _ replicas.Limits, _ shoal.Class, _ bool) {
	n.duo.mu.Lock()
	others := slices.Clone(n.duo.holders[key])
	n.duo.holders[key] = append(n.duo.holders[key], n.id)
	n.duo.mu.Unlock()
	n.store.SetStanding(key, shoal.Untold())
	for _, id := range others {
		n.duo.nodes[id].store.SetStanding(key, shoal.Standing{Class: shoal.Surplus})
	}
}

func (n *duoNode) evicted(gone []blockstore.Gone) {
	n.duo.mu.Lock()
	defer n.duo.mu.Unlock()
	for _, g := range gone {
		left := slices.DeleteFunc(n.duo.holders[g.Key], func(id shoal.NodeID) bool { return id == n.id })
		n.duo.holders[g.Key] = left
		n.duo.lost[g.Key] = n.duo.lost[g.Key] || len(left) == 0
	}
}

// resign has the home let replicas go of which there is no other.
func (n *duoNode) resign(keys []shoal.Key) {
	for _, key := range keys {
		if slices.Equal(n.duo.holdersOf(key), []shoal.NodeID{n.id}) {
			n.store.SetStanding(key, shoal.Standing{Class: shoal.Last})
		}
	}
}

func (d *duo) holdersOf(key shoal.Key) []shoal.NodeID {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.holders[key])
}

func (n *duoNode) Coldest(replicas.Offer) (shoal.NodeID, bool) {
	n.duo.mu.Lock()
	defer n.duo.mu.Unlock()
	return n.duo.willing, n.duo.willing != n.id
}

func (n *duoNode) Call(_ context.Context, to shoal.NodeID, request []byte) ([]byte, error) {
	o, err := offerOf(request)
	if err != nil {
		return nil, err
	}
	n.duo.mu.Lock()
	n.duo.offers[o.key]++
	n.duo.mu.Unlock()
	return n.duo.nodes[to].fetch.HandleOffer(n.id, request)
}

func (n *duoNode) Fetch(ctx context.Context, from shoal.NodeID, key shoal.Key, part peer.Part, sink peer.Sink) error {
	stream, err := n.duo.nodes[from].fetch.OpenBlock(ctx, key)
	if err != nil {
		return err
	}
	sink.Begin()
	for i := part.First; err == nil && i < part.End; i++ {
		var sum shoal.Sum
		var data []byte
		if data, sum, err = stream.Chunk(ctx, i, make([]byte, shoal.ChunkSize)); err == nil {
			copy(sink.Chunk(i), data)
			err = sink.Arrived(i, sum)
		}
	}
	if cerr := stream.Close(); err == nil {
		err = cerr
	}
	return err
}

func (n *duoNode) Locate(_ context.Context, keys []shoal.Key, _ []replicas.Avoid, _ *replicas.Offer) []replicas.Answer {
	return make([]replicas.Answer, len(keys))
}
func (n *duoNode) Drop(shoal.Key, time.Duration) {}
func (n *duoNode) Renew(...shoal.Key)            {}
func (n *duoNode) Release(shoal.Key)             {}

// fill puts blocks of its own on n until there is what is waited for.
func (n *duoNode) fill(t *testing.T, until func() bool) {
	t.Helper()
	n.duo.number++
	for i := range 1000 {
		key := testBlock(n.duo.number, i)
		data := contents(key)
		sums := shoal.ChunkSums(key, data)
		if err := n.store.Put(key, blockstore.File{SizeBytes: int64(len(data)), Dataset: "/m"}, data, sums); err != nil {
			t.Fatal(err)
		}
		n.Add(key, shoal.BlockSum(sums), replicas.Limits{}, shoal.Last, false)
		if synctest.Wait(); until() {
			return
		}
	}
	t.Fatalf("%d blocks on %s did not bring about what was waited for; handed over %+v", 1000, n.id, forwardStatus(n.store.Stats().Forwards, n.hand))
}

// contents returns the bytes of a block.
func contents(key shoal.Key) []byte { return bytes.Repeat(key.File[:], 60) }

// checkHolders fails the test unless a block is on node id alone, and was handed over so often.
func (d *duo) checkHolders(t *testing.T, key shoal.Key, id shoal.NodeID, passes uint8) {
	t.Helper()
	r, ok := d.nodes[id].store.Replica(key)
	if got := d.holdersOf(key); !slices.Equal(got, []shoal.NodeID{id}) || !ok || r.File.Passes != passes || r.Standing != shoal.Untold() {
		t.Errorf("block %v is held by %v, on %s as %+v; want by %s alone, as its keeper, handed over %d times", key, got, id, r, id, passes)
	}
}

// TestForwardBetweenNodes follows a block that nobody reads: it goes to the other node, back, and
// then nowhere; at no moment before is it held by nobody. One that is read begins anew.
func TestForwardBetweenNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t)
		a, b := d.nodes["a"], d.nodes["b"]
		d.willing = "b"
		key, read := testBlock(1, 0), testBlock(1, 1)
		a.fill(t, func() bool { return b.store.Has(key) && b.store.Has(read) })
		d.checkHolders(t, key, "b", 1)
		d.checkHolders(t, read, "b", 1)
		got := make([]byte, len(contents(read)))
		if _, err := b.store.ReadAt(read, got, 0); err != nil || !bytes.Equal(got, contents(read)) {
			t.Errorf("ReadAt on the other node: %v, want the block's bytes", err)
		}

		d.willing = "a"
		b.fill(t, func() bool { return a.store.Has(key) })
		d.checkHolders(t, key, "a", 2)
		b.fill(t, func() bool { return a.store.Has(read) })
		d.checkHolders(t, read, "a", 1)
		if d.lost[key] || d.lost[read] {
			t.Error("the block was lost on its way")
		}

		d.willing = "b"
		a.fill(t, func() bool { return !a.store.Has(key) })
		if got := d.offers[key]; got != 2 || !d.lost[key] || b.store.Has(key) {
			t.Errorf("the block was offered %d times, lost %v; want 2, and that it is dropped the third time", got, d.lost[key])
		}
		a.fill(t, func() bool { return !a.store.Has(read) })
		d.checkHolders(t, read, "b", 2)
		if got := a.store.Stats().Forwards.Passed; got == 0 {
			t.Error("a dropped no block for having been handed over twice")
		}
	})
}
