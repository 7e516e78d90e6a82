package sim

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/sim/bound"
	"github.com/shoal-mesh/shoal/sim/scenario"
)

const gbit = 1e9 / 8 // bytes per second

// clocked returns a scenario of engine "time": nodes with room for so many blocks each, one dataset,
// and one job on all of them that would read faster than anything can bring.
func clocked(nodes, room int, files int64, file shoal.Bytes, j scenario.Job) *scenario.Scenario {
	s := lab(nodes, 1, scenario.Dataset{Files: files, Replicas: aware}, j)
	s.Engine = scenario.Time
	s.Datasets[0].File = file
	s.Fleet.Cache = shoal.Bytes(room) * shoal.BlockSize
	s.Fleet.NIC = 25 * gbit
	s.Fleet.NVMe = scenario.NVMe{Read: 6e9, Write: 6e9}
	s.Fleet.UFS = scenario.UFS{Bandwidth: 10e9, Latency: 20 * time.Millisecond}
	s.Fleet.Directory = 100 * time.Millisecond
	s.Fleet.Detect = 6 * time.Second
	s.Jobs[0].Rate, s.Jobs[0].Prefetch = 1e6, 32
	return s
}

// fanOut returns a scenario in which nodes read one file from its beginning, all at once.
func fanOut(nodes int, file shoal.Bytes) *scenario.Scenario {
	s := clocked(nodes, int(shoal.Blocks(int64(file)))+1, 1, file, scenario.Job{Kind: scenario.Stream, Versions: 1})
	s.Datasets[0].Policy, s.Jobs[0].Prefetch = "lru", 128
	return s
}

// TestGoldenTime has the cases of policy.md §3.6 and §3.7 that need engine "time".
func TestGoldenTime(t *testing.T) {
	t.Run("G12", func(t *testing.T) {
		// The file is a tenth of the case's, and so is the bound. All of it is 24 million transfers of
		// a block, this is 0.24 million.
		nodes := 100
		if os.Getenv("SHOAL_TEST_ALL") != "" {
			nodes = 250
		}
		r := simulate(t, fanOut(nodes, 10e9))
		least := bound.FanOut(10e9, 10e9, 25*gbit, nodes)
		near(t, "least seconds", least, 3.2, 1e-9)
		near(t, "egress", r.Total.Amplification, 1, 0)
		near(t, "seconds to the least", r.Jobs[0].End/least, 1.075, 0.075)
	})
	t.Run("SiloD", func(t *testing.T) {
		for _, k := range []float64{0.25, 0.5, 0.75} {
			const files, rate = 4000, 500.0
			s := clocked(1, int(k*files), files, shoal.BlockSize, scenario.Job{Kind: scenario.Epochs, Epochs: 5, WarmupEpochs: 1, Shared: true})
			s.Jobs[0].Rate, s.Fleet.UFS.Bandwidth = rate, 100*shoal.BlockSize // blocks per second
			s.Jobs[0].Prefetch = 128                                          // evens out how misses come
			r := simulate(t, s)
			ends := r.Jobs[0].EpochEnds
			got := 3 * files / (ends[4] - ends[1])
			want := bound.Job{Rate: rate, Size: files}.SiloD(100, k*files)
			near(t, fmt.Sprintf("c/d = %v: blocks/s to those of SiloD", k), got/want, 1, 0.03)
		}
	})
}
