package replicas

import (
	"math"

	"github.com/shoal-mesh/shoal"
	"github.com/zeebo/xxh3"
)

// maxDigests is how many digests of shards that are not empty a Batch carries at most.
const maxDigests = 4096 // 61 KB

// owe marks shard: its digest is to be told to s.
func (a *Announcer) owe(now Tick, s *stream, shard uint16) {
	if s.owed == nil {
		s.owed = new(ShardSet)
	}
	s.owed.Add(shard)
	if len(s.queue) == s.first {
		s.due = now + a.rules.AddDelay
	}
}

// oweAll is owe for those of shards, nil meaning all, of which s is a home.
func (a *Announcer) oweAll(now Tick, s *stream, shards *ShardSet) {
	me := a.table.numberOf(s.home)
	for i, h := range a.table.homes {
		if shard := uint16(i); me != 0 && (h[0] == me || h[1] == me) && (shards == nil || shards.Has(shard)) {
			a.owe(now, s, shard)
		}
	}
}

// audit tells the homes of shard its digest.
func (a *Announcer) audit(now Tick, shard uint16) {
	for _, h := range a.table.homes[shard] {
		if h == 0 {
			continue
		}
		if s := a.byHome[a.table.name(h)]; s != nil {
			a.owe(now, s, shard)
		}
	}
}

// unheard takes in that the home of s could not make anything of the digests in flight, as
// it acts under another view: they are told again when this one changes, or in a while.
func (a *Announcer) unheard(now Tick, s *stream) {
	s.base = min(s.base, s.before)
	s.payFrom = now + 2*a.rules.RetryAfter
	a.oweAll(now, s, s.inflight.Audited)
}

// payable reports whether some digest that is owed to s is known, and may be told.
func (a *Announcer) payable(now Tick, s *stream) bool {
	if now < s.payFrom {
		return false
	}
	for range s.owed.And(a.digests.known) {
		return true
	}
	return false
}

// pay puts digests that are owed to s into m, which leaves nothing in the queue of s: when
// the home gets them it has heard of all that they sum up. Shards of which s is no home
// go along where that makes the set shorter on the wire: they say nothing.
func (a *Announcer) pay(s *stream, m *Message) {
	from := -1
	upTo := Shards
	for shard := range s.owed.And(a.digests.known) {
		if from < 0 {
			from, m.Audited = int(shard), new(ShardSet)
		}
		if len(m.Digests) == maxDigests {
			upTo = int(shard)
			break
		}
		s.owed.Remove(shard)
		m.Audited.Add(shard)
		if g := a.digests.of[shard]; g.Count > 0 {
			m.Digests = append(m.Digests, ShardDigest{shard, g})
		}
	}
	if s.owed.Len() == 0 {
		s.owed, s.base = nil, math.MaxUint64
	}
	if from < 0 {
		return
	}
	me := a.table.numberOf(s.home)
	for i, h := range a.table.homes[from:upTo] {
		if h[0] != me && h[1] != me {
			m.Audited.Add(uint16(from + i))
		}
	}
}

// digest returns the Digest of the blocks that p is believed to hold in the shard with this
// dense index (Directory.dense): so all members together take 16 B for each shard and home
// of it, which is 2 MB in a mesh of any size.
func (p *member) digest(index uint16) Digest {
	if int(index) >= len(p.digests) {
		return Digest{}
	}
	return p.digests[index]
}

// gainHolder records p as a holder of the block in slot, which takes its replica for one of a
// class, and reports whether it was none.
func (d *Directory) gainHolder(slot uint32, p *member, hash uint64, class shoal.Class) bool {
	was, arranged := d.toldOf(slot, hash)
	if !d.entries.addHolder(slot, p.number) {
		return false
	}
	p.bits++
	i := d.dense[uint16(hash)]
	for int(i) >= len(p.digests) {
		p.digests = append(p.digests, Digest{})
	}
	p.digests[i].add(hash)
	if arranged {
		d.joined(slot, p, was, class)
	}
	return true
}

// loseHolder forgets p as a holder of the block in slot, and reports whether it was one.
func (d *Directory) loseHolder(slot uint32, p *member, hash uint64) bool {
	was, arranged := d.toldOf(slot, hash)
	if !d.entries.dropHolder(slot, p.number) {
		return false
	}
	p.bits--
	p.digests[d.dense[uint16(hash)]].remove(hash)
	if arranged {
		d.parted(slot, p, was)
	}
	return true
}

