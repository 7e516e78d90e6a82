package replicas

import (
	"testing"

	"github.com/shoal-mesh/shoal"
)

// TestAnnouncerOverflow lets the queue of a home overflow: what waited is given up, and
// the home gets a push of all its shards, also when the end of the last push is just
// then on its way.
func TestAnnouncerOverflow(t *testing.T) {
	a := NewAnnouncer("n1", Rules{BatchChanges: 4, QueueChanges: 16})
	table := NewTable([]shoal.Member{{ID: "n1"}, {ID: "n2"}})
	a.SetTable(0, table)
	a.BeginScan(0)
	a.EndScan(0)
	end := toN2(t, a.Tick(100))
	if !end.End || end.Shards.Len() != Shards {
		t.Fatalf("first push = %d shards, end %v, want all of them and its end", end.Shards.Len(), end.End)
	}
	for i := range uint32(17) {
		a.Add(100, shoal.Key{Index: i}, 1)
	}
	if !a.WantsScan(100) {
		t.Fatal("WantsScan after an overflow = false, want true")
	}
	a.BeginScan(100)
	a.Step(101, Message{Type: MsgAck, From: "n2", Seq: end.Seq}) // of the push that was given up
	for i := range uint32(2) {
		if !a.Feed(102, shoal.Key{Index: i}, 1) {
			t.Fatalf("Feed of key %d = false, want true", i)
		}
	}
	a.EndScan(102)
	again := toN2(t, append(a.Step(102, Message{}), a.Tick(5000)...))
	if again.Shards.Len() != Shards || len(again.Changes) < 2 {
		t.Errorf("push after an overflow = %d shards, %d changes, want all shards and the 2 keys held",
			again.Shards.Len(), len(again.Changes))
	}
}

// TestAnnouncerNewsOverrulesCheck adds a block after it was looked for in vain: what the
// home hears last is that it is held.
func TestAnnouncerNewsOverrulesCheck(t *testing.T) {
	a := NewAnnouncer("n1", Rules{})
	a.SetTable(0, NewTable([]shoal.Member{{ID: "n1"}, {ID: "n2"}}))
	key := shoal.Key{Index: 1}
	a.Step(0, Message{Type: MsgCheck, From: "n2", Changes: []Change{{Key: key, Sum: 7}}})
	asked := a.TakeChecks()
	a.Add(1, key, 7)
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
	a.BeginScan(0)
	s, now, told := a.byHome["n2"], Tick(0), 0
	for i := uint32(0); i < 20_000; {
		if a.Feed(now, shoal.Key{Index: i}, 1) {
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
