package sim

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/shoal-mesh/shoal/sim/result"
	"github.com/shoal-mesh/shoal/sim/scenario"
)

// A Grid is a scenario and the values to try of some of its keys, each with each.
type Grid struct {
	// Name stands for Data in errors.
	Name string
	// Data is the scenario's file.
	Data []byte
	// Axes are the keys, in the order in which they are set. The values of the last one change
	// from each run to the next.
	Axes []Axis
}

// An Axis is one key of a scenario and its values. One of a single value is set in all runs, and
// is not told as swept.
type Axis struct {
	Key    string
	Values []string
}

// ParseAxis reads "key=a,b,c". A comma within brackets, braces or double quotes parts nothing.
func ParseAxis(text string) (Axis, error) {
	key, rest, ok := strings.Cut(text, "=")
	if !ok || key == "" {
		return Axis{}, fmt.Errorf("%q: no key and value; write it as fleet.nodes=8,16", text)
	}
	a := Axis{Key: key}
	depth, quoted, begin := 0, false, 0
	for i, c := range rest {
		switch {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			depth--
		case c == ',' && depth == 0:
			a.Values = append(a.Values, rest[begin:i])
			begin = i + 1
		}
	}
	a.Values = append(a.Values, rest[begin:])
	return a, nil
}

// SweepConfig says how to go through a Grid.
type SweepConfig struct {
	// Jobs is how many runs go on at a time. Default: as many as there are processors.
	Jobs int
	// Dir keeps the result of each run as soon as it is there, and runs whose results are
	// there already are not made again. They are known by their config hash and version of
	// shoal; that the file of a trace has changed is not noticed. Default: none are kept.
	Dir string
	// Shoal is the version that results tell.
	Shoal string
	// Progress is told how far it is, by one goroutine at a time. Default: nobody.
	Progress func(Progress)
}

// mostRuns is how many runs a Grid may have: more are a slip of the hand.
const mostRuns = 10_000

// Sweep makes the runs of a Grid, several at a time, each in one goroutine. Their results are in
// the order of the Grid, whichever is there first, and the same bytes whether they were made or
// kept. The first run that fails ends the sweep, and the error tells its settings; when ctx ends it
// returns ctx's error. What was done by then is in cfg.Dir.
func Sweep(ctx context.Context, g Grid, cfg SweepConfig) (result.Sweep, error) {
	points, err := g.points()
	if err != nil {
		return result.Sweep{}, fmt.Errorf("sweep %s: %w", g.Name, err)
	}
	found := result.Sweep{Results: make([]*result.Result, len(points))}
	for _, a := range g.Axes {
		if len(a.Values) > 1 {
			found.Keys = append(found.Keys, a.Key)
		}
	}
	for _, p := range points {
		found.Values = append(found.Values, p.values)
	}
	kept := archive{dir: cfg.Dir, shoal: cfg.Shoal}
	runs := &pool{jobs: cfg.Jobs, progress: cfg.Progress}
	runs.plan(len(points))
	err = runs.each(ctx, len(points), func(ctx context.Context, i int) (old bool, err error) {
		if found.Results[i], old, err = kept.result(ctx, points[i].scenario); err != nil {
			err = fmt.Errorf("%s: %w", points[i].what(), err)
		}
		return old, err
	})
	if err != nil {
		return result.Sweep{}, fmt.Errorf("sweep %s: %d of %d runs done: %w", g.Name, runs.at.Done, runs.at.Total, err)
	}
	return found, nil
}

// A point is one run of a Grid.
type point struct {
	set      []scenario.Setting
	values   []string // of the keys that are swept
	scenario *scenario.Scenario
}

// what names the run by its settings.
func (p point) what() string {
	if len(p.set) == 0 {
		return "as it is"
	}
	var all []string
	for _, s := range p.set {
		all = append(all, s.Key+"="+s.Value)
	}
	return strings.Join(all, " ")
}

// points returns the runs of g. The error joins what is wrong with any of them, once each.
func (g Grid) points() ([]point, error) {
	total := 1
	for i, a := range g.Axes {
		for _, b := range g.Axes[:i] {
			if a.Key == b.Key {
				return nil, fmt.Errorf("%w: %s is set twice", ErrScenario, a.Key)
			}
		}
		if len(a.Values) == 0 || total*len(a.Values) > mostRuns {
			return nil, fmt.Errorf("%w: there would be no runs, or more than %d", ErrScenario, mostRuns)
		}
		total *= len(a.Values)
	}
	var points []point
	var errs []error
	told := make(map[string]bool)
	for n := range total {
		p := g.point(n, total)
		s, err := scenario.Parse(g.Name, g.Data, p.set...)
		if p.scenario = s; err != nil && !told[err.Error()] {
			told[err.Error()] = true
			errs = append(errs, err)
		}
		points = append(points, p)
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("%w: %w", ErrScenario, errors.Join(errs...))
	}
	return points, nil
}

// point returns the settings of run n of total.
func (g Grid) point(n, total int) (p point) {
	for _, a := range g.Axes {
		total /= len(a.Values)
		value := a.Values[n/total%len(a.Values)]
		p.set = append(p.set, scenario.Setting{Key: a.Key, Value: value})
		if len(a.Values) > 1 {
			p.values = append(p.values, value)
		}
	}
	return p
}
