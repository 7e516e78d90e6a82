package replicas

import (
	"fmt"
	"slices"
	"testing"

	"github.com/shoal-mesh/shoal"
)

// Digests follow what is announced while a scan counts anew, and say so when they cannot.
func TestDigestsDuringScan(t *testing.T) {
	keys := sameShard(4)
	shard := ShardOf(keys[0])
	sum := func(keys ...shoal.Key) (g Digest) {
		for _, key := range keys {
			g.add(HashKey(key))
		}
		return g
	}
	for _, c := range []struct {
		name  string
		story func(a *Announcer)
		known bool
		want  Digest
	}{
		{"nothing", func(*Announcer) {}, true, Digest{}},
		{"fed", func(a *Announcer) { a.Feed(0, keys[0], 1, Limits{}); a.Feed(0, keys[1], 1, Limits{}) }, true, sum(keys[:2]...)},
		{"added, then fed", func(a *Announcer) { a.Add(0, keys[0], 1, Limits{}, false); a.Feed(0, keys[0], 1, Limits{}) }, true, sum(keys[0])},
		{"added and dropped", func(a *Announcer) {
			a.Add(0, keys[0], 1, Limits{}, false)
			a.Drop(0, keys[0], 0)
			a.Feed(0, keys[1], 1, Limits{})
		}, true, sum(keys[1])},
		{"dropped", func(a *Announcer) { a.Feed(0, keys[0], 1, Limits{}); a.Drop(0, keys[0], 0) }, false, Digest{}},
		{"checked", func(a *Announcer) {
			a.Step(0, Message{Type: MsgCheck, From: "n2", Changes: []Change{{Key: keys[0], Held: true}}})
			a.EndChecks(0, a.TakeChecks())
		}, false, Digest{}},
	} {
		a := NewAnnouncer("n1", Rules{})
		a.SetTable(0, NewTable([]shoal.Member{{ID: "n1"}, {ID: "n2"}}))
		a.BeginScan(0)
		c.story(a)
		a.EndScan(0)
		if got := a.digests.of[shard]; a.digests.known.Has(shard) != c.known || c.known && got != c.want {
			t.Errorf("%s: digest %+v, known %v, want %+v, %v", c.name, got, a.digests.known.Has(shard), c.want, c.known)
		}
	}
}

// A block that came or went without a word makes the holder's digest false until the next
// scan; then both homes are told, and ask for that shard alone.
func TestScanFindsWhatWasNotAnnounced(t *testing.T) {
	m := fleet(4, 400)
	n := m.nodes["n1"]
	var gone shoal.Key
	for key := range n.store {
		gone = key
		break
	}
	delete(n.store, gone)
	m.announced = 0
	m.pass(2 * 375_000)
	m.check(t)
	same := 0
	for key := range n.store {
		if ShardOf(key) == ShardOf(gone) {
			same++
		}
	}
	if m.announced > 2*same {
		t.Errorf("%d blocks announced after one of 100 went without a word, want those of its shard: %d to each home", m.announced, same)
	}
}

// A home that acts under another view can make nothing of digests: they are told again
// after a while, or when the view changes.
func TestDigestsUnderAnotherView(t *testing.T) {
	a := NewAnnouncer("n1", Rules{})
	members := []shoal.Member{{ID: "n1"}, {ID: "n2"}}
	table := NewTable(members)
	a.SetTable(0, table)
	a.BeginScan(0)
	a.EndScan(0)
	told := func(now Tick, view shoal.View) bool {
		for _, m := range a.Tick(now) {
			if m.To == "n2" && m.Audited != nil {
				a.Step(now, Message{Type: MsgAck, From: "n2", Seq: m.Seq, View: view})
				return true
			}
		}
		return false
	}
	for _, c := range []struct {
		now  Tick
		view shoal.View // of n2
		want bool
	}{
		{100, 1, true},
		{1_000, 1, false},
		{2_200, 1, true}, // after 2 s
		{2_400, 1, false},
		{4_300, table.View(), true},
		{9_000, table.View(), false},
	} {
		if got := told(c.now, c.view); got != c.want {
			t.Errorf("at %d ms digests are told: %v, want %v", c.now, got, c.want)
		}
	}
	all := new(ShardSet)
	all.Add(1)
	a.Step(10_000, Message{Type: MsgAudit, From: "n2", View: table.View(), Shards: all})
	told(10_100, 1)
	a.SetTable(10_200, NewTable(append(members, shoal.Member{ID: "n3"})))
	if !told(10_300, 1) {
		t.Error("digests are not told again at once when the view has changed")
	}
}

