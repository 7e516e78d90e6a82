package replicas

import (
	"math"
	"time"

	"github.com/shoal-mesh/shoal"
)

// Limits say how many replicas of a block a dataset wants. They travel with "+key". The
// zero Limits say nothing: until a home has been told others, one keeper and any number of
// replicas are right.
type Limits struct {
	Min uint8 // keepers, in different zones where there are: 1 to MostKeepers; 0 means 1
	Max uint8 // replicas beyond it are Excess: up to MostReplicas; 0 means unlimited
}

// How large Limits may be.
const (
	MostKeepers  = 3 // the largest Limits.Min
	MostReplicas = 6 // the largest Limits.Max
)

// Keepers returns how many keepers l asks for.
func (l Limits) Keepers() int { return int(max(l.Min, 1)) }

// Keeps reports whether a new holder, which is a keeper by itself, is to stay one where there
// are so many others; one that drains is not.
func (l Limits) Keeps(keepers int, draining bool) bool { return keepers < l.Keepers() && !draining }

// Class returns what a replica is worth, at a place in the order of its block's Holders, that
// would be worth near if any number were wanted.
func (l Limits) Class(near shoal.Class, place int, keeper bool) shoal.Class {
	if l.Max > 0 && place >= int(l.Max) && !keeper {
		return shoal.Excess
	}
	return near
}

// ClassBeside returns what a replica is worth beside so many others that are going to stay, of
// them near of its own zone (policy.md §5.2), whatever their number.
func ClassBeside(others, near int) shoal.Class {
	switch {
	case near > 0:
		return shoal.Surplus
	case others > 0:
		return shoal.LastInZone
	}
	return shoal.Last
}

// clip returns l within its bounds. The zero Limits stay what they are: they say nothing.
func (l Limits) clip() Limits {
	if l == (Limits{}) {
		return l
	}
	return Limits{Min: min(max(l.Min, 1), MostKeepers), Max: min(l.Max, MostReplicas)}
}

// An Idle is how long a block had not been read when it was dropped, log2-coded: zero is
// not known, and v stands for 2^((v-1)/8) - 1 seconds, so neighbours differ by 9 %.
type Idle uint8

// IdleOf returns the code of d; of a d that is not positive, that it is not known.
func IdleOf(d time.Duration) Idle {
	if d <= 0 {
		return 0
	}
	return Idle(1 + min(254, math.Round(8*math.Log2(1+d.Seconds()))))
}

// Duration returns what i stands for. What is shorter than can be told counts as a
// millisecond, so that only what is not known is zero.
func (i Idle) Duration() time.Duration {
	if i == 0 {
		return 0
	}
	seconds := math.Exp2(float64(i-1)/8) - 1
	return max(time.Millisecond, time.Duration(seconds*float64(time.Second)))
}

// An Order tells a holder what its replica of a block is worth (policy.md §2.4).
type Order struct {
	Key shoal.Key
	// Number, unless it is zero, names the block in place of Key: it is that of a Change or a
	// Resignation of the holder.
	Number uint64
	// Standing.Keeper says that the holder must not drop its replica alone from now on;
	// otherwise it may, unless it has been told to keep it since its Version was Basis. No
	// order is for a replica that the holder has gained since then.
	Standing shoal.Standing
	Basis    uint64
	Credit   Idle // how long another replica that has gone had not been read
	Held     bool // set by whoever carries it out: the block is here. It does not travel
}

// A Result says what became of an Order.
type Result uint8

// The results of orders.
const (
	Obeyed   Result = iota // the block is here, and the order carried out
	Gone                   // the block is not here
	Stale                  // the order is older than what the holder knows, or names what it has forgotten
	NotHome                // the node that gave the order is not the home in the holder's view
	outcomes               // how many there are
)

// A Holder is one replica of a block as its home knows it.
type Holder struct {
	Node   shoal.NodeID
	Keeper bool        // has not been told that it may drop its replica alone
	Class  shoal.Class // of the replica
}
