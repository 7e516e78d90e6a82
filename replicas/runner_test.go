package replicas

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-mesh/shoal"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRunnerFillsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 3)
		defer net.close()
		keys := someKeys(16)
		first := net.run["n1"].Locate(t.Context(), keys, nil, nil)
		for i, a := range first {
			if a.Kind != Fill || a.Lease != 30*time.Second {
				t.Errorf("first Locate of %v = %v, want fill with a lease of 30s", keys[i], answerText(a))
			}
		}
		for i, a := range net.run["n2"].Locate(t.Context(), keys, nil, nil) {
			if a.Kind != Filling || a.Nodes[0] != "n1" {
				t.Errorf("second Locate of %v = %v, want filling n1", keys[i], answerText(a))
			}
		}
		for _, key := range keys {
			net.hold("n1", key)
		}
		time.Sleep(receivesFor * time.Millisecond) // else n3 may be sent to n2
		for i, a := range net.run["n3"].Locate(t.Context(), keys, nil, nil) {
			if a.Kind != Held || a.Nodes[0] != "n1" || a.Sum != sumFor(keys[i]) {
				t.Errorf("Locate of %v = %v sum %d, want held n1 sum %d", keys[i], answerText(a), a.Sum, sumFor(keys[i]))
			}
		}
		for _, a := range net.run["n3"].Peek(t.Context(), keys[:1]) {
			if a.Kind != Held {
				t.Errorf("Peek = %v, want held", answerText(a))
			}
		}
		net.drop("n1", keys...)
		time.Sleep(2 * time.Second)
		for _, a := range net.run["n2"].Peek(t.Context(), keys) {
			if a.Kind != Nowhere {
				t.Errorf("Peek of a dropped block = %v, want nowhere", answerText(a))
			}
		}
	})
}

func TestRunnerAsksBackupWhenHomeIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 3)
		defer net.close()
		key := keyOf(net.run["n1"].table.Load(), "n3", "n2")
		net.hold("n2", key)
		time.Sleep(time.Second)
		net.silence("n3")
		begin := time.Now()
		a := net.run["n1"].Locate(t.Context(), []shoal.Key{key}, nil, nil)[0]
		if a.Kind != Held || a.Nodes[0] != "n2" {
			t.Errorf("Locate with a silent home = %v, want held n2", answerText(a))
		}
		if took := time.Since(begin); took != 500*time.Millisecond {
			t.Errorf("Locate with a silent home took %v, want 500ms", took)
		}
		// From now on the backup is asked first.
		begin = time.Now()
		net.run["n1"].Locate(t.Context(), []shoal.Key{key}, nil, nil)
		if took := time.Since(begin); took != 0 {
			t.Errorf("second Locate with a silent home took %v, want 0", took)
		}
		net.silence("n3", "n2")
		a = net.run["n1"].Locate(t.Context(), []shoal.Key{key}, nil, nil)[0]
		if a.Kind != Fill || a.Lease != 0 {
			t.Errorf("Locate with two silent homes = %v, want fill without a lease", answerText(a))
		}
		if got := net.run["n1"].Stats().FailOpen; got != 1 {
			t.Errorf("FailOpen = %d, want 1", got)
		}
	})
}

func TestRunnerLocateEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 3)
		defer net.close()
		key := keyOf(net.run["n1"].table.Load(), "n3", "n2")
		net.silence("n2", "n3")
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if a := net.run["n1"].Locate(ctx, []shoal.Key{key}, nil, nil)[0]; a.Kind != Unknown {
			t.Errorf("Locate with a context that ends = %v, want unknown", answerText(a))
		}
	})
}

func TestRunnerTakesOverFromDeadFiller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 3)
		defer net.close()
		key := keyOf(net.run["n1"].table.Load(), "n1", "n2")
		net.run["n3"].Locate(t.Context(), []shoal.Key{key}, nil, nil)
		a := net.run["n2"].Locate(t.Context(), []shoal.Key{key}, []Avoid{{Node: "n3"}}, nil)[0]
		if a.Kind != Fill {
			t.Errorf("Locate avoiding the filler = %v, want fill", answerText(a))
		}
		// It keeps the lease for as long as it renews it.
		for range 6 {
			time.Sleep(10 * time.Second)
			net.run["n2"].Renew(key)
		}
		synctest.Wait()
		if a := net.run["n3"].Locate(t.Context(), []shoal.Key{key}, nil, nil)[0]; a.Kind != Filling {
			t.Errorf("Locate while the lease is renewed = %v, want filling n2", answerText(a))
		}
		net.run["n2"].Release(key)
		synctest.Wait()
		if a := net.run["n3"].Locate(t.Context(), []shoal.Key{key}, nil, nil)[0]; a.Kind != Fill {
			t.Errorf("Locate after the lease is given back = %v, want fill", answerText(a))
		}
	})
}

func TestRunnerAnnouncesToNewHomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 2)
		defer net.close()
		keys := someKeys(5000)
		for _, key := range keys {
			net.hold("n1", key)
		}
		net.join("n3")
		time.Sleep(3 * time.Second)
		for _, a := range net.run["n3"].Locate(t.Context(), keys, nil, nil) {
			if a.Kind != Held || a.Nodes[0] != "n1" {
				t.Fatalf("Locate after a join = %v, want held n1", answerText(a))
			}
		}
		for _, id := range []shoal.NodeID{"n1", "n2", "n3"} {
			if s := net.run[id].Stats(); s.Directory.Missing > 0 || s.Waiting > 0 {
				t.Errorf("%s: %d shards missing, %d announcements wait, want none", id, s.Directory.Missing, s.Waiting)
			}
		}
	})
}

func TestRunnerCorrectsWrongHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 3)
		defer net.close()
		key := keyOf(net.run["n1"].table.Load(), "n2", "n3")
		net.hold("n1", key)
		time.Sleep(time.Second)
		net.forget("n1", key) // without a word
		a := net.run["n3"].Locate(t.Context(), []shoal.Key{key}, []Avoid{{Node: "n1", Reason: NotFound}}, nil)[0]
		if a.Kind != Fill {
			t.Errorf("Locate = %v, want fill", answerText(a))
		}
		net.run["n3"].Release(key)
		time.Sleep(5 * time.Second)
		if a := net.run["n2"].Peek(t.Context(), []shoal.Key{key})[0]; a.Kind != Nowhere {
			t.Errorf("Peek after a correction = %v, want nowhere", answerText(a))
		}
	})
}

// Nodes that start together are warming for as long as one member, alive in gossip, tells
// nothing. They agree on one reader of the UFS all the same, and soon.
func TestRunnerFillsOnceWhileBothHomesAreWarming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 0)
		defer net.close()
		net.mute["n4"] = true
		for _, id := range []shoal.NodeID{"n1", "n2", "n3", "n4"} {
			net.join(id)
		}
		time.Sleep(time.Second)
		key := keyOf(net.run["n1"].table.Load(), "n1", "n2")
		begin := time.Now()
		answers := make([]Answer, 3)
		var wg sync.WaitGroup
		for i := range answers {
			wg.Go(func() {
				answers[i] = net.run[shoal.NodeID(fmt.Sprintf("n%d", i+1))].Locate(t.Context(), []shoal.Key{key}, nil, nil)[0]
			})
		}
		wg.Wait()
		fills := 0
		for i, a := range answers {
			if a.Kind == Fill && a.Lease > 0 {
				fills++
			} else if a.Kind != Filling {
				t.Errorf("Locate by n%d = %v, want filling, or fill with a lease", i+1, answerText(a))
			}
		}
		if took := time.Since(begin); fills != 1 || took > 250*time.Millisecond {
			t.Errorf("%d of 3 readers got the lease, after %v; want 1 within 250ms", fills, took)
		}
	})
}

// A Batch to a home that is away for a moment arrives right after that.
func TestRunnerRetriesFailedBatchSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 3)
		defer net.close()
		key := keyOf(net.run["n1"].table.Load(), "n2", "n3")
		net.setAway("n2", true)
		net.hold("n1", key)
		time.Sleep(150 * time.Millisecond)
		net.setAway("n2", false)
		time.Sleep(250 * time.Millisecond)
		if a := net.run["n2"].Peek(t.Context(), []shoal.Key{key})[0]; a.Kind != Held {
			t.Errorf("Peek 250ms after the home is back = %v, want held", answerText(a))
		}
	})
}

