package flow

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// A mesh is a random network with random flows on it, some of which have come and gone.
type mesh struct {
	net        *Network
	capacities []float64
	ids        []ID
	paths      [][]Link
}

func newMesh(t *testing.T, rng *rand.Rand, tolerance float64) *mesh {
	t.Helper()
	m := &mesh{capacities: make([]float64, 2+rng.IntN(20))}
	for i := range m.capacities {
		m.capacities[i] = math.Exp(6 * rng.Float64())
	}
	m.net = newNetwork(t, tolerance, m.capacities...)
	for now := range 10 + rng.Int64N(100) {
		switch {
		case len(m.ids) > 0 && rng.IntN(4) == 0:
			i := rng.IntN(len(m.ids))
			m.net.Cancel(now, m.ids[i])
			m.ids, m.paths = slices.Delete(m.ids, i, i+1), slices.Delete(m.paths, i, i+1)
		case rng.IntN(8) == 0:
			l := rng.IntN(len(m.capacities))
			m.capacities[l] = math.Exp(6 * rng.Float64())
			m.net.SetCapacity(now, Link(l), m.capacities[l])
		default:
			var path []Link
			for _, l := range rng.Perm(len(m.capacities))[:1+rng.IntN(min(MaxLinks, len(m.capacities)))] {
				path = append(path, Link(l))
			}
			m.ids = append(m.ids, m.net.Start(now, 1<<40, path...))
			m.paths = append(m.paths, path)
		}
	}
	return m
}

func TestRatesAreMaxMinFair(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 3000 {
		m := newMesh(t, rng, 1e-9)
		for i, want := range fillProgressively(m.capacities, m.paths) {
			if got := m.net.Rate(m.ids[i]); math.Abs(got-want) > 1e-6*want {
				t.Fatalf("Rate(%d) = %v, want %v; capacities %v, paths %v", i, got, want, m.capacities, m.paths)
			}
		}
	}
}

// With a tolerance the rates are the max-min fair ones of a network of which each link has its
// capacity but for the tolerance: no link carries more, and each flow has a link that carries no
// less and gives none more than it. (The criterion of Bertsekas & Gallager, 6.5.2.)
func TestRatesAreFairWithinTolerance(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for range 3000 {
		tolerance := 0.2 * rng.Float64()
		m := newMesh(t, rng, tolerance)
		load := make([]float64, len(m.capacities))
		most := make([]float64, len(m.capacities))
		for i, p := range m.paths {
			for _, l := range p {
				load[l] += m.net.Rate(m.ids[i])
				most[l] = max(most[l], m.net.Rate(m.ids[i]))
			}
		}
		for l, c := range m.capacities {
			if load[l] > c*(1+tolerance+1e-9) {
				t.Fatalf("link %d carries %v of %v, tolerance %v", l, load[l], c, tolerance)
			}
		}
		for i, p := range m.paths {
			if !slices.ContainsFunc(p, func(l Link) bool {
				return load[l] >= m.capacities[l]*(1-tolerance-1e-9) && m.net.Rate(m.ids[i]) == most[l]
			}) {
				t.Fatalf("no link of %v limits flow %d", p, i)
			}
		}
	}
}

// quantile returns the value that the share q of xs, which it sorts, is not above.
func quantile(xs []float64, q float64) float64 {
	slices.Sort(xs)
	return xs[int(q*float64(len(xs)-1))]
}

func TestEndsMatchReference(t *testing.T) {
	tests := []struct {
		tolerance          float64
		median, tail, most float64 // of the relative error of how long a flow takes
	}{
		{1e-9, 1e-6, 1e-5, 1e-5}, // what rounding to nanoseconds does
		{0.01, 0.01, 0.03, 0.2},
		{0.05, 0.03, 0.1, 0.5},
	}
	for _, tt := range tests {
		var errs []float64
		for seed := range uint64(20) {
			rng := rand.New(rand.NewPCG(seed, 9))
			f := fleet{nodes: 3 + rng.IntN(8), zones: rng.IntN(3)}
			capacities := f.capacities(4e9)
			var ts []transfer
			for at := int64(0); len(ts) < 300; at += rng.Int64N(int64(3e6) / int64(f.nodes)) {
				path := f.path(rng, nil, rng.IntN(f.nodes), 0.3, seed%2 == 0)
				ts = append(ts, transfer{start: at, bytes: 1 + rng.Int64N(8<<20), path: path})
			}
			want := slices.Clone(ts)
			byReference(capacities, want)
			byNetwork(newNetwork(t, tt.tolerance, capacities...), ts)
			for i := range ts {
				took := float64(want[i].end - want[i].start)
				errs = append(errs, math.Abs(float64(ts[i].end-want[i].end))/(took+1e4))
			}
		}
		median, tail, most := quantile(errs, 0.5), quantile(errs, 0.99), quantile(errs, 1)
		t.Logf("tolerance %v: error median %.2g, 99%% %.2g, most %.2g", tt.tolerance, median, tail, most)
		if median > tt.median || tail > tt.tail || most > tt.most {
			t.Errorf("tolerance %v: error median %.2g, 99%% %.2g, most %.2g, want at most %v, %v, %v",
				tt.tolerance, median, tail, most, tt.median, tt.tail, tt.most)
		}
	}
}

// The same starts, once with exact rates and once within the default tolerance: how long each flow
// takes, in the loads that the package's doc gives figures for.
func TestLoadsAgreeWithExactRates(t *testing.T) {
	for _, ld := range loads() {
		t.Run(ld.name, func(t *testing.T) {
			l := newLoop(t, ld, 1e-9)
			l.log = &[]transfer{}
			for range max(10_000, 2*ld.nodes*ld.flows) { // more than flow at once, so that many end
				l.step()
			}
			got := slices.Clone(*l.log)
			byNetwork(newNetwork(t, 0, l.capacities(10e9)...), got)
			var errs []float64
			sum, want := 0.0, 0.0
			for i, x := range *l.log {
				if x.end > 0 {
					took := float64(x.end - x.start)
					errs = append(errs, math.Abs(float64(got[i].end-x.end))/took)
					sum += float64(got[i].end - x.start)
					want += took
				}
			}
			median, tail, most := quantile(errs, 0.5), quantile(errs, 0.99), quantile(errs, 1)
			t.Logf("%d flows: error of the mean %+.2g; median %.2g, 99%% %.2g, most %.2g", len(errs), sum/want-1, median, tail, most)
			if math.Abs(sum/want-1) > 0.02 || median > 0.012 || tail > 0.08 {
				t.Errorf("mean duration off by %+.2g, median error %.2g, 99%% %.2g, want at most 0.02, 0.012, 0.08", sum/want-1, median, tail)
			}
		})
	}
}
