package bound

import "math"

// Zipf returns the probabilities with which n blocks are read, the most popular first: that of
// the i-th is proportional to 1/i^a. It takes 8 bytes per block.
func Zipf(n int, a float64) []float64 {
	p := make([]float64, n)
	sum := 0.0
	for i := range p {
		p[i] = math.Pow(float64(i+1), -a)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}

// A Replacement is how a cache makes room, for Che.
type Replacement uint8

// The replacements that Che knows.
const (
	LRU  Replacement = iota
	FIFO             // and random replacement, which has the same hit ratio
)

// Che returns the hit ratio of a cache for c of the blocks that are read independently of one
// another with probabilities p, and its characteristic time in reads: how long a block stays that
// is not read again (policy.md §3.5; the approximation of Che, as Fricker, Robert and Roberts
// explain and extend it, arXiv 1202.3974). A cache for all blocks has an infinite time.
func Che(p []float64, c float64, r Replacement) (hit, time float64) {
	read := 0
	for _, x := range p {
		if x > 0 {
			read++
		}
	}
	switch {
	case c <= 0:
		return 0, 0
	case c >= float64(read):
		return 1, math.Inf(1)
	}
	// How many blocks are resident grows with the time along a concave line, and is at most
	// the time: Newton's method comes from below and does not overshoot.
	for t := c; ; {
		resident, slope, hit := r.sums(p, t)
		next := t + (c-resident)/slope
		if next-t <= 1e-12*t {
			return hit, t
		}
		t = next
	}
}

// sums returns of a cache with characteristic time t how many blocks are resident, the
// derivative of that, and the hit ratio.
func (r Replacement) sums(p []float64, t float64) (resident, slope, hit float64) {
	for _, x := range p {
		there, more := 0.0, 0.0
		if r == LRU {
			there = -math.Expm1(-x * t)
			more = x * (1 - there)
		} else {
			there = x * t / (1 + x*t)
			more = x / ((1 + x*t) * (1 + x*t))
		}
		resident += there
		slope += more
		hit += x * there
	}
	return resident, slope, hit
}

// TopMass returns how many reads are of the c most popular blocks, of which p are the
// probabilities, the largest first. No cache has more hits on reads that are independent of one
// another (policy.md §3.5).
func TopMass(p []float64, c int) float64 {
	sum := 0.0
	for _, x := range p[:min(max(0, c), len(p))] {
		sum += x
	}
	return min(1, sum)
}
