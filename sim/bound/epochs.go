package bound

import "math"

// Uniform returns the hit ratio of shuffled epochs, from the second one on, in a cache that
// keeps what it has (policy.md §3.1; the MinIO cache of CoorDL, arXiv 2007.06775). No policy
// has more, Belady's included: each block is read once per epoch, so that every hit is on a
// block that was resident when the epoch began, and these are at most c of d.
func Uniform(k float64) float64 {
	return min(1, max(0, k))
}

// LRUEpoch returns the hit ratio of LRU when every epoch is a new permutation, for many blocks:
// k + (1-k) ln(1-k), which is about k²/2 (policy.md §3.1).
func LRUEpoch(k float64) float64 {
	switch {
	case k <= 0:
		return 0
	case k >= 1:
		return 1
	}
	return k + (1-k)*math.Log1p(-k)
}

// LRUEpochExact returns what LRUEpoch does for a cache of c blocks out of d, without the
// assumption that these are many (policy.md §3.1, the finite form).
//
// A block that a others followed in one epoch is a hit in the next if at most c-1-a blocks not
// among these come before it. It comes anywhere in that epoch alike, and of d-1-a marked ones
// among d-1 in random order the (c-a)-th is at place (c-a) d/(d-a) in the mean, so that this is
// the mean number of places in which it is a hit. The mean over a is
// (1/d) Σ (c-a)/(d-a) for a < c.
func LRUEpochExact(c, d int) float64 {
	if c >= d {
		return 1
	}
	sum := 0.0
	for a := range max(0, c) {
		sum += float64(c-a) / float64(d-a)
	}
	return sum / float64(d)
}

// RandomEpoch returns the hit ratio of random replacement when every epoch is a new permutation,
// for many blocks: 1 - k ln(k + (1-k) e^(1/k)) (policy.md §3.1, from the logistic equation
// h' = -h(1-h)/k with h(0) = k).
func RandomEpoch(k float64) float64 {
	switch {
	case k <= 0:
		return 0
	case k >= 1:
		return 1
	}
	// e^(1/k) taken out of the logarithm, as it overflows for a small k.
	return -k * math.Log1p(k*math.Expm1(-1/k))
}

// LRUSampler returns the local hit ratio of one of n ranks that share each epoch at random, as
// with PyTorch's DistributedSampler, each with an LRU cache of the share kappa of the dataset
// (policy.md §3.3). It is LRUEpoch for one rank and tends to kappa for many.
//
// A rank reads a block again after g epochs with probability q^(g-1)/n, q = 1-1/n, and what it
// has read of others in between leaves the block in place if A B q^(g-1) > 1-kappa, with A and
// B uniform on [q, 1].
func LRUSampler(kappa float64, n int) float64 {
	switch {
	case kappa <= 0:
		return 0
	case kappa >= 1:
		return 1
	case n <= 1:
		return LRUEpoch(kappa)
	}
	q := 1 - 1/float64(n)
	hit := 0.0
	for left := 1.0; left > 1-kappa; left *= q { // q^(g-1)
		hit += (1 - q) * left * productAbove((1-kappa)/left, q)
	}
	return hit
}

// productAbove returns the probability that A B > t for A and B uniform on [q, 1] and t < 1, by
// integrating P(B > t/A) over A.
func productAbove(t, q float64) float64 {
	// No B is enough for an A below t, and any B for one above t/q; between them those are
	// that are above t/A, with probability (1-t/A)/(1-q).
	from, sure := max(q, t), min(1, max(q, t/q))
	area := sure - from - t*math.Log(sure/from) // ∫ (1 - t/A) dA
	return area/((1-q)*(1-q)) + (1-sure)/(1-q)
}
