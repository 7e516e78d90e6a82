package replicas

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-mesh/shoal"
)

// A node resigns from blocks that another holds as well: within the time of two orders the
// other is keeper, and the node need not be. Then the other resigns, and is told that it is the last.
func TestRunnerResigns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 3)
		defer net.close()
		time.Sleep(12 * time.Second) // settled
		keys := someKeys(500)
		for _, id := range []shoal.NodeID{"n1", "n2"} {
			for _, key := range keys {
				net.hold(id, key)
			}
			time.Sleep(time.Second)
		}
		net.expect("n1", keys, shoal.Standing{Class: shoal.Surplus, Keeper: true})
		net.expect("n2", keys, shoal.Standing{Class: shoal.Surplus})

		calls := net.run["n1"].Stats().Calls
		for _, key := range keys { // as a store that evicts does: one by one
			net.run["n1"].Resign(key)
		}
		time.Sleep(200 * time.Millisecond)
		net.expect("n1", keys, shoal.Standing{Class: shoal.Surplus})
		net.expect("n2", keys, shoal.Standing{Class: shoal.Surplus, Keeper: true})
		if got := net.run["n1"].Stats().Calls - calls; got > 30 {
			t.Errorf("%d calls for %d resignations, want at most 30", got, len(keys))
		}
		if s := net.run["n1"].Stats(); s.Resigned != 0 {
			t.Errorf("%d resignations outstanding, want none", s.Resigned)
		}
		net.forget("n1", keys...)
		for _, key := range keys {
			net.run["n1"].Drop(key, time.Hour)
		}
		time.Sleep(2 * time.Second)
		net.expect("n2", keys, shoal.Standing{Class: shoal.Last, Keeper: true})
		if got := net.stores["n2"].told(keys[0]).credit; got < 50*time.Minute || got > 70*time.Minute {
			t.Errorf("credit = %v, want about an hour", got)
		}
		net.run["n2"].Resign(keys...)
		time.Sleep(50 * time.Millisecond)
		net.expect("n2", keys, shoal.Standing{Class: shoal.Last})
	})
}

// A home that is silent for a while hears of a resignation when it is back; nobody is let go
// meanwhile.
// A replica counts as what its reader takes it for until its home says what it is worth, whether
// the reader was right or not.
func TestRunnerTellsWhatReplicasAreWorth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 3)
		defer net.close()
		time.Sleep(12 * time.Second)
		keys := slices.DeleteFunc(someKeys(60), func(key shoal.Key) bool { // a node tells itself at once
			home, _ := net.run["n3"].table.Load().Homes(ShardOf(key))
			return home != "n3"
		})
		for _, key := range keys {
			net.holdAs("n1", key, shoal.Surplus)
		}
		net.expect("n1", keys, shoal.Standing{Class: shoal.Surplus, Keeper: true})
		time.Sleep(time.Second)
		net.expect("n1", keys, shoal.Standing{Class: shoal.Last, Keeper: true})
		for _, key := range keys {
			net.holdAs("n2", key, shoal.Surplus)
		}
		net.expect("n2", keys, shoal.Standing{Class: shoal.Surplus, Keeper: true})
		time.Sleep(time.Second)
		net.expect("n1", keys, shoal.Standing{Class: shoal.Surplus, Keeper: true})
		net.expect("n2", keys, shoal.Standing{Class: shoal.Surplus})
	})
}

func TestRunnerResignsUntilHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 3)
		defer net.close()
		time.Sleep(12 * time.Second)
		key := keyOf(net.run["n1"].table.Load(), "n3", "n2")
		net.hold("n1", key)
		net.hold("n2", key)
		time.Sleep(time.Second)
		who, other := shoal.NodeID("n1"), shoal.NodeID("n2")
		if !net.stores["n1"].told(key).Keeper {
			who, other = other, who
		}
		net.setAway("n3", true)
		net.run[who].Resign(key)
		time.Sleep(5 * time.Second)
		net.expect(who, []shoal.Key{key}, shoal.Standing{Class: shoal.Surplus, Keeper: true})
		net.setAway("n3", false)
		time.Sleep(2 * time.Second)
		net.expect(who, []shoal.Key{key}, shoal.Standing{Class: shoal.Surplus})
		net.expect(other, []shoal.Key{key}, shoal.Standing{Class: shoal.Surplus, Keeper: true})
		holders := net.run["n3"].Explain(key)
		want := []Holder{{Node: other, Keeper: true, Class: shoal.Surplus}, {Node: who, Class: shoal.Surplus}}
		if len(holders) != 2 || holders[0] != want[0] || holders[1] != want[1] {
			t.Errorf("Explain = %v, want %v", holders, want)
		}
		for id, r := range net.run { // whoever asks, and whether it is one of them
			if a := r.Peek(t.Context(), []shoal.Key{key})[0]; !slices.Equal(a.Holders, want) || slices.Contains(a.Nodes, id) {
				t.Errorf("Peek by %s = holders %v, nodes %v, want %v and others", id, a.Holders, a.Nodes, want)
			}
		}
	})
}

// Two nodes resign from the same blocks while their homes have not yet been told of others they
// have dropped: whoever is told to keep a block waits with saying so again until the home's answer
// can be one that it does not have to refuse.
func TestRunnerResignsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 3)
		defer net.close()
		time.Sleep(12 * time.Second)
		keys := someKeys(200)
		both := []shoal.NodeID{"n1", "n2"}
		for _, id := range both {
			for _, key := range keys {
				net.hold(id, key)
			}
			time.Sleep(time.Second)
		}
		dropped, resigned := keys[:100], keys[100:]
		for _, id := range both {
			net.forget(id, dropped...)
			for _, key := range dropped {
				net.run[id].Drop(key, time.Hour)
			}
			net.run[id].Resign(resigned...)
		}
		time.Sleep(3 * time.Second)
		stale, orders := 0, 0
		for _, r := range net.run {
			stale += r.Stats().Directory.StaleOrders
			orders += r.Stats().Directory.Orders
			if n := r.Stats().Resigned; n != 0 {
				t.Errorf("%d resignations outstanding, want none", n)
			}
		}
		if most := 10 * len(keys); orders > most || stale > 3*len(resigned) {
			t.Errorf("%d orders, of which %d were refused as old; want at most %d, %d", orders, stale, most, 3*len(resigned))
		}
		for _, key := range resigned {
			if a, b := net.stores["n1"].told(key), net.stores["n2"].told(key); a.Keeper == b.Keeper {
				t.Errorf("%v: keepers %v and %v, want one", key, a.Keeper, b.Keeper)
			}
		}
	})
}

// expect checks what a node was told last of blocks.
func (n *network) expect(id shoal.NodeID, keys []shoal.Key, want shoal.Standing) {
	n.t.Helper()
	s := n.stores[id]
	s.mu.Lock()
	defer s.mu.Unlock()
	wrong := 0
	for _, key := range keys {
		if s.stands[key].Standing != want {
			wrong++
		}
	}
	if wrong > 0 {
		n.t.Errorf("%s was told something else of %d of %d blocks (of one: %+v), want %+v",
			id, wrong, len(keys), s.stands[keys[0]].Standing, want)
	}
}

// told returns what s was told of key.
func (s *store) told(key shoal.Key) stood {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stands[key]
}
