package policy

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
)

// cache drives a Weighted as a store of equal blocks does: one tick per read.
type cache struct {
	w        *Weighted
	capacity int
	now      Tick
	slots    map[uint64]uint32
	blocks   []uint64 // by slot
	groups   func(block uint64) Group
	deaf     bool // does not say that a block was read
	hits     int
	reads    int
}

func newCache(t testing.TB, capacity int, rules ...Rules) *cache {
	w, err := NewWeighted(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range rules {
		w.SetRules(Group(i), r)
	}
	return &cache{w: w, capacity: capacity, slots: make(map[uint64]uint32), groups: func(uint64) Group { return 0 }}
}

// read reads a block, and reports whether it was there.
func (c *cache) read(block uint64) (hit bool) {
	c.now++
	c.w.Advance(c.now)
	c.reads++
	if slot, ok := c.slots[block]; ok {
		if !c.deaf {
			c.w.Touch(slot, block)
		}
		c.hits++
		return true
	}
	item := Item{SizeBytes: 4096, Group: c.groups(block)}
	c.w.Miss(item.Group, block)
	slot := uint32(len(c.blocks))
	if len(c.slots) == c.capacity {
		if _, ok := c.w.Admit(item); !ok {
			return false
		}
		slot, _ = c.w.Victim()
		c.w.Remove(slot)
		delete(c.slots, c.blocks[slot])
		c.blocks[slot] = block
	} else {
		c.blocks = append(c.blocks, block)
	}
	c.slots[block] = slot
	c.w.Insert(slot, item)
	return false
}

// epochs reads d blocks in n epochs, each in a new order, and returns the share of hits in
// those from warm on.
func (c *cache) epochs(rnd *rand.Rand, d, n, warm int) float64 {
	for e := range n {
		if e == warm {
			c.hits, c.reads = 0, 0
		}
		for _, b := range rnd.Perm(d) {
			c.read(uint64(b))
		}
	}
	return float64(c.hits) / float64(c.reads)
}

// TestGolden has the cases of policy.md §3.7 that need one node only.
func TestGolden(t *testing.T) {
	const seed = 1
	near := func(t *testing.T, what string, got, want, tolerance float64) {
		t.Helper()
		if math.Abs(got-want) > tolerance {
			t.Errorf("%s: hits = %.6f, want %.6f within %v", what, got, want, tolerance)
		}
		t.Logf("%s: hits = %.6f, want %.6f", what, got, want)
	}
	uniform, lru := Rules{Base: BaseUniform, HalfLife: 5000}, Rules{Base: BaseLRU}
	t.Run("G1", func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		for _, c := range []int{1, 20, 100, 150, 200} {
			near(t, "uniform", newCache(t, c, uniform).epochs(rnd, 200, 20, 1), float64(c)/200, 0)
		}
	})
	t.Run("G2", func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		for _, g := range []struct {
			c, d int
			want float64
		}{{2, 4, 0.208333}, {5, 10, 0.177183}, {50, 100, 0.155914}} {
			near(t, "lru", newCache(t, g.c, lru).epochs(rnd, g.d, 400_000/g.d+2, 2), g.want, 0.002)
		}
	})
	t.Run("G3", func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		for _, g := range []struct {
			c    int
			want float64
		}{{500, 0.0342}, {1000, 0.1534}, {1500, 0.4034}} {
			near(t, "lru", newCache(t, g.c, lru).epochs(rnd, 2000, 50, 10), g.want, 0.004)
			near(t, "uniform", newCache(t, g.c, uniform).epochs(rnd, 2000, 10, 1), float64(g.c)/2000, 0)
		}
	})
	t.Run("G7", func(t *testing.T) {
		const warm, reads = 200_000, 800_000
		z := newZipf(10_000, 1)
		for _, g := range []struct {
			name  string
			rules Rules
			deaf  bool
			want  float64
		}{
			{"lru", lru, false, 0.6756},
			{"fifo", Rules{Base: BaseSieve}, true, 0.6309}, // what nobody visits leaves as it came
		} {
			rnd := rand.New(rand.NewPCG(seed, 7))
			c := newCache(t, 1000, g.rules)
			c.deaf = g.deaf
			for i := range warm + reads {
				if i == warm {
					c.hits, c.reads = 0, 0
				}
				c.read(z.next(rnd))
			}
			near(t, g.name, float64(c.hits)/reads, g.want, 0.003)
		}
	})
	t.Run("G10", func(t *testing.T) { testTwoJobs(t, seed, uniform, 1, 0.200, near) })
	t.Run("G10/LRU", func(t *testing.T) { testTwoJobs(t, seed, lru, 1, 0.021, near) })
	t.Run("G14", func(t *testing.T) {
		for _, g := range []struct {
			rules Rules
			want  int
		}{{lru, 2}, {uniform, 6}} {
			c := newCache(t, 2, g.rules)
			for _, b := range "DB" + "BCADBDACDACB" {
				c.read(uint64(b))
			}
			if c.hits != g.want {
				t.Errorf("%v: hits = %d, want %d", g.rules.Base, c.hits, g.want)
			}
		}
	})
}

