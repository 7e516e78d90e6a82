package replicas

import "math/bits"

// staleness counts how old changes were when their homes had acknowledged them. One of five
// minutes before the latest counts half. Its zero value is ready.
type staleness struct {
	counts [32]uint64 // [0]: less than 1 ms; [i]: 2^(i-1) to 2^i ms; the last: all above
	turned Tick
}

// stalenessHalf is after how long a change counts half, in milliseconds.
const stalenessHalf = 300_000

// heard takes in that a home has acknowledged changes that happened at these times.
func (s *staleness) heard(now Tick, happened []Tick) {
	if len(happened) == 0 {
		return
	}
	if n := (now - s.turned) / stalenessHalf; n > 0 {
		for i := range s.counts {
			s.counts[i] >>= min(n, 63)
		}
		s.turned += n * stalenessHalf
	}
	for _, at := range happened {
		age := uint64(max(0, now-at))
		s.counts[min(bits.Len64(age), len(s.counts)-1)]++
	}
}

// quantile returns the age that this share of the changes did not exceed, in milliseconds,
// taking those of one count as evenly spread.
func (s *staleness) quantile(share float64) float64 {
	all := uint64(0)
	for _, n := range s.counts {
		all += n
	}
	want := share * float64(all)
	for i, n := range s.counts {
		if n == 0 || want > float64(n) {
			want -= float64(n)
			continue
		}
		low, high := 0.0, 1.0
		if i > 0 {
			low, high = float64(uint64(1)<<(i-1)), float64(uint64(1)<<i)
		}
		return low + (high-low)*want/float64(n)
	}
	return 0
}
