package sim

import (
	"context"
	"errors"
	"fmt"

	"github.com/shoal-mesh/shoal/blockstore/policy"
	"github.com/shoal-mesh/shoal/replicas"
	"github.com/shoal-mesh/shoal/sim/fleet"
	"github.com/shoal-mesh/shoal/sim/result"
	"github.com/shoal-mesh/shoal/sim/scenario"
	"github.com/shoal-mesh/shoal/sim/workload"
)

// ErrScenario is wrapped by errors that only another scenario mends.
var ErrScenario = errors.New("the scenario is wrong")

// Run simulates a scenario, and judges what it expects. When ctx ends first it returns ctx's
// error. Whoever knows which version of shoal this is puts it into the result.
func Run(ctx context.Context, s *scenario.Scenario) (*result.Result, error) {
	if err := result.KnownExpectations(s); err != nil {
		return nil, fmt.Errorf("simulate %s: %w: %w", s.Name, ErrScenario, err)
	}
	with, recordings, sizes, err := load(s)
	if err != nil {
		return nil, fmt.Errorf("simulate %s: %w", s.Name, err)
	}
	s = with
	data, err := workload.NewData(s, sizes)
	if err != nil {
		return nil, fmt.Errorf("simulate %s: %w", s.Name, err)
	}
	f, err := newFleet(s, data)
	if err != nil {
		return nil, fmt.Errorf("simulate %s: %w", s.Name, err)
	}
	e := &engine{scenario: s, data: data, fleet: f, tally: newTally(s, data), crashes: make(map[int]int)}
	for i := range s.Jobs {
		if r := recordings[i]; r != nil {
			r.place(data)
			e.jobs = append(e.jobs, newReplayed(&workload.Job{Spec: &s.Jobs[i]}, i, r))
			continue
		}
		job, err := workload.NewJob(s, data, &s.Jobs[i], i)
		if err != nil {
			return nil, fmt.Errorf("simulate %s: %w", s.Name, err)
		}
		e.jobs = append(e.jobs, newRunning(job, i))
	}
	e.happen = agenda(s)
	run := e.run
	if s.Engine == scenario.Time {
		t, err := newTimed(e)
		if err != nil {
			return nil, fmt.Errorf("simulate %s: %w", s.Name, err)
		}
		run = t.run
	}
	if err := run(ctx); err != nil {
		return nil, fmt.Errorf("simulate %s: %w", s.Name, err)
	}
	r := e.result()
	r.Expect, _ = result.Judge(r, s.Expect) // one on what r has not does not hold: its verdict says so
	return r, nil
}

// newFleet returns the fleet of a scenario, with caches as small as its sample.
func newFleet(s *scenario.Scenario, data *workload.Data) (*fleet.Fleet, error) {
	cfg := fleet.Config{
		Nodes: s.Fleet.Nodes, Zones: s.Fleet.Zones, Blocks: data.Blocks(), News: s.Fleet.Directory,
		Capacity: int64(float64(s.Fleet.Cache) * (1 - s.Fleet.Spare) * s.Sample), Limit: int64(float64(s.Fleet.Cache) * s.Sample),
		Policy: policy.Config{Rho: s.Fleet.Costs.Peer, RhoZone: s.Fleet.Costs.Zone, Epsilon: s.Fleet.Epsilon},
		Of: func(block uint32) fleet.Block {
			set, bytes := data.Of(block)
			return fleet.Block{Group: policy.Group(set), Bytes: bytes}
		},
	}
	for i := range s.Datasets {
		g, err := groupOf(&s.Datasets[i], s.Sample)
		if err != nil {
			return nil, err
		}
		cfg.Groups = append(cfg.Groups, g)
	}
	return fleet.New(cfg)
}

// groupOf returns the rules of a dataset, as an agent has them.
func groupOf(d *scenario.Dataset, sample float64) (fleet.Group, error) {
	base, err := policy.ParseBase(d.Policy)
	if err != nil {
		return fleet.Group{}, fmt.Errorf("dataset %s: %w", d.Name, err)
	}
	const tick = 8 // per second
	return fleet.Group{
		Rules:  policy.Rules{Base: base, Classes: d.Replicas.Classes, HalfLife: policy.Tick(d.HalfLife.Seconds() * tick)},
		Limits: replicas.Limits{Min: uint8(d.Replicas.Min), Max: uint8(d.Replicas.Max)},
		Quota:  int64(float64(d.Quota) * sample),
	}, nil
}
