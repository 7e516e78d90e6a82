package flow

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

const second = int64(1e9)

func newNetwork(t *testing.T, tolerance float64, capacities ...float64) *Network {
	t.Helper()
	n, err := New(capacities, Config{Tolerance: tolerance})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// mustFinish expects the next flow to end to be id, at that moment.
func mustFinish(t *testing.T, n *Network, id ID, at int64) {
	t.Helper()
	if got, ok := n.Next(); !ok || got != at {
		t.Fatalf("Next() = %d, %v, want %d, true", got, ok, at)
	}
	if got := n.Finish(); got != id {
		t.Fatalf("Finish() = %d, want %d", got, id)
	}
}

func TestNewRefuses(t *testing.T) {
	tests := []struct {
		capacity, tolerance float64
	}{
		{-1, 0},
		{math.Inf(1), 0},
		{math.NaN(), 0},
		{1, 0.3},
		{1, -0.1},
		{1, math.NaN()},
	}
	for _, tt := range tests {
		if _, err := New([]float64{tt.capacity}, Config{Tolerance: tt.tolerance}); err == nil {
			t.Errorf("New([%v], tolerance %v) gave no error", tt.capacity, tt.tolerance)
		}
	}
}

func TestTwoFlowsGetHalfEach(t *testing.T) {
	n := newNetwork(t, 0, 100)
	a, b := n.Start(0, 100, 0), n.Start(0, 150, 0)
	if ra, rb := n.Rate(a), n.Rate(b); ra != 50 || rb != 50 {
		t.Fatalf("rates = %v, %v, want 50 each", ra, rb)
	}
	mustFinish(t, n, a, 2*second)
	if r := n.Rate(b); r != 100 {
		t.Errorf("Rate of the one left = %v, want 100", r)
	}
	mustFinish(t, n, b, 5*second/2)
	if at, ok := n.Next(); ok {
		t.Errorf("Next() without flows = %d, true", at)
	}
}

// The example of a chain: what the long flow cannot take of the wide link goes to the others.
func TestUnusedShareGoesToOthers(t *testing.T) {
	n := newNetwork(t, 0, 10, 100)
	long := n.Start(0, 100, 0, 1)
	short := n.Start(0, 100, 0)
	wide := n.Start(0, 100, 1)
	for _, f := range []struct {
		id   ID
		want float64
	}{{long, 5}, {short, 5}, {wide, 95}} {
		if r := n.Rate(f.id); math.Abs(r-f.want) > 0.01*f.want {
			t.Errorf("Rate(%d) = %v, want %v", f.id, r, f.want)
		}
	}
}

// A chain of nodes, each of which sends a block on as soon as it has it: with as many blocks as
// hops all are sent in twice the time of one node's, less one block, as each can send and receive
// at once.
func TestFanOutChain(t *testing.T) {
	const hops = 5
	n := newNetwork(t, 0, slices.Repeat([]float64{100}, 2*(hops+1))...)
	out := func(node int) Link { return Link(2 * node) }
	in := func(node int) Link { return Link(2*node + 1) }
	var have, sending [hops + 1]int // blocks; sent or on their way
	have[0] = hops
	flows := map[ID]int{} // the node that sends
	last := int64(0)
	for {
		for i := range hops {
			if busy := sending[i] > have[i+1]; !busy && sending[i] < have[i] {
				flows[n.Start(last, 100, out(i), in(i+1))] = i
				sending[i]++
			}
		}
		at, ok := n.Next()
		if !ok {
			break
		}
		last = at
		have[flows[n.Finish()]+1]++
	}
	if want := (2*hops - 1) * second; have[hops] != hops || last != want {
		t.Errorf("the last node has %d blocks after %d, want %d after %d", have[hops], last, hops, want)
	}
}

func TestSetCapacity(t *testing.T) {
	n := newNetwork(t, 0, 100)
	a := n.Start(0, 300, 0)
	n.SetCapacity(second, 0, 50)
	if r := n.Rate(a); r != 50 {
		t.Errorf("Rate at half the capacity = %v, want 50", r)
	}
	n.SetCapacity(2*second, 0, 0)
	if at, ok := n.Next(); ok {
		t.Errorf("Next() without capacity = %d, true", at)
	}
	n.SetCapacity(10*second, 0, 150)
	mustFinish(t, n, a, 11*second)
}

func TestCancel(t *testing.T) {
	n := newNetwork(t, 0, 100)
	a, b := n.Start(0, 100, 0), n.Start(0, 150, 0)
	if left := n.Cancel(second, a); left != 50 {
		t.Errorf("Cancel = %d bytes left, want 50", left)
	}
	mustFinish(t, n, b, 2*second)
}

func TestFlowsThatEndTogetherGoByNumber(t *testing.T) {
	n := newNetwork(t, 0, 100)
	for range 3 { // numbers come back in another order than they went
		var ids []ID
		for range 20 {
			ids = append(ids, n.Start(n.now, 5, 0))
		}
		slices.Sort(ids)
		at, _ := n.Next()
		for i, id := range ids {
			if id != ID(i) {
				t.Errorf("flow %d of 20 has the number %d", i, id)
			}
			mustFinish(t, n, id, at)
		}
	}
}

func TestEmptyFlowEndsAtOnce(t *testing.T) {
	n := newNetwork(t, 0, 0)
	mustFinish(t, n, n.Start(7, 0, 0), 7)
}

func TestWrongUsePanics(t *testing.T) {
	tests := map[string]func(n *Network){
		"time goes back":   func(n *Network) { n.Start(5, 1, 0); n.Start(4, 1, 0) },
		"no links":         func(n *Network) { n.Start(0, 1) },
		"too many links":   func(n *Network) { n.Start(0, 1, 0, 0, 0, 0, 0, 0, 0) },
		"nothing finishes": func(n *Network) { n.Finish() },
	}
	for name, f := range tests {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f(newNetwork(t, 0, 1))
		})
	}
}

