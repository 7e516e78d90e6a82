package replicas

import (
	"slices"
	"strings"
	"time"

	"github.com/shoal-mesh/shoal"
)

// Lookup answers keys for node from, appending to out one Answer per key, and returns it.
// With peek, no lease is given. from itself is never in an answer, nor is a node of avoid.
func (d *Directory) Lookup(
	now Tick, from shoal.NodeID, keys []shoal.Key, avoid []Avoid, peek bool, out []Answer,
) []Answer {
	m := Ask{Keys: keys}.message(avoid, peek)
	m.From = from
	return d.lookup(now, &m, out)
}

// A query is one key of a lookup.
type query struct {
	from  *member
	key   shoal.Key
	hash  uint64
	slot  uint32 // of the entry; 0: there is none
	peek  bool
	last  bool    // see Message.Last
	avoid []Avoid // to none of these
	offer *Offer
}

// usable reports whether the one who asks may be sent to p.
func (q *query) usable(p *member) bool {
	return p != nil && p != q.from && !p.away && !avoids(q.avoid, p.id)
}

func (d *Directory) lookup(now Tick, m *Message, out []Answer) []Answer {
	d.now = now
	p := d.byID[m.From]
	d.hints.Turn(now)
	q := query{from: p, peek: m.Type == MsgPeek, last: m.Last, avoid: m.Avoid, offer: m.Offer}
	var nodes []shoal.NodeID
	for _, key := range m.Keys {
		q.key, q.hash = key, HashKey(key)
		if p == nil || !d.owned.Has(uint16(q.hash)) {
			d.counts.Foreign++
			out = append(out, Answer{Kind: NotOwner})
			continue
		}
		var a Answer
		if q.slot = d.entries.find(key, q.hash); q.slot != 0 {
			d.correct(&q)
			a, nodes = d.known(&q, nodes)
		}
		if a.Kind == Unknown {
			a = d.nobody(&q)
		}
		if q.peek && q.slot != 0 {
			d.explainTo(&a, q.slot)
		}
		d.count(a.Kind)
		out = append(out, a)
	}
	return out
}

// correct forgets holders that a reader says do not hold the block, and asks them, as well as
// the reader itself when it is said to hold what it looks for: they know best.
func (d *Directory) correct(q *query) {
	for _, v := range q.avoid {
		p := d.byID[v.Node]
		if v.Reason != NotFound || p == nil || p == q.from {
			continue
		}
		d.receivers.drop(q.hash, p.number)
		if d.loseHolder(q.slot, p, q.hash) {
			d.counts.Corrections++
			d.check(d.now, p, q.slot)
		}
	}
	if q.peek {
		return
	}
	var few [8]uint16
	if slices.Contains(d.entries.holders(q.slot, few[:0]), q.from.number) {
		d.check(d.now, q.from, q.slot)
	}
}

// known answers from what the entry says; Unknown when that is nothing of use. The reader is sent
// to a holder, or to a node that is receiving the block when the holders have more to do.
func (d *Directory) known(q *query, nodes []shoal.NodeID) (Answer, []shoal.NodeID) {
	var few [16]uint16
	held := d.entries.holders(q.slot, few[:0])
	var best ranking
	for _, n := range held {
		if p := d.numbers[n]; q.usable(p) {
			best.add(d.rank(q, p, d.hints.Readers(q.hash, n) >= MostReaders))
		}
	}
	l, filling := d.lease(d.now, q.slot)
	if filling = filling && q.usable(l.filler); !filling {
		l.filler = nil
	}
	if best.n == 0 && !filling {
		return Answer{}, nodes
	}
	a := Answer{Kind: Held, Sum: d.entries.at(q.slot).sum}
	via := d.receiving(q, held, l.filler)
	if best.n == 0 || !q.peek && d.relieves(q, via, best.top[0]) {
		best.top[0], best.n, a.Kind = via.ranked, 1, Filling
		a.Lease = time.Duration(max(0, l.until-d.now)) * time.Millisecond
		if via.at != nil && !q.peek {
			via.at.readers++
		}
	}
	if via.first {
		d.receivers.add(q.hash, q.from.number, d.now, q.offer == nil)
	}
	if !q.peek {
		d.sent(d.now, q.hash, best.top[0].member)
	}
	start := len(nodes)
	for _, c := range best.top[:best.n] {
		nodes = append(nodes, c.member.id)
	}
	a.Nodes = nodes[start:len(nodes):len(nodes)]
	return a, nodes
}

