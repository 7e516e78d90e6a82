package replicas

import (
	"testing"

	"github.com/shoal-mesh/shoal"
)

// TestAnnouncerOverflow lets the queue of a home overflow: what waited is given up, also a
// push that is going on, and the home is told digests of all its shards instead.
func TestAnnouncerOverflow(t *testing.T) {
	a := NewAnnouncer("n1", Rules{BatchChanges: 4, QueueChanges: 16})
	a.SetTable(0, NewTable([]shoal.Member{{ID: "n1"}, {ID: "n2"}}))
	a.BeginScan(0)
	a.EndScan(0)
	first := toN2(t, a.Tick(100))
	if first.Audited.Len() != Shards || first.Shards != nil || len(first.Digests) != 0 {
		t.Fatalf("first batch = %d shards audited, %d digests, want all and none", first.Audited.Len(), len(first.Digests))
	}
	a.Step(101, Message{Type: MsgAck, From: "n2", Seq: first.Seq})
	some := new(ShardSet)
	some.Add(ShardOf(shoal.Key{}))
	a.Step(101, Message{Type: MsgWant, From: "n2", Shards: some})
	a.BeginScan(101)
	for i := range uint32(17) {
		a.Add(101, shoal.Key{Index: i}, 1, Limits{}, false)
	}
	a.EndScan(102)
	again := toN2(t, a.Tick(5000))
	if again.Audited.Len() != Shards || again.Shards != nil || len(again.Changes) != 1 || len(again.Digests) != 17 {
		t.Errorf("batch after an overflow = %d shards audited, %d digests, %d changes, want all, 17, and the 1 that came after it",
			again.Audited.Len(), len(again.Digests), len(again.Changes))
	}
}

// TestAnnouncerNewsOverrulesCheck adds a block after it was looked for in vain: what the
// home hears last is that it is held.
func TestAnnouncerNewsOverrulesCheck(t *testing.T) {
	a := NewAnnouncer("n1", Rules{})
	a.SetTable(0, NewTable([]shoal.Member{{ID: "n1"}, {ID: "n2"}}))
	key := shoal.Key{Index: 1}
	a.Step(0, Message{Type: MsgCheck, From: "n2", Changes: []Change{{Key: key, Sum: 7, Held: true}}})
	asked := a.TakeChecks()
	a.Add(1, key, 7, Limits{}, false)
	a.EndChecks(2, asked) // Held is false: it was not there when the caller looked
	m := toN2(t, a.Tick(1000))
	if len(m.Changes) != 1 || !m.Changes[0].Held {
		t.Errorf("changes = %+v, want the one that says it is held", m.Changes)
	}
}

// TestAnnouncerQueueStaysSmall pushes many blocks while the queue never runs dry.
func TestAnnouncerQueueStaysSmall(t *testing.T) {
	a := NewAnnouncer("n1", Rules{BatchChanges: 16, QueueChanges: 128})
	a.SetTable(0, NewTable([]shoal.Member{{ID: "n1"}, {ID: "n2"}}))
	all := new(ShardSet)
	for i := range Shards {
		all.Add(uint16(i))
	}
	a.Step(0, Message{Type: MsgWant, From: "n2", Shards: all})
	a.BeginScan(0)
	s, now, told := a.byHome["n2"], Tick(0), 0
	for i := uint32(0); i < 20_000; {
		if a.Feed(now, shoal.Key{Index: i}, 1, Limits{}) {
			i++
			continue
		}
		now += 50
		for _, m := range a.Tick(now) {
			told += len(m.Changes)
			a.Step(now, Message{Type: MsgAck, From: m.To, Seq: m.Seq})
		}
	}
	if told == 0 || cap(s.queue) > 512 {
		t.Errorf("after a push of 20,000 blocks the queue has room for %d, want at most 512", cap(s.queue))
	}
}

func toN2(t *testing.T, out []Message) Message {
	t.Helper()
	for _, m := range out {
		if m.To == "n2" {
			return m
		}
	}
	t.Fatalf("no message to n2 in %+v", out)
	return Message{}
}
