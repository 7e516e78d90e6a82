package sim

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/shoal-mesh/shoal/sim/result"
	"github.com/shoal-mesh/shoal/sim/scenario"
)

// result puts together what was found.
func (e *engine) result() *result.Result {
	s, t := e.scenario, e.tally
	r := &result.Result{
		Schema: result.Schema, Name: s.Name, About: s.About, Engine: string(s.Engine), Seed: s.Seed,
		Hash: scenario.Hash(s), Sample: s.Sample, Nodes: s.Fleet.Nodes, Zones: s.Fleet.Zones, CacheBytes: int64(s.Fleet.Cache),
		Seconds: e.now.Seconds(), Events: sum(t.all.reads),
		Total: counts(t.all, sum64(t.distinct)), Warm: counts(t.warm, t.warmBytes),
	}
	r.Replicas = e.replicas()
	r.Evictions = e.evictions()
	r.Directory = e.directory()
	r.Network = e.network()
	for i := range s.Jobs {
		r.Jobs = append(r.Jobs, e.job(i))
	}
	r.Datasets = e.datasets()
	r.PerNode = e.perNode()
	for _, i := range t.intervals {
		r.Intervals = append(r.Intervals, result.Interval{
			Start: i.start.Seconds(), End: i.end.Seconds(), Counts: counts(i.cell, 0),
			Alive: i.alive, Copies: i.copies, Blocks: i.blocks, Stall: share(i.waited, i.waited+i.computed),
		})
	}
	if t.clock != nil {
		r.Events = t.clock.events
	}
	r.Bound = e.bound()
	return r
}

// counts returns a cell as results have it. distinct is how many bytes were read if each counts
// once; 0 leaves the amplification out.
func counts(c cell, distinct int64) result.Counts {
	reads, bytes := sum(c.reads), sum(c.bytes)
	tier := func(places ...int) (t result.Tier) {
		got := int64(0)
		for _, p := range places {
			t.Reads += c.reads[p]
			t.Bytes += c.moved[p]
			got += c.bytes[p]
		}
		t.Share, t.ByteShare = share(t.Reads, reads), share(got, bytes)
		return t
	}
	return result.Counts{
		Reads: reads, Bytes: bytes, Amplification: share(c.moved[ufs], distinct),
		Tiers: result.Tiers{Local: tier(local), Peer: tier(peer, farPeer), FarPeer: tier(farPeer), UFS: tier(ufs)},
	}
}

func (e *engine) replicas() result.Replicas {
	c := e.fleet.Contents()
	r := result.Replicas{
		Blocks: c.Blocks, Copies: c.Copies, Bytes: c.Bytes, Histogram: make(map[string]int64),
		Capacity: int64(e.scenario.Fleet.Nodes) * e.fleet.Capacity(),
	}
	r.Surplus = share(c.Bytes-c.KeptBytes, r.Capacity)
	for i, n := range c.Histogram {
		if n > 0 {
			r.Histogram[bar(i)] = n
		}
	}
	return r
}

// bar names a bar of the histogram of replicas.
func bar(i int) string {
	if i < 2 {
		return fmt.Sprint(i + 1)
	}
	return fmt.Sprintf("%d-%d", 1<<(i-1)+1, 1<<i)
}

func (e *engine) evictions() result.Evictions {
	s := e.fleet.Stats()
	v := result.Evictions{
		Last: s.Last, LastLost: s.LastLost, Crashed: s.Crashed, Moved: s.Moved, Placed: s.Placed, Bypassed: s.Bypassed,
		AgeP50: e.fleet.EvictionAge(0.5).Seconds(), AgeP99: e.fleet.EvictionAge(0.99).Seconds(),
	}
	for n := range e.scenario.Fleet.Nodes {
		c := e.fleet.NodeStats(n)
		v.Evicted += c.Evicted
		v.WrittenBytes += c.WrittenBytes
	}
	return v
}

// What messages of the directory take on the wire, in bytes (docs/directory-traffic.md): a key
// looked up with its answer, a holder that came or went told to two homes, an order with its
// answer, a resignation.
const (
	lookupBytes = 27 + 60
	deltaBytes  = 2 * 26
	orderBytes  = 16
	resignBytes = 12
)

