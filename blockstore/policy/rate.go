package policy

import "math"

// A rate estimates reads per tick by a count that halves every half-life (policy.md §5.1:
// f*, whose decay is what lets the blocks of an ended job go).
type rate struct {
	sum   float64 // reads, decayed to at
	at    Tick
	since Tick // the first read
	any   bool

	scaleAt Tick    // of scale
	scale   float64 // perTick / sum then, if at is as it was; 0 when it is not known
}

// add counts a read. tau is the half-life over ln 2.
func (r *rate) add(now Tick, tau float64) {
	switch {
	case !r.any:
		*r = rate{at: now, since: now, any: true}
	case now != r.at:
		r.sum *= math.Exp(-float64(now-r.at) / tau)
		r.at = now
	}
	r.sum++
}

// perTick returns the estimate. What has not been counted for several half-lives yet is
// scaled up, or a young job would look slow.
func (r *rate) perTick(now Tick, tau float64) float64 {
	if !r.any {
		return 0
	}
	if r.scale == 0 || r.scaleAt != now || r.at != now {
		seen := -math.Expm1(-float64(now-r.since+1) / tau)
		scale := math.Exp(-float64(now-r.at)/tau) / (tau * seen)
		if r.at != now {
			return r.sum * scale
		}
		r.scaleAt, r.scale = now, scale
	}
	return r.sum * r.scale
}
