package workload

import (
	"testing"

	"github.com/shoal-mesh/shoal/sim/scenario"
)

// BenchmarkNext tells what the next read of a rank takes. None allocates: see TestAllocations.
func BenchmarkNext(b *testing.B) {
	for name, spec := range endless() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			_, j := jobOf(b, scenario.Dataset{Files: 1 << 20, File: 1000}, spec, 8, 1)
			for i := 0; b.Loop(); i++ {
				if _, ok := j.Next(i % 8); !ok {
					b.Fatal("no more reads")
				}
			}
		})
	}
}

// endless returns jobs that make more reads than any test takes.
func endless() map[string]scenario.Job {
	return map[string]scenario.Job{
		"epochs":  {Kind: scenario.Epochs, Epochs: 1 << 30, Shared: true},
		"windows": {Kind: scenario.Windows, Epochs: 1 << 30, Shared: true, Window: 8},
		"stream":  {Kind: scenario.Stream, Versions: 1000, Random: true},
		"zipf":    {Kind: scenario.Zipf, Reads: 1 << 60, Skew: 1},
		"write":   {Kind: scenario.Write, Versions: 1000},
	}
}

// TestAllocations has reads take no memory once two epochs have begun.
func TestAllocations(t *testing.T) {
	for name, spec := range endless() {
		_, j := jobOf(t, scenario.Dataset{Files: 1000, File: 1000}, spec, 8, 1)
		next := func() {
			for rank := range j.Ranks() {
				if _, ok := j.Next(rank); !ok {
					t.Fatal("no more reads")
				}
			}
		}
		for range 300 {
			next()
		}
		if n := testing.AllocsPerRun(10_000, next); n != 0 {
			t.Errorf("%s: %v allocations in a read of each rank, want 0", name, n)
		}
	}
}
