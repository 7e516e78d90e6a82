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
	next    uint32   // slot to go on with
}

// SetTable makes t the membership d acts under. Members that are gone, or come back
// under another boot, are forgotten with all they held and filled; of shards that are
// new here, and of members that are new, everything is missing until they announce it.
func (d *Directory) SetTable(now Tick, t *Table) []Message {
	before := d.table
	if t.view == before.view {
		return nil
	}
	d.table = t
	if m, ok := t.Member(d.self); ok {
		d.boot = m.Boot
	}
	if len(d.gains) == 1 {
		d.refreshAt = now + d.refreshPause(now)
	}
	d.gains = append(d.gains, now)
	arrived := d.replaceMembers(t)
	alone := len(before.members) <= 1
	d.replaceShards(now, alone)
	for _, p := range arrived {
		p.wantAt = now + d.rules.WantAfter
		for s := range d.owned.All {
			d.miss(p, s)
		}
	}
	return d.handOver(now, before)
}

// replaceMembers takes in the members of t and returns those that are new.
func (d *Directory) replaceMembers(t *Table) (arrived []*member) {
	for _, p := range d.members {
		m, ok := t.Member(p.id)
		if ok && m.Boot == p.boot {
			continue
		}
		for s := range p.missing.All {
			d.unsynced[s]--
		}
		delete(d.byID, p.id)
		d.numbers[p.number] = nil
		d.retired = append(d.retired, p.number)
	}
	d.members = d.members[:0]
	for _, m := range t.members {
		p := d.byID[m.ID]
		if p == nil {
			p = newMember(m, d.number())
			d.byID[m.ID], d.numbers[p.number] = p, p
			arrived = append(arrived, p)
		}
		p.zone, p.most = m.Zone, d.rules.MaxHeld
		if m.Capacity > 0 {
			p.most = int(min(int64(p.most), m.Capacity/leastBlock+mostSlack))
		}
		d.members = append(d.members, p)
	}
	return arrived
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
			if d.dirty.Remove(s) {
				d.purge(s)
			}
			d.gained[s] = gain
			for _, p := range d.members {
				d.miss(p, s)
				p.wantAt = max(p.wantAt, now+d.rules.WantAfter)
			}
		case mine && alone:
			d.gained[s] = gain
		case !mine && d.owned.Remove(s):
			d.lose(s)
		}
	}
}

// lose gives up shard s; its entries go later, on a Tick.
func (d *Directory) lose(s uint16) {
	for _, p := range d.members {
		d.found(p, s)
		p.stale.remove(s)
	}
	d.dirty.Add(s)
}

// miss notes that p has not told everything of shard s.
func (d *Directory) miss(p *member, s uint16) {
	if p.missing == nil {
		p.missing = new(ShardSet)
	}
	if p.missing.Add(s) {
		d.unsynced[s]++
	}
}

// found notes that nothing of shard s is missing from p.
func (d *Directory) found(p *member, s uint16) {
	if p.missing.Has(s) && p.missing.Remove(s) {
		d.unsynced[s]--
	}
	if p.missing.Len() == 0 {
		p.missing = nil
	}
}

// batch applies a Batch, unless it or a later one was applied before.
func (d *Directory) batch(now Tick, m Message) Message {
	p := d.byID[m.From]
	if p == nil || p.boot != m.Boot || m.ToBoot != d.boot {
		return d.reply(m, MsgRefused)
	}
	p.heard = now
	if m.Seq <= p.seq {
		d.counts.Stale++
		return d.reply(m, MsgAck)
	}
	p.seq = m.Seq
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
	return d.reply(m, MsgAck)
}

// beginPush notes that p is about to tell anew what it holds of shards. What is known
// of that is forgotten shard by shard: when the first news comes, or after the push.
func (d *Directory) beginPush(now Tick, p *member, shards *ShardSet) {
	p.pushing, p.begun, p.beganAt = shards, uint32(len(d.gains)-1), now
	for s := range shards.All {
		if !d.owned.Has(s) {
			continue
		}
		d.miss(p, s)
		if p.bits == 0 {
			continue
		}
		if p.stale == nil {
			p.stale = new(ShardSet)
		}
		p.stale.Add(s)
	}
}

// forget drops what p held of shard s before the push that tells it anew.
func (d *Directory) forget(p *member, s uint16) {
	p.stale.remove(s)
	d.entries.shard(s, func(slot uint32) bool {
		if p.bits == 0 {
			return false
		}
		if d.entries.dropHolder(slot, p.number) {
			p.bits--
			d.tidy(slot)
		}
		return true
	})
}

