package workload

import "math/rand/v2"

// A shuffle is a random order of the numbers below n that is made as far as it is asked for
// (Fisher and Yates). It takes 4 bytes a number.
type shuffle struct {
	order []uint32
	made  uint32
	rng   *rand.PCG
	swaps [64]uint32
	sum   uint32 // of no use: see make
}

func newShuffle(n uint32, seed, stream uint64) *shuffle {
	s := &shuffle{order: make([]uint32, n), rng: new(rand.PCG)}
	s.again(seed, stream)
	return s
}

// again begins another order, which depends on nothing but the seed and the stream.
func (s *shuffle) again(seed, stream uint64) {
	for i := range s.order {
		s.order[i] = uint32(i)
	}
	s.rng.Seed(seed, stream)
	s.made = 0
}

// at returns the i-th number.
func (s *shuffle) at(i uint32) uint32 {
	for s.made <= i {
		s.make()
	}
	return s.order[i]
}

// make makes some more of the order. It looks at all places first, so that the processor waits
// for the memory of many at once.
func (s *shuffle) make() {
	n := uint32(len(s.order))
	more := min(uint32(len(s.swaps)), n-s.made)
	for i := range more {
		j := s.made + i + below(s.rng, n-s.made-i)
		s.swaps[i] = j
		s.sum += s.order[j]
	}
	for _, j := range s.swaps[:more] {
		s.order[s.made], s.order[j] = s.order[j], s.order[s.made]
		s.made++
	}
}

// below returns a random number below n, which is not 0 (Lemire's multiplication; with 64
// random bits the bias is below 2^-32).
func below(rng *rand.PCG, n uint32) uint32 {
	return uint32((rng.Uint64() >> 32 * uint64(n)) >> 32)
}

// A pair is the orders of two epochs that follow one another, as the ranks of a job may be in
// either.
type pair struct {
	orders [2]*shuffle
	epoch  int    // the later one that was begun
	seed   uint64 // of all orders
}

func newPair(n uint32, seed, stream uint64) *pair {
	seed = scatter(seed + scatter(stream))
	return &pair{orders: [2]*shuffle{newShuffle(n, seed, 0), nil}, seed: seed}
}

// of returns the order of an epoch: the last one that was asked for, the one before, or a later
// one.
func (p *pair) of(epoch int) *shuffle {
	if epoch > p.epoch {
		p.epoch = epoch
		if at := epoch & 1; p.orders[at] == nil {
			p.orders[at] = newShuffle(uint32(len(p.orders[1-at].order)), p.seed, uint64(epoch))
		} else {
			p.orders[at].again(p.seed, uint64(epoch))
		}
	}
	return p.orders[epoch&1]
}
