package replicas

import (
	"bytes"
	"container/heap"
	"slices"

	"github.com/shoal-mesh/shoal"
)

// leaseSlack is how much shorter a lease may be told than it is, in milliseconds, so that
// several go together.
const leaseSlack = 1000

// lease says that filler reads a block from the UFS, and until when it is believed.
type lease struct {
	filler *member
	boot   uint64 // of the filler
	until  Tick
	timer  Tick // when the timer of this lease rings; an older one is void
}

// leases are the leases of a Directory and their timers. There are as many as blocks
// being filled, so they are not kept in the entries, of which there are millions.
type leases struct {
	bySlot map[uint32]lease
	timers timers
	unsaid []unsaid // soonest first
}

// unsaid is a lease which the other home of its key has not been told of.
type unsaid struct {
	at     Tick // when to tell it
	key    shoal.Key
	filler *member
}

func newLeases() leases { return leases{bySlot: make(map[uint32]lease)} }

// lease returns the live lease of slot, if there is one.
func (d *Directory) lease(now Tick, slot uint32) (lease, bool) {
	if d.entries.at(slot).flags&flagLeased == 0 {
		return lease{}, false
	}
	l := d.leases.bySlot[slot]
	if l.until <= now || d.numbers[l.filler.number] != l.filler || l.filler.away || l.filler.boot != l.boot {
		return lease{}, false
	}
	return l, true
}

// grant gives p the lease on key for the next left milliseconds, whoever had it before.
// It reports false when p has too many already.
func (d *Directory) grant(now Tick, key shoal.Key, hash uint64, p *member, left Tick) bool {
	l, timed := d.leases.bySlot[d.entries.find(key, hash)]
	if l.filler != p && p.leases >= d.rules.MaxLeases {
		d.counts.Refused++
		return false
	}
	slot := d.entries.put(key, hash)
	if timed {
		l.filler.leases--
	}
	p.leases++
	l.filler, l.boot, l.until = p, p.boot, now+left
	if !timed || l.timer > l.until {
		l.timer = l.until
		heap.Push(&d.leases.timers, timer{at: l.timer, key: key})
	}
	d.leases.bySlot[slot] = l
	d.entries.at(slot).flags |= flagLeased
	if len(d.leases.timers) > 2*len(d.leases.bySlot)+1024 {
		d.dropVoidTimers()
	}
	return true
}

// dropVoidTimers forgets the timers of leases that were given back: a filler that takes
// and releases leases all the time makes no more of them than it has leases.
func (d *Directory) dropVoidTimers() {
	d.leases.timers = slices.DeleteFunc(d.leases.timers, func(t timer) bool {
		l, ok := d.leases.bySlot[d.entries.find(t.key, HashKey(t.key))]
		return !ok || l.timer != t.at
	})
	heap.Init(&d.leases.timers)
}

// endLease takes the lease of slot back.
func (d *Directory) endLease(slot uint32) {
	d.leases.bySlot[slot].filler.leases--
	delete(d.leases.bySlot, slot)
	d.entries.at(slot).flags &^= flagLeased
}

// intent records a lease the other home of the keys has given. The first home of a
// shard overrules the backup, which gives leases only while the first is silent.
func (d *Directory) intent(now Tick, m Message) {
	p := d.byID[m.Filler]
	if p == nil || d.byID[m.From] == nil {
		return
	}
	for _, key := range m.Keys {
		hash := HashKey(key)
		first, backup := d.table.Homes(uint16(hash))
		if !d.owned.Has(uint16(hash)) || (m.From != first && m.From != backup) {
			continue
		}
		if slot := d.entries.find(key, hash); slot != 0 {
			if slices.Contains(d.entries.holders(slot, nil), p.number) {
				continue // late news: it has filled the block already
			}
			if l, ok := d.lease(now, slot); ok && l.filler != p && m.From != first {
				continue
			}
		}
		d.grant(now, key, hash, p, min(m.Lease, d.rules.Lease))
	}
}

// renew extends the sender's leases. One that is not known here, because this home is
// new, is taken on; one that somebody else has is not touched.
func (d *Directory) renew(now Tick, m Message) {
	p := d.byID[m.From]
	if p == nil {
		return
	}
	for _, key := range m.Keys {
		hash := HashKey(key)
		if !d.owned.Has(uint16(hash)) {
			continue
		}
		if slot := d.entries.find(key, hash); slot != 0 {
			if l, ok := d.lease(now, slot); ok && l.filler != p {
				continue
			}
		}
		d.grant(now, key, hash, p, d.rules.Lease)
	}
}