// A burst of lookups gives many leases of which the other home, slow to answer, is told;
// neither they nor the Batches behind them are lost.
func TestRunnerLosesNothingInBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 3)
		defer net.close()
		r := net.run["n1"]
		table, keys := r.table.Load(), []shoal.Key(nil)
		for i := range uint32(1 << 14) {
			if h, b := table.Homes(ShardOf(shoal.Key{Index: i})); h == "n1" && b == "n2" {
				keys = append(keys, shoal.Key{Index: i})
			}
		}
		net.silence("n2")
		for i, key := range keys[:1200] {
			id := []shoal.NodeID{"n1", "n3"}[i%2]
			net.run[id].Locate(t.Context(), []shoal.Key{key}, nil, nil)
		}
		time.Sleep(600 * time.Millisecond)
		net.hold("n1", keys[1200])
		time.Sleep(100 * time.Millisecond)
		r.mu.Lock()
		leases, batches, messages := 0, 0, len(r.outbox["n2"].queue)
		for _, m := range r.outbox["n2"].queue {
			if leases += len(m.Keys); m.Type == MsgBatch {
				batches++
			}
		}
		r.mu.Unlock()
		if lost := r.Stats().Lost; lost > 0 || messages > 8 || batches != 1 || leases < 300 {
			t.Errorf("%d messages lost, %d wait with %d leases and %d batches; want 0, at most 8, most of 1200, 1",
				lost, messages, leases, batches)
		}
		// However full the outbox, a Batch finds room, and only once.
		box := &outbox{}
		for i := range 5 {
			box.put(Message{Type: MsgWant}, 4)
			box.put(Message{Type: MsgBatch, Seq: uint64(1 + i/4)}, 4)
		}
		// Leases told by one tick after the other go together.
		intents := &outbox{}
		for i := range Tick(100) {
			intents.put(Message{Type: MsgIntent, Filler: "n1", Lease: 29_500 - 25*(i%3), Keys: keys[i : i+1]}, 4)
		}
		if len(intents.queue) != 1 || len(intents.queue[0].Keys) != 100 || intents.queue[0].Lease != 29_450 {
			t.Errorf("100 leases wait in %d messages, want in one, with the shortest lease", len(intents.queue))
		}
		if len(box.queue) != 5 || !box.put(Message{Type: MsgBatch, Seq: 9}, 4) {
			t.Errorf("%d messages wait where there is room for 4, want 2 batches of 5 messages", len(box.queue))
		}
	})
}

// A home that stays silent is asked first less and less often, until it answers.
func TestRunnerSuspectsLongerEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 3)
		defer net.close()
		key := []shoal.Key{keyOf(net.run["n1"].table.Load(), "n3", "n2")}
		asks := func() time.Duration {
			begin := time.Now()
			net.run["n1"].Peek(t.Context(), key)
			return time.Since(begin)
		}
		net.silence("n3")
		for _, long := range []time.Duration{2, 4, 8, 10, 10} {
			if took := asks(); took != 500*time.Millisecond {
				t.Fatalf("Peek = after %v, want 500ms: the silent home is asked first", took)
			}
			time.Sleep(long*time.Second - time.Millisecond)
			if took := asks(); took != 0 {
				t.Errorf("Peek %v after a failure = after %v, want 0: the home is suspected", long*time.Second, took)
			}
			time.Sleep(2 * time.Millisecond)
		}
		net.mu.Lock()
		clear(net.silent)
		net.mu.Unlock()
		asks()
		net.silence("n3")
		asks()
		time.Sleep(2*time.Second + time.Millisecond)
		if took := asks(); took != 500*time.Millisecond {
			t.Errorf("Peek 2s after the home answered and fell silent again = after %v, want 500ms", took)
		}
		net.join("n4")
		if net.run["n1"].suspects.has("n3") {
			t.Error("n3 is suspected under a new view, want not")
		}
	})
}

func TestRunnerHandleCallRefusesNonsense(t *testing.T) {
	net := newNetwork(t, 1)
	defer net.close()
	for _, b := range [][]byte{nil, {9}, encode(&Message{Type: MsgAck}), make([]byte, maxMessage+1)} {
		if _, err := net.run["n1"].HandleCall(t.Context(), "n2", b); !errors.Is(err, errWire) {
			t.Errorf("HandleCall(%d bytes) = %v, want %v", len(b), err, errWire)
		}
	}
}
