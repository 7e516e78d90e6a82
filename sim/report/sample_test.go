package report

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/shoal-mesh/shoal/sim/result"
)

// These make results that look like those of a training job that reads a dataset of 1/k of
// what the fleet's caches hold. They are no simulation: only their form matters.

// sample returns the result of two jobs on a fleet of many nodes.
func sample(engine string, k float64) *result.Result {
	rng := rand.New(rand.NewPCG(7, uint64(k*1000)))
	r := &result.Result{
		Schema: result.Schema, Shoal: "0.4.0", Name: "two-jobs-one-fleet",
		About:  "Two training jobs share a fleet whose caches hold a part of what they read. How much of it comes from the UFS?",
		Engine: engine, Seed: 7, Hash: "9f86d081884c7d65", Sample: 1, Nodes: 64, Zones: 4, CacheBytes: 2 << 40,
		Seconds: 7200, Events: 12_345_678,
	}
	if engine == "reads" {
		r.Sample, r.Events = 0.01, 0
	}
	const n = 120
	for i := range n {
		v := 1.0
		if i > n/5 {
			v = 1 - k + 0.02*rng.Float64()
		} else {
			v -= k * float64(i) / (n / 5) * 0.9
		}
		c := counts(40_000+rng.Int64N(4000), max(min(v, 1), 0))
		alive := 64
		if i >= 70 && i < 90 {
			alive = 60
		}
		at := result.Interval{Start: float64(i) * 60, End: float64(i+1) * 60, Counts: c, Alive: alive, Copies: int64(i) * 30_000, Blocks: int64(i) * 20_000}
		if engine == "time" {
			at.Stall = max(v, 0) * (0.5 + 0.1*math.Sin(float64(i)/4))
		}
		r.Intervals = append(r.Intervals, at)
	}
	least := max(1-k, 0)
	r.Warm = counts(3_900_000, least+0.002)
	r.Total = sum(r.Warm, counts(1_000_000, (1+least)/2))
	r.Bound = result.Bound{Kind: "capacity/dataset per epoch", HitShare: min(k, 1), Distance: min(k, 1) - 1 + r.Warm.Tiers.UFS.Share}
	r.Replicas = result.Replicas{
		Blocks: 26_000_000, Copies: 33_100_000, Bytes: 118 << 40, Capacity: 128 << 40, Surplus: 0.154,
		Histogram: map[string]int64{"1": 21_000_000, "2": 4_000_000, "3-4": 900_000, "5-8": 90_000, "9-16": 9_000, "17-32": 12},
	}
	r.Evictions = result.Evictions{Evicted: 48_211_002, Last: 912_004, Moved: 81_220, Forwarded: 1_204, Placed: 20_020, Bypassed: 1_904_400, AgeP50: 812.4, AgeP99: 4021, WrittenBytes: 190 << 40}
	r.Directory = result.Directory{Lookups: 3_200_000, Deltas: 96_000_000, Orders: 8_100_000, Resigned: 1_000_230, Bytes: 7 << 30, WrongHints: 2_012, StaleP50: 0.2, StaleP99: 1.9}
	r.Network = result.Network{UFSBytes: r.Total.Tiers.UFS.Bytes, PeerBytes: r.Total.Tiers.Peer.Bytes, ZoneBytes: r.Total.Tiers.FarPeer.Bytes, OutP50: 90 << 30, OutP99: 120 << 30, OutMax: 131 << 30}
	jobs(r, engine, least)
	for i := range 64 {
		c := counts(76_000+rng.Int64N(9000), least+0.1+0.05*rng.Float64())
		r.PerNode = append(r.PerNode, result.Node{Node: i, Zone: i / 16, Used: 2 << 40, Total: c, SentBytes: c.Tiers.Peer.Bytes, Evicted: 700_000})
	}
	r.Expect = []result.Verdict{
		{Expect: "warm.ufs.share < 0.6", Got: r.Warm.Tiers.UFS.Share, Holds: r.Warm.Tiers.UFS.Share < 0.6},
		{Expect: "evictions.last_lost == 0", Holds: true},
	}
	return r
}

