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

func (d *Directory) lookup(now Tick, m *Message, out []Answer) []Answer {
	d.now = now
	p := d.byID[m.From]
	d.hints.Turn(now)
	var nodes []shoal.NodeID
	for _, key := range m.Keys {
		hash := HashKey(key)
		shard := uint16(hash)
		if p == nil || !d.owned.Has(shard) {
			d.counts.Foreign++
			out = append(out, Answer{Kind: NotOwner})
			continue
		}
		var a Answer
		slot := d.entries.find(key, hash)
		if slot != 0 {
			d.correct(now, slot, p, m.Avoid, m.Type == MsgPeek)
			a, nodes = d.known(now, slot, p, hash, m, nodes)
		}
		if a.Kind == Unknown {
			a = d.nobody(now, m, key, hash, slot, p)
		}
		if m.Type == MsgPeek && slot != 0 {
			d.explainTo(&a, slot)
		}
		d.count(a.Kind)
		out = append(out, a)
	}
	return out
}

// correct forgets holders of slot that a reader says do not hold it, and asks them, as
// well as the reader itself when it is said to hold what it looks for: they know best.
func (d *Directory) correct(now Tick, slot uint32, p *member, avoid []Avoid, peek bool) {
	for _, v := range avoid {
		q := d.byID[v.Node]
		if v.Reason != NotFound || q == nil || q == p {
			continue
		}
		if d.loseHolder(slot, q, HashKey(d.entries.at(slot).key)) {
			d.counts.Corrections++
			d.check(now, q, slot)
		}
	}
	if peek {
		return
	}
	var few [8]uint16
	if slices.Contains(d.entries.holders(slot, few[:0]), p.number) {
		d.check(now, p, slot)
	}
}

// known answers from what the entry in slot says; Unknown when that is nothing of use.
func (d *Directory) known(
	now Tick, slot uint32, p *member, hash uint64, m *Message, nodes []shoal.NodeID,
) (Answer, []shoal.NodeID) {
	avoid := m.Avoid
	var few [16]uint16
	best := ranking{zone: p.zone, salt: hash ^ p.seed}
	for _, n := range d.entries.holders(slot, few[:0]) {
		if q := d.numbers[n]; q != nil && q != p && !q.away && !avoids(avoid, q.id) {
			best.add(q, d.hints.Readers(hash, n) >= d.rules.Readers, q.load.Step(now))
		}
	}
	start := len(nodes)
	if best.n > 0 {
		if m.Type == MsgLookup {
			d.sent(now, hash, best.top[0].member)
		}
		for _, c := range best.top[:best.n] {
			nodes = append(nodes, c.member.id)
		}
		return Answer{Kind: Held, Nodes: nodes[start:len(nodes):len(nodes)], Sum: d.entries.at(slot).sum}, nodes
	}
	l, ok := d.lease(now, slot)
	if !ok || l.filler == p || avoids(avoid, l.filler.id) {
		return Answer{}, nodes
	}
	nodes = append(nodes, l.filler.id)
	return Answer{
		Kind: Filling, Nodes: nodes[start:len(nodes):len(nodes)],
		Lease: time.Duration(l.until-now) * time.Millisecond,
	}, nodes
}

// nobody answers for a key of which no usable holder or filler is known.
func (d *Directory) nobody(now Tick, m *Message, key shoal.Key, hash uint64, slot uint32, p *member) Answer {
	mine := false
	if slot != 0 {
		l, ok := d.lease(now, slot)
		mine = ok && l.filler == p
	}
	switch peek := m.Type == MsgPeek; {
	case !mine && (peek || !m.Last) && d.warming(now, uint16(hash)):
		return Answer{Kind: Unknown}
	case peek:
		return Answer{Kind: Nowhere}
	}
	a := Answer{Kind: Fill}
	if d.grant(now, key, hash, p, d.rules.Lease) {
		a.Lease = time.Duration(d.rules.Lease) * time.Millisecond
		if !mine {
			d.leases.unsaid = append(d.leases.unsaid, unsaid{now + d.rules.IntentAfter, key, p})
		}
	}
	if m.Offer != nil {
		if q := d.place(now, p, *m.Offer); q != nil {
			a.Place = q.id
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
	zone string
	salt uint64
	top  [MaxNodes]ranked
	n    int
}

type ranked struct {
	Source
	member *member
}

func (r *ranking) add(p *member, full bool, load int) {
	c := ranked{Source{Full: full, Near: p.zone == r.zone, Load: load, Score: mix(r.salt ^ p.seed)}, p}
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
