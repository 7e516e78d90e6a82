package fuse

import "sync/atomic"

// foundSlots is how many entries are remembered, at most, about 400 bytes each.
const foundSlots = 1024

// found remembers the files that lookups found last, where the kernel opens none: it reads what
// it has just looked up, and names it by its id, which would have to be looked up once more.
type found struct {
	slots [foundSlots]atomic.Pointer[handle] // by id, not open
}

// note remembers the file of h, in the place of another one.
func (f *found) note(h *handle) { f.slots[h.entry.ID%foundSlots].Store(h) }

// take returns the file of an id, and forgets it; nil if it is not remembered.
func (f *found) take(id uint64) *handle {
	slot := &f.slots[id%foundSlots]
	h := slot.Load()
	if h == nil || h.entry.ID != id || !slot.CompareAndSwap(h, nil) {
		return nil
	}
	return h
}

// forget forgets all.
func (f *found) forget() {
	for i := range f.slots {
		f.slots[i].Store(nil)
	}
}
