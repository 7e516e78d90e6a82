package protocol

import (
	"testing"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/replicas"
)

// TestEvictAllAtOnce tells the two holders of 1,000 blocks to evict all they have at the same
// instant, over a network that loses, repeats and reorders. No block disappears: of the two
// that would drop it one is told that the other has gone, and thinks again.
func TestEvictAllAtOnce(t *testing.T) {
	const blocks = 1000
	n := uint64(40)
	if testing.Short() {
		n = 4
	}
	for seed := range n {
		m := New(Config{Seed: seed, Rules: replicas.Rules{Settle: 2_000, RetryAfter: 300}, Faults: Faults{Delay: 50}})
		for i := range 2 + int(seed%3) {
			m.Join(name(i), zone(int(seed/3)%2*i))
		}
		var all []shoal.Key
		for i := range blocks {
			all = append(all, shoal.Key{Index: uint32(i)})
		}
		m.Run(4_000)
		for i, key := range all {
			m.Store(name(i%2), key)
		}
		m.Run(1_000)
		for i, key := range all {
			m.Store(name(1-i%2), key)
		}
		m.Run(150) // the home knows, but not all of them have been told
		if seed%2 == 0 {
			m.Run(3_000)
		}
		m.Faults = Faults{Loss: 0.1, Duplicate: 0.1, Delay: 300}
		for _, key := range all {
			m.Evict(name(0), key)
			m.Evict(name(1), key)
		}
		m.Run(30_000)
		lost := 0
		for _, key := range all {
			if len(m.holders(key)) == 0 {
				lost++
			}
		}
		if s := m.Stats(); lost > 0 || s.Dropped != blocks {
			t.Errorf("seed %d: %d of %d blocks have gone, %d replicas dropped, want none and one of each", seed, lost, blocks, s.Dropped)
		}
		m.Faults = Faults{Delay: 20}
		m.Run(20_000)
		if err := m.Check(all); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}
