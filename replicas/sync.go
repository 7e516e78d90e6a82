package replicas

import (
	"slices"

	"github.com/shoal-mesh/shoal"
)

// What a Tick may do at most of work that can wait, so that none takes long.
const (
	sweepSlots  = 16384
	purgeShards = 256
)

// A member may be said to hold as many blocks as it has room for if they are this small
// on average, and some more: small caches are full of small blocks.
const (
	leastBlock = 4096 // bytes
	mostSlack  = 65536
)

// sweep walks the entries, a piece per Tick, and takes out the numbers of members that
// have left. A number is given to another member only after a whole walk without it.
type sweep struct {
	numbers []uint16 // that this walk takes out
	touched []uint16 // of members that have changed, so that all holders beside them are told anew
	next    uint32   // slot to go on with
}

// SetTable makes t the membership d acts under. Members that are gone are forgotten with
// all they held and filled. Of those that are away what they held is remembered; when they
// come back, be it under another boot, it serves as a hint until their digests confirm it.
// Of shards that are new here, and of members that are new or back, everything is missing
// until it is confirmed.
func (d *Directory) SetTable(now Tick, t *Table) []Message {
	before := d.table
	if t.view == before.view {
		return nil
	}
	d.table, d.before, d.now = t, before, now
	if m, ok := t.Member(d.self); ok {
		d.boot = m.Boot
	}
	d.gains = append(d.gains, now)
	arrived := d.replaceMembers(now, t)
	alone := len(before.members) <= 1
	d.replaceShards(now, alone)
	for _, p := range arrived {
		p.auditAt = now + d.rules.WantAfter
		for s := range d.owned.All {
			d.miss(p, s)
		}
	}
	d.arrange(before)
	return d.handOver(now, before)
}

// replaceMembers takes in the members of t and returns those that are new, or back.
func (d *Directory) replaceMembers(now Tick, t *Table) (arrived []*member) {
	for _, p := range d.members {
		if _, ok := t.find(p.id); ok {
			continue
		}
		d.leave(p)
		delete(d.byID, p.id)
		d.numbers[p.number] = nil
		d.retired = append(d.retired, p.number)
		if !p.away {
			p.leftAt = now
		}
		d.left[p.number] = p.leftAt
		d.resettle(p) // what it kept, another one is to keep
	}
	d.members = d.members[:0]
	for i, m := range t.members {
		p := d.byID[m.ID]
		if p == nil {
			p = newMember(m, d.number())
			d.byID[m.ID], d.numbers[p.number] = p, p
			p.away = true
		}
		if away := t.isAway(i); away != p.away || m.Boot != p.boot {
			untold := p.missing
			d.leave(p)
			if away && !p.away {
				p.leftAt, p.untold = now, untold
				p.orders = orderStream{} // it is told anew when it is back: see Directory.resettle
				d.resettle(p)            // what it keeps, another one is to keep as well
			}
			p.away = away
			if m.Boot != p.boot {
				p.boot, p.seq, p.version, p.orders = m.Boot, 0, 0, orderStream{}
				d.resettle(p)
			}
			if !away {
				d.resettle(p) // what it ought to have been told meanwhile
				p.confirmed, p.refreshAt = now, now+jitter(d.self+p.id, now, d.rules.Refresh)
				arrived = append(arrived, p)
			}
		}
		if (m.State == shoal.Draining) != p.drains() {
			d.resettle(p)
		}
		p.zone, p.state, p.most = m.Zone, m.State, d.rules.MaxHeld
		if m.Capacity > 0 {
			p.most = int(min(int64(p.most), m.Capacity/leastBlock+mostSlack))
		}
		d.members = append(d.members, p)
	}
	return arrived
}

// leave forgets what p had still to tell: it is gone, or away, or another boot of it is here.
func (d *Directory) leave(p *member) {
	for s := range p.missing.All {
		d.unsynced[s]--
	}
	p.missing, p.pushing, p.stale, p.wanted, p.unheard, p.checks = nil, nil, nil, nil, nil, nil
}

// number returns a free member number, sweeping the entries if all are in use.
func (d *Directory) number() uint16 {
	for range 2 {
		if len(d.numbers) <= 1<<16-1 {
			d.numbers = append(d.numbers, nil)
			return uint16(len(d.numbers) - 1)
		}
		free := d.freeNumber()
		if free != 0 {
			return free
		}
		for len(d.retired) > 0 || d.sweep.numbers != nil {
			clear(d.left) // no time to settle
			d.sweepSome(len(d.entries.slabs) << slabBits)
		}
	}
	panic("replicas: more than 65,534 members")
}

func (d *Directory) freeNumber() uint16 {
	for n := 1; n < len(d.numbers); n++ {
		c := uint16(n)
		if d.numbers[n] == nil && !slices.Contains(d.retired, c) && !slices.Contains(d.sweep.numbers, c) {
			return c
		}
	}
	return 0
}