// nobody answers for a key of which no usable holder or filler is known.
func (d *Directory) nobody(q *query) Answer {
	mine := false
	if q.slot != 0 {
		l, ok := d.lease(d.now, q.slot)
		mine = ok && l.filler == q.from
	}
	switch {
	case !mine && (q.peek || !q.last) && d.warming(d.now, uint16(q.hash)):
		return Answer{Kind: Unknown}
	case q.peek:
		return Answer{Kind: Nowhere}
	}
	a := Answer{Kind: Fill}
	if !mine {
		d.receivers.add(q.hash, q.from.number, d.now, q.offer == nil)
	}
	if d.grant(d.now, q.key, q.hash, q.from, d.rules.Lease) {
		a.Lease = time.Duration(d.rules.Lease) * time.Millisecond
		if !mine {
			d.leases.unsaid = append(d.leases.unsaid, unsaid{d.now + d.rules.IntentAfter, q.key, q.from})
		}
	}
	if q.offer != nil {
		if p := d.place(d.now, q.from, *q.offer); p != nil {
			a.Place = p.id
		}
	}
	return a
}

// warming reports whether this home became one of shard so lately that some members
// have not yet told it what they hold, or one is just telling it anew.
func (d *Directory) warming(now Tick, shard uint16) bool {
	if d.unsynced[shard] == 0 {
		return false
	}
	if !d.whole.Has(shard) && now < d.gains[d.gained[shard]]+d.rules.Warm {
		return true
	}
	return slices.ContainsFunc(d.members, func(p *member) bool {
		return p.pushing.Has(shard) && p.missing.Has(shard) && now < p.beganAt+d.rules.Warm
	})
}

func (d *Directory) count(k Kind) {
	switch k {
	case Held:
		d.counts.Held++
	case Filling:
		d.counts.Filling++
	case Fill:
		d.counts.Fill++
	case Unknown:
		d.counts.Unknown++
	case Nowhere:
		d.counts.Nowhere++
	case NotOwner:
		d.counts.Foreign++
	}
}

// check asks p, now and until it answers, whether it holds the block of slot.
func (d *Directory) check(now Tick, p *member, slot uint32) {
	e := d.entries.at(slot)
	asked := slices.ContainsFunc(p.checks, func(q asking) bool { return q.key == e.key })
	if asked || len(p.checks) >= maxChecks {
		return
	}
	if len(p.checks) == 0 {
		p.checkAt = now
	}
	p.checks = append(p.checks, asking{e.key, HashKey(e.key), e.sum})
}

// ranking keeps the best MaxNodes of the members it is given.
type ranking struct {
	top [MaxNodes]ranked
	n   int
}

type ranked struct {
	Source
	member *member
}

// rank describes p as the one who asks may be sent to it; full: it has enough readers of the block.
func (d *Directory) rank(q *query, p *member, full bool) ranked {
	return ranked{Source{
		Full: full, Near: p.zone == q.from.zone,
		Load: p.load.Step(d.now), Score: mix(q.hash ^ q.from.seed ^ p.seed),
	}, p}
}

func (r *ranking) add(c ranked) {
	at := r.n
	for at > 0 && c.before(r.top[at-1]) {
		at--
	}
	if at == MaxNodes {
		return
	}
	r.n = min(r.n+1, MaxNodes)
	copy(r.top[at+1:r.n], r.top[at:r.n-1])
	r.top[at] = c
}

func (c ranked) before(o ranked) bool {
	if c.Source != o.Source {
		return c.Before(o.Source)
	}
	return strings.Compare(string(c.member.id), string(o.member.id)) < 0
}

func avoids(avoid []Avoid, id shoal.NodeID) bool {
	for _, v := range avoid {
		if v.Node == id {
			return true
		}
	}
	return false
}
