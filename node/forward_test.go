package node

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore"
	"github.com/shoal-mesh/shoal/node/config"
	"github.com/shoal-mesh/shoal/replicas"
)

// A scene is what a forwarder sees: a directory, peers and a store that the test plays.
type scene struct {
	nobody bool                           // no node is colder
	answer func(ctx context.Context) bool // of who is asked; nil: yes
	leaves map[shoal.Key]bool             // what the store says of blocks; nil: all leave

	mu       sync.Mutex // guards the fields below
	looked   []replicas.Offer
	declined chan shoal.Key
	offered  chan offer
}

func newScene() *scene {
	return &scene{declined: make(chan shoal.Key, 2*forwardQueue), offered: make(chan offer, 2*forwardQueue)}
}

func (s *scene) Coldest(o replicas.Offer) (shoal.NodeID, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looked = append(s.looked, o)
	return "cold", !s.nobody
}

func (s *scene) offer(ctx context.Context, _ shoal.NodeID, o offer) (bool, error) {
	s.offered <- o
	return s.answer == nil || s.answer(ctx), ctx.Err()
}

func (s *scene) Replica(key shoal.Key) (blockstore.Replica, bool) {
	return blockstore.Replica{Leaving: s.leaves == nil || s.leaves[key]}, true
}

func (s *scene) Decline(key shoal.Key) { s.declined <- key }

// newTestForwarder returns a forwarder of dataset "/m" at a rate.
func newTestForwarder(t *testing.T, s *scene, rate int64) *forwarder {
	t.Helper()
	f := newForwarder(s, s, s, map[string]int64{"/m": rate})
	t.Cleanup(func() { _ = f.close() })
	return f
}

// leaving returns a last replica of a dataset. Its weight is 10.
func leaving(dataset string, length int) blockstore.Replica {
	return blockstore.Replica{
		File: blockstore.File{SizeBytes: 3 * shoal.BlockSize, Dataset: dataset}, Length: length, Weight: 10, Leaving: true,
	}
}

// TestForwardOffer checks what is offered, and that what nobody takes is given up.
func TestForwardOffer(t *testing.T) {
	s := newScene()
	var refuse atomic.Bool
	s.answer = func(context.Context) bool { return !refuse.Load() }
	f := newTestForwarder(t, s, 1<<30)
	key := shoal.Key{File: shoal.FileID{1}, Index: 2}
	r := leaving("/m", shoal.BlockSize)
	r.File.Passes = 1
	if !f.forward(key, r) {
		t.Fatal("forward() = false, want true")
	}
	want := offer{key, 3 * shoal.BlockSize, "/m", 2}
	if got := <-s.offered; got != want {
		t.Errorf("offered %+v, want %+v", got, want)
	}
	if got, want := s.looked, []replicas.Offer{{Weight: 10 / forwardMargin, SizeBytes: shoal.BlockSize}}; !slices.Equal(got, want) {
		t.Errorf("Coldest(%+v), want %+v", got, want)
	}
	refuse.Store(true)
	f.forward(key, r)
	<-s.offered
	if got := <-s.declined; got != key {
		t.Errorf("Decline(%v), want %v", got, key)
	}
	if got := f.stats.refused.Load(); got != 1 || len(s.declined) != 0 {
		t.Errorf("refused %d, want 1, and nothing else declined", got)
	}
}

// TestForwardOnlyWhereConfigured checks that no other node is thought of for a mount that has
// nothing handed over, as is the default.
func TestForwardOnlyWhereConfigured(t *testing.T) {
	s := newScene()
	f := newTestForwarder(t, s, 1<<30)
	if f.forward(shoal.Key{}, leaving("/other", 100)) || len(s.looked) != 0 {
		t.Errorf("forward() = true or Coldest(%v), want neither for a mount without a rate", s.looked)
	}
	cfg := config.Defaults()
	cfg.Namespace = []config.Mount{{Path: "/off"}, {Path: "/on", Forward: 5}}
	if got := forwardRates(cfg); len(got) != 1 || got["/on"] != 5 {
		t.Errorf("forwardRates() = %v, want 5 for /on alone", got)
	}
}