// Digests that agree cost nothing but themselves, round after round.
func TestAuditsOfTheTruthAnnounceNothing(t *testing.T) {
	m := fleet(5, 1000)
	m.announced = 0
	before := m.nodes["n2"].core.Directory.Counts()
	m.pass(1_000_000)
	after := m.nodes["n2"].core.Directory.Counts()
	if m.announced != 0 || after.Audits-before.Audits < 10 || after.Differences != before.Differences {
		t.Errorf("in 1000 s: %d blocks announced, %d audits, %d differences, want 0, at least 10, 0",
			m.announced, after.Audits-before.Audits, after.Differences-before.Differences)
	}
	m.check(t)
}

// What a member does not confirm for three periods is believed no more.
func TestUnconfirmedExpires(t *testing.T) {
	m := fleet(3, 300)
	d := m.nodes["n1"].core.Directory
	held := func() int { return d.byID["n2"].bits }
	was := held()
	m.mute = "n2" // its messages are lost, yet it is alive in gossip
	m.pass(600_000)
	if held() != was || was == 0 {
		t.Fatalf("after two periods n1 believes n2 to hold %d blocks, want %d still", held(), was)
	}
	m.pass(700_000)
	if held() != 0 {
		t.Errorf("after four periods n1 believes n2 to hold %d blocks, want none", held())
	}
	m.mute = ""
	m.pass(400_000)
	m.check(t)
}

// fleet returns a mesh of nodes that serve, each with its share of the blocks, which all
// homes know of.
func fleet(nodes, blocks int) *mesh {
	m := newMesh()
	m.graceful = true
	var words []string
	for i := range nodes {
		words = append(words, fmt.Sprintf("n%d", i+1))
	}
	m.addNodes(words)
	m.pass(1_000)
	for i := range blocks {
		n := m.nodes[shoal.NodeID(words[i%nodes])]
		key := shoal.Key{Index: uint32(i)}
		n.store[key] = 1
		m.send(n.core.Add(m.now, key, 1, Limits{}, false))
	}
	m.pass(1_000)
	return m
}

// check compares what each home believes with the truth, and the digests it keeps with
// what it believes.
func (m *mesh) check(t *testing.T) {
	t.Helper()
	wrong := 0
	blocks := make(map[shoal.Key][]shoal.NodeID)
	for _, n := range m.live() {
		for key := range n.store {
			blocks[key] = append(blocks[key], n.member.ID)
		}
	}
	for _, n := range m.live() {
		d := n.core.Directory
		entries := 0
		for key, holders := range blocks {
			home, backup := n.core.Table().Homes(ShardOf(key))
			if n.member.ID != home && n.member.ID != backup {
				continue
			}
			entries++
			if got := d.Holders(key); !slices.Equal(got, holders) {
				wrong++
				t.Logf("holders of %v at %s = %v, want %v", key, n.member.ID, got, holders)
			}
		}
		if c := d.Counts(); c.Missing > 0 || c.Entries != entries {
			t.Errorf("%s: %d shards missing, %d entries, want 0, %d", n.member.ID, c.Missing, c.Entries, entries)
		}
		checkDigests(t, d)
	}
	if wrong > 0 {
		t.Errorf("%d beliefs are wrong", wrong)
	}
}

func checkDigests(t *testing.T, d *Directory) {
	t.Helper()
	want := make(map[*member]map[uint16]Digest)
	for _, p := range d.members {
		want[p] = make(map[uint16]Digest)
	}
	for slot := uint32(1); slot <= d.entries.top; slot++ {
		e := d.entries.at(slot)
		if e.flags&flagUsed == 0 {
			continue
		}
		hash := HashKey(e.key)
		for _, n := range d.entries.holders(slot, nil) {
			if p := d.numbers[n]; p != nil {
				g := want[p][uint16(hash)]
				g.add(hash)
				want[p][uint16(hash)] = g
			}
		}
	}
	for p, digests := range want {
		for s := range d.owned.All {
			if got := p.digest(d.dense[s]); got != digests[s] {
				t.Fatalf("%s: digest of %s in shard %d = %+v, want %+v", d.self, p.id, s, got, digests[s])
			}
		}
	}
}

// sameShard returns n keys of one shard.
func sameShard(n int) []shoal.Key {
	var keys []shoal.Key
	for i := uint32(0); len(keys) < n; i++ {
		if key := (shoal.Key{Index: i}); ShardOf(key) == 4711 {
			keys = append(keys, key)
		}
	}
	return keys
}