// compare takes in the digests p tells of the shards in m. What p tells about itself is
// worth something only if it tells this home everything, so both must act under the same
// view. Shards of which a push is on its way are left for later, and so are those that
// differ while a snapshot is.
func (d *Directory) compare(now Tick, p *member, m *Message) {
	if m.View != d.table.view {
		return
	}
	d.counts.Audits++
	p.auditAt = max(p.auditAt, now+d.rules.WantAfter) // there may be more to come
	rest := m.Digests
	for s := range d.owned.And(m.Audited) {
		for len(rest) > 0 && rest[0].Shard < s {
			rest = rest[1:]
		}
		p.unheard.remove(s)
		if p.pushing.Has(s) {
			continue
		}
		var theirs Digest
		if len(rest) > 0 && rest[0].Shard == s {
			theirs = rest[0].Digest
		}
		if theirs != p.digest(d.dense[s]) && (p.stale.Has(s) || theirs.Count == 0) {
			d.forget(p, s)
		}
		if theirs == p.digest(d.dense[s]) || p.bits >= p.most {
			p.stale.remove(s)
			d.found(p, s)
			continue
		}
		if d.pulling.Has(s) {
			continue
		}
		d.counts.Differences++
		d.miss(p, s)
		if p.wanted == nil {
			p.wanted = new(ShardSet)
		}
		p.wanted.Add(s)
		p.wantAt = now
	}
	if p.unheard != nil && p.unheard.Len() == 0 {
		p.unheard, p.confirmed = nil, now
	}
}

// want appends to out the questions for what is missing from p, when it is time and p is
// not busy telling: for digests, unless a snapshot is on its way, and for all it holds of
// shards whose digests differ.
func (d *Directory) want(now Tick, p *member, out []Message) []Message {
	busy := p.pushing != nil && now < p.heard+2*d.rules.WantAfter
	if p.missing == nil || busy {
		return out
	}
	if p.wanted.Len() > 0 && now >= p.wantAt {
		p.wantAt = now + 2*d.rules.WantAfter
		out = append(out, Message{
			Type: MsgWant, From: d.self, To: p.id, View: d.table.view,
			Boot: d.boot, ToBoot: p.boot, Shards: p.wanted.clone(),
		})
	}
	if now < p.auditAt {
		return out
	}
	p.auditAt = now + 2*d.rules.WantAfter
	rest := p.missing.clone()
	for s := range rest.All {
		if p.wanted.Has(s) || d.pulling.Has(s) {
			rest.Remove(s)
		}
	}
	if rest.Len() > 0 {
		out = append(out, d.audit(p, rest))
	}
	return out
}

// refresh asks each member about every Rules.Refresh for the digests of all it holds, so
// that nothing false is believed for long. What a member has not confirmed for three times
// as long is believed no more.
func (d *Directory) refresh(now Tick) []Message {
	var out []Message
	for _, p := range d.members {
		if p.away || now < p.refreshAt || d.owned.Len() == 0 {
			continue
		}
		p.refreshAt = now + jitter(d.self+p.id, now, d.rules.Refresh)
		if p.unheard != nil && now >= p.confirmed+3*d.rules.Refresh {
			d.doubt(p)
			p.confirmed = now
		}
		p.unheard = d.owned.clone()
		out = append(out, d.audit(p, nil))
	}
	return out
}

// doubt forgets, a few shards per Tick, what p is believed to hold, until it tells anew.
func (d *Directory) doubt(p *member) {
	p.pushing, p.stale = nil, new(ShardSet)
	for s := range d.owned.All {
		p.stale.Add(s)
		d.miss(p, s)
	}
}

// audit returns the question for p's digests of shards, nil for all.
func (d *Directory) audit(p *member, shards *ShardSet) Message {
	return Message{
		Type: MsgAudit, From: d.self, To: p.id, View: d.table.view,
		Boot: d.boot, ToBoot: p.boot, Shards: shards,
	}
}

// jitter returns between 3/4 and 5/4 of length, so that nodes that were started at once do
// not do the same at once.
func jitter(id shoal.NodeID, now, length Tick) Tick {
	return length - length/4 + Tick(mix(xxh3.HashString(string(id))^mix(uint64(now)+1))%uint64(length/2+1))
}
