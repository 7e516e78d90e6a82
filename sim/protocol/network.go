package protocol

import (
	"container/heap"

	"github.com/shoal-mesh/shoal/replicas"
)

// event is something that happens at a moment. Events of one moment happen in the order
// in which they were planned.
type event struct {
	at    replicas.Tick
	order int
	do    func()
}

// agenda is a heap of events, soonest first.
type agenda []event

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	if a[i].at != a[j].at {
		return a[i].at < a[j].at
	}
	return a[i].order < a[j].order
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }

// Push is for container/heap.
func (a *agenda) Push(x any) { *a = append(*a, x.(event)) }

// Pop is for container/heap.
func (a *agenda) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

func (a *agenda) next() event { return heap.Pop(a).(event) }

// at plans do for ms milliseconds from now.
func (m *Mesh) at(ms replicas.Tick, do func()) {
	m.planned++
	heap.Push(&m.agenda, event{at: m.now + ms, order: m.planned, do: do})
}

// send hands messages to the network, which may lose, repeat and delay each.
func (m *Mesh) send(out []replicas.Message) {
	for _, o := range out {
		m.stats.Messages++
		if o.Type == replicas.MsgBatch {
			m.stats.Announced += len(o.Changes)
		}
		times := 1
		switch p := m.rng.Float64(); {
		case p < m.Faults.Loss:
			times = 0
			m.stats.Lost++
			m.log("%s -> %s %s lost", o.From, o.To, o.Type)
		case p < m.Faults.Loss+m.Faults.Duplicate:
			times = 2
			m.stats.Repeated++
		}
		for range times {
			m.at(1+replicas.Tick(m.rng.Int64N(max(1, int64(m.Faults.Delay)))), func() { m.arrive(o) })
		}
	}
}

// arrive delivers a message to the node it is for, if that is alive; a node that has
// restarted gets what was meant for its last life.
func (m *Mesh) arrive(o replicas.Message) {
	n := m.node(o.To)
	if n == nil || n.dead {
		return
	}
	m.log("%s -> %s %s seq=%d keys=%d changes=%d shards=%d end=%v",
		o.From, o.To, o.Type, o.Seq, len(o.Keys), len(o.Changes), o.Shards.Len(), o.End)
	if o.Type == replicas.MsgAnswers {
		m.answered(n, o)
		return
	}
	m.send(n.core.Step(m.now, o))
}
