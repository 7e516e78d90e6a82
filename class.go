package shoal

// A Class says what one replica is worth to the fleet, by where the other replicas of its
// block are, as the block's home sees it (policy.md §5.2). Its zero value is the safe one: a
// replica of which nothing has been said counts as the last.
type Class uint8

// The classes, dearest first.
const (
	Last       Class = iota // no other node holds the block
	LastInZone              // no other node of the zone does, but one elsewhere
	Surplus                 // another node of the zone holds it
	Excess                  // more replicas than the dataset may have: to go at once

	Classes = 4 // how many there are
)

// String returns the word for c.
func (c Class) String() string {
	words := [Classes]string{"last", "last-in-zone", "surplus", "excess"}
	if c < Classes {
		return words[c]
	}
	return "invalid"
}

// A Standing is what a holder has been told of its replica of a block.
type Standing struct {
	Class  Class
	Keeper bool // the replica must not be dropped without its home's consent
}

// Untold is the standing of a replica of which its home has said nothing yet.
func Untold() Standing { return Standing{Class: Last, Keeper: true} }

// A Frontier is what a node would give up next, and what it has room for. Values are weights:
// what a byte saves per second (policy.md §5.1), comparable between nodes.
type Frontier struct {
	FreeBytes int64   // what can be stored without giving anything up
	Surplus   float32 // weight of the coldest surplus replica; +Inf when there is none
	Last      float32 // weight of the coldest last replica; +Inf when there is none
}
