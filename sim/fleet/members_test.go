package fleet

import (
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore/policy"
	"github.com/shoal-mesh/shoal/replicas"
)

// four returns a fleet of four nodes of two zones, with room for some of ten blocks.
func four(t *testing.T, room int64, l replicas.Limits) *Fleet {
	t.Helper()
	f, err := New(Config{
		Nodes: 4, Zones: 2, Capacity: room, Blocks: 10, Of: func(uint32) Block { return Block{Bytes: 1} },
		Groups: []Group{{Rules: policy.Rules{Base: policy.BaseLRU, Classes: true}, Limits: l}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestDrainTogether drains the two holders of a block: the first one's replica counts on the other,
// the other's is the last one and moves to a node that stays.
func TestDrainTogether(t *testing.T) {
	f := four(t, 10, replicas.Limits{Min: 1})
	f.Read(0, 7, 1)
	f.Read(1, 7, 1)
	f.Drain(0)
	if copies, _ := f.Copies(); copies != 2 {
		t.Fatalf("Copies() = %d after the first drain, want 2", copies)
	}
	f.Drain(1)
	if f.nodes[2].table.get(7) == nil && f.nodes[3].table.get(7) == nil || f.Stats().Placed != 1 {
		t.Errorf("the block is on neither node that stays; %+v", f.Stats())
	}
}

// TestBackBeforeForgotten has the only holder of a block, of which two are wanted, come back before
// anybody has noticed that it crashed.
func TestBackBeforeForgotten(t *testing.T) {
	f := four(t, 10, replicas.Limits{Min: 2})
	f.Read(0, 7, 1)
	f.Crash(0)
	if err := f.Restart(0, false); err != nil {
		t.Fatal(err)
	}
	if row := f.holders[7]; row.Keepers() != 1 || f.nodes[0].table.get(7).mark() != markOf(shoal.Untold()) {
		t.Errorf("%d keepers, mark %d, want 1 and %d", row.Keepers(), f.nodes[0].table.get(7).mark(), markOf(shoal.Untold()))
	}
}

// TestForgottenThenEmpty has a node come back empty that homes had forgotten: it is not counted out
// once more.
func TestForgottenThenEmpty(t *testing.T) {
	f := four(t, 10, replicas.Limits{Min: 1})
	f.Read(0, 7, 1)
	f.Crash(0)
	f.Crash(0)
	f.Forget(0)
	if err := f.Restart(0, true); err != nil {
		t.Fatal(err)
	}
	if copies, blocks := f.Copies(); copies != 0 || blocks != 0 || f.Stats().Crashed != 1 {
		t.Errorf("Copies() = %d, %d, %d went with a node, want 0, 0 and 1", copies, blocks, f.Stats().Crashed)
	}
}

// TestLandOnDraining has a node drain while a block is on its way to it: it stores nothing more.
func TestLandOnDraining(t *testing.T) {
	f := four(t, 10, replicas.Limits{Min: 1})
	found := f.Find(0, 7)
	f.Drain(0)
	f.Land(0, 7, found)
	if !found.Keep || f.Used(0) != 0 || f.Stats().Bypassed != 1 {
		t.Errorf("kept %v, Used(0) = %d, %d bypassed; want true, 0 and 1", found.Keep, f.Used(0), f.Stats().Bypassed)
	}
}

// TestReadersInTwoSeconds sends readers who do not keep the block to the holder of their zone, but
// for those beyond four in two seconds.
func TestReadersInTwoSeconds(t *testing.T) {
	f := four(t, 1, replicas.Limits{Min: 1})
	f.Read(0, 7, 1) // zone 0
	f.Read(2, 7, 1) // zone 1
	now := time.Duration(0)
	far := func() bool {
		now += time.Millisecond
		f.Advance(now)
		return f.Find(1, 7).Far
	}
	for i := range 5 {
		if got := far(); got != (i == 4) {
			t.Errorf("reader %d is sent to another zone: %v", i, got)
		}
	}
	now += 3 * time.Second
	if far() {
		t.Error("three seconds later a reader is sent to another zone, want to its own")
	}
}

// TestQuotaAsksOnce has a dataset at its quota ask for as many replicas as a new one needs, not for
// all while no answer comes; and the new one does not wait for it.
func TestQuotaAsksOnce(t *testing.T) {
	f, err := New(Config{
		Nodes: 1, Capacity: 100, Blocks: 10, Of: func(uint32) Block { return Block{Bytes: 1} }, News: time.Second,
		Groups: []Group{{Rules: policy.Rules{Base: policy.BaseLRU, Classes: true}, Quota: 5}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for block := range uint32(6) {
		f.Read(0, block, 1)
	}
	if n := f.Stats().Resigned; n != 1 || f.Used(0) != 6 {
		t.Errorf("asked for %d replicas, Used(0) = %d; want 1 and 6", n, f.Used(0))
	}
	f.Advance(2 * time.Second)
	if f.Used(0) != 5 || f.Stats().Last != 1 {
		t.Errorf("after the answer Used(0) = %d, %d last ones went; want 5 and 1", f.Used(0), f.Stats().Last)
	}
}
