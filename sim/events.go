package sim

import (
	"cmp"
	"slices"
	"time"

	"github.com/shoal-mesh/shoal/sim/scenario"
)

// A happening is one thing that happens to one node.
type happening struct {
	at   time.Duration
	node int
	what what
}

// what may happen to a node.
type what uint8

const (
	crash what = iota
	detect
	restart
	restartEmpty
	drain
)

// agenda returns what happens to nodes in a scenario, in the order of time.
func agenda(s *scenario.Scenario) []happening {
	var all []happening
	away := func(at time.Duration, node int) {
		all = append(all, happening{at, node, crash}, happening{at + s.Fleet.Detect, node, detect})
	}
	for _, ev := range s.Events {
		for _, node := range ev.Crash {
			away(ev.At, node)
		}
		for _, node := range ev.Restart {
			w := restart
			if ev.Empty {
				w = restartEmpty
			}
			all = append(all, happening{ev.At, node, w})
		}
		for _, node := range ev.Drain {
			all = append(all, happening{ev.At, node, drain})
		}
		for i, node := range ev.Rolling {
			at := ev.At + time.Duration(i)*ev.Every
			away(at, node)
			all = append(all, happening{at + ev.Down, node, restart})
		}
	}
	slices.SortStableFunc(all, func(a, b happening) int { return cmp.Compare(a.at, b.at) })
	return all
}

// occur lets something happen.
func (e *engine) occur(h happening) error {
	e.advance(max(e.now, h.at))
	switch h.what {
	case crash:
		e.fleet.Crash(h.node)
	case detect:
		e.fleet.Forget(h.node)
	case restart:
		return e.fleet.Restart(h.node, false)
	case restartEmpty:
		return e.fleet.Restart(h.node, true)
	case drain:
		e.fleet.Drain(h.node)
	}
	return nil
}
