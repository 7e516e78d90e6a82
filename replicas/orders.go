package replicas

import (
	"github.com/shoal-mesh/shoal"
)

// orderStream is what a home has still to order one holder: a queue from which numbered
// Stands are cut, of which one is in flight at a time. Of the orders for one block only
// the last waits, so the queue has never more than two for each block of the holder.
type orderStream struct {
	queue []queued
	voids int               // of queue
	at    map[shoal.Key]int // of the order that waits: cut + its index into queue
	cut   int               // how many orders were ever cut off the queue
	due   Tick              // when what waits goes at the latest

	inflight *Message
	seq      uint64 // of the last Stand that was cut
	sentAt   Tick
	retry    Tick
}

// queued is an order that waits, unless it has become void.
type queued struct {
	Order
	void bool
}

// put queues o, to go at due at the latest. It replaces an order for the same block that
// waits, but for its credit.
func (s *orderStream) put(due Tick, o Order) {
	if len(s.queue) == 0 || due < s.due {
		s.due = due
	}
	if i, ok := s.at[o.Key]; ok {
		waits := &s.queue[i-s.cut]
		if waits.Credit != 0 && (o.Credit == 0 || waits.Credit < o.Credit) {
			o.Credit = waits.Credit
		}
		waits.Order = o
		return
	}
	if s.at == nil {
		s.at = make(map[shoal.Key]int)
	}
	s.at[o.Key] = s.cut + len(s.queue)
	s.queue = append(s.queue, queued{Order: o})
}

// cancel drops the order for key that waits, if there is one.
func (s *orderStream) cancel(key shoal.Key) {
	if i, ok := s.at[key]; ok {
		s.queue[i-s.cut].void = true
		delete(s.at, key)
		if s.voids++; s.voids > len(s.queue)/2 {
			s.keep(func(shoal.Key) bool { return true })
		}
	}
}

// next cuts at most n orders off the front of the queue.
func (s *orderStream) next(n int) []Order {
	n = min(n, len(s.queue))
	orders := make([]Order, 0, n)
	for _, o := range s.queue[:n] {
		if o.void {
			s.voids--
			continue
		}
		delete(s.at, o.Key)
		orders = append(orders, o.Order)
	}
	s.cut += n
	s.queue = s.queue[n:]
	return orders
}

// keep drops the orders that wait for blocks which wanted does not name.
func (s *orderStream) keep(wanted func(shoal.Key) bool) {
	rest := s.queue[:0]
	s.voids = 0
	clear(s.at)
	for _, o := range s.queue {
		if !o.void && wanted(o.Key) {
			s.at[o.Key] = s.cut + len(rest)
			rest = append(rest, o)
		}
	}
	s.queue = rest
}

// order queues o for p. It waits for company, not for long when it is quick.
func (d *Directory) order(p *member, o Order, quick bool) {
	d.counts.Orders++
	delay := d.rules.SlowDelay
	switch {
	case p.id == d.self:
		delay = 0
	case quick:
		delay = d.rules.AddDelay
	}
	p.orders.put(d.now+delay, o)
}

// flushOrders appends to out the Stand that p should be sent now, if any.
func (d *Directory) flushOrders(p *member, out []Message) []Message {
	s, now := &p.orders, d.now
	if p.away || d.byID[p.id] != p {
		return out
	}
	if s.inflight != nil {
		if now < s.sentAt+s.retry {
			return out
		}
		s.sentAt, s.retry = now, min(2*s.retry, 8*d.rules.RetryAfter)
		return append(out, *s.inflight)
	}
	if len(s.queue) == 0 || len(s.queue) < d.rules.BatchChanges && now < s.due {
		return out
	}
	orders := s.next(d.rules.BatchChanges)
	if len(orders) == 0 {
		return out
	}
	d.orderSeq++
	m := Message{
		Type: MsgStand, From: d.self, To: p.id, View: d.table.view,
		Boot: d.boot, ToBoot: p.boot, Seq: d.orderSeq, Orders: orders,
	}
	s.inflight, s.seq, s.sentAt, s.retry, s.due = &m, m.Seq, now, d.rules.RetryAfter, now
	return append(out, m)
}

// stood takes in what became of the orders in flight to the sender.
func (d *Directory) stood(m Message) []Message {
	p := d.byID[m.From]
	if p == nil || p.boot != m.Boot || m.ToBoot != d.boot {
		return nil
	}
	told := p.version // by what came before
	p.version = max(p.version, m.Version)
	s := &p.orders
	if s.inflight == nil || s.inflight.Seq != m.Seq || len(m.Results) != len(s.inflight.Orders) {
		return nil
	}
	orders := s.inflight.Orders
	s.inflight = nil
	for i, o := range orders {
		if !d.arranges(ShardOf(o.Key)) {
			continue
		}
		switch m.Results[i] {
		case Obeyed:
			d.answered(p, o.Key, m.Seq)
		case Gone:
			d.counts.GoneOrders++
			d.notThere(p, o.Key, told > m.Version)
		case Stale:
			d.counts.StaleOrders++
			if o.Standing.Keeper { // it has another replica than the one that was meant
				d.unsettled(p, o.Key)
				continue
			}
			d.refused(p, o, m.Version)
			d.answered(p, o.Key, m.Seq)
		case NotHome:
			d.unsettled(p, o.Key)
		}
	}
	return d.flushOrders(p, nil)
}

// orderFailed takes in that the call with Stand m failed: it is tried again soon.
func (d *Directory) orderFailed(now Tick, m Message) {
	p := d.byID[m.To]
	if p != nil && p.orders.inflight != nil && p.orders.inflight.Seq == m.Seq {
		p.orders.sentAt, p.orders.retry = now, d.rules.RetryAfter/2
	}
}
