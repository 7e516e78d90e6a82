package blockstore

import (
	"sync"

	"github.com/shoal-mesh/shoal"
)

// pins says which keys must not be evicted, and for whom. A key may be pinned before its
// block is there.
type pins struct {
	mu     sync.Mutex // guards the fields below
	counts map[shoal.Key]int
	owners map[*Pins]struct{}
}

func newPins() *pins { return &pins{counts: make(map[shoal.Key]int), owners: make(map[*Pins]struct{})} }

func (p *pins) pinned(key shoal.Key) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts[key] > 0
}

// Pins are the pins of one owner: an open file, an operator. They hold blocks until they are
// removed or their owner closes them; a crash ends them all.
type Pins struct {
	store *Store
	owner string
	keys  map[shoal.Key]struct{} // guarded by store.pins.mu; nil when closed
}

// NewPins returns an owner without pins. The caller must Close it.
func (s *Store) NewPins(owner string) *Pins {
	p := &Pins{store: s, owner: owner, keys: make(map[shoal.Key]struct{})}
	s.pins.mu.Lock()
	defer s.pins.mu.Unlock()
	s.pins.owners[p] = struct{}{}
	return p
}

// Add pins keys, and reports how many of their blocks are there now. A pinned block goes only
// when it is bad or removed; a store with nothing but pinned blocks refuses others with
// ErrFull.
func (p *Pins) Add(keys ...shoal.Key) (there int) {
	for _, key := range keys {
		p.store.pins.mu.Lock()
		_, has := p.keys[key]
		closed := p.keys == nil
		if !has && !closed {
			p.keys[key] = struct{}{}
			p.store.pins.counts[key]++
		}
		p.store.pins.mu.Unlock()
		if closed {
			return there
		}
		for _, d := range p.store.disks {
			if d.repin(key) {
				there++
				break
			}
		}
	}
	return there
}

// Remove takes pins of this owner away.
func (p *Pins) Remove(keys ...shoal.Key) {
	for _, key := range keys {
		p.store.pins.mu.Lock()
		_, has := p.keys[key]
		if has {
			delete(p.keys, key)
			p.store.pins.unpin(key)
		}
		p.store.pins.mu.Unlock()
		if has {
			p.store.repin(key)
		}
	}
}

// Close removes all pins of the owner. It may be called twice.
func (p *Pins) Close() error {
	p.store.pins.mu.Lock()
	keys := p.keys
	p.keys = nil
	delete(p.store.pins.owners, p)
	for key := range keys {
		p.store.pins.unpin(key)
	}
	p.store.pins.mu.Unlock()
	for key := range keys {
		p.store.repin(key)
	}
	return nil
}

// unpin takes one pin of key away. Holds mu.
func (p *pins) unpin(key shoal.Key) {
	if p.counts[key]--; p.counts[key] == 0 {
		delete(p.counts, key)
	}
}

func (s *Store) repin(key shoal.Key) {
	for _, d := range s.disks {
		d.repin(key)
	}
}

// stats returns the pinned keys by owner; those of owners with one name add up.
func (p *pins) stats() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	keys := make(map[string]int, len(p.owners))
	for o := range p.owners {
		keys[o.owner] += len(o.keys)
	}
	return keys
}
