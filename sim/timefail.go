package sim

import "github.com/shoal-mesh/shoal"

// occur lets something happen to a node.
func (t *timed) occur(h happening) error {
	away := !t.fleet.Alive(h.node)
	if h.what == crash && !away {
		t.silence(h.node)
	}
	if err := t.engine.occur(h); err != nil {
		return err
	}
	if away && t.fleet.Alive(h.node) {
		t.resume(h.node)
	}
	return nil
}

// silence ends all that a node does as it crashes. Who is served by it asks again; what was on
// its way to it is lost, and its ranks stop.
func (t *timed) silence(node int) {
	for id := range t.fetches {
		if f := &t.fetches[id]; f.live && f.kind == bring && int(f.node) != node && t.servedBy(f, node) {
			t.again(uint32(id))
		}
	}
	for id := range t.fetches {
		if f := &t.fetches[id]; f.live && (int(f.node) == node || f.kind == place && f.found.From == node) {
			t.halt(uint32(id))
			t.drop(uint32(id))
		}
	}
	t.flushes[node] = flush{}
	clear(t.recent[node*recentPlaces : (node+1)*recentPlaces])
	for id := range t.ranks {
		r := &t.ranks[id]
		if r.node != node || r.state == rankEnded {
			continue
		}
		switch r.state {
		case rankMeeting:
			t.teams[r.job].arrived--
		case rankComputing:
			r.worked++ // nobody computes on it again
		}
		t.be(r, rankAway)
		r.generation++
		t.leave(r)
	}
}

// servedBy reports whether a fetch still waits for bytes of a node.
func (t *timed) servedBy(f *fetch, node int) bool {
	return f.found.Tier == shoal.TierPeer && f.found.From == node && (f.flowing || f.behind > 0)
}

// again has a fetch whose source is gone ask for another one, once it notices.
func (t *timed) again(id uint32) {
	t.halt(id)
	t.queue.Push(t.at(patience), evLocated, id, t.fetches[id].generation, 0)
}

// halt stops a fetch.
func (t *timed) halt(id uint32) {
	f := &t.fetches[id]
	t.unfollow(id)
	t.exit(id)
	if !f.flowing {
		return
	}
	f.flowing = false
	moved := int64(f.bytes) - t.net.Cancel(int64(t.now), f.flow)
	t.carry(f, moved)
	if f.kind == bring && f.found.Tier == shoal.TierUFS {
		t.tally.lost(moved)
	}
}

// resume has the ranks of a node that is back go on: they ask again for what they had not taken.
func (t *timed) resume(node int) {
	for i := range t.ranks {
		id, r := uint32(i), &t.ranks[i]
		if r.node != node || r.state != rankAway {
			continue
		}
		t.be(r, rankIdle)
		r.called = false
		team := &t.teams[r.job]
		team.active++
		for n := r.took; n < r.issued; n++ {
			at := t.slotOf(r, n)
			t.slots[at].ready = false
			t.ask(at)
		}
		begins := team.job.Spec.Start + t.late(id)
		t.queue.Push(int64(max(t.now, begins)), evBegin, id, r.generation, 0)
	}
}