func (e *engine) directory() result.Directory {
	s := e.fleet.Stats()
	news := e.scenario.Fleet.Directory.Seconds()
	return result.Directory{
		Lookups: s.Lookups, Deltas: s.Deltas, Orders: s.Orders, Resigned: s.Resigned, WrongHints: s.WrongHints,
		Bytes:    s.Lookups*lookupBytes + s.Deltas*deltaBytes + s.Orders*orderBytes + s.Resigned*resignBytes,
		StaleP50: news, StaleP99: news,
	}
}

func (e *engine) network() result.Network {
	moved := e.tally.all.moved
	n := result.Network{UFSBytes: moved[ufs] + e.tally.written, PeerBytes: moved[peer] + moved[farPeer], ZoneBytes: moved[farPeer]}
	var out []int64
	for i := range e.scenario.Fleet.Nodes {
		out = append(out, e.fleet.NodeStats(i).SentBytes)
	}
	slices.Sort(out)
	n.OutP50, n.OutP99, n.OutMax = quantile(out, 0.5), quantile(out, 0.99), out[len(out)-1]
	if e.tally.clock != nil {
		e.tally.clock.network(&n)
	}
	return n
}

// quantile returns the value that a share of sorted ones is not above.
func quantile(sorted []int64, share float64) int64 {
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

func (e *engine) job(i int) result.Job {
	spec, t := e.jobs[i].Spec, &e.tally.jobs[i]
	var all cell
	j := result.Job{
		Name: spec.Name, Dataset: spec.Dataset, Kind: string(spec.Kind), Nodes: len(spec.Nodes),
		Start: spec.Start.Seconds(), End: t.end.Seconds(), Done: t.done,
	}
	for n, c := range t.epochs {
		all = all.plus(c)
		j.Epochs = append(j.Epochs, counts(c, 0))
		j.EpochEnds = append(j.EpochEnds, t.ends[n].Seconds())
	}
	if !t.done {
		j.End = e.now.Seconds()
	}
	j.Total, j.Warm = counts(all, 0), counts(t.warm, 0)
	if e.tally.clock != nil {
		e.tally.clock.jobs[i].into(&j)
	}
	return j
}

func (e *engine) datasets() []result.Dataset {
	contents := e.fleet.Contents()
	var all []result.Dataset
	for i, set := range e.data.Sets() {
		all = append(all, result.Dataset{
			Name: set.Name, Bytes: set.Bytes(), Cached: contents.ByGroup[i], Policy: e.scenario.Datasets[i].Policy,
			Total: counts(e.tally.sets[i].all, e.tally.distinct[i]), Warm: counts(e.tally.sets[i].warm, 0),
		})
	}
	return all
}

// mostNodes is how many nodes are told of one by one.
const mostNodes = 64

// perNode tells of each node; of many of those at as many quantiles of what they read from the
// UFS.
func (e *engine) perNode() []result.Node {
	order := make([]int, e.scenario.Fleet.Nodes)
	for i := range order {
		order[i] = i
	}
	if len(order) > mostNodes {
		slices.SortStableFunc(order, func(a, b int) int {
			return cmp.Compare(e.tally.nodes[a].moved[ufs], e.tally.nodes[b].moved[ufs])
		})
		for i := range mostNodes {
			order[i] = order[i*(len(order)-1)/(mostNodes-1)]
		}
		order = order[:mostNodes]
		slices.Sort(order)
	}
	var all []result.Node
	for _, n := range order {
		c := e.fleet.NodeStats(n)
		all = append(all, result.Node{
			Node: n, Zone: e.fleet.Zone(n), Used: e.fleet.Used(n), Total: counts(e.tally.nodes[n], 0),
			SentBytes: c.SentBytes, Evicted: c.Evicted,
		})
	}
	return all
}

func sum(a [places]int64) (s int64) {
	for _, n := range a {
		s += n
	}
	return s
}

func sum64(a []int64) (s int64) {
	for _, n := range a {
		s += n
	}
	return s
}

// share returns part of whole, 0 of nothing.
func share(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
