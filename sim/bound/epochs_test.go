package bound

import (
	"math"
	"testing"
)

// near tells whether got is want but for the digits that want was written with.
func near(got, want, digits float64) bool {
	return math.Abs(got-want) <= digits*max(1, math.Abs(want))
}

// The tables in these tests were computed independently of this package, by a program that uses
// other forms of most formulas (sums in place of closed forms, bisection, numeric integration).

func TestUniform(t *testing.T) {
	for _, k := range []float64{0, 0.01, 0.1, 0.25, 0.3, 0.5, 0.7, 0.75, 0.9, 1} {
		if got := Uniform(k); got != k {
			t.Errorf("Uniform(%v) = %v, want %v", k, got, k)
		}
	}
	if got := Uniform(1.5); got != 1 {
		t.Errorf("Uniform(1.5) = %v, want 1", got)
	}
}

func TestEpochs(t *testing.T) {
	type row struct{ k, want float64 }
	tests := []struct {
		name string
		f    func(float64) float64
		rows []row
	}{
		{"LRUEpoch", LRUEpoch, []row{
			// policy.md §3.2
			{0.1, 0.005176},
			{0.25, 0.034238},
			{0.5, 0.153426},
			{0.75, 0.403426},
			{0.9, 0.669741},
			{0.001, 5.00166750049e-07},
			{0.01, 5.01675050336e-05},
			{0.03, 0.000454568739833},
			{0.07, 0.0025092556636},
			{0.15, 0.0118589099269},
			{0.33, 0.0616800303799},
			{0.4, 0.0935046257404},
			{0.6, 0.23348370725},
			{0.66, 0.293204715134},
			{0.8, 0.478112417513},
			{0.95, 0.800213386322},
			{0.99, 0.94394829814},
			{-1, 0},
			{0, 0},
			{1, 1},
			{2, 1},
		}},
		{"RandomEpoch", RandomEpoch, []row{
			// policy.md §3.2
			{0.1, 0.010536},
			{0.25, 0.070399},
			{0.5, 0.283110},
			{0.75, 0.602728},
			{0.9, 0.833085},
			{0.002, 4.00400534128e-06},
			{0.01, 0.000100503358535},
			{0.03, 0.000913776224541},
			{0.07, 0.00507994520609},
			{0.15, 0.0243441558416},
			{0.33, 0.124398811603},
			{0.4, 0.183018854154},
			{0.6, 0.400107240908},
			{0.66, 0.477510242338},
			{0.8, 0.676658661792},
			{0.95, 0.915294963335},
			{0.99, 0.98286495128},
			{-1, 0},
			{0, 0},
			{1, 1},
			{2, 1},
		}},
	}
	for _, tt := range tests {
		for i, r := range tt.rows {
			digits := 1e-11
			if i < 5 {
				digits = 5e-7
			}
			if got := tt.f(r.k); !near(got, r.want, digits) {
				t.Errorf("%s(%v) = %v, want %v", tt.name, r.k, got, r.want)
			}
		}
	}
}

func TestLRUEpochExact(t *testing.T) {
	tests := []struct {
		c, d   int
		want   float64
		digits float64
	}{
		{2, 4, 5.0 / 24, 1e-15},
		{5, 10, 0.177183, 5e-7},
		{50, 100, 0.155914, 5e-7}, // policy.md §3.7, G2
		{1, 2, 0.25, 1e-11},
		{1, 3, 0.111111111111, 1e-11},
		{2, 3, 0.388888888889, 1e-11},
		{3, 7, 0.137414965986, 1e-11},
		{6, 7, 0.629591836735, 1e-11},
		{1, 20, 0.0025, 1e-11},
		{7, 20, 0.0785561636935, 1e-11},
		{13, 31, 0.110371996441, 1e-11},
		{30, 31, 0.870088864663, 1e-11},
		{20, 40, 0.159598309104, 1e-11},
		{11, 60, 0.0194568557251, 1e-11},
		{45, 60, 0.409589645069, 1e-11},
		{0, 5, 0, 0},
		{-1, 5, 0, 0},
		{5, 5, 1, 0},
		{9, 5, 1, 0},
	}
	for _, tt := range tests {
		if got := LRUEpochExact(tt.c, tt.d); !near(got, tt.want, tt.digits) {
			t.Errorf("LRUEpochExact(%d, %d) = %v, want %v", tt.c, tt.d, got, tt.want)
		}
	}
}

func TestLRUSampler(t *testing.T) {
	tests := []struct {
		kappa  float64
		n      int
		want   float64
		digits float64
	}{
		{0.125, 8, 0.0653, 5e-5},
		{0.25, 8, 0.1988, 5e-5},
		{0.25, 64, 0.2441, 5e-5}, // policy.md §3.3, G4
		{0.05, 2, 0.002542741, 2e-8},
		{0.25, 2, 0.068476891, 2e-8},
		{0.5, 2, 0.306852820, 2e-8},
		{0.9, 2, 0.861370564, 2e-8},
		{0.1, 3, 0.015526608, 2e-8},
		{0.3, 4, 0.194490197, 2e-8},
		{0.05, 8, 0.010170963, 2e-8},
		{0.5, 8, 0.465874430, 2e-8},
		{0.75, 16, 0.741845915, 2e-8},
		{0.02, 32, 0.006443099, 2e-8},
		{0.125, 64, 0.118092010, 2e-8},
		{0.6, 100, 0.597986566, 2e-8},
		{-1, 8, 0, 0},
		{1, 8, 1, 0},
	}
	for _, tt := range tests {
		if got := LRUSampler(tt.kappa, tt.n); !near(got, tt.want, tt.digits) {
			t.Errorf("LRUSampler(%v, %d) = %v, want %v", tt.kappa, tt.n, got, tt.want)
		}
	}
}

// Hit ratios grow with the cache, LRU < RANDOM < uniform, and the special cases meet.
func TestEpochsOrder(t *testing.T) {
	var lru, random, sampler float64
	for c := 1; c < 2000; c++ {
		k := float64(c) / 2000
		l, r, s := LRUEpoch(k), RandomEpoch(k), LRUSampler(k, 8)
		if !(l > lru && r > random && s > sampler) {
			t.Fatalf("k = %v: LRU %v, RANDOM %v, sampler %v do not grow from %v, %v, %v", k, l, r, s, lru, random, sampler)
		}
		if !(l < r && r < Uniform(k) && l < s && s < Uniform(k)) {
			t.Fatalf("k = %v: LRU %v, RANDOM %v, sampler %v out of order", k, l, r, s)
		}
		lru, random, sampler = l, r, s
		if one := LRUSampler(k, 1); one != l {
			t.Fatalf("LRUSampler(%v, 1) = %v, want %v", k, one, l)
		}
		if many := LRUSampler(k, 1000); math.Abs(many-k) > 2e-3 {
			t.Fatalf("LRUSampler(%v, 1000) = %v, want about %v", k, many, k)
		}
		if exact := LRUEpochExact(10*c, 20_000); math.Abs(exact-l) > 3e-4 {
			t.Fatalf("LRUEpochExact(%d, 20000) = %v, want about %v", 10*c, exact, l)
		}
	}
}
