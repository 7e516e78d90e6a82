package flow

import "math"

// noLink is no link's number.
const noLink = Link(math.MaxUint32)

// settle has all links that are out of balance share anew, and with that perhaps others, until
// none is; then it notes when the flows end whose rate is another.
func (n *Network) settle() {
	for i := 0; i < len(n.unbalanced); i++ {
		l := n.unbalanced[i]
		n.links[l].queued = false
		if !n.balanced(l) {
			n.fill(l)
		}
	}
	n.unbalanced = n.unbalanced[:0]
	for _, id := range n.changed {
		f := &n.flows[id]
		f.changed = false
		n.ends.set(id, f.end())
	}
	n.changed = n.changed[:0]
}

// balanced tells whether a link may stay as it is: it carries as much as it can, or less but
// limits none.
func (n *Network) balanced(l Link) bool {
	k := &n.links[l]
	if k.awaited || k.load > n.high*k.capacity {
		return false
	}
	return k.load >= n.low*k.capacity || math.IsInf(n.shares[l], 1)
}

// check queues a link that is out of balance.
func (n *Network) check(l Link) {
	if k := &n.links[l]; !k.queued && !n.balanced(l) {
		k.queued = true
		n.unbalanced = append(n.unbalanced, l)
	}
}

// await has one of the links of a flow that none of them limits share anew: the one that would
// give it least. The others follow if that is too much for them.
func (n *Network) await(f *flow) {
	least, rate := noLink, math.Inf(1)
	for _, l := range f.links[:f.length] {
		if r := n.links[l].capacity / float64(len(n.links[l].flows)); r < rate {
			least, rate = l, r
		}
	}
	n.links[least].awaited = true
	n.check(least)
}

// fill shares a link's capacity: flows that other links limit get what these leave them, and the
// others the same each.
func (n *Network) fill(l Link) {
	k := &n.links[l]
	k.awaited = false
	share := n.shares[l]
	demands := n.demands[:0]
	for _, s := range k.flows {
		f := &n.flows[s>>stopBits]
		demand := f.rate
		if demand >= share { // it is this link that limits it
			demand = n.elsewhere(f, l)
		}
		demands = append(demands, demand)
	}
	n.demands = demands
	share = level(k.capacity, demands, share)
	n.shares[l] = share
	k.load = 0
	for i, s := range k.flows {
		rate := min(share, demands[i])
		k.load += rate
		n.change(ID(s>>stopBits), rate, l)
	}
}

// elsewhere returns the least share of the links of f without l.
func (n *Network) elsewhere(f *flow, l Link) float64 {
	least := math.Inf(1)
	for _, m := range f.links[:f.length] {
		if m != l {
			least = min(least, n.shares[m])
		}
	}
	return least
}

// change gives a flow another rate, and its links but one another load.
func (n *Network) change(id ID, rate float64, but Link) {
	f := &n.flows[id]
	if !f.changed {
		if rate == f.rate && rate < math.Inf(1) {
			return
		}
		f.changed = true
		n.changed = append(n.changed, id)
		if f.since < n.now {
			f.progress(n.now)
		}
	}
	more := carried(rate) - carried(f.rate)
	f.rate = rate
	if more == 0 {
		return
	}
	for _, l := range f.links[:f.length] {
		if l != but {
			n.links[l].load += more
			n.check(l)
		}
	}
}

// carried returns what a link carries for a flow of that rate: nothing as long as it has none.
func carried(rate float64) float64 {
	if math.IsInf(rate, 1) {
		return 0
	}
	return rate
}

// level returns the x for which the sum of min(x, demand) is capacity, or +Inf if the demands do
// not add up to more. The sum grows with x along a concave line of straight pieces: Newton's
// method is not beyond x after its first step, wherever that begins, and comes nearer with each
// further one until it is there, after at most as many steps as there are pieces.
func level(capacity float64, demands []float64, guess float64) float64 {
	fair := capacity / float64(len(demands)) // the least it can be
	for x, first := guess, true; ; first = false {
		sum, below := 0.0, 0
		for _, d := range demands {
			if d < x {
				sum += d
				below++
			}
		}
		next := fair
		if below < len(demands) {
			next = max(fair, (capacity-sum)/float64(len(demands)-below))
		} else if !first || sum <= capacity {
			return math.Inf(1)
		}
		if !first && next <= x {
			return x
		}
		x = next
	}
}
