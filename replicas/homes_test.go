package replicas

import (
	"math"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-mesh/shoal"
)

// A home takes 40 bytes for an entry, digests and all, beside what does not grow.
func TestDirectoryMemory(t *testing.T) {
	const entries = 1 << 20
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	d, keys := fullDirectory(entries)
	list := uint64(cap(keys)) * shoal.KeyLen
	runtime.GC()
	runtime.ReadMemStats(&after)
	const fixed = 4 << 20 // tables by shard, and digests: 16 B for each shard, home and member
	got := float64(after.HeapAlloc-before.HeapAlloc-list-fixed) / entries
	if d.Counts().Entries != entries || got > 40 {
		t.Errorf("%d entries take %.1f bytes each, want at most 40", d.Counts().Entries, got)
	}
	runtime.KeepAlive(keys)
}

// Runners tell one another what their nodes have room for, and a reader that will not keep
// a block is told where to place it.
func TestRunnerNamesPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 0)
		defer net.close()
		for _, id := range []shoal.NodeID{"n1", "n2", "n3"} {
			net.frontier = &fronts{}
			if id == "n3" {
				net.frontier.free.Store(1 << 30)
			}
			net.join(id)
		}
		time.Sleep(25 * time.Second) // any two have met
		offer := &Offer{Weight: 1, SizeBytes: 4 << 20}
		keys := someKeys(20)
		for i, a := range net.run["n1"].Locate(t.Context(), keys[:10], nil, offer) {
			if a.Kind != Fill || a.Place != "n3" {
				t.Errorf("Locate of %v with an offer = %v, place %q, want fill, n3", keys[i], answerText(a), a.Place)
			}
		}
		for i, a := range net.run["n1"].Locate(t.Context(), keys[10:], nil, nil) {
			if a.Kind != Fill || a.Place != "" {
				t.Errorf("Locate of %v without = %v, place %q, want fill, none", keys[10+i], answerText(a), a.Place)
			}
		}
	})
}

// A node that is gone for a moment finds its blocks where they were, and meanwhile nobody
// waits for it.
func TestRunnerGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 3)
		defer net.close()
		key := keyOf(net.run["n1"].table.Load(), "n2", "n3")
		net.hold("n2", key)
		net.hold("n1", key)
		time.Sleep(time.Second)
		members := net.boots
		for _, id := range []shoal.NodeID{"n1", "n3"} {
			net.run[id].SetMembers([]shoal.Member{members[0], members[2]})
		}
		net.silence("n2")
		view := net.run["n3"].View()
		begin := time.Now()
		a := net.run["n3"].Locate(t.Context(), []shoal.Key{key}, nil, nil)[0]
		if a.Kind != Held || len(a.Nodes) != 1 || a.Nodes[0] != "n1" || time.Since(begin) != 0 {
			t.Errorf("Locate while the home is away = %v after %v, want held n1 at once", answerText(a), time.Since(begin))
		}
		time.Sleep(59 * time.Second)
		if net.run["n3"].View() != view {
			t.Error("the view has changed within the grace")
		}
		time.Sleep(2 * time.Second)
		if s := net.run["n3"].Stats(); net.run["n3"].View() == view || s.Members != 2 {
			t.Errorf("after the grace: %d members, view changed: %v, want 2, true", s.Members, net.run["n3"].View() != view)
		}
	})
}

type fronts struct{ free atomic.Int64 }

func (f *fronts) Frontier() shoal.Frontier {
	return shoal.Frontier{FreeBytes: f.free.Load(), Surplus: float32(math.Inf(1)), Last: float32(math.Inf(1))}
}
