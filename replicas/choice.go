package replicas

import (
	"cmp"
	"slices"
)

// A Candidate is a holder of a block that may be chosen as one of its keepers.
type Candidate struct {
	Zone      string
	Score     uint64 // by rendezvous: see Score
	Keeper    bool   // it is one
	Away      bool   // it does not answer
	Draining  bool   // it is about to leave
	Resigning bool   // it would drop its replica
}

// Score returns the rendezvous score of the node whose ID has the hash seed, for a block with
// a hash (policy.md §2.4, rule 2).
func Score(hash, seed uint64) uint64 { return mix(hash ^ seed) }

// ChooseKeepers appends to dst the indexes of those of a block's holders that are to be its
// keepers, as many as l asks for, best first (policy.md §2.4); none when all who could be resign,
// or nobody is there. It changes the order of nothing.
func ChooseKeepers(dst []int, all []Candidate, l Limits) []int {
	var few [3][8]int
	able, draining, resigning := few[0][:0], few[1][:0], few[2][:0]
	for i, c := range all {
		switch {
		case c.Away:
		case c.Resigning:
			resigning = append(resigning, i)
		case c.Draining:
			draining = append(draining, i)
		default:
			able = append(able, i)
		}
	}
	need := l.Keepers()
	switch {
	case len(able) > 0:
	case len(draining) > 0:
		able, need = draining, 1 // there is nobody else: better one that hands it over as it leaves
	case len(resigning) > 1:
		// All would go: one has to stay, and may resign again when it knows that.
		able, need = resigning, 1
	}
	// Keepers stay keepers. The others: where most replicas are, else by rendezvous.
	slices.SortStableFunc(able, func(i, j int) int {
		a, b := all[i], all[j]
		if a.Keeper || b.Keeper {
			return cmp.Compare(rank(b.Keeper), rank(a.Keeper))
		}
		return cmp.Or(
			cmp.Compare(rank(a.Draining), rank(b.Draining)),
			cmp.Compare(inZone(all, b.Zone), inZone(all, a.Zone)),
			cmp.Compare(b.Score, a.Score),
		)
	})
	return pick(dst, all, able, need)
}

// pick appends to dst the first need of able, passing over zones that have one while there are
// others.
func pick(dst []int, all []Candidate, able []int, need int) []int {
	from := len(dst)
	for _, other := range [...]bool{true, false} {
		for _, i := range able {
			chosen := dst[from:]
			if len(chosen) == need {
				return dst
			}
			near := slices.ContainsFunc(chosen, func(j int) bool { return all[j].Zone == all[i].Zone })
			if (!other || !near) && !slices.Contains(chosen, i) {
				dst = append(dst, i)
			}
		}
	}
	return dst
}

// inZone returns how many candidates are of a zone.
func inZone(all []Candidate, zone string) (n int) {
	for _, c := range all {
		if c.Zone == zone {
			n++
		}
	}
	return n
}

// rank orders what is so before what is not.
func rank(v bool) int {
	if v {
		return 1
	}
	return 0
}
