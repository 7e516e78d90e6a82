package policy

// LRU gives up the slot that was inserted or touched longest ago.
//
// It is one circular list, linked by slot numbers inside one array: 8 bytes per slot, no
// pointer, and both neighbours of a slot in the same cache line.
type LRU struct {
	// links[0] is the list's anchor and slot s lies at links[s+1]; the anchor's next is
	// the newest slot, its prev the oldest. A link to itself (next == own index) marks a
	// slot that is not in the list.
	links []link
}

type link struct{ next, prev uint32 }

var _ Policy = (*LRU)(nil)

// NewLRU returns an empty LRU.
func NewLRU() *LRU {
	return &LRU{links: make([]link, 1)}
}

// Insert adds slot as the newest; the item's size does not matter to LRU.
func (l *LRU) Insert(slot uint32, _ Item) {
	at := slot + 1
	for uint32(len(l.links)) <= at {
		own := uint32(len(l.links))
		l.links = append(l.links, link{next: own, prev: own})
	}
	l.unlink(at)
	l.push(at)
}

// Touch makes slot the newest.
func (l *LRU) Touch(slot uint32) {
	at := slot + 1
	if !l.has(at) || l.links[0].next == at {
		return
	}
	l.unlink(at)
	l.push(at)
}

// Remove forgets slot.
func (l *LRU) Remove(slot uint32) {
	if at := slot + 1; l.has(at) {
		l.unlink(at)
	}
}

// Victim returns the oldest slot.
func (l *LRU) Victim() (slot uint32, ok bool) {
	at := l.links[0].prev
	return at - 1, at != 0
}

func (l *LRU) has(at uint32) bool {
	return at < uint32(len(l.links)) && l.links[at].next != at
}

// push links at behind the anchor. It must not be in the list.
func (l *LRU) push(at uint32) {
	newest := l.links[0].next
	l.links[at] = link{next: newest, prev: 0}
	l.links[newest].prev = at
	l.links[0].next = at
}

// unlink takes at out of the list; what is not in the list stays out.
func (l *LRU) unlink(at uint32) {
	k := l.links[at]
	l.links[k.prev].next = k.next
	l.links[k.next].prev = k.prev
	l.links[at] = link{next: at, prev: at}
}
