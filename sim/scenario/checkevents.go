package scenario

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

func (k *checker) events(s *Scenario) {
	for i, e := range s.Events {
		key := fmt.Sprintf("events[%d]", i)
		name, nodes := k.one(key, e)
		if name == "" {
			continue
		}
		k.inFleet(key+"."+name, nodes, s.Fleet.Nodes)
		k.when(key, i, s)
		if e.Empty && name != "restart" {
			k.refuse(key+".empty", "true", "only restart has it; remove it")
		}
		if name == "rolling" {
			k.period(key+".every", e.Every, "the time from one node to the next")
			k.period(key+".down", e.Down, "for how long each node is away")
			if e.Every > 0 && !k.refused(key+".at") && time.Duration(len(nodes)-1) > (maxTime-e.At)/e.Every {
				k.refuse(key+".every", text(e.Every), fmt.Sprintf("the last of %d nodes would go after 8760h; lower it", len(nodes)))
			}
			continue
		}
		for _, other := range []string{"every", "down"} {
			if value, given := k.values[key+"."+other]; given {
				k.refuse(key+"."+other, value, "only rolling has it; remove it")
			}
		}
	}
	if !k.refused("fleet.nodes") && !k.anyRefused("events") {
		k.history(s)
	}
}

// one returns which of its four things the event e is, and whose; "" if it is not one.
func (k *checker) one(key string, e Event) (name string, nodes Nodes) {
	all := []struct {
		name  string
		nodes Nodes
	}{{"crash", e.Crash}, {"restart", e.Restart}, {"drain", e.Drain}, {"rolling", e.Rolling}}
	for _, it := range all {
		switch {
		case !k.given(key + "." + it.name):
		case name != "":
			k.refuse(key+"."+it.name, it.nodes.String(), fmt.Sprintf("is an event of its own besides %s; write it as another one", name))
		default:
			name, nodes = it.name, it.nodes
		}
	}
	if name == "" {
		k.refuse(key, "", "no event; give one of crash, restart, drain and rolling")
	}
	return name, nodes
}

// when checks the time of the i-th event.
func (k *checker) when(key string, i int, s *Scenario) {
	e := s.Events[i]
	if len(e.Rolling) == 0 && !k.given(key+".at") {
		k.refuse(key+".at", "", "required; say when, like 10m")
	}
	between(k, key+".at", e.At, 0, maxTime)
	switch {
	case i > 0 && e.At < s.Events[i-1].At:
		k.refuse(key+".at", text(e.At), fmt.Sprintf("before events[%d], which is at %s; write events in the order of their times", i-1, text(s.Events[i-1].At)))
	case s.Duration > 0 && e.At > s.Duration:
		k.refuse(key+".at", text(e.At), "after duration, so that it never happens; give at most "+text(s.Duration))
	}
}

// anyRefused reports whether anything that is a part of key has been refused.
func (k *checker) anyRefused(key string) bool {
	return slices.ContainsFunc(k.violations, func(v violation) bool { return under(v.key, key) })
}

// A turn is a node that goes or comes back.
type turn struct {
	at    time.Duration
	event int
	node  int
	goes  bool
}

// history refuses that a node goes which is away, or comes back which is not.
func (k *checker) history(s *Scenario) {
	turns := turnsOf(s.Events)
	slices.SortStableFunc(turns, func(a, b turn) int { return cmp.Compare(a.at, b.at) })
	away := make([]bool, s.Fleet.Nodes)
	for _, t := range turns {
		e := s.Events[t.event]
		key := fmt.Sprintf("events[%d]", t.event)
		switch {
		case t.goes && away[t.node]:
			k.refuse(key, said(e), fmt.Sprintf("node %d is away already at %s; restart it before", t.node, text(t.at)))
		case !t.goes && !away[t.node]:
			k.refuse(key, said(e), fmt.Sprintf("node %d is not away at %s; remove it, or crash it before", t.node, text(t.at)))
		}
		away[t.node] = t.goes
	}
}

// turnsOf returns which nodes go and come back by events, those of one event one after the other.
func turnsOf(events []Event) []turn {
	var turns []turn
	for i, e := range events {
		for _, n := range slices.Concat(e.Crash, e.Drain) {
			turns = append(turns, turn{e.At, i, n, true})
		}
		for _, n := range e.Restart {
			turns = append(turns, turn{e.At, i, n, false})
		}
		for nth, n := range e.Rolling {
			at := e.At + time.Duration(nth)*e.Every
			turns = append(turns, turn{at, i, n, true}, turn{at + e.Down, i, n, false})
		}
	}
	return turns
}

// said returns what the event e is, as it is written.
func said(e Event) string {
	switch {
	case len(e.Crash) > 0:
		return "crash: " + e.Crash.String()
	case len(e.Restart) > 0:
		return "restart: " + e.Restart.String()
	case len(e.Drain) > 0:
		return "drain: " + e.Drain.String()
	}
	return "rolling: " + e.Rolling.String()
}
