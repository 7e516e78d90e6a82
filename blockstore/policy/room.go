package policy

// A Room is what a cache has for a new block before it gives anything up.
type Room struct {
	Never bool // an empty cache would not hold the block
	Quota bool // the block's group has no room left of its quota
	Free  bool // there is free room for it
}

// Admit returns what a new block is worth, and whether it is to be taken in: it gets free
// room, or that of a replica that is worth less; within a quota, only that of one of its own
// group.
func (r Room) Admit(p Admitter, item Item) (weight float32, ok bool) {
	if r.Quota && !r.Never {
		return p.AdmitIn(item)
	}
	weight, ok = p.Admit(item)
	return weight, !r.Never && (r.Free || ok)
}

// MustAsk reports whether a replica may not be given up unless its home agrees (policy.md
// §2.4): it is a keeper's, and the classes of the group's replicas count.
func (r Rules) MustAsk(keeper bool) bool { return keeper && r.Classes }
