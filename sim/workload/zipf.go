package workload

import (
	"math"
	"math/rand/v2"
)

// A zipf draws numbers from 0 below n by Zipf's law with any exponent: number i with a
// probability like (i+1)^-a. It takes no memory (rejection-inversion, W. Hörmann and G.
// Derflinger, 1996).
type zipf struct {
	a, n      float64
	low, high float64 // the integral of the hat at 3/2 less 1, and at n + 1/2
	accept    float64
	rng       *rand.PCG
}

func newZipf(a float64, n uint32, rng *rand.PCG) *zipf {
	z := &zipf{a: a, n: float64(n), rng: rng}
	z.low = z.integral(1.5) - 1
	z.high = z.integral(z.n + 0.5)
	z.accept = 2 - z.inverse(z.integral(2.5)-math.Pow(2, -a))
	return z
}

// next returns the next number.
func (z *zipf) next() uint32 {
	for {
		u := z.high + float64(z.rng.Uint64()>>11)/(1<<53)*(z.low-z.high)
		x := z.inverse(u)
		k := min(max(math.Floor(x+0.5), 1), z.n)
		if k-x <= z.accept || u >= z.integral(k+0.5)-math.Pow(k, -z.a) {
			return uint32(k) - 1
		}
	}
}

// integral is that of x^-a.
func (z *zipf) integral(x float64) float64 {
	log := math.Log(x)
	return ratio((1-z.a)*log) * log
}

// inverse is the inverse of integral.
func (z *zipf) inverse(x float64) float64 {
	t := max(x*(1-z.a), -1)
	return math.Exp(logRatio(t) * x)
}

// ratio returns (e^x - 1) / x.
func ratio(x float64) float64 {
	if math.Abs(x) > 1e-8 {
		return math.Expm1(x) / x
	}
	return 1 + x/2*(1+x/3*(1+x/4))
}

// logRatio returns log(1+x) / x.
func logRatio(x float64) float64 {
	if math.Abs(x) > 1e-8 {
		return math.Log1p(x) / x
	}
	return 1 - x*(0.5-x*(1.0/3-x/4))
}
