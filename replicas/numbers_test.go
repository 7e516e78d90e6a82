package replicas

import (
	"testing"

	"github.com/shoal-mesh/shoal"
)

// What a node has gained and resigned from lately is known by its number, whatever happens to
// the block, and not for ever.
func TestNumbersNameBlocks(t *testing.T) {
	c := NewCore("n1", Rules{MaxKept: 16})
	c.SetTable(0, NewTable([]shoal.Member{{ID: "n1"}, {ID: "n2"}}))
	s := c.Standings
	numbers := make(map[uint64]shoal.Key)
	key := func(i int) shoal.Key { return shoal.Key{Index: uint32(i)} }
	for i := range 8 {
		c.Add(1, key(i), 1, Limits{})
		numbers[gainNumber(c.Announcer.version)] = key(i)
		numbers[s.say(key(i))] = key(i)
		c.Drop(1, key(i/2), 0)
	}
	if len(numbers) != 16 {
		t.Fatalf("%d numbers for 16 blocks gained and resigned from, want as many", len(numbers))
	}
	for n, want := range numbers {
		if got, ok := s.named(n); !ok || got != want {
			t.Errorf("named(%d) = %v, %v, want %v", n, got, ok, want)
		}
	}
	for _, n := range []uint64{gainNumber(c.Announcer.version + 1), s.say(key(0)) + 2} {
		if got, ok := s.named(n); ok {
			t.Errorf("named(%d), which has not been said, = %v, want none", n, got)
		}
	}
	for i := range 100 {
		c.Add(1, key(100+i), 1, Limits{})
		s.say(key(100 + i))
	}
	for n := range numbers {
		if got, ok := s.named(n); ok {
			t.Errorf("named(%d) after 100 others = %v, want it forgotten", n, got)
		}
	}
	if len(s.said) > 32 {
		t.Errorf("%d resignations remembered, want at most 32", len(s.said))
	}
}

// An order is for the replica that its home knew of: not for one that was gained since. One
// whose number says nothing any more is refused as well.
func TestOrdersForReplicasThatHaveGone(t *testing.T) {
	members := []shoal.Member{{ID: "n1"}, {ID: "n2"}, {ID: "n3"}}
	table := NewTable(members)
	key := keyOf(table, "n2", "n3")
	keeper, none := shoal.Standing{Keeper: true}, shoal.Standing{Class: shoal.Surplus}
	for _, tt := range []struct {
		name  string
		order Order
		want  Result
	}{
		{"to keep the one that was there before", Order{Key: key, Standing: keeper, Basis: 1}, Stale},
		{"to keep this one", Order{Key: key, Standing: keeper, Basis: 2}, Obeyed},
		{"not to keep the one that was there before", Order{Key: key, Standing: none, Basis: 1}, Stale},
		{"not to keep this one", Order{Key: key, Standing: none, Basis: 2}, Obeyed},
		{"not to keep this one, by number", Order{Number: gainNumber(2), Standing: none, Basis: 2}, Obeyed},
		{"by the number of the one before", Order{Number: gainNumber(1), Standing: none, Basis: 1}, Stale},
		{"by a number that was never given", Order{Number: 77, Standing: none, Basis: 2}, Stale},
	} {
		c := NewCore("n1", Rules{})
		c.SetTable(0, table)
		c.Add(1, key, 1, Limits{})
		c.Drop(2, key, 0)
		c.Add(3, key, 1, Limits{})
		c.Step(4, Message{Type: MsgStand, From: "n2", Seq: 1, Orders: []Order{tt.order}})
		orders := c.TakeOrders()
		for i := range orders {
			if orders[i].Held = true; orders[i].Key != key {
				t.Errorf("%s: carried out for %v, want for %v", tt.name, orders[i].Key, key)
			}
		}
		for _, m := range c.EndOrders(4, orders) {
			if m.Type == MsgStood && m.Results[0] != tt.want {
				t.Errorf("%s: result %d, want %d", tt.name, m.Results[0], tt.want)
			}
		}
	}
}

// A home that is told by a hash which block goes forgets that replica alone.
func TestFindHeld(t *testing.T) {
	e := newEntries()
	a, b := shoal.Key{Index: 1}, shoal.Key{Index: 2}
	for i, key := range []shoal.Key{a, b} {
		e.addHolder(e.put(key, hashKey(key)), uint16(i+1))
	}
	for _, tt := range []struct {
		key  shoal.Key
		by   uint16
		want uint32
	}{
		{a, 1, e.find(a, hashKey(a))}, {b, 2, e.find(b, hashKey(b))}, {a, 2, 0}, {shoal.Key{Index: 3}, 1, 0},
	} {
		if got := e.findHeld(hashKey(tt.key), tt.by); got != tt.want {
			t.Errorf("findHeld(%v, %d) = %d, want %d", tt.key, tt.by, got, tt.want)
		}
	}
}
