package sim

import (
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/sim/scenario"
)

// BenchmarkTime tells how many events per second engine "time" handles on one core: an event is
// something that was due, or a flow that has ended.
func BenchmarkTime(b *testing.B) {
	b.Run("epochs/8nodes/K=0.55", func(b *testing.B) {
		const files = 20_000
		s := clocked(8, files*55/100/8, files, shoal.BlockSize, scenario.Job{Kind: scenario.Epochs, Epochs: 5, WarmupEpochs: 1, Shared: true})
		s.Jobs[0].Rate, s.Jobs[0].Prefetch = 300, 16
		benchTime(b, s)
	})
	b.Run("fanout/100nodes/10GB", func(b *testing.B) { benchTime(b, fanOut(100, 10e9)) })
	b.Run("G12/1000nodes/1GB", func(b *testing.B) { benchTime(b, fanOut(1000, 1e9)) })
}

func benchTime(b *testing.B, s *scenario.Scenario) {
	b.Helper()
	var took time.Duration
	var events int64
	b.ReportAllocs()
	for b.Loop() {
		begun := time.Now()
		r := simulate(b, s)
		took += time.Since(begun)
		events += r.Events
	}
	b.ReportMetric(float64(events)/took.Seconds(), "events/s")
	b.ReportMetric(float64(events)/float64(b.N), "events")
}
