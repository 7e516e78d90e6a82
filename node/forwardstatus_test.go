package node

import (
	"maps"
	"reflect"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-mesh/shoal/blockstore"
)

func TestForwardStatus(t *testing.T) {
	stats := blockstore.ForwardStats{Leaving: 1, LeavingBytes: 2, HandedOver: 3, Kept: 4, Passed: 5, Full: 6, Hurried: 7, Late: 8}
	var f forwarder
	f.stats.rate.Store(10)
	f.stats.frontier.Store(20)
	f.stats.queue.Store(30)
	f.stats.refused.Store(40)
	want := ForwardStatus{
		Blocks: 3, Kept: 4, Leaving: 2,
		Dropped: map[string]uint64{"passes": 5, "queue": 36, "hurry": 7, "late": 8, "rate": 10, "frontier": 20, "refused": 40},
	}
	if got := forwardStatus(stats, &f); !reflect.DeepEqual(got, want) {
		t.Errorf("forwardStatus() = %+v, want %+v", got, want)
	}
	reg := prometheus.NewPedanticRegistry()
	forwardMetrics(reg, func() ForwardStatus { return want })
	metrics := map[string]float64{"shoal_forwarded_blocks_total": 3, "shoal_forward_kept_blocks_total": 4, "shoal_forward_leaving_bytes": 2}
	for reason, n := range want.Dropped {
		metrics["shoal_not_forwarded_blocks_total "+reason] = float64(n)
	}
	if got := gather(t, reg); !maps.Equal(got, metrics) {
		t.Errorf("metrics %v, want %v", got, metrics)
	}
	// While nothing is handed over, the same is told, of nothing.
	off := forwardStatus(blockstore.ForwardStats{}, nil)
	for reason := range want.Dropped {
		if n, ok := off.Dropped[reason]; !ok || n != 0 {
			t.Errorf("dropped for %q while nothing is handed over = %d, %v, want 0", reason, n, ok)
		}
	}
}
