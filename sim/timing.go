package sim

import (
	"math"
	"math/bits"
	"time"

	"github.com/shoal-mesh/shoal/sim/result"
)

// A timing counts what ranks did with their time.
type timing struct {
	at                 time.Duration // until when it has counted
	waiting, computing int64         // ranks
	waited, computed   int64         // nanoseconds of ranks
	jobs               []jobTiming
	events             int64
	requests           int64 // to the UFS, to read
	links              *links
}

// A jobTiming is the same of one job, of all its ranks together.
type jobTiming struct {
	ranks         int64
	waited, spent int64 // nanoseconds that ranks waited, and computed
	latencies     latencies
}

func newTiming(jobs []*running, l *links) *timing {
	t := &timing{jobs: make([]jobTiming, len(jobs)), links: l}
	for i, j := range jobs {
		t.jobs[i].ranks = int64(j.Ranks())
	}
	return t
}

// pass counts the time until now, in which nothing has changed.
func (t *timing) pass(now time.Duration) {
	t.waited += t.waiting * int64(now-t.at)
	t.computed += t.computing * int64(now-t.at)
	t.at = now
}

// into puts what was counted into the result of a job.
func (j *jobTiming) into(r *result.Job) {
	r.Compute = float64(j.spent) / 1e9 / float64(j.ranks)
	r.Stall = float64(j.waited) / 1e9 / float64(j.ranks)
	r.GPU = share(j.spent, j.spent+j.waited)
	r.ReadP50, r.ReadP99 = j.latencies.quantile(0.5), j.latencies.quantile(0.99)
}

// network tells how busy links were.
func (t *timing) network(n *result.Network) {
	use := func(link int) float64 {
		all := t.links.capacities[link] * t.at.Seconds()
		if all == 0 {
			return 0
		}
		return float64(t.links.carried[link]) / all
	}
	for node := range t.links.nodes {
		n.NICBusiest = max(n.NICBusiest, use(node*perNode+nicIn), use(node*perNode+nicOut))
	}
	down, up := int(t.links.ufs(ufsDown)), int(t.links.ufs(ufsUp))
	n.UFSBusy = max(use(down), use(up))
	n.UFSBytes = t.links.carried[down] + t.links.carried[up]
}

// latencies is a histogram of durations, of 32 steps to each doubling.
type latencies struct{ counts [64 * latencySteps]int64 }

const (
	latencyBits  = 5
	latencySteps = 1 << latencyBits
)

// add counts a duration in nanoseconds.
func (l *latencies) add(ns int64) {
	v := uint64(max(ns, 0))
	if v < latencySteps {
		l.counts[v]++
		return
	}
	shift := bits.Len64(v) - latencyBits - 1
	l.counts[(shift+1)<<latencyBits|int(v>>shift)&(latencySteps-1)]++
}

// quantile returns the duration in seconds that a share of all are not above, to 3 %.
func (l *latencies) quantile(share float64) float64 {
	total := int64(0)
	for _, n := range l.counts {
		total += n
	}
	seen := int64(0)
	for i, n := range l.counts {
		if seen += n; n > 0 && float64(seen) >= share*float64(total) {
			if i < latencySteps {
				return float64(i) / 1e9
			}
			return math.Ldexp(float64(latencySteps+i%latencySteps)+0.5, i>>latencyBits-1) / 1e9
		}
	}
	return 0
}
