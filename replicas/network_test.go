package replicas

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
)

// network connects Runners in memory.
type network struct {
	t *testing.T

	mu     sync.Mutex // guards the fields below
	run    map[shoal.NodeID]*Runner
	boots  []shoal.Member
	stores map[shoal.NodeID]*store
	silent map[shoal.NodeID]bool
	mute   map[shoal.NodeID]bool // their calls fail
	away   map[shoal.NodeID]bool // calls to them fail at once

	frontier *fronts // of nodes that join
}

// newNetwork returns n Runners that know one another and have told one another all.
func newNetwork(t *testing.T, n int) *network {
	net := &network{
		t: t, run: make(map[shoal.NodeID]*Runner), stores: make(map[shoal.NodeID]*store),
		silent: make(map[shoal.NodeID]bool), mute: make(map[shoal.NodeID]bool), away: make(map[shoal.NodeID]bool),
	}
	for i := range n {
		net.join(shoal.NodeID(fmt.Sprintf("n%d", i+1)))
	}
	if n > 1 {
		time.Sleep(time.Second) // fake time
	}
	return net
}

func (n *network) join(id shoal.NodeID) {
	n.stores[id] = &store{blocks: make(map[shoal.Key]shoal.Sum)}
	cfg := Config{}
	if n.frontier != nil {
		cfg.Frontier = n.frontier
	}
	r, err := New(id, caller{n, id}, n.stores[id], cfg)
	if err != nil {
		n.t.Fatal(err)
	}
	n.mu.Lock()
	n.run[id] = r
	n.mu.Unlock()
	n.boots = append(n.boots, shoal.Member{ID: id, State: shoal.Serving, Boot: uint64(len(n.boots) + 1)})
	for _, r := range n.run {
		r.SetMembers(n.boots)
	}
}

func (n *network) hold(id shoal.NodeID, key shoal.Key) { n.holdAs(id, key, shoal.Last) }

func (n *network) holdAs(id shoal.NodeID, key shoal.Key, class shoal.Class) {
	n.stores[id].put(key)
	n.run[id].Add(key, sumFor(key), Limits{}, class, false)
}

func (n *network) drop(id shoal.NodeID, keys ...shoal.Key) {
	n.forget(id, keys...)
	for _, key := range keys {
		n.run[id].Drop(key, 0)
	}
}

func (n *network) forget(id shoal.NodeID, keys ...shoal.Key) {
	n.stores[id].mu.Lock()
	defer n.stores[id].mu.Unlock()
	for _, key := range keys {
		delete(n.stores[id].blocks, key)
	}
}

// silence makes nodes take requests and never answer.
func (n *network) silence(ids ...shoal.NodeID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, id := range ids {
		n.silent[id] = true
	}
}

func (n *network) setAway(id shoal.NodeID, away bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.away[id] = away
}

func (n *network) close() {
	for _, r := range n.run {
		if err := r.Close(); err != nil {
			n.t.Errorf("Close() = %v, want nil", err)
		}
		_ = r.Close()
	}
}

type caller struct {
	net  *network
	from shoal.NodeID
}

func (c caller) Call(ctx context.Context, to shoal.NodeID, request []byte) ([]byte, error) {
	c.net.mu.Lock()
	r, silent, gone := c.net.run[to], c.net.silent[to], c.net.mute[c.from] || c.net.away[to]
	c.net.mu.Unlock()
	if gone {
		return nil, errors.New("unreachable")
	}
	if silent {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if r == nil {
		return nil, errors.New("no such node")
	}
	return r.HandleCall(ctx, c.from, request)
}

type store struct {
	mu     sync.Mutex // guards the fields below
	blocks map[shoal.Key]shoal.Sum
	stands map[shoal.Key]stood
}

// stood is what a store was told last of a block, and all the credit it got for it.
type stood struct {
	shoal.Standing
	credit time.Duration
}

func (s *store) put(key shoal.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blocks[key] = sumFor(key)
}

func (s *store) Keys() iter.Seq2[shoal.Key, shoal.Sum] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.All(maps.Clone(s.blocks))
}

func (s *store) Has(key shoal.Key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.blocks[key]
	return ok
}

func (s *store) Stand(key shoal.Key, is shoal.Standing, credit time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.blocks[key]; !ok {
		return false
	}
	if s.stands == nil {
		s.stands = make(map[shoal.Key]stood)
	}
	s.stands[key] = stood{is, s.stands[key].credit + credit}
	return true
}

func someKeys(n int) []shoal.Key {
	keys := make([]shoal.Key, n)
	for i := range keys {
		keys[i] = shoal.Key{File: shoal.FileID{byte(i >> 8), byte(i)}, Index: uint32(i)}
	}
	return keys
}

// keyOf returns a key with these homes under t.
func keyOf(t *Table, home, backup shoal.NodeID) shoal.Key {
	for i := range uint32(1 << 20) {
		key := shoal.Key{Index: i}
		if h, b := t.Homes(ShardOf(key)); h == home && b == backup {
			return key
		}
	}
	panic("no such key")
}

func sumFor(key shoal.Key) shoal.Sum { return shoal.Sum(key.Index) + 100 }
