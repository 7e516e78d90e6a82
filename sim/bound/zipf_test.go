package bound

import (
	"math"
	"testing"
)

func TestZipf(t *testing.T) {
	tests := []struct {
		n    int
		a    float64
		i    int
		want float64
	}{
		{1, 1, 0, 1},
		{2, 1, 1, 0.333333333333},
		{10, 0, 3, 0.1},
		{10, 1, 0, 0.341417152147},
		{100, 0.5, 99, 0.00537935078889},
		{1000, 0.8, 10, 0.00949294274278},
		{1000, 1.5, 0, 0.392288301953},
		{50, 2, 7, 0.00961459927349},
		{10000, 1, 0, 0.102170029762},
		{300, 0.9, 299, 0.000713666873417},
	}
	for _, tt := range tests {
		if got := Zipf(tt.n, tt.a); len(got) != tt.n || !near(got[tt.i], tt.want, 1e-11) {
			t.Errorf("Zipf(%d, %v)[%d] = %v of %d, want %v", tt.n, tt.a, tt.i, got[tt.i], len(got), tt.want)
		}
	}
}

// The first three rows are in policy.md §3.5, the very first is G7.
func TestChe(t *testing.T) {
	tests := []struct {
		n              int
		a              float64
		c              int
		lru, lruTime   float64
		fifo, fifoTime float64
		top            float64
	}{
		{10000, 1, 1000, 0.6756017935, 2352.17842, 0.6309060041, 2709.336947, 0.7647907806},
		{10000, 0.8, 1000, 0.4366597222, 1472.479532, 0.3941791006, 1650.65286, 0.5706175855},
		{100000, 1, 1000, 0.5061701485, 1735.525362, 0.4647885281, 1868.420339, 0.6191381626},
		{100, 0.5, 10, 0.1428275522, 10.80427049, 0.137890158, 11.59944999, 0.2700970901},
		{100, 1.2, 50, 0.8802460799, 208.3615631, 0.8395093129, 311.544557, 0.9185627246},
		{1000, 0, 100, 0.1, 105.3605157, 0.1, 111.1111111, 0.1},
		{1000, 0.6, 900, 0.9449317855, 3609.717928, 0.9315955725, 13157.04308, 0.9566151542},
		{1000, 1, 1, 0.02835087204, 1.014617454, 0.02746891996, 1.028244773, 0.1335921305},
		{5000, 0.9, 250, 0.4309652002, 369.2365329, 0.3843817484, 406.0958221, 0.5670886373},
		{5000, 1.5, 250, 0.9434357662, 2773.762429, 0.9251804542, 3341.372863, 0.9620439729},
		{20000, 1.1, 4000, 0.8645763226, 19842.82012, 0.8360434015, 24396.70032, 0.9055934401},
		{300, 2, 30, 0.9717001352, 520.2707073, 0.9555989111, 675.6591057, 0.9820564982},
		{10, 1, 9, 0.9543318564, 40.22571606, 0.9361332406, 140.9183758, 0.9658582848},
		{10000, 0.7, 37, 0.03851747607, 37.76937046, 0.03496443899, 38.34055603, 0.1420359828},
	}
	for _, tt := range tests {
		p := Zipf(tt.n, tt.a)
		if hit, time := Che(p, float64(tt.c), LRU); !near(hit, tt.lru, 1e-9) || !near(time, tt.lruTime, 1e-8) {
			t.Errorf("Che(Zipf(%d, %v), %d, LRU) = %v, %v, want %v, %v", tt.n, tt.a, tt.c, hit, time, tt.lru, tt.lruTime)
		}
		if hit, time := Che(p, float64(tt.c), FIFO); !near(hit, tt.fifo, 1e-9) || !near(time, tt.fifoTime, 1e-8) {
			t.Errorf("Che(Zipf(%d, %v), %d, FIFO) = %v, %v, want %v, %v", tt.n, tt.a, tt.c, hit, time, tt.fifo, tt.fifoTime)
		}
		if top := TopMass(p, tt.c); !near(top, tt.top, 1e-9) {
			t.Errorf("TopMass(Zipf(%d, %v), %d) = %v, want %v", tt.n, tt.a, tt.c, top, tt.top)
		}
	}
}

func TestCheLimits(t *testing.T) {
	p := append(Zipf(10, 1), 0, 0) // two blocks that are never read
	for _, r := range []Replacement{LRU, FIFO} {
		if hit, time := Che(p, 0, r); hit != 0 || time != 0 {
			t.Errorf("Che(c = 0) = %v, %v, want 0, 0", hit, time)
		}
		if hit, time := Che(p, 10, r); hit != 1 || !math.IsInf(time, 1) {
			t.Errorf("Che(c = all that are read) = %v, %v, want 1, +Inf", hit, time)
		}
	}
	for _, tt := range []struct {
		c    int
		want float64
	}{{-1, 0}, {0, 0}, {12, 1}, {20, 1}} {
		if got := TopMass(p, tt.c); !near(got, tt.want, 1e-12) {
			t.Errorf("TopMass(%d) = %v, want %v", tt.c, got, tt.want)
		}
	}
}

func TestCheOrder(t *testing.T) {
	for _, a := range []float64{0.3, 1, 1.7} {
		p := Zipf(500, a)
		last := 0.0
		for c := 1; c < 500; c += 7 {
			lru, _ := Che(p, float64(c), LRU)
			fifo, _ := Che(p, float64(c), FIFO)
			if top := TopMass(p, c); !(0 < fifo && fifo < lru && lru < top && top <= 1 && lru > last) {
				t.Fatalf("a = %v, c = %d: FIFO %v, LRU %v after %v, top %v out of order", a, c, fifo, lru, last, top)
			}
			last = lru
		}
	}
}