// TestAuto begins as sieve and ends as uniform, without a loss on the way.
func TestAuto(t *testing.T) {
	const d, c = 2000, 500
	rnd := rand.New(rand.NewPCG(1, 1))
	cache := newCache(t, c, Rules{Base: BaseAuto})
	cache.epochs(rnd, d, 3, 0)
	if got := cache.epochs(rnd, d, 10, 0); got != float64(c)/d {
		t.Errorf("hits = %v in epochs 4 to 13, want %v", got, float64(c)/d)
	}
	z := newZipf(d, 1)
	for range 2 * d {
		cache.read(z.next(rnd))
	}
	cache.hits, cache.reads = 0, 0
	for range 10 * d {
		cache.read(z.next(rnd))
	}
	if got := float64(cache.hits) / float64(cache.reads); got < 0.75 {
		t.Errorf("hits = %v of what is no epochs any more, want 0.75 at least", got)
	}
}

// testTwoJobs reads two datasets in epochs through one cache of 300 blocks: A of 100 blocks
// at 1000 reads a second and B of 1000 at 500.
func testTwoJobs(t *testing.T, seed uint64, rules Rules, wantA, wantB float64, near func(*testing.T, string, float64, float64, float64)) {
	rnd := rand.New(rand.NewPCG(seed, 10))
	c := newCache(t, 300, rules, rules)
	c.groups = func(block uint64) Group { return Group(block >> 32) }
	type read struct {
		at  float64
		job int
	}
	const seconds, warm = 60, 10
	speeds, sizes := []float64{1000, 500}, []int{100, 1000}
	var reads []read
	for j, f := range speeds {
		for i := range int(f * seconds) {
			reads = append(reads, read{(float64(i) + rnd.Float64()) / f, j})
		}
	}
	sort.Slice(reads, func(i, j int) bool { return reads[i].at < reads[j].at })
	var hits, all [2]float64
	orders := make([][]int, 2)
	for _, r := range reads {
		if len(orders[r.job]) == 0 {
			orders[r.job] = rnd.Perm(sizes[r.job])
		}
		b := orders[r.job][0]
		orders[r.job] = orders[r.job][1:]
		hit := c.read(uint64(r.job)<<32 | uint64(b))
		if r.at >= warm {
			all[r.job]++
			if hit {
				hits[r.job]++
			}
		}
	}
	near(t, "A", hits[0]/all[0], wantA, 0.005)
	near(t, "B", hits[1]/all[1], wantB, 0.005)
}

// zipf draws blocks of which the i-th is read in proportion to i^-a.
type zipf struct{ sums []float64 }

func newZipf(n int, a float64) *zipf {
	z := &zipf{sums: make([]float64, n)}
	sum := 0.0
	for i := range z.sums {
		sum += math.Pow(float64(i+1), -a)
		z.sums[i] = sum
	}
	return z
}

func (z *zipf) next(rnd *rand.Rand) uint64 {
	i, _ := slices.BinarySearch(z.sums, rnd.Float64()*z.sums[len(z.sums)-1])
	return uint64(i)
}
