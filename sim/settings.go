package sim

import (
	"math"
	"slices"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/sim/bound"
	"github.com/shoal-mesh/shoal/sim/scenario"
)

// A move changes something of a scenario that it may write to.
type move func(*scenario.Scenario)

// A setting is what Recommend changes at a time.
type setting struct {
	moves []move
	// wanted says that a move is made unless it costs something, not only if it gains.
	wanted bool
	// copy gives dst what src has there.
	copy func(dst, src *scenario.Scenario)
}

// settingsOf returns what may be changed of s, in the order in which it is tried.
func settingsOf(s *scenario.Scenario) []setting {
	var all []setting
	for i, d := range s.Datasets {
		if !isRead(s, d.Name) {
			continue
		}
		all = append(all, policiesOf(i))
		if s.Fleet.Nodes > 1 {
			if !d.Replicas.Classes {
				all = append(all, classesOf(i))
			}
			all = append(all, copiesOf(i, d))
		}
	}
	return append(all, quotasOf(s))
}

func policiesOf(i int) setting {
	p := setting{copy: func(dst, src *scenario.Scenario) { dst.Datasets[i].Policy = src.Datasets[i].Policy }}
	for _, name := range []string{"auto", "uniform", "lru", "lfu", "sieve", "gdsf"} {
		p.moves = append(p.moves, func(s *scenario.Scenario) { s.Datasets[i].Policy = name })
	}
	return p
}

func classesOf(i int) setting {
	return setting{
		wanted: true, // else last replicas are dropped by a race
		moves:  []move{func(s *scenario.Scenario) { s.Datasets[i].Replicas.Classes = true }},
		copy:   func(dst, src *scenario.Scenario) { dst.Datasets[i].Replicas.Classes = src.Datasets[i].Replicas.Classes },
	}
}

func copiesOf(i int, d scenario.Dataset) setting {
	c := setting{copy: func(dst, src *scenario.Scenario) { dst.Datasets[i].Replicas.Max = src.Datasets[i].Replicas.Max }}
	for _, most := range []shoal.Limit{shoal.Unlimited, 1, 2, 3, 4, 6} {
		if most == shoal.Unlimited || int64(most) >= d.Replicas.Min {
			c.moves = append(c.moves, func(s *scenario.Scenario) { s.Datasets[i].Replicas.Max = most })
		}
	}
	return c
}

// quotasOf is one setting for all datasets: none has a quota, or each has what SiloD would give
// it.
func quotasOf(s *scenario.Scenario) setting {
	q := setting{copy: func(dst, src *scenario.Scenario) {
		for i := range src.Datasets {
			dst.Datasets[i].Quota = src.Datasets[i].Quota
		}
	}}
	q.moves = append(q.moves, func(s *scenario.Scenario) {
		for i := range s.Datasets {
			s.Datasets[i].Quota = 0
		}
	})
	if quotas := siloDQuotas(s); quotas != nil {
		q.moves = append(q.moves, func(s *scenario.Scenario) {
			for i := range s.Datasets {
				s.Datasets[i].Quota = quotas[i]
			}
		})
	}
	return q
}

// leastQuota is the least that an agent's config takes.
const leastQuota = 16 << 20

// siloDQuotas returns what each node's cache should hold of each dataset if the caches together are
// divided as SiloD does, by how much UFS bandwidth a byte of cache saves (policy.md §3.6): 0, no
// bound, for those that have room for all; nil unless several datasets are read.
func siloDQuotas(s *scenario.Scenario) []shoal.Bytes {
	jobs := make([]bound.Job, len(s.Datasets))
	read := 0
	for i, d := range s.Datasets {
		jobs[i] = bound.Job{Rate: demandOf(s, d), Size: float64(d.Files) * meanFile(d)}
		if jobs[i].Rate > 0 {
			read++
		}
	}
	if read < 2 {
		return nil
	}
	nodes := float64(s.Fleet.Nodes)
	got := bound.SiloDGreedy(jobs, nodes*float64(s.Fleet.Cache)*(1-s.Fleet.Spare))
	quotas := make([]shoal.Bytes, len(got))
	for i, bytes := range got {
		if jobs[i].Rate == 0 || bytes >= jobs[i].Size {
			continue
		}
		least := math.Max(leastQuota, 2*shoal.BlockSize/s.Sample)
		quotas[i] = shoal.Bytes(math.Ceil(math.Max(bytes/nodes, least)/(1<<20))) << 20
	}
	return quotas
}

