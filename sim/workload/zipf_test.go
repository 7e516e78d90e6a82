package workload

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/shoal-mesh/shoal/sim/bound"
	"github.com/shoal-mesh/shoal/sim/scenario"
)

// chiSquare returns how far counts are from n draws with probabilities p, in standard deviations
// of the chi-square distribution about its mean. Places that are expected fewer than ten times are
// put together.
func chiSquare(counts []int, p []float64, n int) float64 {
	square, degrees := 0.0, -1.0
	got, want := 0.0, 0.0
	for i := range p {
		got += float64(counts[i])
		want += p[i] * float64(n)
		if want >= 10 || i == len(p)-1 && want > 0 {
			square += (got - want) * (got - want) / want
			degrees++
			got, want = 0, 0
		}
	}
	return (square - degrees) / math.Sqrt(2*max(1, degrees))
}

// TestZipf compares how often each number is drawn with Zipf's law. Chi-square is within four
// standard deviations in 99.99 % of all cases.
func TestZipf(t *testing.T) {
	const draws = 1_000_000
	for _, a := range []float64{0, 0.8, 1, 1.2, 3} {
		for _, n := range []int{1, 2, 10, 1000, 20_000} {
			t.Run(fmt.Sprintf("a=%v/n=%d", a, n), func(t *testing.T) {
				t.Parallel()
				z := newZipf(a, uint32(n), rand.NewPCG(1, 2))
				counts := make([]int, n)
				for range draws {
					counts[z.next()]++
				}
				if off := chiSquare(counts, bound.Zipf(n, a), draws); n > 1 && math.Abs(off) > 4 {
					t.Errorf("chi-square is %.1f standard deviations off, want at most 4", off)
				}
			})
		}
	}
}

// TestBelow compares numbers below a bound with equal frequencies, and places of shuffled orders
// likewise.
func TestBelow(t *testing.T) {
	const n, draws = 37, 200_000
	equal := bound.Zipf(n, 0)
	rng := rand.NewPCG(1, 2)
	counts, first, middle := make([]int, n), make([]int, n), make([]int, n)
	s := newShuffle(n, 1, 3)
	for i := range uint64(draws) {
		counts[below(rng, n)]++
		s.again(1, i)
		first[s.at(0)]++
		middle[newShuffle(n, i, 4).at(n/2)]++
	}
	for name, c := range map[string][]int{"below": counts, "first of a shuffle": first, "middle of a new shuffle": middle} {
		if off := chiSquare(c, equal, draws); math.Abs(off) > 4 {
			t.Errorf("%s: chi-square is %.1f standard deviations off, want at most 4", name, off)
		}
	}
}

// TestShuffle has each order be all numbers, once each, however far at a time it is asked for.
func TestShuffle(t *testing.T) {
	for _, n := range []uint32{1, 2, 63, 64, 65, 1000} {
		s := newShuffle(n, 1, 2)
		for epoch := range 5 {
			var order []uint32
			for i := range n {
				order = append(order, s.at(i))
			}
			for i := range n {
				if again := s.at(i); again != order[i] {
					t.Errorf("n %d, epoch %d: at(%d) = %d, and was %d", n, epoch, i, again, order[i])
				}
			}
			slices.Sort(order)
			for i, got := range order {
				if got != uint32(i) {
					t.Fatalf("n %d, epoch %d: %v, want all numbers", n, epoch, order)
				}
			}
			s.again(1, uint64(epoch))
		}
	}
}

// TestCoprime has a stride lead through all numbers.
func TestCoprime(t *testing.T) {
	rng := rand.NewPCG(1, 2)
	for n := uint32(1); n < 400; n++ {
		stride, seen := coprime(rng, n), make(map[uint32]bool)
		for i := range n {
			seen[i*stride%n] = true
		}
		if len(seen) != int(n) {
			t.Errorf("coprime(%d) = %d, which leads to %d numbers", n, stride, len(seen))
		}
	}
}

// TestZipfReads has each rank make as many reads as are asked for, of whole files where these have
// several blocks, independently of the others.
func TestZipfReads(t *testing.T) {
	const reads, files = 100_000, 20
	_, j := jobOf(t, scenario.Dataset{Files: files, File: 3 << 22}, scenario.Job{Kind: scenario.Zipf, Reads: reads, Skew: 1}, 2, 1)
	p := bound.Zipf(files, 1)
	joint, pairs := make([]float64, files*files), make([]int, files*files)
	mine := all(j, 1)
	for rank, rs := range mine {
		counts := make([]int, files)
		for i, r := range rs {
			counts[r.Block/3]++
			if within := r.Block % 3; within != uint32(i%3) {
				t.Fatalf("rank %d, read %d: block %d of a file, want %d", rank, i, within, i%3)
			}
		}
		for i := range counts {
			counts[i] /= 3
		}
		if off := chiSquare(counts, p, reads/3); len(rs) != reads || math.Abs(off) > 4 {
			t.Errorf("rank %d: %d reads, chi-square %.1f standard deviations off; want %d, and at most 4", rank, len(rs), off, reads)
		}
	}
	for i := 0; i < reads-2; i += 3 {
		pairs[mine[0][i].Block/3*files+mine[1][i].Block/3]++
	}
	for i := range joint {
		joint[i] = p[i/files] * p[i%files]
	}
	if off := chiSquare(pairs, joint, reads/3); math.Abs(off) > 4 {
		t.Errorf("reads of two ranks at a time: chi-square is %.1f standard deviations off, want at most 4", off)
	}
}

// TestDrift has the order of popularity turn: after so many reads each file is as popular as the
// one was that is as many places behind as files have come since.
func TestDrift(t *testing.T) {
	const files, rate, drift, reads = 50, 100, 0.05, 400_000 // a new file every 2,000 reads
	_, j := jobOf(t, scenario.Dataset{Files: files, File: 1}, scenario.Job{Kind: scenario.Zipf, Reads: reads, Skew: 1.2, Rate: rate, Drift: drift}, 1, 1)
	p := bound.Zipf(files, 1.2)
	places := make([]int, files)
	popular := make(map[uint32]bool)
	for n := range reads {
		r, _ := j.Next(0)
		turned := uint32(float64(n+1) / rate * drift)
		place := (r.Block + turned) % files
		places[place]++
		if place == 0 {
			popular[r.Block] = true
		}
	}
	if off := chiSquare(places, p, reads); math.Abs(off) > 4 || len(popular) != files {
		t.Errorf("chi-square is %.1f standard deviations off, want at most 4; %d files were the most popular one, want all %d", off, len(popular), files)
	}
}