// forgetSome drops what is stale of a few shards, but for those of which p may be just
// about to say the same again.
func (d *Directory) forgetSome(p *member) {
	n := 0
	for s := range p.stale.All {
		if p.pushing.Has(s) {
			continue
		}
		if n++; n > purgeShards {
			return
		}
		d.forget(p, s)
	}
	if p.stale.Len() == 0 {
		p.stale = nil
	}
}

// endPush believes that all of p's push is known now, but for shards that became this
// home's after the push began: a part of it was not kept.
func (d *Directory) endPush(p *member) {
	for s := range p.pushing.All {
		if d.owned.Has(s) && d.gained[s] <= p.begun {
			d.found(p, s)
		}
	}
	p.pushing = nil
}

// change applies one line of p's Batch. A block that is held needs no filler.
func (d *Directory) change(p *member, c Change) {
	d.counts.Changes++
	if len(p.checks) > 0 {
		p.checks = slices.DeleteFunc(p.checks, func(q Change) bool { return q.Key == c.Key })
	}
	hash := hashKey(c.Key)
	if !d.owned.Has(uint16(hash)) {
		return
	}
	if !c.Held {
		if slot := d.entries.find(c.Key, hash); slot != 0 {
			if d.entries.dropHolder(slot, p.number) {
				p.bits--
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
	if d.entries.addHolder(slot, p.number) {
		p.bits++
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
	d.expire(now)
	n := 0
	for s := range d.dirty.All {
		if n++; n > purgeShards {
			break
		}
		d.dirty.Remove(s)
		d.purge(s)
	}
	d.sweepSome(sweepSlots)

	out := d.refresh(now)
	for _, p := range d.members {
		d.forgetSome(p)
		if m := d.want(now, p); m != nil {
			out = append(out, *m)
		}
		if len(p.checks) > 0 && now >= p.checkAt {
			p.checkAt = now + d.rules.WantAfter
			out = append(out, d.ask(p))
		}
	}
	return out
}

// want returns the question for what is missing from p, nil when it is not yet time or
// p is busy telling.
func (d *Directory) want(now Tick, p *member) *Message {
	busy := p.pushing != nil && now < p.heard+2*d.rules.WantAfter
	if p.missing == nil || now < p.wantAt || busy {
		return nil
	}
	p.wantAt = now + 2*d.rules.WantAfter
	return &Message{
		Type: MsgWant, From: d.self, To: p.id, View: d.table.view,
		Boot: d.boot, ToBoot: p.boot, Shards: p.missing.clone(),
	}
}

// ask returns the question whether p holds the keys readers stumbled over.
func (d *Directory) ask(p *member) Message {
	return Message{
		Type: MsgCheck, From: d.self, To: p.id, View: d.table.view, Boot: d.boot, ToBoot: p.boot,
		Changes: slices.Clone(p.checks),
	}
}

// purge removes all entries of shard s.
func (d *Directory) purge(s uint16) {
	d.entries.shard(s, func(slot uint32) bool {
		for _, n := range d.entries.holders(slot, nil) {
			if p := d.numbers[n]; p != nil {
				p.bits--
			}
		}
		if d.entries.at(slot).flags&flagLeased != 0 {
			d.endLease(slot)
		}
		d.entries.remove(slot)
		return true
	})
}

// tidy removes the entry in slot if it says nothing any more.
func (d *Directory) tidy(slot uint32) {
	e := d.entries.at(slot)
	if e.flags&(flagLeased|flagMore) == 0 && e.holders == [3]uint16{} {
		d.entries.remove(slot)
	}
}

// sweepSome looks at the next slots for numbers of members that have left.
func (d *Directory) sweepSome(slots int) {
	if d.sweep.numbers == nil {
		if len(d.retired) == 0 {
			return
		}
		d.sweep.numbers, d.retired, d.sweep.next = d.retired, nil, 1
	}
	for ; slots > 0 && d.sweep.next <= d.entries.top; d.sweep.next++ {
		slots--
		d.sweepSlot(d.sweep.next)
	}
	if d.sweep.next > d.entries.top {
		d.sweep.numbers = nil
	}
}

func (d *Directory) sweepSlot(slot uint32) {
	e := d.entries.at(slot)
	if e.flags&flagUsed == 0 {
		return
	}
	var few [8]uint16
	for _, n := range d.entries.holders(slot, few[:0]) {
		if d.numbers[n] == nil {
			d.entries.dropHolder(slot, n)
		}
	}
	if e.flags&flagLeased != 0 && d.numbers[d.leases.bySlot[slot].filler.number] == nil {
		d.endLease(slot)
	}
	d.tidy(slot)
}
