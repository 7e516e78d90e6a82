package scenario

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/shoal-mesh/shoal"
)

// defaults returns what an empty file means. It is not a whole Scenario: its required fields are
// zero.
func defaults() *Scenario {
	return &Scenario{
		Engine: Reads,
		Seed:   1,
		Sample: 1,
		Fleet: Fleet{
			Zones:     1,
			Directory: 100 * time.Millisecond,
			Detect:    6 * time.Second,
			Costs:     Costs{Peer: 0.1, Zone: 0.3},
			Epsilon:   0.05,
			NIC:       25e9 / 8,
			NVMe:      NVMe{Read: 3e9, Write: 1.5e9},
			UFS:       UFS{Bandwidth: 10e9, Latency: 20 * time.Millisecond},
		},
	}
}

// setDefaults gives a list's new element its defaults: what defaults is for the rest.
func (d *Dataset) setDefaults() {
	d.Policy = "auto"
	d.Replicas = Replicas{Min: 1, Max: shoal.Unlimited, Classes: true}
	d.HalfLife = 10 * time.Minute
}

// NewDataset returns a dataset with the settings that one in a file has by default. It has no
// files: a trace brings its blocks.
func NewDataset(name string) Dataset {
	d := Dataset{Name: name}
	d.setDefaults()
	return d
}

func (j *Job) setDefaults() {
	j.Nodes = Nodes{everyNode}
	j.Ranks = 1
	j.Rate = 100
	j.Prefetch = 16
	j.Epochs = 3
	j.WarmupEpochs = 1
	j.Shared = true
	j.Window = 8
	j.Versions = 1
	j.Skew = 1
}

// settle fills what depends on other keys. It runs after all that is given has been read.
func (d *document) settle(s *Scenario) {
	if !d.given("fleet.costs.zone") {
		s.Fleet.Costs.Zone = max(s.Fleet.Costs.Zone, s.Fleet.Costs.Peer)
	}
	for i := range s.Fleet.Slow {
		s.Fleet.Slow[i].Nodes = s.Fleet.Slow[i].Nodes.resolved(s.Fleet.Nodes)
	}
	names := jobNames(s)
	for i := range s.Jobs {
		j := &s.Jobs[i]
		j.Name = names[i]
		j.Nodes = j.Nodes.resolved(s.Fleet.Nodes)
		if !d.given(fmt.Sprintf("jobs[%d].warmup_epochs", i)) && j.Epochs <= 1 {
			j.WarmupEpochs = 0
		}
		if slices.Contains(kinds(), j.Kind) {
			clearOthers(j)
		}
	}
	for i := range s.Events {
		e := &s.Events[i]
		for _, nodes := range []*Nodes{&e.Crash, &e.Restart, &e.Drain, &e.Rolling} {
			*nodes = nodes.resolved(s.Fleet.Nodes)
		}
	}
}

// jobNames returns the names of the jobs of s, with those that are not given.
func jobNames(s *Scenario) []string {
	names := make([]string, len(s.Jobs))
	taken := make(map[string]bool)
	for i, j := range s.Jobs {
		names[i] = j.Name
		taken[j.Name] = true
	}
	nth := make(map[string]int) // how many jobs of each dataset came before
	for i, j := range s.Jobs {
		base := j.Dataset
		if base == "" {
			base = string(j.Kind)
		}
		nth[base]++
		if names[i] != "" {
			continue
		}
		names[i] = base
		for n := nth[base]; n > 1 || taken[names[i]]; n++ {
			if names[i] = fmt.Sprintf("%s-%d", base, max(n, 2)); !taken[names[i]] {
				break
			}
		}
		taken[names[i]] = true
	}
	return names
}

// kinds returns the kinds of jobs.
func kinds() []Kind { return []Kind{Epochs, Windows, Stream, Zipf, Write, Trace} }

// kindsWith returns the kinds of jobs that have the key name; none if all have it.
func kindsWith(name string) []Kind {
	switch name {
	case "epochs", "warmup_epochs", "shared":
		return []Kind{Epochs, Windows}
	case "window":
		return []Kind{Windows}
	case "versions", "every":
		return []Kind{Stream, Write}
	case "random":
		return []Kind{Stream}
	case "reads", "skew", "drift":
		return []Kind{Zipf}
	case "trace", "format":
		return []Kind{Trace}
	}
	return nil
}

// has reports whether jobs of j's kind have the key name.
func (j *Job) has(name string) bool {
	with := kindsWith(name)
	return with == nil || slices.Contains(with, j.Kind)
}

// clearOthers takes from j the defaults of what its kind does not have.
func clearOthers(j *Job) {
	v := reflect.ValueOf(j).Elem()
	for i := range v.NumField() {
		if !j.has(tagOf(v.Type(), i)) {
			v.Field(i).SetZero()
		}
	}
}
