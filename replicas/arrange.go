package replicas

import (
	"slices"

	"github.com/shoal-mesh/shoal"
)

const (
	// mostMoves is how many blocks may be arranged at a time before work that can wait does.
	mostMoves = 16384
	// retellShards is how many shards that have settled are gone through in a Tick.
	retellShards = 4096
)

// arranges reports whether this node decides who keeps the blocks of shard: it is the home,
// and has been for Rules.Settle, so that nobody else thinks that it is.
func (d *Directory) arranges(shard uint16) bool {
	return d.first.Has(shard) && !d.retells.Has(shard)
}

// arrange takes in which shards this node is the home of now, not just the backup home. Of
// a shard that is new it knows nothing of what the holders were told: when the shard has
// settled, it tells them anew. A node that is alone from the start has nobody to disagree
// with, and settles at once.
func (d *Directory) arrange(before *Table) {
	alone := len(before.members) == 0 && len(d.table.members) == 1
	me, gain := d.table.numberOf(d.self), uint32(len(d.gains)-1)
	for i, h := range d.table.homes {
		s := uint16(i)
		switch mine := me != 0 && h[0] == me; {
		case !mine:
			d.first.Remove(s)
			d.retells.Remove(s)
		case d.first.Add(s) || len(before.members) <= 1:
			if d.ranked[s] = gain; !alone {
				d.retells.Add(s)
			}
		}
	}
	d.dropMoves()
}

// dropMoves forgets the moves and orders of blocks that are not arranged here any more.
// Rounds that are going on begin anew: who was asked may have gone.
func (d *Directory) dropMoves() {
	var again []shoal.Key
	for key, mv := range d.moves {
		if !d.arranges(ShardOf(key)) {
			delete(d.moves, key)
			continue
		}
		mv.abort()
		mv.waits = slices.DeleteFunc(mv.waits, func(l leaving) bool {
			return d.byID[l.p.id] != l.p || l.p.boot != l.boot
		})
		again = append(again, key)
	}
	slices.SortFunc(again, compareKeys)
	for _, key := range again {
		d.review(key)
	}
	for _, p := range d.members {
		p.orders.keep(func(key shoal.Key) bool { return d.arranges(ShardOf(key)) })
	}
}

// drains reports whether p is about to leave, so that its replicas will go.
func (p *member) drains() bool { return p.state == shoal.Draining }

// resettle takes in what a change of p means for what holders have been told: the entries
// that name it are gone through.
func (d *Directory) resettle(p *member) {
	if !slices.Contains(d.touched, p.number) {
		d.touched = append(d.touched, p.number)
	}
}

// retellSome tells holders of blocks in shards that have settled what they are, some
// shards at a time.
func (d *Directory) retellSome() {
	if d.now < d.retellAt {
		return
	}
	n := 0
	next := d.now + d.rules.Settle // what is gained from now on settles later
	for s := range d.retells.All {
		if n >= retellShards || len(d.moves) > mostMoves {
			return
		}
		if settled := d.gains[d.ranked[s]] + d.rules.Settle; d.now < settled {
			next = min(next, settled)
			continue
		}
		n++
		d.retells.Remove(s)
		d.entries.shard(s, func(slot uint32) bool {
			d.retell(slot)
			return true
		})
	}
	d.retellAt = next
}

// lookLater makes this home look after a while whether key has enough keepers; with doubt,
// it tells all holders anew.
func (d *Directory) lookLater(key shoal.Key, doubt bool) {
	d.laters = append(d.laters, later{key: key, at: d.now + d.rules.RetryAfter, doubt: doubt})
}

func (d *Directory) lookAgain() {
	n := 0
	for ; n < len(d.laters) && d.laters[n].at <= d.now; n++ {
		key := d.laters[n].key
		hash := HashKey(key)
		slot := d.entries.find(key, hash)
		if slot != 0 && d.arranges(uint16(hash)) && (d.laters[n].doubt || d.short(slot)) {
			d.retell(slot)
		}
	}
	d.laters = d.laters[n:]
}

// Explain returns the replicas of key as this home knows them, keepers first; nil when the
// node is no home of it. Only the first home knows who is keeper for sure.
func (d *Directory) Explain(key shoal.Key) []Holder {
	hash := HashKey(key)
	slot := d.entries.find(key, hash)
	if slot == 0 || !d.owned.Has(uint16(hash)) {
		return nil
	}
	return d.explain(slot)
}

func (d *Directory) explain(slot uint32) []Holder {
	var few [8]told
	var holders []Holder
	for _, t := range d.standings(slot, few[:0]) {
		if !t.p.away {
			holders = append(holders, Holder{Node: t.p.id, Keeper: t.keeper, Class: t.class})
		}
	}
	return holders
}

// explainTo puts into a what a Peek is told of the replicas of slot.
func (d *Directory) explainTo(a *Answer, slot uint32) {
	a.Holders = d.explain(slot)
	if a.More = len(a.Holders) - MaxHolders; a.More <= 0 {
		a.More = 0
		return
	}
	a.Holders = a.Holders[:MaxHolders]
}
