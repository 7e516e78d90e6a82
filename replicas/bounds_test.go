package replicas

import (
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
)

// What a member says it holds is believed up to what it can hold.
func TestDirectoryBoundsHolders(t *testing.T) {
	for _, c := range []struct {
		rules    Rules
		capacity int64
		want     int
	}{
		{Rules{MaxHeld: 500}, 0, 500},
		{Rules{MaxHeld: 500}, 1 << 50, 500},
		{Rules{MaxHeld: 1 << 20}, 10 * leastBlock, mostSlack + 10},
	} {
		d := NewDirectory("n1", c.rules)
		d.SetTable(0, NewTable([]shoal.Member{{ID: "n1"}, {ID: "n2", Capacity: c.capacity}}))
		d.Step(1, Message{Type: MsgRenew, From: "n2", Keys: []shoal.Key{{Index: uint32(c.want) + 9}}})
		m := Message{Type: MsgBatch, From: "n2", Seq: 1}
		for i := range uint32(c.want + 10) {
			m.Changes = append(m.Changes, Change{Key: shoal.Key{Index: i}, Sum: 1, Held: true})
		}
		d.Step(1, m)
		n := d.Counts()
		if n.Entries != c.want || n.Refused != 10 || n.Leases != 0 {
			t.Errorf("capacity %d: %d entries, %d refused, %d leases, want %d, 10, 0",
				c.capacity, n.Entries, n.Refused, n.Leases, c.want)
		}
		// Saying the same again, or that one has gone, is no addition.
		d.Step(2, Message{Type: MsgBatch, From: "n2", Seq: 2, Changes: []Change{
			{Key: shoal.Key{Index: 0}, Sum: 1, Held: true},
			drop(shoal.Key{Index: 1}, 0),
			{Key: shoal.Key{Index: 1 << 30}, Sum: 1, Held: true},
		}})
		if n := d.Counts(); n.Entries != c.want || n.Refused != 10 {
			t.Errorf("capacity %d: then %d entries, %d refused, want %d, 10", c.capacity, n.Entries, n.Refused, c.want)
		}
	}
}

// A filler has so many leases and no more; those it gives back make room.
func TestDirectoryBoundsLeases(t *testing.T) {
	d := NewDirectory("n1", Rules{MaxLeases: 4, Warm: 1, IntentAfter: 1})
	d.SetTable(0, NewTable([]shoal.Member{{ID: "n1"}, {ID: "n2"}, {ID: "n3"}}))
	keys := ownedBy(d, 8)
	lookup := func(now Tick, from shoal.NodeID) (leases int) {
		told := 0
		for _, a := range d.Lookup(now, from, keys, nil, false, nil) {
			if a.Kind == Fill && a.Lease > 0 {
				leases++
			}
		}
		for _, m := range d.Tick(now + 1) {
			if m.Type == MsgIntent {
				told += len(m.Keys)
			}
		}
		if told != leases {
			t.Errorf("the other homes are told of %d leases, want %d", told, leases)
		}
		return leases
	}
	if got := lookup(10, "n2"); got != 4 {
		t.Errorf("n2 got %d leases, want 4", got)
	}
	d.Step(11, Message{Type: MsgRenew, From: "n2", Keys: keys})
	d.Step(11, Message{Type: MsgIntent, From: "n3", Filler: "n2", Keys: keys, Lease: 100})
	if got := d.Counts().Leases; got != 4 {
		t.Errorf("%d leases after n2 renews what it has not, want 4", got)
	}
	if got := lookup(12, "n3"); got != 4 {
		t.Errorf("n3 got %d leases of what n2 has not, want 4", got)
	}
	d.Step(13, Message{Type: MsgRelease, From: "n2", Keys: keys})
	if got := lookup(14, "n2"); got != 4 {
		t.Errorf("n2 got %d leases after it gave all back, want 4", got)
	}
	d.Tick(Tick(time.Hour.Milliseconds()))
	for _, p := range d.members {
		if p.leases != 0 {
			t.Errorf("%s has %d leases when all are over, want 0", p.id, p.leases)
		}
	}
}

// Taking a lease and giving it back over and over leaves nothing behind.
func TestDirectoryBoundsTimers(t *testing.T) {
	d := NewDirectory("n1", Rules{Warm: 1})
	d.SetTable(0, NewTable([]shoal.Member{{ID: "n1"}, {ID: "n2"}}))
	for i := range uint32(10_000) {
		key := []shoal.Key{{Index: i}}
		d.Lookup(10, "n2", key, nil, false, nil)
		if i > 0 { // the first is kept
			d.Step(10, Message{Type: MsgRelease, From: "n2", Keys: key})
		}
	}
	if got := len(d.leases.timers); got > 2000 {
		t.Errorf("%d timers for one lease, want at most 2000", got)
	}
	d.Tick(50_000)
	if got := d.Counts(); got.Leases != 0 || got.Entries != 0 {
		t.Errorf("%d leases and %d entries in the end, want none", got.Leases, got.Entries)
	}
}

// A push of everything forgets what it does not confirm a piece at a time; until it is
// complete the home does not guess.
func TestDirectoryForgetsPieceByPiece(t *testing.T) {
	d, keys := fullDirectory(20_000)
	every := new(ShardSet)
	for s := range Shards {
		every.Add(uint16(s))
	}
	d.Step(100_000, Message{Type: MsgBatch, From: "n2", Seq: 2, Shards: every, Changes: []Change{{Key: keys[0], Sum: 1, Held: true}}})
	if got := d.Counts().Entries; got < 19_000 {
		t.Errorf("%d entries right after a push began, want nearly 20,000", got)
	}
	absent := []shoal.Key{{Index: 77}}
	if a := d.Lookup(100_000, "n1", absent, nil, false, nil); a[0].Kind != Unknown {
		t.Errorf("Lookup during the push = %v, want unknown", answerText(a[0]))
	}
	d.Step(100_002, Message{Type: MsgBatch, From: "n2", Seq: 3, End: true})
	before := d.Counts().Entries
	d.Tick(100_003)
	if got := d.Counts().Entries; got == before || got < before/2 {
		t.Errorf("%d of %d entries after one Tick, want some less", got, before)
	}
	for now := Tick(100_004); now < 100_400; now++ {
		d.Tick(now)
	}
	if got := d.Counts().Entries; got != 1 || len(d.Holders(keys[0])) != 1 || d.byID["n2"].bits != 1 {
		t.Errorf("%d entries in the end, want the one that was told again", got)
	}
	if a := d.Lookup(100_500, "n1", absent, nil, false, nil); a[0].Kind != Fill {
		t.Errorf("Lookup after the push = %v, want fill", answerText(a[0]))
	}
}

func ownedBy(d *Directory, n int) []shoal.Key {
	var keys []shoal.Key
	for i := uint32(0); len(keys) < n; i++ {
		if key := (shoal.Key{Index: i}); d.owned.Has(ShardOf(key)) {
			keys = append(keys, key)
		}
	}
	return keys
}
