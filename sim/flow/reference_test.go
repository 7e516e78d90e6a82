package flow

import (
	"math"
	"math/rand/v2"
)

// fillProgressively returns the max-min fair rates of flows on the given paths, by the textbook
// (Bertsekas & Gallager, Data Networks, 6.5.2): all rates grow alike, and those on a link stop
// when it is full.
func fillProgressively(capacities []float64, paths [][]Link) []float64 {
	rates := make([]float64, len(paths))
	fixed := make([]bool, len(paths))
	for {
		room := append([]float64(nil), capacities...)
		growing := make([]int, len(capacities))
		for i, p := range paths {
			for _, l := range p {
				if fixed[i] {
					room[l] -= rates[i]
				} else {
					growing[l]++
				}
			}
		}
		least, full := math.Inf(1), -1
		for l := range capacities {
			if growing[l] > 0 && room[l]/float64(growing[l]) < least {
				least, full = room[l]/float64(growing[l]), l
			}
		}
		if full < 0 {
			return rates
		}
		for i, p := range paths {
			if !fixed[i] && contains(p, Link(full)) {
				rates[i], fixed[i] = max(0, least), true
			}
		}
	}
}

func contains(p []Link, l Link) bool {
	for _, m := range p {
		if m == l {
			return true
		}
	}
	return false
}

// A transfer is a flow of a simulation that knows beforehand what will be started.
type transfer struct {
	start int64
	bytes int64
	path  []Link
	end   int64 // found
}

// byReference finds the ends of transfers, ordered by start, with rates from scratch at each
// event.
func byReference(capacities []float64, ts []transfer) {
	left := make([]float64, len(ts))
	var active []int
	now, next := 0.0, 0
	for next < len(ts) || len(active) > 0 {
		var paths [][]Link
		for _, i := range active {
			paths = append(paths, ts[i].path)
		}
		rates := fillProgressively(capacities, paths)
		until := math.Inf(1)
		if next < len(ts) {
			until = float64(ts[next].start)
		}
		done := -1
		for k, i := range active {
			if at := now + left[i]/rates[k]*1e9; at < until {
				until, done = at, k
			}
		}
		for k, i := range active {
			left[i] -= rates[k] * (until - now) / 1e9
		}
		now = until
		if done >= 0 {
			ts[active[done]].end = int64(math.Ceil(now))
			active = append(active[:done], active[done+1:]...)
			continue
		}
		left[next] = float64(ts[next].bytes)
		active = append(active, next)
		next++
	}
}

// byNetwork finds the ends of the same transfers with a Network.
func byNetwork(n *Network, ts []transfer) {
	var of []int // by ID
	for next := 0; ; {
		at, ok := n.Next()
		switch {
		case next < len(ts) && (!ok || ts[next].start <= at):
			id := n.Start(ts[next].start, ts[next].bytes, ts[next].path...)
			for len(of) <= int(id) {
				of = append(of, 0)
			}
			of[id] = next
			next++
		case ok:
			ts[of[n.Finish()]].end = at
		default:
			return
		}
	}
}

// A fleet numbers the links of nodes of the simulator: the UFS first, then of each node the
// interface in and out and the disk read and written, then of each zone the way in and out.
type fleet struct{ nodes, zones int }

func (f fleet) capacities(ufs float64) []float64 {
	cs := []float64{ufs}
	for range f.nodes {
		cs = append(cs, 3.125e9, 3.125e9, 3e9, 1.5e9)
	}
	for range f.zones {
		cs = append(cs, 100e9, 100e9)
	}
	return cs
}

// path appends a random one to node i: from the UFS with the given probability, else from a
// peer; through the disks of both, or not.
func (f fleet) path(rng *rand.Rand, path []Link, i int, ufs float64, disks bool) []Link {
	path = append(path, Link(1+4*i))
	if disks {
		path = append(path, Link(4+4*i))
	}
	if rng.Float64() < ufs {
		return append(path, 0)
	}
	from := rng.IntN(f.nodes - 1)
	if from >= i {
		from++
	}
	path = append(path, Link(2+4*from))
	if disks {
		path = append(path, Link(3+4*from))
	}
	if f.zones > 0 && i%f.zones != from%f.zones {
		zones := 1 + 4*f.nodes
		path = append(path, Link(zones+2*(i%f.zones)), Link(zones+1+2*(from%f.zones)))
	}
	return path
}
