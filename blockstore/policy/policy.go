// Package policy decides which block a full disk gives up next, and which slot of its slabs
// a block gets.
//
// A policy knows slots, not blocks: a slot is the small number under which the block
// store keeps a block for as long as it is there. Policies are pure: calls in, slots out,
// no time, no goroutine, no I/O, the same answers for the same calls. So the simulator
// runs the very code the agent runs.
//
// State is kept in pointer-free arrays indexed by slot, so that the garbage collector
// does not see the number of blocks.
//
// This package does not admit blocks and does not count bytes against a limit: the block
// store does.
package policy

// A Policy orders the slots of one disk by which to give up first. It need not be safe
// for concurrent use: its owner calls it under a lock.
type Policy interface {
	// Insert adds a slot that is not present.
	Insert(slot uint32, item Item)
	// Touch says that the block in slot was read. Unknown slots are ignored.
	Touch(slot uint32)
	// Remove forgets slot. Unknown slots are ignored.
	Remove(slot uint32)
	// Move has slot to, which is not present, take the place of slot from.
	Move(from, to uint32)
	// Victim returns the slot to give up next and leaves it in place: the owner calls
	// Remove once it has given the block up. ok is false when there is none.
	Victim() (slot uint32, ok bool)
	// VictimOf is Victim among the slots of one group.
	VictimOf(group Group) (slot uint32, ok bool)
}

// A Group is a set of slots that are ordered among themselves: those of one dataset.
// The largest number is not one.
type Group uint16

// An Item is what a policy may weigh of a block when it comes in.
type Item struct {
	SizeBytes int64 // what the block occupies on disk
	Group     Group
}
