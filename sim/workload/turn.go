package workload

import "github.com/shoal-mesh/shoal/sim/scenario"

// Turns reports whether the next read of a rank is the first one of another epoch, of a job that
// has shuffled ones.
func (j *Job) Turns(rank int) bool {
	if j.Spec.Kind != scenario.Epochs && j.Spec.Kind != scenario.Windows {
		return false
	}
	r := &j.ranks[rank]
	return r.at == j.mine() && !r.reading && len(r.open) == 0
}

// Meets reports whether ranks wait for one another at the end of each epoch: they share it, and
// the orders of no more than two epochs are kept.
func (j *Job) Meets() bool { return j.shared != nil }
