package sim

import (
	"cmp"
	"slices"
	"time"

	"github.com/shoal-mesh/shoal/sim/scenario"
)

// A happening is one thing that happens to one node.
type happening struct {
	at    time.Duration
	node  int
	what  what
	crash int // which one it is, or which one is detected
}

// what may happen to a node.
type what uint8

const (
	crash  what = iota
	detect      // that it has crashed: if it has come back and crashed again, that is another one
	restart
	restartEmpty
	drain
)

// agenda returns what happens to nodes in a scenario, in the order of time.
func agenda(s *scenario.Scenario) []happening {
	var all []happening
	crashes := 0
	away := func(at time.Duration, node int) {
		crashes++
		all = append(all, happening{at, node, crash, crashes}, happening{at + s.Fleet.Detect, node, detect, crashes})
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
			all = append(all, happening{at: ev.At, node: node, what: w})
		}
		for _, node := range ev.Drain {
			all = append(all, happening{at: ev.At, node: node, what: drain})
		}
		for i, node := range ev.Rolling {
			at := ev.At + time.Duration(i)*ev.Every
			away(at, node)
			all = append(all, happening{at: at + ev.Down, node: node, what: restart})
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
		e.crashes[h.node] = h.crash
	case detect:
		if e.crashes[h.node] == h.crash {
			e.fleet.Forget(h.node)
		}
	case restart:
		return e.fleet.Restart(h.node, false)
	case restartEmpty:
		return e.fleet.Restart(h.node, true)
	case drain:
		e.fleet.Drain(h.node)
	}
	return nil
}
