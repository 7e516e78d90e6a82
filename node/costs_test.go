package node

import (
	"math"
	"testing"
	"time"
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
