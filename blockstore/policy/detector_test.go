package policy

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// reads feeds blocks to a detector, perTick of them in a tick.
type reads struct {
	detector
	now     Tick
	n       int
	perTick int
	found   int // the read at which epochs were found last
	lost    int // the read at which they were lost last
}

func newReads() *reads { return &reads{detector: detector{burst: 8}, perTick: 1, now: 1000} }

func (r *reads) block(b uint64) {
	if r.n++; r.n%r.perTick == 0 {
		r.now++
	}
	if r.read(b, r.now) {
		if r.epochs {
			r.found = r.n
		} else {
			r.lost = r.n
		}
	}
}

// share reads epochs of d blocks as one of n nodes does that each read a part.
func (r *reads) share(rnd *rand.Rand, d, n, epochs int) {
	for range epochs {
		for _, b := range rnd.Perm(d)[:d/n] {
			r.block(uint64(b))
		}
	}
}

func TestDetectorFindsEpochs(t *testing.T) {
	for _, c := range []struct{ d, n, within int }{
		{20, 1, 3},
		{100, 1, 3},
		{5000, 1, 3},
		{300_000, 1, 3},
		{5000, 2, 5},
		{30_000, 3, 5},
		{30_000, 8, 16},
		{300_000, 8, 16},
	} {
		t.Run(fmt.Sprintf("%d/%d", c.d, c.n), func(t *testing.T) {
			for seed := range uint64(4) {
				rnd := rand.New(rand.NewPCG(seed, 5))
				r := newReads()
				if c.d < 100 {
					r.burst = 1 // or much of an epoch is one burst
				}
				r.share(rnd, c.d, c.n, c.within)
				epoch := c.d / c.n
				if !r.epochs {
					t.Errorf("seed %d: epochs = false after %d epochs", seed, c.within)
				} else if r.found < 2*epoch {
					t.Errorf("seed %d: epochs found in read %d, want two epochs of %d first", seed, r.found, epoch)
				}
				t.Logf("seed %d: found after %.2f epochs, %.0f blocks each", seed, float64(r.found)/float64(epoch), r.blocks())
				r.share(rnd, c.d, c.n, 20)
				if !r.epochs {
					t.Errorf("seed %d: epochs lost in read %d of epochs of %d", seed, r.lost, epoch)
				}
			}
		})
	}
}

// TestDetectorOfHolder has a node of n read its part of each epoch and serve the blocks it
// holds, an n-th, to all others.
func TestDetectorOfHolder(t *testing.T) {
	const d, epochs = 64_000, 60
	for _, n := range []int{3, 16, 64} {
		for seed := range uint64(2) {
			rnd := rand.New(rand.NewPCG(seed, 5))
			r := newReads()
			for range epochs {
				for _, b := range rnd.Perm(d) {
					if b < d/n || rnd.IntN(n) == 0 {
						r.block(uint64(b))
					}
				}
			}
			if !r.epochs {
				t.Errorf("%d nodes, seed %d: epochs = false after %d epochs, found in read %d, lost in read %d", n, seed, epochs, r.found, r.lost)
			}
			t.Logf("%d nodes, seed %d: found after %.1f epochs, lost after %.1f", n, seed, float64(r.found*n)/(2*d), float64(r.lost*n)/(2*d))
		}
	}
}

func TestDetectorCountsBlocks(t *testing.T) {
	for _, d := range []int{20, 1000, 200_000} {
		r := newReads()
		r.share(rand.New(rand.NewPCG(1, 5)), d, 1, 4)
		if got := r.blocks(); got < 0.9*float64(d) || got > 1.1*float64(d) {
			t.Errorf("blocks() = %.0f, want %d within a tenth", got, d)
		}
	}
}

func TestDetectorFindsNoEpochs(t *testing.T) {
	const n = 300_000
	patterns := map[string]func(r *reads, rnd *rand.Rand){
		"new": func(r *reads, _ *rand.Rand) {
			for i := range n {
				r.block(uint64(i))
			}
		},
		"loop": func(r *reads, _ *rand.Rand) { // of half a second
			r.perTick = 1000
			for i := range n {
				r.block(uint64(i % 4000))
			}
		},
		"slow loop of few": func(r *reads, _ *rand.Rand) {
			for i := range n {
				r.block(uint64(i % 10))
			}
		},
		"hot and new": func(r *reads, rnd *rand.Rand) {
			for i := range n {
				r.block(uint64(i) + 1000)
				r.block(rnd.Uint64N(100))
			}
		},
	}
	for _, a := range []float64{0.6, 0.8, 1, 1.2} {
		for _, blocks := range []int{100, 10_000, 1_000_000} {
			z := newZipf(blocks, a)
			patterns[fmt.Sprintf("zipf/%v/%d", a, blocks)] = func(r *reads, rnd *rand.Rand) {
				for range n {
					r.block(z.next(rnd))
				}
			}
		}
	}
	for name, pattern := range patterns {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(2) {
				r := newReads()
				pattern(r, rand.New(rand.NewPCG(seed, 5)))
				if r.found != 0 {
					t.Errorf("seed %d: epochs found in read %d, lost in read %d", seed, r.found, r.lost)
				}
			}
		})
	}
}

func TestDetectorTurnsBack(t *testing.T) {
	const d = 10_000
	z := newZipf(d, 1)
	for name, c := range map[string]struct {
		next   func(rnd *rand.Rand, i int) uint64
		within int
	}{
		"zipf": {func(rnd *rand.Rand, _ int) uint64 { return z.next(rnd) }, 2 * d},
		"new":  {func(_ *rand.Rand, i int) uint64 { return uint64(d + i) }, 6 * d},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(10) {
				rnd := rand.New(rand.NewPCG(seed, 5))
				r := newReads()
				r.share(rnd, d, 1, 4)
				for i := range c.within {
					r.block(c.next(rnd, i))
				}
				if r.epochs || r.lost == 0 {
					t.Errorf("seed %d: epochs = %v, lost in read %d", seed, r.epochs, r.lost)
				}
				t.Logf("seed %d: lost after %.2f epochs", seed, float64(r.lost-4*d)/d)
			}
		})
	}
}