// release ends the sender's leases.
func (d *Directory) release(m Message) {
	for _, key := range m.Keys {
		slot := d.entries.find(key, HashKey(key))
		if slot == 0 || d.entries.at(slot).flags&flagLeased == 0 {
			continue
		}
		if d.leases.bySlot[slot].filler.id == m.From {
			d.endLease(slot)
			d.tidy(slot)
		}
	}
}

// expire ends the leases whose time is over.
func (d *Directory) expire(now Tick) {
	for len(d.leases.timers) > 0 && d.leases.timers[0].at <= now {
		t := heap.Pop(&d.leases.timers).(timer)
		slot := d.entries.find(t.key, HashKey(t.key))
		if slot == 0 {
			continue
		}
		l, ok := d.leases.bySlot[slot]
		switch {
		case !ok || l.timer != t.at:
			continue // of a lease that was given back
		case l.until > now:
			l.timer = l.until
			d.leases.bySlot[slot] = l
			heap.Push(&d.leases.timers, timer{at: l.timer, key: t.key})
		default:
			d.endLease(slot)
			d.tidy(slot)
		}
	}
}

// announceLeases returns the messages that tell the other homes of the leases that have lived
// for long enough.
func (d *Directory) announceLeases(now Tick) []Message {
	var intents []Message
	n := 0
	for ; n < len(d.leases.unsaid) && d.leases.unsaid[n].at <= now; n++ {
		u := d.leases.unsaid[n]
		slot, shard := d.entries.find(u.key, HashKey(u.key)), ShardOf(u.key)
		if slot == 0 || !d.owned.Has(shard) {
			continue
		}
		if l, ok := d.lease(now, slot); ok && l.filler == u.filler {
			intents = d.announceLease(intents, shard, u.key, u.filler.id, l.until-now)
		}
	}
	d.leases.unsaid = d.leases.unsaid[n:]
	return intents
}

// announceLease adds to intents what the other home of key must know: filler has a
// lease with left milliseconds to go.
func (d *Directory) announceLease(
	intents []Message, shard uint16, key shoal.Key, filler shoal.NodeID, left Tick,
) []Message {
	other := d.otherHome(shard)
	if other == "" {
		return intents
	}
	for i := range intents {
		m := &intents[i]
		alike := m.Lease <= left && left < m.Lease+leaseSlack
		if m.To == other && m.Filler == filler && alike && len(m.Keys) < maxKeys {
			m.Keys = append(m.Keys, key)
			return intents
		}
	}
	return append(intents, Message{
		Type: MsgIntent, From: d.self, To: other, View: d.table.view, Boot: d.boot,
		Keys: []shoal.Key{key}, Filler: filler, Lease: left,
	})
}

// handOver tells the other homes that are new since before of the leases that live.
func (d *Directory) handOver(now Tick, before *Table) []Message {
	var live []leased
	for slot := range d.leases.bySlot {
		e := d.entries.at(slot)
		shard := ShardOf(e.key)
		l, ok := d.lease(now, slot)
		if !ok || !d.owned.Has(shard) {
			continue
		}
		if other := d.otherHome(shard); other != "" && !sameHome(before, d.table, shard, other) {
			live = append(live, leased{e.key, l})
		}
	}
	slices.SortFunc(live, func(a, b leased) int { return compareKeys(a.key, b.key) })
	var intents []Message
	for _, l := range live {
		intents = d.announceLease(intents, ShardOf(l.key), l.key, l.filler.id, l.until-now)
	}
	return intents
}

func (d *Directory) otherHome(shard uint16) shoal.NodeID {
	home, backup := d.table.Homes(shard)
	if home == d.self {
		return backup
	}
	return home
}

type leased struct {
	key shoal.Key
	lease
}

// timer rings when the lease on key may be over.
type timer struct {
	at  Tick
	key shoal.Key
}

// timers is a heap, soonest first.
type timers []timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at < t[j].at }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }

// Push is for container/heap.
func (t *timers) Push(x any) { *t = append(*t, x.(timer)) }

// Pop is for container/heap.
func (t *timers) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}

// sameHome reports whether id, under the same boot, was a home of shard before as well.
func sameHome(before, now *Table, shard uint16, id shoal.NodeID) bool {
	home, backup := before.Homes(shard)
	if id != home && id != backup {
		return false
	}
	was, _ := before.Member(id)
	is, _ := now.Member(id)
	return was.Boot == is.Boot
}

func compareKeys(a, b shoal.Key) int {
	if c := bytes.Compare(a.File[:], b.File[:]); c != 0 {
		return c
	}
	return int(int64(a.Index) - int64(b.Index))
}