// replaceShards takes in which shards the table gives to this home. A node that was
// alone knows nothing of what the others hold: to it all shards are new.
func (d *Directory) replaceShards(now Tick, alone bool) {
	gain := uint32(len(d.gains) - 1)
	me := d.table.numberOf(d.self)
	for i, h := range d.table.homes {
		s := uint16(i)
		mine := me != 0 && (h[0] == me || h[1] == me)
		switch {
		case mine && d.owned.Add(s):
			if !d.dirty.Remove(s) { // else what was known serves as a hint
				d.dense[s] = d.denseIndex()
			}
			d.gained[s] = gain
			for _, p := range d.members {
				d.miss(p, s)
				p.auditAt = max(p.auditAt, now+d.rules.WantAfter)
			}
			d.whole.Remove(s)
			d.pullShard(now, s)
		case mine && alone:
			d.gained[s] = gain
			d.whole.Remove(s)
			d.pullShard(now, s)
		case !mine && d.owned.Remove(s):
			d.lose(now, s)
		}
	}
}

// denseIndex returns a free index for the digests of a shard.
func (d *Directory) denseIndex() uint16 {
	if n := len(d.spare); n > 0 {
		i := d.spare[n-1]
		d.spare = d.spare[:n-1]
		return i
	}
	d.denseTop++
	return uint16(d.denseTop - 1)
}

// lose gives up shard s; its entries go later, on a Tick, so that the new home can pull them.
func (d *Directory) lose(now Tick, s uint16) {
	d.dropPull(now, s)
	known := d.whole.Has(s)
	for _, p := range d.members {
		d.found(p, s)
		p.stale.remove(s)
		p.unheard.remove(s)
	}
	if !known {
		d.whole.Remove(s)
	}
	d.dirty.Add(s)
	d.lostAt = now
}

// miss notes that p has not told everything of shard s.
func (d *Directory) miss(p *member, s uint16) {
	if p.away {
		return // it is when it comes back
	}
	if p.missing == nil {
		p.missing = new(ShardSet)
	}
	if p.missing.Add(s) {
		d.unsynced[s]++
		p.missedAt = d.now
	}
}

// found notes that nothing of shard s is missing from p.
func (d *Directory) found(p *member, s uint16) {
	if p.missing.Has(s) && p.missing.Remove(s) {
		if d.unsynced[s]--; d.unsynced[s] == 0 {
			d.whole.Add(s)
		}
	}
	if p.missing.Len() == 0 {
		p.missing = nil
	}
	p.wanted.remove(s)
}

// batch applies a Batch, unless it or a later one was applied before.
func (d *Directory) batch(now Tick, m Message) Message {
	p := d.byID[m.From]
	if p == nil || p.away || p.boot != m.Boot || m.ToBoot != d.boot {
		return d.reply(m, MsgRefused)
	}
	p.heard = now
	if m.Seq <= p.seq {
		d.counts.Stale++
		if m.Seq == p.seq && m.Audited != nil {
			d.compare(now, p, &m) // the view may be another than when it came first
		}
		return d.reply(m, MsgAck)
	}
	p.seq, p.version = m.Seq, max(p.version, m.Version)
	d.counts.Batches++
	if m.Shards != nil {
		d.beginPush(now, p, m.Shards)
	}
	for _, c := range m.Changes {
		d.change(p, c)
	}
	if m.End {
		d.endPush(p)
	}
	if m.Audited != nil {
		d.compare(now, p, &m)
	}
	return d.reply(m, MsgAck)
}

// change applies one line of p's Batch. A block that is held needs no filler.
func (d *Directory) change(p *member, c Change) {
	d.counts.Changes++
	hash := c.hash()
	if len(p.checks) > 0 {
		p.checks = slices.DeleteFunc(p.checks, func(q asking) bool { return q.hash == hash })
	}
	if !d.owned.Has(uint16(hash)) {
		return
	}
	if !c.Held {
		// Of two blocks with one hash both are forgotten: the digests will tell which is there.
		for slot, more := uint32(0), true; more; {
			if slot, more = d.entries.findHeld(hash, p.number); slot == 0 {
				return
			}
			if d.loseHolder(slot, p, hash) && d.arranges(uint16(hash)) {
				d.credit(slot, c.Idle)
			}
			d.tidy(slot)
		}
		return
	}
	if p.stale.Has(uint16(hash)) {
		d.forget(p, uint16(hash))
	}
	if p.bits >= p.most && !d.holds(p, c.Key, hash) {
		d.counts.Refused++
		d.release(Message{From: p.id, Keys: []shoal.Key{c.Key}})
		return
	}
	slot := d.entries.put(c.Key, hash)
	e := d.entries.at(slot)
	switch {
	case e.sum == 0:
		e.sum = c.Sum
	case e.sum != c.Sum:
		d.counts.Mismatches++
	}
	d.limit(slot, c.Limits)
	class := untold
	if c.Filled {
		class = shoal.Last
	}
	if !d.gainHolder(slot, p, hash, class) {
		d.retellTo(slot, p)
	}
	if mv := d.moves[c.Key]; mv != nil {
		mv.name(p, c.Gained)
	}
	if e.flags&flagLeased != 0 && d.leases.bySlot[slot].filler == p {
		d.endLease(slot)
	}
}

