package sim

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore/policy"
	"github.com/shoal-mesh/shoal/sim/bound"
	"github.com/shoal-mesh/shoal/sim/fleet"
	"github.com/shoal-mesh/shoal/sim/result"
	"github.com/shoal-mesh/shoal/sim/scenario"
	"github.com/shoal-mesh/shoal/sim/workload"
)

// blockBytes is the size of a file of one block in these tests.
const blockBytes = 4096

// lab returns a scenario of nodes with room for so many blocks each, on which ranks read once a
// tick of the policies.
func lab(nodes, room int, d scenario.Dataset, j scenario.Job) *scenario.Scenario {
	d.Name, d.File, d.HalfLife = "data", blockBytes, 10*time.Minute
	if d.Replicas.Min == 0 {
		d.Replicas.Min = 1
	}
	if d.Policy == "" {
		d.Policy = "uniform"
	}
	j.Name, j.Dataset, j.Rate = "job", "data", 8
	if j.Ranks == 0 {
		j.Ranks = 1
	}
	for i := range nodes {
		j.Nodes = append(j.Nodes, i)
	}
	return &scenario.Scenario{
		Version: 1, Name: "lab", Engine: scenario.Reads, Seed: 1, Sample: 1,
		Fleet:    scenario.Fleet{Nodes: nodes, Zones: 1, Cache: shoal.Bytes(room * blockBytes)},
		Datasets: []scenario.Dataset{d}, Jobs: []scenario.Job{j},
	}
}

