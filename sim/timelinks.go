package sim

import (
	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/sim/flow"
	"github.com/shoal-mesh/shoal/sim/scenario"
)

// links are the links of a fleet, and what they have carried.
type links struct {
	capacities []float64 // by flow.Link
	nodes      int
	zoned      bool // zones have links
	carried    []int64
	path       [flow.MaxLinks]flow.Link
}

// The links of a node, in the order of their numbers.
const (
	nicIn = iota
	nicOut
	nvmeRead
	nvmeWrite
	perNode
)

// The links of all, which come after those of the nodes.
const (
	ufsDown = iota
	ufsUp
	ufsLinks
)

func linksOf(f *scenario.Fleet) links {
	l := links{nodes: f.Nodes, zoned: f.ZoneLink > 0}
	for range f.Nodes {
		l.capacities = append(l.capacities, float64(f.NIC), float64(f.NIC), float64(f.NVMe.Read), float64(f.NVMe.Write))
	}
	for _, s := range f.Slow {
		for _, n := range s.Nodes {
			for i := range perNode {
				l.capacities[n*perNode+i] *= s.Share
			}
		}
	}
	l.capacities = append(l.capacities, float64(f.UFS.Bandwidth), float64(f.UFS.Bandwidth))
	if l.zoned {
		for range f.Zones {
			l.capacities = append(l.capacities, float64(f.ZoneLink), float64(f.ZoneLink))
		}
	}
	l.carried = make([]int64, len(l.capacities))
	return l
}

// of returns a link of a node.
func (l *links) of(node, which int) flow.Link { return flow.Link(node*perNode + which) }

// ufs returns one way of the link to the UFS.
func (l *links) ufs(way int) flow.Link { return flow.Link(l.nodes*perNode + way) }

// between appends what a flow crosses from one zone to another.
func (l *links) between(path []flow.Link, from, to int) []flow.Link {
	if !l.zoned || from == to {
		return path
	}
	first := flow.Link(l.nodes*perNode + ufsLinks)
	return append(path, first+flow.Link(2*from+1), first+flow.Link(2*to))
}

// request returns when the first byte of a request to the UFS comes, or may go there.
func (t *timed) request() int64 {
	at := int64(t.now)
	if rate := t.scenario.Fleet.UFS.Requests; rate > 0 {
		at = max(at, t.nextUFS)
		t.nextUFS = at + max(1, int64(1e9/rate))
	}
	return at + int64(t.scenario.Fleet.UFS.Latency)
}

// carry counts what the links of a fetch have carried for it, when that is over.
func (t *timed) carry(f *fetch, bytes int64) {
	node := int(f.node)
	on := func(l flow.Link) { t.links.carried[l] += bytes }
	switch {
	case f.kind == write:
		on(t.links.of(node, nicOut))
		on(t.links.ufs(ufsUp))
	case f.kind == place || f.kind == bring && f.found.Tier == shoal.TierPeer:
		t.sends[f.found.From]--
		on(t.links.of(f.found.From, nicOut))
		on(t.links.of(node, nicIn))
	case f.kind == bring:
		on(t.links.ufs(ufsDown))
		on(t.links.of(node, nicIn))
	}
}
