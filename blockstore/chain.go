package blockstore

// A chain is a list of containers, linked by their indexes, in the order in which they came. A
// container is in one at most.
type chain struct{ first, last uint32 } // none when it is empty

// A chainName tells the chains apart: no pointer, for the garbage collector's sake.
type chainName uint8

const (
	noChain    chainName = iota
	idleChain            // sparse containers in use without blocks
	holeyChain           // those with blocks and holes
	chainNames
)

// chained is a container's place in a chain.
type chained struct {
	in         chainName
	next, prev uint32 // none at the ends
}

// chainTo takes a container from the chain it is in and puts it at the end of another.
func (p *places) chainTo(to chainName, i uint32) {
	c := &p.containers[i]
	if c.in != noChain {
		from := &p.chains[c.in]
		*p.after(from, c.prev) = c.next
		*p.before(from, c.next) = c.prev
	}
	c.chained = chained{to, none, none}
	if to != noChain {
		l := &p.chains[to]
		c.prev = l.last
		*p.after(l, l.last) = i
		l.last = i
	}
}

// after returns what says which container follows i; the first of a chain follows none.
func (p *places) after(in *chain, i uint32) *uint32 {
	if i == none {
		return &in.first
	}
	return &p.containers[i].next
}

// before is after in the other direction.
func (p *places) before(in *chain, i uint32) *uint32 {
	if i == none {
		return &in.last
	}
	return &p.containers[i].prev
}
