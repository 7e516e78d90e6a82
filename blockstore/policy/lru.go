package policy

// LRU gives up the slot that was inserted or touched longest ago.
//
// Each group is a list, linked by slot numbers inside one array: 14 bytes per slot, no
// pointer, and both neighbours of a slot in the same cache line. Over all groups the oldest
// is found by comparing their ends by a clock that ticks every clockStep calls; within one
// tick the lower group goes first.
type LRU struct {
	pages  []*lruPage // of slotsPerPage slots, so that growing copies nothing
	groups []ends     // by group
	calls  uint64
}

type lruPage struct {
	links [slotsPerPage]link
	group [slotsPerPage]uint16 // the group, +1; 0 for a slot that is in no list
}

// A link is one slot's place in its group's list.
type link struct {
	newer, older uint32 // slots; noSlot at the ends
	tick         uint32 // when it was inserted or touched
}

// ends are the first and the last slot of a list; noSlot when it is empty.
type ends struct{ newest, oldest uint32 }

const (
	noSlot       = ^uint32(0)
	slotsPerPage = 1 << 12
	clockStep    = 256 // 32 bits of ticks last for 10^12 calls
)

// NewLRU returns an empty LRU.
func NewLRU() *LRU { return new(LRU) }

// Insert adds slot as the newest of its group; the item's size does not matter to LRU.
func (l *LRU) Insert(slot uint32, item Item) {
	l.reach(slot)
	for len(l.groups) <= int(item.Group) {
		l.groups = append(l.groups, ends{noSlot, noSlot})
	}
	l.Remove(slot)
	l.push(slot, item.Group)
}

// Touch makes slot the newest of its group.
func (l *LRU) Touch(slot uint32) {
	group, ok := l.listed(slot)
	switch {
	case !ok:
	case l.groups[group].newest == slot:
		l.at(slot).tick = l.tick()
	default:
		l.Remove(slot)
		l.push(slot, group)
	}
}

// Remove forgets slot.
func (l *LRU) Remove(slot uint32) {
	if group, ok := l.listed(slot); ok {
		k := l.at(slot)
		l.join(group, k.newer, k.older)
		l.setGroup(slot, 0)
	}
}

// Move has to take the place of from.
func (l *LRU) Move(from, to uint32) {
	group, ok := l.listed(from)
	if !ok {
		return
	}
	l.reach(to)
	k := l.at(from)
	*l.at(to) = *k
	l.join(group, k.newer, to)
	l.join(group, to, k.older)
	l.setGroup(from, 0)
	l.setGroup(to, uint16(group)+1)
}

// Victim returns the oldest slot.
func (l *LRU) Victim() (slot uint32, ok bool) {
	slot = noSlot
	for _, g := range l.groups {
		if g.oldest != noSlot && (slot == noSlot || l.at(g.oldest).tick < l.at(slot).tick) {
			slot = g.oldest
		}
	}
	return slot, slot != noSlot
}

// VictimOf returns the oldest slot of a group.
func (l *LRU) VictimOf(group Group) (slot uint32, ok bool) {
	if int(group) >= len(l.groups) {
		return 0, false
	}
	slot = l.groups[group].oldest
	return slot, slot != noSlot
}

// reach has a link for slot.
func (l *LRU) reach(slot uint32) {
	for len(l.pages) <= int(slot/slotsPerPage) {
		l.pages = append(l.pages, new(lruPage))
	}
}

func (l *LRU) at(slot uint32) *link { return &l.pages[slot/slotsPerPage].links[slot%slotsPerPage] }

func (l *LRU) setGroup(slot uint32, mark uint16) {
	l.pages[slot/slotsPerPage].group[slot%slotsPerPage] = mark
}

// listed returns the group of a slot; ok is false when it is in no list.
func (l *LRU) listed(slot uint32) (group Group, ok bool) {
	if int(slot/slotsPerPage) >= len(l.pages) {
		return 0, false
	}
	mark := l.pages[slot/slotsPerPage].group[slot%slotsPerPage]
	return Group(mark - 1), mark != 0
}

// push makes slot, which is in no list, the newest of a group.
func (l *LRU) push(slot uint32, group Group) {
	l.at(slot).tick = l.tick()
	second := l.groups[group].newest
	l.join(group, noSlot, slot)
	l.join(group, slot, second)
	l.setGroup(slot, uint16(group)+1)
}

// tick counts a call, and returns the time.
func (l *LRU) tick() uint32 {
	l.calls++
	return uint32((l.calls - 1) / clockStep)
}

// join makes two slots of a group neighbours; noSlot is the end of the list.
func (l *LRU) join(group Group, newer, older uint32) {
	if newer == noSlot {
		l.groups[group].newest = older
	} else {
		l.at(newer).older = older
	}
	if older == noSlot {
		l.groups[group].oldest = newer
	} else {
		l.at(older).newer = newer
	}
}