func (d *Directory) holds(p *member, key shoal.Key, hash uint64) bool {
	slot := d.entries.find(key, hash)
	return slot != 0 && slices.Contains(d.entries.holders(slot, nil), p.number)
}

// Tick does what time makes due, and returns the questions to members that have not
// told everything.
func (d *Directory) Tick(now Tick) []Message {
	d.now = now
	d.expire(now)
	n := 0
	for s := range d.dirty.All {
		if n++; n > purgeShards || now < d.lostAt+d.rules.Warm {
			break
		}
		d.dirty.Remove(s)
		d.purge(s)
	}
	d.sweepSome(sweepSlots)
	d.retellSome()
	d.lookAgain()

	out := append(d.announceLeases(now), d.pullSome(now)...)
	out = append(out, d.refresh(now)...)
	if m, ok := d.meetOne(now); ok {
		out = append(out, m)
	}
	for _, p := range d.members {
		d.forgetSome(p)
		out = d.want(now, p, out)
		if len(p.checks) > 0 && now >= p.checkAt {
			p.checkAt = now + d.rules.WantAfter
			out = append(out, d.ask(p))
		}
		out = d.flushOrders(p, out)
	}
	return out
}

// ask returns the question whether p holds the keys readers stumbled over.
func (d *Directory) ask(p *member) Message {
	m := Message{
		Type: MsgCheck, From: d.self, To: p.id, View: d.table.view, Boot: d.boot, ToBoot: p.boot,
	}
	for _, q := range p.checks {
		m.Changes = append(m.Changes, Change{Key: q.key, Sum: q.sum, Held: true})
	}
	return m
}

// purge removes all entries of shard s.
func (d *Directory) purge(s uint16) {
	d.entries.shard(s, func(slot uint32) bool {
		for _, n := range d.entries.holders(slot, nil) {
			if p := d.numbers[n]; p != nil {
				d.loseHolder(slot, p, HashKey(d.entries.at(slot).key))
			}
		}
		if d.entries.at(slot).flags&flagLeased != 0 {
			d.endLease(slot)
		}
		d.entries.remove(slot)
		return true
	})
	d.whole.Remove(s)
	d.spare = append(d.spare, d.dense[s])
}

// tidy removes the entry in slot if it says nothing any more.
func (d *Directory) tidy(slot uint32) {
	e := d.entries.at(slot)
	if e.flags&flagLeased == 0 && e.Empty() {
		d.entries.remove(slot)
	}
}

// sweepSome looks at the next slots for numbers of members that have left, or changed.
func (d *Directory) sweepSome(slots int) {
	if d.sweep.numbers == nil {
		if d.sweep = d.nextSweep(); d.sweep.numbers == nil {
			return
		}
	}
	for ; slots > 0 && d.sweep.next <= d.entries.top && len(d.moves) <= mostMoves; d.sweep.next++ {
		slots--
		d.sweepSlot(d.sweep.next)
	}
	if d.sweep.next > d.entries.top {
		for _, n := range d.sweep.numbers {
			delete(d.left, n)
		}
		d.sweep.numbers = nil
	}
}

// nextSweep returns the next walk, if there is something to do. The numbers of members that
// have just left stay until that has settled, so that nobody is told meanwhile that it has
// the last replica.
func (d *Directory) nextSweep() sweep {
	var due, wait []uint16
	for _, n := range d.retired {
		if d.now < d.left[n]+d.rules.Settle {
			wait = append(wait, n)
		} else {
			due = append(due, n)
		}
	}
	if len(due) == 0 && len(d.touched) == 0 {
		return sweep{}
	}
	s := sweep{numbers: append([]uint16{}, due...), touched: d.touched, next: 1}
	d.retired, d.touched = wait, nil
	return s
}

func (d *Directory) sweepSlot(slot uint32) {
	e := d.entries.at(slot)
	if e.flags&flagUsed == 0 {
		return
	}
	var few [8]uint16
	changed := false
	for _, n := range d.entries.holders(slot, few[:0]) {
		if slices.Contains(d.sweep.numbers, n) {
			d.entries.dropHolder(slot, n)
			changed = true
		}
		changed = changed || slices.Contains(d.sweep.touched, n)
	}
	if changed && d.arranges(ShardOf(e.key)) {
		d.retell(slot)
	}
	if e.flags&flagLeased != 0 && d.numbers[d.leases.bySlot[slot].filler.number] == nil {
		d.endLease(slot)
	}
	d.tidy(slot)
}
