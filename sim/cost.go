package sim

import (
	"github.com/shoal-mesh/shoal/sim/result"
	"github.com/shoal-mesh/shoal/sim/scenario"
)

// A cost is what Recommend makes small: main, and where that is the same, what is written to
// the caches.
//
// Main is, of engine "reads", the bytes fetched from the UFS per second of job time once the caches
// are warm (all of them, if no read is); of engine "time", the mean of the seconds that jobs waited
// for reads.
type cost struct {
	main  float64
	whole float64 // what main is at worst: all bytes that were read, or all time of the jobs

	peer    float64 // bytes from peers per second of job time
	written float64 // the same to caches
}

// Settings are worth being changed for this share of main at least, if that is also a share
// of whole, which is what differs less in two runs is too little to care about.
const (
	worth      = 0.01
	worthWhole = 0.001
)

func objectiveOf(e scenario.Engine) string {
	if e == scenario.Time {
		return "mean wait of a job for reads"
	}
	return "UFS bytes per second of job time"
}

func costOf(r *result.Result) cost {
	var jobs, stall float64 // seconds
	for _, j := range r.Jobs {
		jobs += j.End - j.Start
		stall += j.Stall
	}
	counts := r.Warm
	if counts.Reads == 0 {
		counts = r.Total
	}
	n := max(1, float64(len(r.Jobs)))
	second := max(jobs*r.Sample, 1e-9) // of a share of blocks, so that rates are those of all
	c := cost{
		main: float64(counts.Tiers.UFS.Bytes) / second, whole: float64(counts.Bytes) / second,
		peer: float64(counts.Tiers.Peer.Bytes) / second, written: float64(r.Evictions.WrittenBytes) / second,
	}
	if r.Engine == string(scenario.Time) {
		c.main, c.whole = stall/n, jobs/n
	}
	return c
}

// beats reports whether c is worth a change from o. Of two that are about the same, it is the one
// that writes less to the caches, unless it reads more from peers for that: replicas that are not
// made are cheap only if nobody misses them.
func (c cost) beats(o cost) bool {
	if gain := o.main - c.main; gain > worth*o.main && gain > worthWhole*o.whole {
		return true
	}
	same := c.main-o.main <= worthWhole/2*o.whole
	return same && c.peer <= (1+worth)*o.peer && c.written < (1-worth)*o.written
}
