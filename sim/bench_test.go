package sim

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal/sim/scenario"
)

// BenchmarkReads tells how many block reads per second engine "reads" simulates on one core, by
// how many replicas the caches hold and what share of the dataset that is. State is what the
// tables take that must be there: 33 bytes a replica and 8 a block, and what the order of
// an epoch takes.
func BenchmarkReads(b *testing.B) {
	for _, state := range []int{1 << 20, 20 << 20} {
		for _, k := range []float64{0.55, 1.1} {
			for _, policy := range []string{"uniform", "lru"} {
				b.Run(fmt.Sprintf("%s/K=%v/%dMi", policy, k, state>>20), func(b *testing.B) { benchReads(b, state, k, policy) })
			}
		}
	}
}

func benchReads(b *testing.B, state int, k float64, policy string) {
	var took time.Duration
	var reads int64
	for b.Loop() {
		files := int64(float64(state) / k)
		s := lab(8, state/8, scenario.Dataset{Files: files, Policy: policy, Replicas: aware},
			scenario.Job{Kind: scenario.Epochs, Epochs: 8, WarmupEpochs: 1, Shared: true})
		s.Jobs[0].Rate = float64(files) / 8 / 600 // an epoch in ten minutes
		begun := time.Now()
		r := simulate(b, s)
		took += time.Since(begun)
		reads += r.Total.Reads
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.Sys)/1e6, "MB")
		b.ReportMetric((float64(state)*33+float64(files)*12)/1e6, "MB-state")
	}
	b.ReportMetric(float64(reads)/took.Seconds(), "reads/s")
}

// BenchmarkSampledFleet simulates two epochs of a thousand nodes with room for a million blocks each,
// which hold the dataset just so, by a hundredth of the blocks (policy.md §4.1: less than a
// minute).
func BenchmarkSampledFleet(b *testing.B) {
	for b.Loop() {
		s := lab(1000, 1_000_000, scenario.Dataset{Files: 1_000_000_000, Replicas: aware},
			scenario.Job{Kind: scenario.Epochs, Epochs: 2, WarmupEpochs: 1, Shared: true})
		s.Sample, s.Jobs[0].Rate = 0.01, 1000
		r := simulate(b, s)
		b.ReportMetric(float64(r.Total.Reads), "reads")
	}
}
