package flow

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A load is what a fleet's nodes read, each a number of blocks of 4 MiB at a time: when one has
// come, the next one is asked for after a while of up to pause.
type load struct {
	name  string
	nodes int
	flows int           // of each node
	ufs   float64       // share of reads that come from the UFS, of 10 GB/s; the rest come from peers
	pause time.Duration // at most
	disks bool          // the blocks go through them too
	zones int           // of 100 GB/s each way; 0: nothing but interfaces connects the nodes
}

// loads are those that the package's doc gives figures for.
func loads() []load {
	return []load{
		{name: "8nodes", nodes: 8, flows: 16, ufs: 0.1, pause: time.Millisecond},
		{name: "8nodes-disks", nodes: 8, flows: 16, ufs: 0.1, pause: time.Millisecond, disks: true},
		{name: "64nodes", nodes: 64, flows: 16, ufs: 0.05, pause: time.Millisecond},
		{name: "64nodes-disks", nodes: 64, flows: 16, ufs: 0.05, pause: time.Millisecond, disks: true},
		{name: "64nodes-halfUFS", nodes: 64, flows: 16, ufs: 0.5, pause: time.Millisecond},
		{name: "fanout1000", nodes: 1000, flows: 4, ufs: 0.001},
		{name: "fanout1000-pause", nodes: 1000, flows: 4, ufs: 0.001, pause: time.Millisecond},
		{name: "fanout1000-disks", nodes: 1000, flows: 4, ufs: 0.001, pause: time.Millisecond, disks: true},
		{name: "fanout1000-zones", nodes: 1000, flows: 4, ufs: 0.001, pause: time.Millisecond, zones: 4},
		{name: "fanout1000-allUFS", nodes: 1000, flows: 4, ufs: 1, pause: time.Millisecond},
		{name: "fanout4000", nodes: 4000, flows: 16, ufs: 0.001, pause: time.Millisecond},
	}
}

// A loop is a load under way.
type loop struct {
	load
	fleet
	net   *Network
	rng   *rand.Rand
	queue Queue       // of starts; A is the node
	to    []int32     // by ID: the node
	log   *[]transfer // of all flows, if wanted
	of    []int32     // by ID: its index in log
	buf   [MaxLinks]Link
}

func newLoop(tb testing.TB, ld load, tolerance float64) *loop {
	tb.Helper()
	f := fleet{nodes: ld.nodes, zones: ld.zones}
	net, err := New(f.capacities(10e9), Config{Tolerance: tolerance})
	if err != nil {
		tb.Fatal(err)
	}
	l := &loop{load: ld, fleet: f, net: net, rng: rand.New(rand.NewPCG(1, 2))}
	for i := range ld.nodes {
		for range ld.flows {
			l.queue.Push(l.rng.Int64N(1e6), 0, uint32(i), 0, 0)
		}
	}
	return l
}

// step goes on to the next start or end of a flow, which is an event.
func (l *loop) step() {
	at, ends := l.net.Next()
	if e, ok := l.queue.Peek(); ok && (!ends || e.At <= at) {
		l.queue.Pop()
		l.start(e.At, int32(e.A))
		return
	}
	id := l.net.Finish()
	if l.log != nil {
		(*l.log)[l.of[id]].end = at
	}
	l.queue.Push(at+l.rng.Int64N(int64(l.pause)+1), 0, uint32(l.to[id]), 0, 0)
}

func (l *loop) start(now int64, node int32) {
	path := l.path(l.rng, l.buf[:0], int(node), l.ufs, l.disks)
	id := l.net.Start(now, 4<<20, path...)
	for len(l.to) <= int(id) {
		l.to, l.of = append(l.to, 0), append(l.of, 0)
	}
	l.to[id] = node
	if l.log != nil {
		l.of[id] = int32(len(*l.log))
		*l.log = append(*l.log, transfer{start: now, bytes: 4 << 20, path: slices.Clone(path)})
	}
}

func BenchmarkNetwork(b *testing.B) {
	for _, ld := range loads() {
		for _, tolerance := range []float64{1e-9, 0.01, 0.05} {
			b.Run(fmt.Sprintf("%s/%v", ld.name, tolerance), func(b *testing.B) {
				l := newLoop(b, ld, tolerance)
				for range 4 * ld.nodes * ld.flows {
					l.step()
				}
				b.ReportAllocs()
				for b.Loop() {
					l.step()
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			})
		}
	}
}

func BenchmarkQueue(b *testing.B) {
	for _, pending := range []int{1000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(pending), func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 2))
			var q Queue
			for range pending {
				q.Push(rng.Int64N(1e9), 1, 2, 3, 4)
			}
			b.ReportAllocs()
			for b.Loop() {
				e, _ := q.Pop()
				q.Push(e.At+rng.Int64N(1e9), e.Kind, e.A, e.B, e.C)
			}
		})
	}
}
