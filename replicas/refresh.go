package replicas

import (
	"slices"
	"strings"

	"github.com/shoal-mesh/shoal"
	"github.com/zeebo/xxh3"
)

// refresh asks, about every Rules.Refresh, one member after the other to push again what
// it holds, so that nothing false is believed until the membership changes. What a push
// brings is bounded: a member that holds much is asked for some shards at a time. Digests
// (policy.md §2.5) will replace this: they tell which shards need no push.
func (d *Directory) refresh(now Tick) []Message {
	if now < d.refreshAt || len(d.members) == 0 {
		return nil
	}
	d.refreshAt = now + d.refreshPause(now)
	p := d.nextToRefresh()
	d.refreshed = p.id
	if p.missing != nil || p.stale != nil || d.owned.Len() == 0 {
		return nil // it is being asked, or telling, already
	}
	d.counts.Refreshes++
	return []Message{{
		Type: MsgWant, From: d.self, To: p.id, View: d.table.view,
		Boot: d.boot, ToBoot: p.boot, Shards: d.shardsToRefresh(p),
	}}
}

// refreshPause returns between 3/4 and 5/4 of Rules.Refresh, so that the homes of a mesh
// that was started at once do not ask at once.
func (d *Directory) refreshPause(now Tick) Tick {
	r := d.rules.Refresh
	jitter := mix(xxh3.HashString(string(d.self)) ^ mix(uint64(now)+1))
	return r - r/4 + Tick(jitter%uint64(r/2+1))
}

// nextToRefresh returns the member after the one that was asked last; at first after this
// node itself, so that homes that ask at once ask different members.
func (d *Directory) nextToRefresh() *member {
	if d.refreshed == "" {
		d.refreshed = d.self
	}
	at, found := slices.BinarySearchFunc(d.members, d.refreshed, func(p *member, id shoal.NodeID) int {
		return strings.Compare(string(p.id), string(id))
	})
	if found {
		at++
	}
	return d.members[at%len(d.members)]
}

// shardsToRefresh returns as many shards as hold about Rules.RefreshChanges blocks of p,
// starting where the last time ended.
func (d *Directory) shardsToRefresh(p *member) *ShardSet {
	want := d.owned.Len()
	if p.bits > d.rules.RefreshChanges {
		want = max(1, int(int64(want)*int64(d.rules.RefreshChanges)/int64(p.bits)))
	}
	shards := new(ShardSet)
	for range Shards {
		if d.owned.Has(p.again) {
			shards.Add(p.again)
		}
		p.again++ // comes round
		if shards.n == want {
			break
		}
	}
	return shards
}