// jobs fills in r's jobs and datasets.
func jobs(r *result.Result, engine string, least float64) {
	for i, name := range []string{"resnet", "llm-pretraining/tokens-2026"} {
		j := result.Job{
			Name: name, Dataset: "imagenet", Kind: "epochs", Nodes: 32, Warm: counts(1_950_000, least), Total: sum(counts(1_950_000, least), counts(500_000, 1)),
			Start: float64(i) * 600, End: 6600 + float64(i)*600, Done: i == 0,
		}
		for e := range 5 + 20*i {
			j.Epochs = append(j.Epochs, counts(490_000, max(1-float64(e), least)))
			j.EpochEnds = append(j.EpochEnds, float64(e+1)*260)
		}
		if engine == "time" {
			j.Compute, j.Stall, j.ReadP50, j.ReadP99 = 5200, 1400*(least+0.1), 0.004, 0.087
			j.GPU = j.Compute / (j.Compute + j.Stall)
		}
		r.Jobs = append(r.Jobs, j)
	}
	if engine == "time" {
		r.Network.UFSBusy, r.Network.NICBusiest = 0.62, 0.31
	}
	r.Datasets = []result.Dataset{
		{Name: "imagenet", Bytes: 144 << 30, Cached: 80 << 30, Policy: "uniform", Total: r.Jobs[0].Total, Warm: r.Jobs[0].Warm},
		{Name: "llm-pretraining/tokens-2026", Bytes: 200 << 40, Cached: 100 << 40, Policy: "weighted", Total: r.Jobs[1].Total, Warm: r.Jobs[1].Warm},
	}
}

// counts splits n reads of 4 MiB: the share ufs from the UFS, the rest between the others.
func counts(n int64, ufs float64) result.Counts {
	tier := func(f float64) result.Tier {
		reads := int64(float64(n) * f)
		return result.Tier{Reads: reads, Bytes: reads << 22, Share: f, ByteShare: f}
	}
	rest := 1 - ufs
	return result.Counts{Reads: n, Bytes: n << 22, Amplification: 1 + 3*ufs, Tiers: result.Tiers{
		Local: tier(rest * 0.22), Peer: tier(rest * 0.78), FarPeer: tier(rest * 0.3), UFS: tier(ufs),
	}}
}

// sum returns what a and b have together.
func sum(a, b result.Counts) result.Counts {
	c := counts(a.Reads+b.Reads, (float64(a.Tiers.UFS.Reads)+float64(b.Tiers.UFS.Reads))/float64(a.Reads+b.Reads))
	c.Amplification = (a.Amplification*float64(a.Reads) + b.Amplification*float64(b.Reads)) / float64(a.Reads+b.Reads)
	return c
}

// small returns a result that is quickly read: one job of three epochs, six intervals.
func small() *result.Result {
	r := sample("time", 0.55)
	r.Intervals, r.PerNode, r.Nodes = r.Intervals[:6], r.PerNode[:4], 4
	r.Jobs[0].Epochs, r.Jobs[0].EpochEnds = r.Jobs[0].Epochs[:3], r.Jobs[0].EpochEnds[:3]
	r.Jobs, r.Datasets = r.Jobs[:1], r.Datasets[:1]
	return r
}

// sweep returns 4 x 5 runs.
func sweep() result.Sweep {
	s := result.Sweep{Keys: []string{"fleet.cache", "datasets.0.policy"}}
	for _, cache := range []int64{512, 1024, 1536, 2048, 3072} {
		for i, policy := range []string{"uniform", "weighted", "sieve", "lru"} {
			k := float64(cache) / 2800
			r := sample("time", max(k-0.13*float64(i)*k, 0))
			r.CacheBytes = cache << 30
			r.Intervals, r.PerNode = r.Intervals[:20], r.PerNode[:8]
			s.Values = append(s.Values, []string{fmt.Sprintf("%dGiB", cache), policy})
			s.Results = append(s.Results, r)
		}
	}
	return s
}

// hostile returns a result whose every text tries to leave its place, and whose numbers are
// such that no simulation has them.
func hostile() *result.Result {
	r := sample("time", 0.5)
	bad := `<script>alert("x")</script>]]>` + "\x1b[2J{{.Style}}'\"--><svg onload=x>&#60;" + strings.Repeat("long", 40)
	r.Name, r.About, r.Shoal, r.Hash, r.Bound.Kind = bad, bad, bad, bad, bad
	r.Jobs[0].Name, r.Datasets[0].Name, r.Datasets[0].Policy, r.Expect[0].Expect = bad, bad, bad, bad
	r.Replicas.Histogram = map[string]int64{bad: 3, "-1": -5, "": math.MaxInt64}
	r.Warm.Tiers.UFS.Share, r.Bound.HitShare, r.Bound.Distance = 1e300, -3, 1e300
	r.Intervals[1].Start, r.Intervals[2].End, r.Intervals[3].Stall = 1e300, -1, -1e300
	r.Intervals[4].Tiers.UFS.Bytes = math.MinInt64
	r.PerNode[0].Total.Tiers.UFS.Bytes = -1
	r.CacheBytes, r.Evictions.Evicted, r.Evictions.AgeP99, r.Seconds = math.MinInt64, math.MinInt64, -1e300, 1e300
	return r
}
