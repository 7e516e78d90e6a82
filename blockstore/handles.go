package blockstore

import (
	"sync"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore/policy"
)

// handles is a disk's bounded set of open containers with their chunk sums, so that a
// block read in pieces is opened once. A handle in use stays open though it was pushed
// out or its block evicted; so the bound is exceeded by at most the readers at work.
type handles struct {
	mu    sync.Mutex // guards the fields below
	open  map[uint64]*handle
	order *policy.LRU
	at    []*handle // by the order's slots; nil when free
	free  []uint32
}

// A handle is one open container.
type handle struct {
	container uint64
	file      file
	sums      []shoal.Sum // read-only
	slot      uint32
	refs      int  // readers, and one for being in the set
	listed    bool // is in the set
}

func newHandles(limit int) *handles {
	h := &handles{open: make(map[uint64]*handle), order: policy.NewLRU(), at: make([]*handle, limit)}
	for i := range limit {
		h.free = append(h.free, uint32(i))
	}
	return h
}

// acquire returns the open handle of a container, or nil. The caller must release it.
func (h *handles) acquire(container uint64) *handle {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.open[container]
	if k != nil {
		k.refs++
		h.order.Touch(k.slot)
	}
	return k
}

// add takes k into the set, with one reference for the caller. If another was faster, k is
// closed and the other returned.
func (h *handles) add(k *handle) *handle {
	var dead *handle
	h.mu.Lock()
	if other := h.open[k.container]; other != nil {
		other.refs++
		h.mu.Unlock()
		_ = k.file.Close()
		return other
	}
	if len(h.free) == 0 {
		oldest, _ := h.order.Victim()
		dead = h.unlist(h.at[oldest])
	}
	k.slot = h.free[len(h.free)-1]
	h.free = h.free[:len(h.free)-1]
	h.at[k.slot] = k
	h.open[k.container] = k
	h.order.Insert(k.slot, policy.Item{})
	k.refs, k.listed = 2, true
	h.mu.Unlock()
	dead.close()
	return k
}

// release gives back what acquire or add returned.
func (h *handles) release(k *handle) {
	h.mu.Lock()
	dead := h.unref(k)
	h.mu.Unlock()
	dead.close()
}

// forget takes a container out of the set, because its block goes.
func (h *handles) forget(container uint64) {
	var dead *handle
	h.mu.Lock()
	if k := h.open[container]; k != nil {
		dead = h.unlist(k)
	}
	h.mu.Unlock()
	dead.close()
}

// close empties the set. Handles in use are closed by their release.
func (h *handles) close() {
	h.mu.Lock()
	var dead []*handle
	for _, k := range h.at {
		if k != nil {
			dead = append(dead, h.unlist(k))
		}
	}
	h.mu.Unlock()
	for _, k := range dead {
		k.close()
	}
}

// unlist takes k out of the set and returns it if it is to be closed. Holds mu.
func (h *handles) unlist(k *handle) *handle {
	if !k.listed {
		return nil
	}
	k.listed = false
	delete(h.open, k.container)
	h.order.Remove(k.slot)
	h.at[k.slot] = nil
	h.free = append(h.free, k.slot)
	return h.unref(k)
}

// unref returns k if that was the last reference. Holds mu.
func (h *handles) unref(k *handle) *handle {
	k.refs--
	if k.refs > 0 {
		return nil
	}
	return k
}

// close closes the container of a handle nobody refers to; nil is none.
func (k *handle) close() {
	if k != nil {
		_ = k.file.Close() // read-only: nothing can be lost
	}
}