// What a flow delivers, added up from its rates, is its size, whatever else comes and goes.
func TestConservation(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	f := fleet{nodes: 6, zones: 2}
	capacities := f.capacities(4e9)
	n := newNetwork(t, 0, capacities...)
	type job struct{ size, sent, rate float64 }
	jobs := map[ID]*job{} // in no order that matters
	now := int64(0)
	pass := func(at int64) {
		for _, j := range jobs {
			j.sent += j.rate * float64(at-now) / 1e9
		}
		now = at
	}
	ended := 0
	for ended < 2000 {
		at, ok := n.Next()
		for id, j := range jobs {
			j.rate = n.Rate(id)
		}
		switch {
		case len(jobs) < 20:
			size := 1 + rng.Int64N(8<<20)
			jobs[n.Start(now, size, f.path(rng, nil, rng.IntN(6), 0.2, true)...)] = &job{size: float64(size)}
		case rng.IntN(10) == 0:
			pass(now + (at-now)/2)
			l := Link(rng.IntN(len(capacities)))
			n.SetCapacity(now, l, capacities[l]*(0.2+rng.Float64()))
		case ok:
			pass(at)
			id := n.Finish()
			if j := jobs[id]; math.Abs(j.sent-j.size) > 16 {
				t.Fatalf("flow %d of %.0f bytes ended after %.1f", id, j.size, j.sent)
			}
			delete(jobs, id)
			ended++
		default:
			t.Fatal("nothing ends")
		}
	}
}

func TestSameInputSameOutput(t *testing.T) {
	run := func() []transfer {
		l := newLoop(t, loads()[2], 0)
		l.log = &[]transfer{}
		for range 20_000 {
			l.step()
		}
		return *l.log
	}
	if a, b := run(), run(); !reflect.DeepEqual(a, b) {
		t.Error("two runs of one load differ")
	}
}

func TestNoAllocations(t *testing.T) {
	l := newLoop(t, loads()[0], 0)
	for range 100_000 {
		l.step()
	}
	if got := testing.AllocsPerRun(10_000, func() { l.step() }); got != 0 {
		t.Errorf("a step allocates %v times, want 0", got)
	}
}