func simulate(t testing.TB, s *scenario.Scenario) *result.Result {
	t.Helper()
	r, err := Run(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// near fails unless got is want within a tolerance, and prints both.
func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	t.Logf("%s = %.6f, want %.6f within %v", what, got, want, tolerance)
	if math.IsNaN(got) || math.Abs(got-want) > tolerance {
		t.Errorf("%s = %.6f, want %.6f within %v", what, got, want, tolerance)
	}
}

var (
	oblivious = scenario.Replicas{Min: 1}
	aware     = scenario.Replicas{Min: 1, Classes: true}
)

// TestGolden has the cases of policy.md §3.7 by their numbers.
func TestGolden(t *testing.T) {
	epochs := func(n, warm int) scenario.Job {
		return scenario.Job{Kind: scenario.Epochs, Epochs: n, WarmupEpochs: warm, Shared: true}
	}
	t.Run("G1", func(t *testing.T) {
		for _, c := range []int{1, 20, 100, 150, 200} {
			r := simulate(t, lab(1, c, scenario.Dataset{Files: 200, Replicas: aware}, epochs(20, 1)))
			near(t, fmt.Sprintf("uniform, k=%v: local", float64(c)/200), r.Warm.Tiers.Local.Share, float64(c)/200, 0)
		}
	})
	t.Run("G2", func(t *testing.T) {
		for _, g := range []struct {
			c, d int
			want float64
		}{{2, 4, 0.208333}, {5, 10, 0.177183}, {50, 100, 0.155914}} {
			r := simulate(t, lab(1, g.c, scenario.Dataset{Files: int64(g.d), Policy: "lru", Replicas: aware}, epochs(400_000/g.d+2, 2)))
			near(t, fmt.Sprintf("lru, %d of %d: local", g.c, g.d), r.Warm.Tiers.Local.Share, g.want, 0.002)
		}
	})
	t.Run("G3", func(t *testing.T) {
		for _, g := range []struct {
			c    int
			want float64
		}{{500, 0.0342}, {1000, 0.1534}, {1500, 0.4034}} {
			r := simulate(t, lab(1, g.c, scenario.Dataset{Files: 2000, Policy: "lru", Replicas: aware}, epochs(50, 10)))
			near(t, fmt.Sprintf("lru, k=%v: local", float64(g.c)/2000), r.Warm.Tiers.Local.Share, g.want, 0.004)
		}
		for _, g := range []struct {
			c    int
			want float64
		}{{500, 0.0704}, {1000, 0.2831}, {1500, 0.6027}} {
			s := lab(1, g.c, scenario.Dataset{Files: 2000, Replicas: aware}, epochs(50, 10))
			near(t, fmt.Sprintf("random, k=%v: local", float64(g.c)/2000), baseline(t, s, fleet.Random, 20_000), g.want, 0.004)
		}
	})
	t.Run("G4", func(t *testing.T) {
		for _, g := range []struct {
			kappa, want float64
		}{{0.125, 0.0653}, {0.25, 0.1988}} {
			r := simulate(t, lab(8, int(g.kappa*8000), scenario.Dataset{Files: 8000, Policy: "lru", Replicas: oblivious}, epochs(60, 30)))
			near(t, fmt.Sprintf("8 ranks, kappa=%v: local", g.kappa), r.Warm.Tiers.Local.Share, g.want, 0.003)
		}
	})
	t.Run("G5", func(t *testing.T) {
		r := simulate(t, lab(8, 500, scenario.Dataset{Files: 4000, Policy: "lru", Replicas: oblivious}, epochs(30, 10)))
		near(t, "8 nodes, K=1, oblivious LRU: ufs", r.Warm.Tiers.UFS.Share, 0.477, 0.006)
		r = simulate(t, lab(8, 500, scenario.Dataset{Files: 4000, Replicas: aware}, epochs(18, 6)))
		near(t, "8 nodes, K=1, both: ufs", r.Warm.Tiers.UFS.Share, 0, 0)
	})
	t.Run("G6", func(t *testing.T) {
		own := scenario.Job{Kind: scenario.Epochs, Epochs: 18, WarmupEpochs: 6}
		for _, g := range []struct {
			policy          string
			replicas        scenario.Replicas
			want, tolerance float64
		}{{"uniform", oblivious, 0.3164, 0.01}, {"lru", oblivious, 0.407, 0.01}, {"uniform", aware, 0, 0}} {
			r := simulate(t, lab(4, 1000, scenario.Dataset{Files: 4000, Policy: g.policy, Replicas: g.replicas}, own))
			near(t, fmt.Sprintf("4 jobs, kappa=0.25, %s, classes %v: ufs", g.policy, g.replicas.Classes), r.Warm.Tiers.UFS.Share, g.want, g.tolerance)
		}
	})
	t.Run("G7", func(t *testing.T) {
		zipf := scenario.Job{Kind: scenario.Zipf, Reads: 1_000_000, Skew: 1}
		s := lab(1, 1000, scenario.Dataset{Files: 10_000, Policy: "lru", Replicas: aware}, zipf)
		s.Warmup = 25_000 * time.Second // of 125,000
		near(t, "zipf, lru: local", simulate(t, s).Warm.Tiers.Local.Share, 0.6756, 0.003)
		near(t, "zipf, fifo: local", baseline(t, s, fleet.FIFO, 200_000), 0.6309, 0.003)
	})
	t.Run("G8", func(t *testing.T) {
		near(t, "silod", bound.Job{Rate: 1000, Size: 100}.SiloD(200, 75), 800, 0)
	})
	jobs := []bound.Job{{Rate: 1000, Size: 100}, {Rate: 500, Size: 1000}}
	t.Run("G9", func(t *testing.T) {
		for _, g := range []struct {
			name   string
			cached []float64
			want   float64
		}{{"greedy", bound.SiloDGreedy(jobs, 300), 1500}, {"equal", []float64{100, 150}, 1470.6}, {"proportional", []float64{300 * 100 / 1100., 300 * 1000 / 1100.}, 550}} {
			sum := 0.0
			for i, io := range bound.MaxMin(bound.IODemand(jobs, g.cached), 400) {
				sum += jobs[i].SiloD(io, g.cached[i])
			}
			near(t, g.name+" cache: throughput", sum, g.want, 0.05)
		}
	})
	t.Run("G10", func(t *testing.T) {
		for _, g := range []struct {
			policy string
			a, b   float64
		}{{"uniform", 1, 0.2}, {"lru", 1, 0.021}, {"sieve", -1, -1}} {
			a, b := twoJobs(t, g.policy)
			if g.a < 0 {
				t.Logf("%s: hits of A %.4f, of B %.4f", g.policy, a, b)
				continue
			}
			near(t, g.policy+": hits of A", a, g.a, 0.005)
			near(t, g.policy+": hits of B", b, g.b, 0.005)
		}
	})
	t.Run("G11", func(t *testing.T) {
		near(t, "phi, B=400", bound.SiloDMaxMinPerf(jobs, 300, 400), 1, 1e-9)
		near(t, "phi, B=200", bound.SiloDMaxMinPerf(jobs, 300, 200), 0.5, 1e-9)
	})
	t.Run("G13", func(t *testing.T) {
		// By the weight a surplus replica is ten times as cold as a last one, not colder than all:
		// with LRU, which takes the time since the last read for the rate, that counts.
		for _, g := range []struct {
			slots int
			want  float64
		}{{50, 0.875}, {100, 0.322}} {
			lru := visits(t, g.slots, "lru", oblivious)
			near(t, fmt.Sprintf("%d slots: cost to that of lru", g.slots), visits(t, g.slots, "uniform", aware)/lru, g.want, 0.02)
			t.Logf("%d slots, lru with classes: %.4f", g.slots, visits(t, g.slots, "lru", aware)/lru)
		}
	})
	t.Run("G14", func(t *testing.T) {
		for _, g := range []struct {
			base policy.Base
			want int
		}{{policy.BaseLRU, 2}, {policy.BaseUniform, 6}} {
			near(t, g.base.String()+": hits of 12", float64(toy(t, g.base)), float64(g.want), 0)
		}
	})
	t.Run("G15", func(t *testing.T) {
		for _, news := range []time.Duration{0, 15 * time.Millisecond, time.Second, 10 * time.Second, time.Minute, 250 * time.Second} {
			s := lab(8, 300, scenario.Dataset{Files: 2000, Policy: "lru", Replicas: aware}, scenario.Job{Kind: scenario.Epochs, Epochs: 10})
			s.Fleet.Directory = news
			r := simulate(t, s)
			near(t, fmt.Sprintf("news after 2 x %v: last replicas lost", news), float64(r.Evictions.LastLost), 0, 0)
			t.Logf("%d of %d evicted were last ones, %d moved, ufs %.4f", r.Evictions.Last, r.Evictions.Evicted, r.Evictions.Moved, r.Total.Tiers.UFS.Share)
			if r.Evictions.Moved == 0 {
				t.Error("no keeper handed over: nothing was tried")
			}
		}
	})
}

// baseline returns the share of hits after the first reads of a scenario of one node, where a rule
// that agents do not have chooses the victims.
func baseline(t *testing.T, s *scenario.Scenario, b fleet.Baseline, warm int) float64 {
	data, err := workload.NewData(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	job, err := workload.NewJob(s, data, &s.Jobs[0], 0)
	if err != nil {
		t.Fatal(err)
	}
	f, err := fleet.New(fleet.Config{
		Nodes: 1, Capacity: int64(s.Fleet.Cache), Blocks: data.Blocks(), Groups: make([]fleet.Group, 1), Baseline: b,
		Of: func(uint32) fleet.Block { return fleet.Block{Bytes: blockBytes} },
	})
	if err != nil {
		t.Fatal(err)
	}
	hits, reads := 0, 0
	for i := 0; ; i++ {
		r, ok := job.Next(0)
		if !ok {
			return float64(hits) / float64(reads)
		}
		served := f.Read(0, r.Block, r.Bytes)
		if i >= warm {
			reads++
			if served.Tier == shoal.TierLocal {
				hits++
			}
		}
	}
}

// twoJobs has two shuffled jobs share a cache of 300 blocks, one of 1,000 reads per second of 100
// blocks and one of 500 of 1,000, and returns their hits.
func twoJobs(t *testing.T, policy string) (a, b float64) {
	s := lab(1, 300, scenario.Dataset{Files: 100, Policy: policy, Replicas: aware}, scenario.Job{Kind: scenario.Epochs, Epochs: 600})
	d, j := s.Datasets[0], s.Jobs[0]
	d.Name, d.Files, j.Name, j.Dataset, j.Epochs = "more", 1000, "slower", "more", 30
	s.Jobs[0].Rate, j.Rate = 1000, 500
	s.Datasets, s.Jobs = append(s.Datasets, d), append(s.Jobs, j)
	s.Warmup = 10 * time.Second
	r := simulate(t, s)
	return r.Jobs[0].Warm.Tiers.Local.Share, r.Jobs[1].Warm.Tiers.Local.Share
}

// visits returns the cost of 10,000 random reads of 500 blocks by 5 nodes, where a read of a peer
// costs 1 and of the UFS 10 (policy.md §1.2), in all of five seeds.
func visits(t *testing.T, slots int, policy string, r scenario.Replicas) (cost float64) {
	for seed := range uint64(5) {
		s := lab(5, slots, scenario.Dataset{Files: 500, Policy: policy, Replicas: r}, scenario.Job{Kind: scenario.Zipf, Reads: 2000})
		s.Seed = seed
		tiers := simulate(t, s).Total.Tiers
		cost += tiers.Peer.Share + 10*tiers.UFS.Share
	}
	return cost
}

// toy reads BCAD BDAC DACB with a cache of two blocks in which D and B are, and returns the hits.
func toy(t *testing.T, base policy.Base) (hits int) {
	f, err := fleet.New(fleet.Config{
		Nodes: 1, Capacity: 2, Blocks: 4, Of: func(uint32) fleet.Block { return fleet.Block{Bytes: 1} },
		Groups: []fleet.Group{{Rules: policy.Rules{Base: base, Classes: true}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, block := range "DB" + "BCADBDACDACB" {
		f.Advance(time.Duration(i) * time.Second)
		if s := f.Read(0, uint32(block-'A'), 1); s.Tier == shoal.TierLocal {
			hits++
		}
	}
	return hits
}