// demandOf returns how many bytes per second are read of a dataset if nobody waits.
func demandOf(s *scenario.Scenario, d scenario.Dataset) float64 {
	sum := 0.0
	for _, j := range s.Jobs {
		if j.Dataset == d.Name && j.Kind != scenario.Write {
			sum += j.Rate * float64(len(j.Nodes)*j.Ranks) * meanRead(d)
		}
	}
	return sum
}

// meanFile returns how many bytes a file of a dataset has, in the mean.
func meanFile(d scenario.Dataset) float64 {
	if d.FileMax > 0 {
		return float64(d.File+d.FileMax) / 2
	}
	return float64(d.File)
}

// blocksPerFile returns how many blocks a file of a dataset has.
func blocksPerFile(d scenario.Dataset) float64 { return float64(max(1, shoal.Blocks(int64(d.File)))) }

// meanRead returns how many bytes a read of a dataset takes, in the mean.
func meanRead(d scenario.Dataset) float64 {
	if d.Read > 0 {
		return float64(d.Read)
	}
	return meanFile(d) / blocksPerFile(d)
}

// isRead reports whether a job reads or writes a dataset.
func isRead(s *scenario.Scenario, name string) bool {
	return slices.ContainsFunc(s.Jobs, func(j scenario.Job) bool { return j.Dataset == name })
}

// clone returns a copy of s whose settings may be changed.
func clone(s *scenario.Scenario) *scenario.Scenario {
	c := *s
	c.Datasets = slices.Clone(s.Datasets)
	return &c
}

// searchSample returns the share of blocks that makes a run of s about so many reads, if its
// engine takes samples: but not so small that what is left tells nothing, and not more than s has.
func searchSample(s *scenario.Scenario, reads float64) float64 {
	const (
		inNode = 32   // blocks that a cache has room for
		inAll  = 1000 // the same of all caches, and in each dataset
	)
	if s.Engine != scenario.Reads {
		return s.Sample
	}
	sample := reads / max(readsOf(s), 1)
	cache := float64(s.Fleet.Cache) * (1 - s.Fleet.Spare)
	for _, d := range s.Datasets {
		block := min(meanFile(d), shoal.BlockSize)
		for _, least := range []float64{
			inNode * block / cache, inAll * block / cache / float64(s.Fleet.Nodes), inAll / (float64(d.Files) * blocksPerFile(d)),
			2 * shoal.BlockSize / max(float64(d.Quota), 1), // blocks in a quota
		} {
			if d.Quota > 0 || least < 1 {
				sample = max(sample, least)
			}
		}
	}
	return min(max(sample, 0.0001), s.Sample)
}

// readsOf returns how many reads a run of s makes, about, if all blocks are simulated.
func readsOf(s *scenario.Scenario) float64 {
	sum := 0.0
	for _, j := range s.Jobs {
		i := slices.IndexFunc(s.Datasets, func(d scenario.Dataset) bool { return d.Name == j.Dataset })
		if i < 0 {
			continue
		}
		readers := float64(len(j.Nodes) * j.Ranks)
		pass := float64(s.Datasets[i].Files) * meanFile(s.Datasets[i]) / meanRead(s.Datasets[i])
		var n float64
		switch j.Kind {
		case scenario.Epochs, scenario.Windows:
			if n = pass * float64(j.Epochs); !j.Shared {
				n *= readers
			}
		case scenario.Stream:
			n = pass * float64(j.Versions) * readers
		case scenario.Zipf:
			n = float64(j.Reads) * readers
		case scenario.Write:
			n = pass * float64(j.Versions)
		}
		if s.Duration > 0 {
			n = min(n, j.Rate*readers*s.Duration.Seconds())
		}
		sum += n
	}
	return sum
}
