package replicas

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
		if d.loseHolder(slot, p, HashKey(d.entries.at(slot).key)) {
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
