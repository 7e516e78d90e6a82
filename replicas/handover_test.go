package replicas

import (
	"fmt"
	"testing"

	"github.com/shoal-mesh/shoal"
)

// Whatever the change of membership, the directory is true again in the end, and no block
// is announced a second time.
func TestHandOverAnnouncesNothing(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(m *mesh)
		most   int // blocks announced
	}{
		{"a join", func(m *mesh) { m.addNodes([]string{"n6"}); m.pass(15_000) }, 0},
		{"two joins", func(m *mesh) { m.addNodes([]string{"n6", "n7"}); m.pass(15_000) }, 0},
		{"a drain", func(m *mesh) { m.drain("n2"); m.pass(15_000) }, 0},
		{"a drain of half", func(m *mesh) { m.drain("n2"); m.drain("n3"); m.drain("n1"); m.pass(15_000) }, 0},
		{"a death", func(m *mesh) { m.kill("n2"); m.pass(75_000) }, 0},
		{"two deaths in a row", func(m *mesh) { m.kill("n2"); m.pass(75_000); m.kill("n3"); m.pass(75_000) }, 0},
		// Shards with both homes gone: 1/10 of 600 blocks, to each of two homes, for the
		// length of the grace; after it those homes stay.
		{"two deaths at once", func(m *mesh) { m.kill("n2"); m.kill("n3"); m.pass(75_000) }, 2 * 600 / 10 * 3 / 2},
		{"a restart", func(m *mesh) { m.kill("n2"); m.pass(20_000); m.restart("n2"); m.pass(15_000) }, 0},
		{"a restart nobody noticed", func(m *mesh) { m.restart("n2"); m.pass(15_000) }, 0},
		{"a restart after the grace", func(m *mesh) { m.kill("n2"); m.pass(90_000); m.restart("n2"); m.pass(15_000) }, 2 * 200},
		{"a partition", func(m *mesh) { m.part(true); m.pass(30_000); m.part(false); m.pass(15_000) }, 0},
		{"a long partition", func(m *mesh) { m.part(true); m.pass(90_000); m.part(false); m.pass(15_000) }, 2 * 200},
	} {
		m := fleet(5, 1000)
		m.announced = 0
		c.change(m)
		if m.announced > c.most {
			t.Errorf("%s: %d blocks announced, want at most %d", c.name, m.announced, c.most)
		}
		m.check(t)
		if t.Failed() {
			t.Fatalf("after %s", c.name)
		}
	}
}

// What changed while a member was away is announced when it is back, and no more.
func TestHandOverAnnouncesWhatChanged(t *testing.T) {
	m := fleet(5, 1000)
	m.announced = 0
	m.part(true)
	m.pass(15_000)
	changed := uint32(0)
	for ; changed < 20; changed++ {
		n := m.nodes["n3"]
		key := shoal.Key{Index: 5000 + changed}
		n.store[key] = 1
		m.send(n.core.Add(m.now, key, 1, Limits{}, false))
	}
	delete(m.nodes["n2"].store, shoal.Key{Index: 1})
	m.send(m.nodes["n2"].core.Drop(m.now, shoal.Key{Index: 1}, 0))
	m.pass(15_000)
	m.part(false)
	m.pass(15_000)
	m.check(t)
	// To both homes at once, or later to n2; what shares a shard comes along.
	if m.announced > 2*20+2*20+4 {
		t.Errorf("%d blocks announced, want about two for each of %d changes", m.announced, changed+1)
	}
}

// A node that comes back with an empty disk is believed to hold nothing.
func TestRestartWithoutDisk(t *testing.T) {
	m := fleet(5, 1000)
	m.announced = 0
	clear(m.nodes["n2"].store)
	m.restart("n2")
	m.pass(15_000)
	m.check(t)
	if m.announced != 0 {
		t.Errorf("%d blocks announced by a node that holds none", m.announced)
	}
}

// A snapshot comes in pages, no faster than is allowed, also of a shard that has more
// entries than a page.
func TestSnapshotIsPaged(t *testing.T) {
	const blocks = 20_000
	d, _ := fullDirectory(blocks)
	d.Tick(20_000) // it has been home for long enough
	e := NewDirectory("n3", Rules{PullRecords: 8192})
	members := []shoal.Member{{ID: "n1"}, {ID: "n2"}, {ID: "n3"}}
	table := NewTable(members)
	e.SetTable(0, table)
	d.SetTable(20_000, table)
	pages, took := 0, Tick(0)
	for now := Tick(0); e.pulling.Len() > 0 && now < 60_000; now += 25 {
		for _, m := range e.Tick(now) {
			if m.Type != MsgPull || m.To != "n1" {
				continue
			}
			reply := d.Step(20_000+now, m)[0]
			if len(reply.Records) > maxRecords+64 {
				t.Errorf("a page of %d records, want about %d", len(reply.Records), maxRecords)
			}
			reply.From = "n1"
			pages++
			took = now
			e.Step(now, reply)
		}
	}
	want := 0
	for s := range e.owned.All {
		if home, backup := table.Homes(s); home == "n1" || backup == "n1" {
			d.entries.shard(s, func(uint32) bool { want++; return true })
		}
	}
	if e.counts.Pulled < want || pages < want/maxRecords {
		t.Errorf("%d records in %d pages, want %d records", e.counts.Pulled, pages, want)
	}
	if least := Tick(e.counts.Pulled-maxRecords) * 1000 / 8192; took < least {
		t.Errorf("took %d ms, want at least %d", took, least)
	}
}

func (m *mesh) kill(id shoal.NodeID) {
	m.nodes[id].dead = true
	m.members()
}

func (m *mesh) drain(id shoal.NodeID) {
	m.nodes[id].member.State = shoal.Draining
	m.members()
}

// part makes n2 and the others lose sight of one another, or see one another again.
func (m *mesh) part(parted bool) {
	m.nodes["n2"].parted = parted
	m.members()
}

// BenchmarkAudit compares what one member tells of all it holds with what is believed.
func BenchmarkAudit(b *testing.B) {
	for _, blocks := range []int{1 << 17, 1 << 20} {
		b.Run(fmt.Sprintf("blocks=%d", blocks), func(b *testing.B) {
			d, _ := fullDirectory(blocks)
			p := d.byID["n2"]
			m := Message{View: d.table.view, Audited: d.owned.clone()}
			for s := range d.owned.All {
				if g := p.digest(d.dense[s]); g.Count > 0 {
					m.Digests = append(m.Digests, ShardDigest{s, g})
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				d.compare(1, p, &m)
			}
			if d.counts.Differences > 0 {
				b.Errorf("%d differences, want none", d.counts.Differences)
			}
		})
	}
}
