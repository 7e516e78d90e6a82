package replicas

import (
	"slices"
	"testing"

	"github.com/shoal-mesh/shoal"
)

// News waits for company: that of a block which readers may look for not for long, that of one
// of which the home names the filler longer, and that of a drop longest.
func TestAnnouncerDelays(t *testing.T) {
	add := func(a *Announcer) { a.Add(0, shoal.Key{Index: 1}, 1, Limits{}, false) }
	fill := func(a *Announcer) { a.Add(0, shoal.Key{Index: 2}, 1, Limits{}, true) }
	drop := func(a *Announcer) { a.Drop(0, shoal.Key{Index: 3}, 0) }
	for _, tt := range []struct {
		name string
		news []func(*Announcer)
		want Tick // when all of it is told
	}{
		{"gained", []func(*Announcer){add}, 50},
		{"filled", []func(*Announcer){fill}, 250},
		{"dropped", []func(*Announcer){drop}, 1000},
		{"dropped and filled", []func(*Announcer){drop, fill}, 250},
		{"filled and gained", []func(*Announcer){fill, add}, 50},
		{"gained and dropped", []func(*Announcer){add, drop}, 50},
	} {
		a := NewAnnouncer("n1", Rules{})
		a.SetTable(0, NewTable([]shoal.Member{{ID: "n1"}, {ID: "n2"}}))
		for _, tell := range tt.news {
			tell(a)
		}
		got, told := Tick(0), 0
		for told == 0 && got < 2000 {
			got++
			for _, m := range a.Tick(got) {
				if m.To == "n2" {
					told = len(m.Changes)
				}
			}
		}
		if got != tt.want || told != len(tt.news) {
			t.Errorf("%s: %d lines after %d ms, want %d after %d", tt.name, told, got, len(tt.news), tt.want)
		}
	}
}

// The other home is told of leases that last, several in one message, and of no others.
func TestIntentsOfLongFills(t *testing.T) {
	d := NewDirectory("n1", Rules{Warm: 1})
	d.SetTable(0, NewTable([]shoal.Member{{ID: "n1"}, {ID: "n2"}, {ID: "n3"}}))
	var keys []shoal.Key // of which n1 and n2 are the homes
	for _, key := range ownedBy(d, 200) {
		if d.otherHome(ShardOf(key)) == "n2" && len(keys) < 30 {
			keys = append(keys, key)
		}
	}
	for i, key := range keys {
		d.Lookup(Tick(100+i), "n3", []shoal.Key{key}, nil, false, nil)
		d.Lookup(Tick(101+i), "n3", []shoal.Key{key}, nil, false, nil) // it asks again: the same lease
	}
	filled := Message{Type: MsgBatch, From: "n3", Seq: 1}
	for _, key := range keys[:10] {
		filled.Changes = append(filled.Changes, Change{Key: key, Sum: 1, Held: true, Gained: 2})
	}
	d.Step(400, filled)
	d.Step(400, Message{Type: MsgRelease, From: "n3", Keys: keys[10:20]})
	intents := func(now Tick) (out []Message) {
		for _, m := range d.Tick(now) {
			if m.Type == MsgIntent {
				out = append(out, m)
			}
		}
		return out
	}
	if got := intents(599); len(got) > 0 {
		t.Errorf("intents after less than half a second = %+v, want none", got)
	}
	got := intents(700)
	if len(got) != 1 || got[0].To != "n2" || got[0].Filler != "n3" || !slices.Equal(got[0].Keys, keys[20:]) || got[0].Lease != 29_421 {
		t.Errorf("intents = %+v, want one that tells n2 of %v, and the shortest lease, of 29,421 ms", got, keys[20:])
	}
	if got := intents(5000); len(got) > 0 {
		t.Errorf("intents after that = %+v, want none", got)
	}
}
