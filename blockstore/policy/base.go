package policy

import "fmt"

// A Base is the rule that orders the replicas of one dataset and class among themselves
// (policy.md §5.1).
type Base uint8

// The bases. LFU and GDSF count up to maxReads reads of a block.
const (
	BaseAuto    Base = iota // sieve until two epochs were seen, then uniform, in the order that is there
	BaseUniform             // a stable subset: the newest goes first, an equal block is not admitted
	BaseLRU                 // what was not read for longest goes first
	BaseLFU                 // what was read least often goes first, of equals what was not read for longest
	BaseSieve               // in order of insertion, but what was read since the hand came by is spared once
	BaseGDSF                // greedy dual size frequency: small and often read blocks stay

	bases
)

// String returns the name of b as ParseBase reads it.
func (b Base) String() string {
	if b < bases {
		return baseNames()[b]
	}
	return "invalid"
}

// ParseBase returns the base with a name.
func ParseBase(name string) (Base, error) {
	for b, known := range baseNames() {
		if name == known {
			return Base(b), nil
		}
	}
	return 0, fmt.Errorf("base policy %q: want one of %v", name, baseNames())
}

func baseNames() [bases]string {
	return [bases]string{"auto", "uniform", "lru", "lfu", "sieve", "gdsf"}
}
