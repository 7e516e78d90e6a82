package sim

import (
	"context"
	"fmt"

	"github.com/shoal-mesh/shoal/sim/result"
	"github.com/shoal-mesh/shoal/sim/scenario"
)

// conclude compares what was found with the settings of s, and writes the recommendation. Small is
// s as it was searched with, and best what was found for it.
func (q *search) conclude(ctx context.Context, r *result.Recommendation, s, small, best *scenario.Scenario) error {
	r.Changes = changes(s, best)
	if len(r.Changes) == 0 {
		q.plan(-confirming)
	} else {
		a, b, err := q.confirm(ctx, r, s, best, s.Sample)
		if err != nil {
			return err
		}
		r.Better = beatsAll(b, a)
		r.Rows = rowsOf(r.Objective, a, b)
		r.Notes = append(r.Notes, prices(r)...)
	}
	for i := range s.Datasets {
		if !isRead(s, s.Datasets[i].Name) {
			r.Notes = append(r.Notes, fmt.Sprintf("No job reads %s: its settings were not searched.", s.Datasets[i].Name))
		}
	}
	if r.Better {
		r.Config = configOf(r, best)
	} else {
		best = small
	}
	return q.tryEpsilon(ctx, r, s, best)
}

// confirming is how many runs one confirmation takes.
const confirming = 4

// confirm returns the results of two scenarios with the seeds of r and a sample.
func (q *search) confirm(ctx context.Context, r *result.Recommendation, a, b *scenario.Scenario, sample float64) (ofA, ofB []*result.Result, err error) {
	results, err := q.results(ctx, append(withSeeds(a, sample, r.Seeds), withSeeds(b, sample, r.Seeds)...)...)
	if err != nil {
		return nil, nil, err
	}
	return results[:len(r.Seeds)], results[len(r.Seeds):], nil
}

// prices notes what becomes more by what is better: an objective is not all there is.
func prices(r *result.Recommendation) (notes []string) {
	for _, row := range r.Rows {
		what := map[string]string{"evictions.written_bytes": "is written to the caches", "network.peer_bytes": "is read from peers"}[row.Metric]
		if what != "" && r.Better && row.Ratio > 1.1 {
			notes = append(notes, fmt.Sprintf("It has its price: %.2f times as much %s.", row.Ratio, what))
		}
	}
	return notes
}

// withSeeds returns s once with each seed, of a sample.
func withSeeds(s *scenario.Scenario, sample float64, seeds []uint64) []*scenario.Scenario {
	var all []*scenario.Scenario
	for _, seed := range seeds {
		c := clone(s)
		c.Seed, c.Sample = seed, sample
		all = append(all, c)
	}
	return all
}

// beatsAll reports whether each of b costs less than each of a.
func beatsAll(b, a []*result.Result) bool {
	for _, x := range b {
		for _, y := range a {
			if !costOf(x).beats(costOf(y)) {
				return false
			}
		}
	}
	return true
}

// epsilons returns what is tried of fleet.epsilon.
func epsilons() []float64 { return []float64{0.01, 0.02, 0.05, 0.1, 0.2, 0.5} }

// tryEpsilon notes by how much another fleet.epsilon would do better than best, confirmed in the
// same way.
func (q *search) tryEpsilon(ctx context.Context, r *result.Recommendation, s, best *scenario.Scenario) error {
	var moves []move
	for _, e := range epsilons() {
		moves = append(moves, func(s *scenario.Scenario) { s.Fleet.Epsilon = e })
	}
	next, err := q.along(ctx, best, setting{moves: moves})
	if err != nil || next == best {
		q.plan(-confirming)
		return err
	}
	a, b, err := q.confirm(ctx, r, best, next, s.Sample)
	if err != nil || !beatsAll(b, a) {
		return err
	}
	gain := "less would be written to the caches"
	if was, is := mean(a, mainCost), mean(b, mainCost); is < (1-worth)*was {
		gain = fmt.Sprintf("there would be another %.1f %% less of it", 100*(1-is/was))
	}
	r.Notes = append(r.Notes, fmt.Sprintf("With fleet.epsilon %v instead of %v %s. That is fleet-wide, and agents have no setting for it.",
		next.Fleet.Epsilon, best.Fleet.Epsilon, gain))
	return nil
}

// rowsOf returns what differs in the means of runs with the settings a and b.
func rowsOf(objective string, a, b []*result.Result) []result.Row {
	unit := result.Bytes
	if a[0].Engine == string(scenario.Time) {
		unit = result.Seconds
	}
	rows := []result.Row{rowOf(objective, unit, mean(a, mainCost), mean(b, mainCost))}
	for _, m := range result.Measures() {
		switch m.Name {
		case "warm.ufs.share", "warm.peer.share", "warm.local.share", "total.egress_amplification", "gpu", "seconds",
			"network.ufs_bytes", "network.peer_bytes", "evictions.written_bytes":
		default:
			continue
		}
		of := func(r *result.Result) float64 { f, _ := m.Of(r); return f }
		if _, known := m.Of(a[0]); known {
			rows = append(rows, rowOf(m.Name, m.Unit, mean(a, of), mean(b, of)))
		}
	}
	return rows
}

func rowOf(metric string, unit result.Unit, a, b float64) result.Row {
	r := result.Row{Metric: metric, Unit: unit, A: a, B: b, Difference: b - a}
	if a != 0 {
		r.Ratio = b / a
	}
	return r
}

func mainCost(r *result.Result) float64 { return costOf(r).main }

// mean returns the mean of something of results.
func mean(results []*result.Result, of func(*result.Result) float64) float64 {
	sum := 0.0
	for _, r := range results {
		sum += of(r)
	}
	return sum / float64(len(results))
}
