package bound

import (
	"cmp"
	"slices"
)

// A Job is one that reads a dataset in shuffled epochs, for the formulas of SiloD (EuroSys'23;
// policy.md §3.6). Sizes and rates are in any unit, the same in all arguments. Jobs that share
// a dataset are one, with the sum of their rates.
type Job struct {
	Rate float64 // how much it reads per second if it never waits (f*)
	Size float64 // of its dataset (d)
}

// SiloD returns how much the job reads per second with c of its dataset cached and io of remote
// bandwidth: min(f*, b/(1-c/d)) (policy.md §3.6).
func (j Job) SiloD(io, c float64) float64 {
	if c >= j.Size {
		return j.Rate
	}
	return min(j.Rate, io/(1-c/j.Size))
}

// SiloDGreedy divides a cache among jobs: those that save most remote bandwidth per cached byte,
// f*/d, come first, and of equal ones the first (policy.md §3.6). It returns what each gets.
func SiloDGreedy(jobs []Job, cache float64) []float64 {
	order := make([]int, len(jobs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(jobs[b].Rate/jobs[b].Size, jobs[a].Rate/jobs[a].Size)
	})
	got := make([]float64, len(jobs))
	for _, i := range order {
		got[i] = min(jobs[i].Size, cache)
		cache -= got[i]
	}
	return got
}

// IODemand returns what each job reads from the UFS per second if none waits, with the given
// parts of their datasets cached: f* (1-c/d) (policy.md §3.6).
func IODemand(jobs []Job, cached []float64) []float64 {
	need := make([]float64, len(jobs))
	for i, j := range jobs {
		need[i] = j.Rate * (1 - min(1, cached[i]/j.Size))
	}
	return need
}

// MaxMin divides bandwidth among those who need it so that none can get more but at the expense
// of one that has no more than it (policy.md §3.6; Bertsekas & Gallager, Data Networks, 6.5.2,
// for one link).
func MaxMin(need []float64, bandwidth float64) []float64 {
	order := make([]int, len(need))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(need[a], need[b]) })
	got := make([]float64, len(need))
	for k, i := range order {
		got[i] = min(need[i], bandwidth/float64(len(order)-k))
		bandwidth -= got[i]
	}
	return got
}

// SiloDMaxMinPerf returns the largest share φ of their rates that all jobs can have at once with
// that cache and remote bandwidth (policy.md §3.6). Which division of the cache is best does not
// depend on φ, and demands are in proportion to it, so that no search is needed.
func SiloDMaxMinPerf(jobs []Job, cache, bandwidth float64) float64 {
	need := 0.0
	for _, x := range IODemand(jobs, SiloDGreedy(jobs, cache)) {
		need += x
	}
	if need <= bandwidth {
		return 1
	}
	return bandwidth / need
}
