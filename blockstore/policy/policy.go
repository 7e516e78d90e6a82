// Package policy decides which replica a full disk gives up next, what a new one would be worth
// beside those that are there, and which slot of its slabs a block gets.
//
// A policy knows slots, not blocks: a slot is the small number under which the block
// store keeps a block for as long as it is there. Policies are pure: calls in, slots out,
// no time, no goroutine, no I/O, the same answers for the same calls. So the simulator
// runs the very code the agent runs.
//
// State is kept in pointer-free arrays indexed by slot, so that the garbage collector
// does not see the number of blocks.
//
// This package does not count bytes against a limit, and nothing goes because of it alone:
// the block store asks, and acts. What is decided and why: docs/eviction.md.
package policy

import "github.com/shoal-mesh/shoal"

// A Policy orders the slots of one disk by which to give up first. It need not be safe
// for concurrent use: its owner calls it under a lock. Slots it does not know are ignored.
// See Weighted for what its methods do.
type Policy interface {
	Queue
	Reader
	Weigher
	Admitter
}

// A Queue takes slots in and says which to give up next.
type Queue interface {
	// Insert adds a slot that is not present, read now.
	Insert(slot uint32, item Item)
	// Restore is Insert of a block of an earlier run, last read at a tick.
	Restore(slot uint32, item Item, at Tick)
	// Remove forgets slot.
	Remove(slot uint32)
	// Move has slot to, which is not present, take the place of slot from.
	Move(from, to uint32)
	// Victim returns the slot to give up next and leaves it in place: the owner calls
	// Remove once it has given the block up. ok is false when there is none.
	Victim() (slot uint32, ok bool)
	// VictimOf is Victim among the slots of one group.
	VictimOf(group Group) (slot uint32, ok bool)
}

// A Reader is told of reads.
type Reader interface {
	// Advance sets the time. It must not go back.
	Advance(now Tick)
	// Touch says that the block in slot was read here.
	Touch(slot uint32, hash uint64)
	// Serve says that the block in slot was read by a peer.
	Serve(slot uint32, hash uint64)
	// Miss says that a block of a group was read that is not here.
	Miss(group Group, hash uint64)
	// Credit says that another replica of the block in slot, dropped now, had not been read
	// for so long.
	Credit(slot uint32, idle Tick)
	// Idle returns for how long the block in slot has not been read.
	Idle(slot uint32) Tick
}

// A Weigher says what replicas are worth.
type Weigher interface {
	// SetRules sets the rules of a group.
	SetRules(group Group, rules Rules)
	// SetClass says that the replica in slot is of a class now.
	SetClass(slot uint32, class shoal.Class)
	// Defer takes slot out of the order until SetClass or Resume.
	Defer(slot uint32)
	// Resume takes a slot that was deferred back into the order.
	Resume(slot uint32)
}

// An Admitter says what new replicas are worth beside those that are here.
type Admitter interface {
	// Admit returns what a new replica would be worth, and whether Victim's is worth less.
	Admit(item Item) (value float32, ok bool)
	// Weight returns what the replica in slot is worth, 0 when there is none.
	Weight(slot uint32) float32
	// AdmitIn is Admit where only replicas of the item's group may be given up for it.
	AdmitIn(item Item) (value float32, ok bool)
	// SetCosts sets what a read from a peer of the zone and of another zone costs, where one
	// from the UFS costs 1.
	SetCosts(peer, zone float64)
	// Frontier returns the weights of the coldest replica that is not the last of its block
	// in the fleet, and of the coldest that is.
	Frontier() (surplus, last float32)
}

// A Group is a set of slots that are ordered among themselves: those of one dataset.
// The largest number is not one.
type Group uint16

// An Item is what a policy may weigh of a block when it comes in.
type Item struct {
	SizeBytes int64 // what the block occupies on disk
	Group     Group
	Class     shoal.Class // what the replica is worth to the fleet; LRU does not ask
}
