package bound

import (
	"math/rand/v2"
	"testing"
)

func count(hits []bool) (n int) {
	for _, h := range hits {
		if h {
			n++
		}
	}
	return n
}

// The hits were computed independently of this package. Requests come from a linear congruential
// generator: each is the lesser of two numbers, so that low ones are popular.
func TestBelady(t *testing.T) {
	tests := []struct{ requests, blocks, capacity, want int }{
		{1000, 50, 5, 391},
		{1000, 50, 25, 833},
		{1000, 50, 50, 950},
		{1000, 200, 1, 62},
		{2000, 100, 10, 816},
		{2000, 100, 90, 1897},
		{500, 10, 3, 323},
		{3000, 300, 30, 1309},
		{3000, 300, 150, 2468},
		{5000, 1000, 100, 2152},
		{5000, 40, 20, 4207},
		{1000, 50, 0, 0},
	}
	for _, tt := range tests {
		x := uint64(1)
		next := func() uint64 {
			x = (x*1103515245 + 12345) % (1 << 31)
			return x >> 16 % uint64(tt.blocks)
		}
		ids := make([]uint64, tt.requests)
		for i := range ids {
			ids[i] = min(next(), next())
		}
		if got := count(Belady(ids, tt.capacity)); got != tt.want {
			t.Errorf("Belady(%d requests for %d blocks, %d) = %d hits, want %d", tt.requests, tt.blocks, tt.capacity, got, tt.want)
		}
	}
}

// G1 of policy.md §3.7: in shuffled epochs MIN has c hits per epoch from the second on, and no
// epoch has more. (The first epoch has none.)
func TestBeladyShuffledEpochs(t *testing.T) {
	const blocks, epochs = 200, 12
	rng := rand.New(rand.NewPCG(1, 2))
	var ids []uint64
	for range epochs {
		for _, b := range rng.Perm(blocks) {
			ids = append(ids, uint64(b)<<40)
		}
	}
	for _, c := range []int{1, 20, 50, 100, 150, 199, 200, 300} {
		hits := Belady(ids, c)
		for e := range epochs {
			want := 0
			if e > 0 {
				want = min(c, blocks)
			}
			if got := count(hits[e*blocks : (e+1)*blocks]); got != want {
				t.Errorf("c = %d, epoch %d: %d hits, want %d", c, e, got, want)
			}
		}
	}
}

// best returns the most hits that any decisions have, by trying all.
func best(ids []uint64, cached map[uint64]bool, capacity int) int {
	if len(ids) == 0 {
		return 0
	}
	id, rest := ids[0], ids[1:]
	if cached[id] {
		return 1 + best(rest, cached, capacity)
	}
	most := best(rest, cached, capacity) // bypass
	with := func() map[uint64]bool {
		c := map[uint64]bool{id: true}
		for x := range cached {
			c[x] = true
		}
		return c
	}
	if len(cached) < capacity {
		return max(most, best(rest, with(), capacity))
	}
	for victim := range cached {
		c := with()
		delete(c, victim)
		most = max(most, best(rest, c, capacity))
	}
	return most
}

func TestBeladyIsBest(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		ids := make([]uint64, 4+rng.IntN(7))
		for i := range ids {
			ids[i] = rng.Uint64N(5)
		}
		capacity := 1 + rng.IntN(3)
		if got, want := count(Belady(ids, capacity)), best(ids, nil, capacity); got != want {
			t.Errorf("Belady(%v, %d) = %d hits, want %d", ids, capacity, got, want)
		}
	}
}

func TestBeladyGrowsWithCapacity(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	ids := make([]uint64, 3000)
	for i := range ids {
		ids[i] = min(rng.Uint64N(200), rng.Uint64N(200), rng.Uint64N(200))
	}
	last := -1
	for c := range 200 {
		got := count(Belady(ids, c))
		if got < last {
			t.Fatalf("Belady(%d) = %d hits, fewer than the %d of %d", c, got, last, c-1)
		}
		last = got
	}
}
