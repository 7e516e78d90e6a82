package sim

import (
	"context"
	"fmt"

	"github.com/shoal-mesh/shoal/sim/result"
	"github.com/shoal-mesh/shoal/sim/scenario"
)

// RecommendConfig says how to search. A zero field means its default.
type RecommendConfig struct {
	// Jobs is how many runs go on at a time. Default: as many as there are processors.
	Jobs int
	// Budget is how many runs the search may take; those that confirm what it has found come on
	// top. Default 200.
	Budget int
	// Reads is how many reads a run of the search makes, about: of a larger scenario a sample is
	// taken, if its engine takes samples. Default 500,000.
	Reads float64
	// Shoal is the version that the recommendation tells.
	Shoal string
	// Progress is told how far it is, by one goroutine at a time. Default: nobody.
	Progress func(Progress)
}

func (c RecommendConfig) withDefaults() RecommendConfig {
	if c.Budget < 1 {
		c.Budget = 200
	}
	if !(c.Reads > 0) {
		c.Reads = 500_000
	}
	return c
}

// Recommend searches settings of the datasets of a scenario that are better than its own: policy,
// replicas.max, replicas.classes (true unless that costs) and quotas, which are none or the shares of
// bound.SiloDGreedy. It changes one after the other, keeps what is best, and begins again until
// nothing gains (coordinate descent); then it takes back what is not needed. What is better is
// written at cost.
//
// The search uses the seed of the scenario, and a sample where the scenario is large. What it
// finds is then run beside the scenario's own settings with two other seeds and the scenario's own
// sample: it is called better only if it is, whichever seeds are compared. fleet.epsilon, for
// which agents have no setting, is tried at the end and becomes a note at most.
func Recommend(ctx context.Context, s *scenario.Scenario, cfg RecommendConfig) (*result.Recommendation, error) {
	cfg = cfg.withDefaults()
	if len(s.Datasets) == 0 {
		return nil, fmt.Errorf("recommend %s: %w: it has no datasets, whose settings could be others", s.Name, ErrScenario)
	}
	small := clone(s)
	small.Sample = searchSample(s, cfg.Reads)
	r := &result.Recommendation{
		Schema: result.RecommendationSchema, Shoal: cfg.Shoal, Name: s.Name, Engine: string(s.Engine), Seed: s.Seed,
		Hash: scenario.Hash(s), Objective: objectiveOf(s.Engine), Sample: s.Sample, SearchSample: small.Sample,
		Seeds: []uint64{s.Seed + 1, s.Seed + 2}, Rows: []result.Row{}, Notes: []string{},
	}
	q := &search{budget: cfg.Budget, seen: make(map[string]*result.Result), pool: pool{jobs: cfg.Jobs, progress: cfg.Progress}}
	axes := settingsOf(small)
	q.plan(2*len(axes) + 2 + 2*confirming + 1 + len(epsilons())) // what follows the passes
	best, err := q.descend(ctx, small, axes)
	if err == nil {
		err = q.conclude(ctx, r, s, small, best)
	}
	if err != nil {
		return nil, fmt.Errorf("recommend %s: %w", s.Name, err)
	}
	r.Runs, r.Unfinished = q.at.Done-q.at.Kept, q.spent
	return r, nil
}

// A search makes runs and remembers them.
type search struct {
	pool
	seen   map[string]*result.Result // by config hash
	budget int                       // runs that may still be made
	spent  bool                      // it did not suffice
}

// mostPasses ends a search that goes round in circles, as what is about as good is taken for less
// writing.
const mostPasses = 8

// descend returns the best settings that it finds from those of s on.
func (q *search) descend(ctx context.Context, s *scenario.Scenario, axes []setting) (*scenario.Scenario, error) {
	best := s
	changed := true
	for pass := 0; changed && pass < mostPasses && !q.spent; pass++ {
		changed = false
		for _, a := range axes {
			q.plan(1 + len(a.moves))
		}
		for _, a := range axes {
			next, err := q.along(ctx, best, a)
			if err != nil {
				return nil, err
			}
			changed = changed || next != best
			best = next
		}
	}
	for _, a := range axes { // what has become needless since
		back := clone(best)
		if a.copy(back, s); a.wanted {
			back = best
		}
		costs, err := q.costs(ctx, best, back)
		if err != nil {
			return nil, err
		}
		if costs != nil && !costs[0].beats(costs[1]) {
			best = back
		}
	}
	if costs, err := q.costs(ctx, s, best); err != nil || costs != nil && !costs[1].beats(costs[0]) {
		return s, err // all that it has is what was wanted
	}
	return best, nil
}

// along returns the best of s and s with each of the moves of a made.
func (q *search) along(ctx context.Context, s *scenario.Scenario, a setting) (*scenario.Scenario, error) {
	all := []*scenario.Scenario{s}
	for _, m := range a.moves {
		to := clone(s)
		if m(to); scenario.Hash(to) != scenario.Hash(s) {
			all = append(all, to)
		}
	}
	q.plan(len(all) - 1 - len(a.moves))
	costs, err := q.costs(ctx, all...)
	best := 0
	for i := range costs {
		if costs[i].beats(costs[best]) || a.wanted && !costs[best].beats(costs[i]) {
			best = i
		}
	}
	return all[best], err
}

// costs returns what scenarios cost; nil when the budget does not suffice.
func (q *search) costs(ctx context.Context, all ...*scenario.Scenario) ([]cost, error) {
	fresh := 0
	for _, s := range all {
		if q.seen[scenario.Hash(s)] == nil {
			fresh++
		}
	}
	if fresh > q.budget {
		q.spent = true
		return nil, nil
	}
	q.budget -= fresh
	results, err := q.results(ctx, all...)
	if err != nil {
		return nil, err
	}
	costs := make([]cost, len(all))
	for i, r := range results {
		costs[i] = costOf(r)
	}
	return costs, nil
}

// results runs scenarios, several at a time, but for those that have run before.
func (q *search) results(ctx context.Context, all ...*scenario.Scenario) ([]*result.Result, error) {
	results := make([]*result.Result, len(all))
	err := q.each(ctx, len(all), func(ctx context.Context, i int) (kept bool, err error) {
		if results[i] = q.seen[scenario.Hash(all[i])]; results[i] != nil {
			return true, nil
		}
		results[i], err = Run(ctx, all[i])
		return false, err
	})
	if err != nil {
		return nil, err
	}
	for i, r := range results {
		q.seen[scenario.Hash(all[i])] = r
	}
	return results, nil
}
