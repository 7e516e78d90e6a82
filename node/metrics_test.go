package node

import (
	"maps"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-mesh/shoal/replicas"
)

func TestDirectoryMetrics(t *testing.T) {
	stats := replicas.Stats{
		Directory: replicas.Counts{Entries: 1, Orders: 2, Moved: 3, LastResigned: 4, Pulled: 5, Differences: 6},
		Waiting:   7, Resigned: 8, StalenessP50: 0.25, StalenessP99: 1.5, Sent: []replicas.Traffic{{Type: "batch", Messages: 1, Bytes: 9}, {Type: "ack", Messages: 2, Bytes: 10}},
	}
	reg := prometheus.NewPedanticRegistry()
	directoryMetrics(reg, func() replicas.Stats { return stats })
	want := map[string]float64{
		"shoal_directory_entries": 1, "shoal_directory_orders_total": 2, "shoal_directory_moved_total": 3,
		"shoal_directory_last_resigned_total": 4, "shoal_directory_pulled_total": 5, "shoal_directory_differences_total": 6,
		"shoal_directory_waiting": 7, "shoal_directory_resigned": 8, "shoal_directory_sent_bytes_total batch": 9, "shoal_directory_sent_bytes_total ack": 10,
		"shoal_directory_staleness_seconds 0.5": 0.25, "shoal_directory_staleness_seconds 0.99": 1.5,
	}
	if got := gather(t, reg); !maps.Equal(got, want) {
		t.Errorf("metrics %v, want %v", got, want)
	}
}

func TestPlacementMetrics(t *testing.T) {
	a := &Agent{fetch: &Fetcher{}, files: &Files{}}
	f := &a.fetch.stats
	f.bypassed.Store(1)
	f.placed.Store(2)
	f.notPlaced.Store(3)
	f.taken.Store(4)
	reg := prometheus.NewPedanticRegistry()
	a.readMetrics(reg)
	got := gather(t, reg)
	for name, want := range map[string]float64{
		"shoal_bypassed_reads_total": 1, "shoal_placed_blocks_total": 2,
		"shoal_not_placed_blocks_total": 3, "shoal_taken_blocks_total": 4,
	} {
		if got[name] != want {
			t.Errorf("%s = %v, want %v", name, got[name], want)
		}
	}
}

// gather returns the values of reg by name and labels.
func gather(t *testing.T, reg prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return got
}