// TestForwardRate checks that no more is handed over than the rate allows, and that what nobody
// would want does not count.
func TestForwardRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 2 * shoal.BlockSize
		s := newScene()
		f := newTestForwarder(t, s, rate)
		r := leaving("/m", shoal.BlockSize)
		s.nobody = true
		for range 100 {
			f.forward(shoal.Key{}, r)
		}
		s.nobody = false
		handed := 0
		for range 100 { // tenths of a second
			for range 5 {
				if f.forward(shoal.Key{}, r) {
					handed++
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
		// What a second brings is there at first; the last tenth has not been asked for.
		if want := 2 + 2*10 - 1; handed != want {
			t.Errorf("%d blocks handed over in 10 s, want %d", handed, want)
		}
		if got := f.stats.rate.Load(); got != int64(500-handed) || f.stats.frontier.Load() != 100 {
			t.Errorf("%d dropped by the rate, %d by the frontier; want %d, 100", got, f.stats.frontier.Load(), 500-handed)
		}
	})
}

// TestForwardDoesNotWait checks that nothing waits for a node that does not answer: what is too
// much is refused at once, and the offer ends after a while.
func TestForwardDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene()
		s.answer = func(ctx context.Context) bool {
			<-ctx.Done()
			return false
		}
		f := newTestForwarder(t, s, 1<<40)
		for range forwardCalls {
			f.forward(shoal.Key{}, leaving("/m", 1))
		}
		synctest.Wait() // they are under way
		for i := range forwardQueue {
			if !f.forward(shoal.Key{Index: uint32(i)}, leaving("/m", 1)) {
				t.Fatalf("forward() of block %d that waits = false", i)
			}
		}
		if f.forward(shoal.Key{}, leaving("/m", 1)) || f.stats.queue.Load() != 1 {
			t.Error("forward() with a full queue = true, want false, and it counted")
		}
		began := time.Now()
		<-s.declined
		if took := time.Since(began); took != forwardCall {
			t.Errorf("an offer without an answer took %v, want %v", took, forwardCall)
		}
	})
}

// TestForwardStays checks that a block which is read before it is offered is not offered.
func TestForwardStays(t *testing.T) {
	s := newScene()
	stays, goes := shoal.Key{Index: 1}, shoal.Key{Index: 2}
	s.leaves = map[shoal.Key]bool{goes: true}
	f := newTestForwarder(t, s, 1<<30)
	for range forwardCalls { // so that each that asks has had one
		f.forward(stays, leaving("/m", 1))
	}
	f.forward(goes, leaving("/m", 1))
	if got := <-s.offered; got.key != goes {
		t.Errorf("offered %v, want %v", got.key, goes)
	}
	_ = f.close()
	if len(s.offered) != 0 || len(s.declined) != 0 {
		t.Errorf("offered %d and declined %d more, want none", len(s.offered), len(s.declined))
	}
}

// coreFrontiers is the directory's own idea of who is coldest.
type coreFrontiers struct{ core *replicas.Core }

func (c coreFrontiers) Coldest(o replicas.Offer) (shoal.NodeID, bool) { return c.core.Coldest(2, o) }

// TestForwardHysteresis holds the margin against the directory's decision: a node that is about
// as cold gets nothing, one that is clearly colder or has room does.
func TestForwardHysteresis(t *testing.T) {
	never := float32(math.Inf(1))
	for _, c := range []struct {
		name     string
		frontier shoal.Frontier
		want     bool
	}{
		{"as cold", shoal.Frontier{Surplus: never, Last: 10}, false},
		{"colder than placing asks for", shoal.Frontier{Surplus: never, Last: 10 / 1.06}, false},
		{"colder by what weights err", shoal.Frontier{Surplus: never, Last: 10 / 1.3}, false},
		{"clearly colder", shoal.Frontier{Surplus: never, Last: 10 / 1.32}, true},
		{"with a colder surplus one", shoal.Frontier{Surplus: 1, Last: 20}, true},
		{"with room", shoal.Frontier{FreeBytes: 1 << 30, Surplus: never, Last: never}, true},
	} {
		core := replicas.NewCore("self", replicas.Rules{})
		core.SetMembers(0, []shoal.Member{{ID: "self", State: shoal.Serving}, {ID: "other", State: shoal.Serving}})
		core.Step(1, replicas.Message{Type: replicas.MsgMet, From: "other", To: "self", Frontier: &c.frontier})
		s := newScene()
		f := newForwarder(coreFrontiers{core}, s, s, map[string]int64{"/m": 1 << 30})
		if got := f.forward(shoal.Key{}, leaving("/m", 100)); got != c.want {
			t.Errorf("%s: forward() = %v, want %v", c.name, got, c.want)
		}
		_ = f.close()
	}
}
