package sim

import (
	"math"

	"github.com/shoal-mesh/shoal/sim/bound"
	"github.com/shoal-mesh/shoal/sim/result"
	"github.com/shoal-mesh/shoal/sim/scenario"
)

// bound returns what no policy can beat in this run, as far as it is known: for each job what it
// could have if it had all caches for itself, weighed by its warm reads. It is none where a job
// is of a kind of which no limit is known.
func (e *engine) bound() result.Bound {
	var b result.Bound
	hits, reads := 0.0, 0.0
	for i, j := range e.jobs {
		warm := float64(sum(e.tally.jobs[i].warm.reads))
		if warm == 0 || j.Spec.Kind == scenario.Write {
			continue
		}
		share, kind := e.mostHits(j)
		if kind == "" {
			return result.Bound{Seconds: e.fanOut()}
		}
		hits, reads, b.Kind = hits+share*warm, reads+warm, kind
	}
	if reads == 0 {
		return result.Bound{Seconds: e.fanOut()}
	}
	b.HitShare = hits / reads
	b.Distance = b.HitShare - (1 - share(e.tally.warm.reads[ufs], sum(e.tally.warm.reads)))
	b.Seconds = e.fanOut()
	return b
}

// mostHits returns the largest share of a job's warm reads that caches can serve, and what bounds
// it; "" when that is not known.
func (e *engine) mostHits(j *running) (most float64, kind string) {
	if j.recorded != nil {
		return 0, ""
	}
	room := float64(e.fleet.Capacity()) * float64(e.scenario.Fleet.Nodes)
	k := min(1, room/float64(j.Set.Bytes()))
	switch j.Spec.Kind {
	case scenario.Epochs, scenario.Windows:
		// Of each epoch the blocks that are in no cache when it begins are read once at least
		// (policy.md §3.1); each takes several reads if they are small, or ranks do not share it.
		per := j.Set.ReadsPerBlock()
		if !j.Spec.Shared {
			per *= float64(j.Ranks())
		}
		return 1 - (1-k)/per, "capacity / dataset, per epoch"
	case scenario.Zipf:
		if j.Spec.Drift > 0 {
			return 0, ""
		}
		return topShare(j.Set.Items(), j.Spec.Skew, k), "the most popular files (policy.md §3.5)"
	}
	return 0, ""
}

// topShare returns the share of reads by Zipf's law that are of the most popular share k of n files.
func topShare(n uint32, skew, k float64) float64 {
	top, all, kept := 0.0, 0.0, math.Floor(k*float64(n))
	for i := 1.0; i <= float64(n); i++ {
		p := math.Pow(i, -skew)
		all += p
		if i <= kept {
			top += p
		}
	}
	return top / all
}

// fanOut returns the least time that the one job of a scenario takes which has many readers read
// all of a dataset (policy.md §3.7, G12); 0 when it is not about that.
func (e *engine) fanOut() float64 {
	if len(e.jobs) != 1 || e.jobs[0].Spec.Kind != scenario.Stream || e.jobs[0].Spec.Versions > 1 {
		return 0
	}
	f, j := e.scenario.Fleet, e.jobs[0]
	return bound.FanOut(float64(j.Set.Bytes()), float64(f.UFS.Bandwidth), float64(f.NIC), len(j.Spec.Nodes))
}
