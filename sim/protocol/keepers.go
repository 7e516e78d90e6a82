package protocol

import (
	"errors"
	"fmt"
	"slices"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/replicas"
)

// checkKeepers compares what key's home knows of keepers and classes with what the holders
// have been told, and both with what the truth asks for.
func (m *Mesh) checkKeepers(key shoal.Key) error {
	live := m.holders(key)
	if len(live) == 0 {
		return nil
	}
	home, _ := m.node(live[0]).core.Table().Homes(replicas.ShardOf(key))
	known := m.node(home).core.Directory.Explain(key)
	var errs []error
	keepers, let, excess := 0, 0, 0
	for i, h := range known {
		r := m.node(h.Node).store[key]
		if r == nil {
			return nil // checkHome says so
		}
		if r.standing.Keeper {
			keepers++
		}
		if r.let || r.standing == (shoal.Standing{Class: shoal.Last}) {
			let++
		}
		if h.Class == shoal.Excess {
			excess++
		}
		if r.standing != (shoal.Standing{Class: h.Class, Keeper: h.Keeper}) {
			errs = append(errs, fmt.Errorf("%s was told of %d: %v keeper=%v, its home %s thinks %v keeper=%v",
				h.Node, key.Index, r.standing.Class, r.standing.Keeper, home, h.Class, h.Keeper))
		}
		if want := m.classOf(h.Node, live); h.Class != shoal.Excess && h.Class != want {
			errs = append(errs, fmt.Errorf("%d at %s is %v, want %v", key.Index, h.Node, h.Class, want))
		}
		if h.Keeper && i >= keepers {
			errs = append(errs, fmt.Errorf("keepers of %d are not first: %v", key.Index, known))
		}
	}
	limits := m.limits(key)
	if want := min(max(1, int(limits.Min)), m.able(live)); keepers < want && let == 0 {
		errs = append(errs, fmt.Errorf("%d has %d keepers, want %d: %v", key.Index, keepers, want, known))
	}
	if limits.Max > 0 {
		if want := max(0, len(live)-max(int(limits.Max), keepers)); excess != want {
			errs = append(errs, fmt.Errorf("%d has %d replicas beyond its %d, want %d", key.Index, excess, limits.Max, want))
		}
	}
	return errors.Join(errs...)
}

// able returns how many of ids may be chosen as keepers: at least one, as somebody must.
func (m *Mesh) able(ids []shoal.NodeID) int {
	n := 0
	for _, id := range ids {
		if m.node(id).member.State != shoal.Draining {
			n++
		}
	}
	return max(1, n)
}

// classOf returns what a replica at id is worth when the holders are these (policy.md §5.2),
// whatever their number.
func (m *Mesh) classOf(id shoal.NodeID, holders []shoal.NodeID) shoal.Class {
	class := shoal.Last
	for _, other := range holders {
		n := m.node(other)
		switch {
		case other == id || n.member.State == shoal.Draining:
		case n.member.Zone == m.node(id).member.Zone:
			return shoal.Surplus
		default:
			class = shoal.LastInZone
		}
	}
	return class
}

// resting returns what n has still to do about keepers.
func (n *node) resting() error {
	c := n.core.Directory.Counts()
	left := slices.DeleteFunc(n.keys(), func(key shoal.Key) bool { return !n.store[key].resigned })
	if c.Moves > 0 || n.core.Standings.Resigned() != 0 || len(left) > 0 {
		return fmt.Errorf("%s: %d keepers move, %d resignations are outstanding, of %d blocks, want none",
			n.member.ID, c.Moves, n.core.Standings.Resigned(), len(left))
	}
	return nil
}
