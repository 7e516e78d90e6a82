package node

import (
	"log/slog"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-mesh/shoal/node/trace"
)

func TestCosts(t *testing.T) {
	var c costs
	told := 0
	var near, far float64
	see := func(kind sourceKind, times int, took time.Duration) {
		for range times {
			if n, f, ok := c.note(kind, 1<<20, took); ok {
				near, far, told = n, f, told+1
			}
		}
	}
	see(fromUFS, 100, 100*time.Millisecond)
	if told != 0 {
		t.Error("ratios were told before a peer was seen")
	}
	see(fromNear, 100, 10*time.Millisecond)
	if told == 0 || math.Abs(near-0.1) > 1e-6 || near != far {
		t.Errorf("ratios %v and %v, told %d times; want 0.1 for both while no other zone was seen", near, far, told)
	}
	see(fromFar, 100, 30*time.Millisecond)
	if math.Abs(near-0.1) > 1e-6 || math.Abs(far-0.3) > 1e-6 {
		t.Errorf("ratios %v and %v, want 0.1 and 0.3", near, far)
	}
	see(fromNear, 1000, time.Second)
	if near != costMost {
		t.Errorf("ratio %v of peers slower than the UFS, want %v", near, costMost)
	}
	if _, _, ok := c.note(fromUFS, 0, time.Second); ok {
		t.Error("a transfer of nothing counts")
	}
}

// TestCostsRecorded checks that a trace has what reads cost, whenever that has changed by more than
// a fiftieth.
func TestCostsRecorded(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		out, err := newTraceFiles(dir, "n1", 0.5, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		c := new(costs)
		r := newRecorder(out, 0.5, c.told, slog.New(slog.DiscardHandler))
		defer r.close()
		for _, near := range []float64{0.1, 0.101, 0.2, 0.2} {
			c.mu.Lock()
			c.near, c.far = near, 2*near
			c.mu.Unlock()
			time.Sleep(drainEvery)
			synctest.Wait()
		}
	})
	var got [][2]uint32
	for _, rec := range recorded(t, dir) {
		if rec.Op != trace.Costs {
			t.Errorf("record %+v, want costs", rec)
		}
		got = append(got, [2]uint32{rec.Bytes, rec.Size})
	}
	if want := [][2]uint32{{100_000, 200_000}, {200_000, 400_000}}; !slices.Equal(got, want) {
		t.Errorf("recorded %v, want %v", got, want)
	}
}
