package replicas

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/shoal-mesh/shoal"
)

// outbox is what waits to be sent to one node; at most one goroutine empties it.
type outbox struct {
	queue []Message
	busy  bool
}

// post puts messages for other nodes into their outboxes. The lock is held.
func (r *Runner) post(out []Message) {
	for _, m := range out {
		box := r.outbox[m.To]
		if box == nil {
			box = new(outbox)
			r.outbox[m.To] = box
		}
		if !box.put(m, r.cfg.Outbox) {
			r.counts.lost.Add(1) // all that matters is said again
		}
	}
	if len(out) > 0 {
		r.signal(r.wake)
	}
}

// put queues m and reports false when there is no room. There is always room for a
// Batch, of which one is in flight at a time: nothing is told until it has arrived.
func (b *outbox) put(m Message, room int) bool {
	switch {
	case m.Type == MsgBatch && slices.ContainsFunc(b.queue, func(q Message) bool {
		return q.Type == MsgBatch && q.Seq == m.Seq
	}):
		return true // it is sent again before it was sent
	case m.Type == MsgIntent && b.merge(m):
		return true
	case m.Type != MsgBatch && len(b.queue) >= room:
		return false
	}
	b.queue = append(b.queue, m)
	return true
}

// merge adds the keys of Intent m to the last Intent with the same filler, if that waits
// near the end of the queue: there is one for each tick, and a slow home would lose the rest.
func (b *outbox) merge(m Message) bool {
	const near = 64
	for i := len(b.queue) - 1; i >= max(0, len(b.queue)-near); i-- {
		q := &b.queue[i]
		if q.Type == MsgRenew || q.Type == MsgRelease {
			return false // must not be overtaken
		}
		if q.Type == MsgIntent && q.Filler == m.Filler {
			apart := max(q.Lease, m.Lease) - min(q.Lease, m.Lease)
			if apart >= leaseSlack || q.Boot != m.Boot || len(q.Keys)+len(m.Keys) > maxKeys {
				return false
			}
			q.Keys, q.Lease = append(q.Keys, m.Keys...), min(q.Lease, m.Lease)
			return true
		}
	}
	return false
}

func (r *Runner) startSenders(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, box := range r.outbox {
		if len(box.queue) > 0 && !box.busy {
			box.busy = true
			r.wg.Go(func() { r.send(ctx, id, box) })
		}
	}
}

// send empties box, one message after the other.
func (r *Runner) send(ctx context.Context, to shoal.NodeID, box *outbox) {
	for {
		r.mu.Lock()
		if len(box.queue) == 0 || ctx.Err() != nil {
			box.busy = false
			if len(box.queue) == 0 {
				delete(r.outbox, to)
			}
			r.mu.Unlock()
			return
		}
		m := box.queue[0]
		box.queue = box.queue[1:]
		r.mu.Unlock()

		reply, err := r.call(ctx, &m, r.cfg.TellTimeout)
		if err != nil {
			if ctx.Err() == nil {
				r.cfg.Logger.Debug("call failed", "to", string(to), "type", m.Type.String(), "err", err)
				r.mu.Lock()
				r.core.Failed(r.now(), m)
				r.mu.Unlock()
			}
			continue
		}
		r.mu.Lock()
		r.post(r.core.Step(r.now(), reply))
		r.mu.Unlock()
		r.signal(r.moved)
		if reply.Type == MsgStand {
			r.signal(r.wake) // it has orders to carry out
		}
	}
}

// point returns what messages from node id must agree with.
func (r *Runner) point(id shoal.NodeID) point {
	t := r.table.Load()
	from, _ := t.Member(id)
	self, _ := t.Member(r.self)
	return point{view: t.View(), from: from.Boot, to: self.Boot}
}

// call sends m and returns what the other end says to it.
func (r *Runner) call(ctx context.Context, m *Message, timeout time.Duration) (Message, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request := encode(m)
	r.counts.calls.Add(1)
	r.counts.traffic.sent(m.Type, len(request))
	b, err := r.caller.Call(ctx, m.To, request)
	if err != nil {
		r.counts.failed.Add(1)
		return Message{}, fmt.Errorf("%v to %s: %w", m.Type, m.To, err)
	}
	reply, err := decode(b, r.point(m.To))
	if err != nil {
		return Message{}, fmt.Errorf("%v to %s: %w", m.Type, m.To, err)
	}
	reply.From, reply.To = m.To, r.self
	return reply, nil
}
