package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// A reference is a base written down as plainly as can be. Sizes and reads are its own.
type reference interface {
	insert(slot uint32, size int64)
	touch(slot uint32)
	victim() uint32
	remove(slot uint32)
}

// refLRU has the oldest first.
type refLRU struct{ order []uint32 }

func (r *refLRU) insert(slot uint32, _ int64) { r.order = append(r.order, slot) }
func (r *refLRU) victim() uint32              { return r.order[0] }
func (r *refLRU) remove(slot uint32) {
	i := slices.Index(r.order, slot)
	r.order = slices.Delete(r.order, i, i+1)
}

func (r *refLRU) touch(slot uint32) {
	r.remove(slot)
	r.insert(slot, 0)
}

// refUniform gives up the newest.
type refUniform struct{ refLRU }

func (r *refUniform) touch(uint32)   {}
func (r *refUniform) victim() uint32 { return r.order[len(r.order)-1] }

// refLFU gives up what was read least often, of equals what was not read for longest.
type refLFU struct {
	refLRU
	reads map[uint32]int
}

func (r *refLFU) insert(slot uint32, _ int64) {
	r.refLRU.insert(slot, 0)
	r.reads[slot] = 1
}

func (r *refLFU) touch(slot uint32) {
	r.refLRU.touch(slot)
	r.reads[slot] = min(r.reads[slot]+1, 255)
}

func (r *refLFU) victim() uint32 {
	least := r.order[0]
	for _, s := range r.order {
		if r.reads[s] < r.reads[least] {
			least = s
		}
	}
	return least
}

// refGDSF gives up the least L + reads/size, of equals what was not read for longest.
type refGDSF struct {
	refLFU
	sizes map[uint32]int64
	h     map[uint32]float64
	level float64
}

func (r *refGDSF) insert(slot uint32, size int64) {
	r.refLFU.insert(slot, size)
	r.sizes[slot] = size
	r.h[slot] = r.level + 1/float64(size)
}

func (r *refGDSF) touch(slot uint32) {
	r.refLFU.touch(slot)
	r.h[slot] = r.level + float64(r.reads[slot])/float64(r.sizes[slot])
}

func (r *refGDSF) victim() uint32 {
	least := r.order[0]
	for _, s := range r.order {
		if r.h[s] < r.h[least] {
			least = s
		}
	}
	return least
}

func (r *refGDSF) remove(slot uint32) {
	if slot == r.victim() {
		r.level = r.h[slot]
	}
	r.refLFU.remove(slot)
}

// refSieve is a queue, oldest first, and a hand that passes what was visited.
type refSieve struct {
	refLRU
	visited map[uint32]bool
	hand    int
}

func (r *refSieve) insert(slot uint32, _ int64) {
	r.refLRU.insert(slot, 0)
	r.visited[slot] = false
}

func (r *refSieve) touch(slot uint32) { r.visited[slot] = true }

func (r *refSieve) victim() uint32 {
	if r.hand >= len(r.order) {
		r.hand = 0
	}
	for r.visited[r.order[r.hand]] {
		r.visited[r.order[r.hand]] = false
		r.hand = (r.hand + 1) % len(r.order)
	}
	return r.order[r.hand]
}

func (r *refSieve) remove(slot uint32) {
	i := slices.Index(r.order, slot)
	wrapped := r.hand >= len(r.order)
	if i < r.hand {
		r.hand--
	}
	r.refLRU.remove(slot)
	if !wrapped && r.hand >= len(r.order) {
		r.hand = 1 << 30 // past the newest: it goes on at the oldest, whatever comes meanwhile
	}
}

func references() map[Base]func() reference {
	lfu := func() refLFU { return refLFU{reads: make(map[uint32]int)} }
	return map[Base]func() reference{
		BaseLRU:     func() reference { return new(refLRU) },
		BaseUniform: func() reference { return new(refUniform) },
		BaseLFU:     func() reference { r := lfu(); return &r },
		BaseSieve:   func() reference { return &refSieve{visited: make(map[uint32]bool)} },
		BaseGDSF: func() reference {
			return &refGDSF{refLFU: lfu(), sizes: make(map[uint32]int64), h: make(map[uint32]float64)}
		},
	}
}

// TestReductions has one group of one class give up the very slots its base would.
func TestReductions(t *testing.T) {
	for base, reference := range references() {
		for _, classes := range []bool{false, true} {
			for seed := range uint64(5) {
				t.Run(fmt.Sprintf("%v/classes=%v/%d", base, classes, seed), func(t *testing.T) {
					testReduction(t, Rules{Base: base, Classes: classes}, reference(), seed)
				})
			}
		}
	}
}

func testReduction(t *testing.T, rules Rules, ref reference, seed uint64) {
	const slots, steps, most = 300, 20_000, 200
	rnd := rand.New(rand.NewPCG(seed, 0))
	w, _ := NewWeighted(Config{})
	w.SetRules(3, rules)
	var present []uint32
	drop := func(slot uint32) {
		w.Remove(slot)
		ref.remove(slot)
		i := slices.Index(present, slot)
		present = slices.Delete(present, i, i+1)
	}
	for step := range steps {
		w.Advance(Tick(step))
		slot := rnd.Uint32N(slots) * rnd.Uint32N(slots) / slots // low ones more often
		here := slices.Contains(present, slot)
		switch op := rnd.IntN(20); {
		case here && op == 0:
			drop(slot)
		case here:
			w.Touch(slot, uint64(slot))
			ref.touch(slot)
		case len(present) < most && op < 15:
			size := 4096 * int64(1+rnd.IntN(5)*rnd.IntN(5))
			w.Insert(slot, Item{SizeBytes: size, Group: 3})
			ref.insert(slot, size)
			present = append(present, slot)
		case len(present) > 0:
			got, ok := w.Victim()
			if want := ref.victim(); !ok || got != want {
				t.Fatalf("step %d: Victim() = %d, %v, want %d", step, got, ok, want)
			}
			drop(got)
		}
	}
}
