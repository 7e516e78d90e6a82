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
		c.Add(1, key(i), 1, Limits{}, false)
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
		c.Add(1, key(100+i), 1, Limits{}, false)
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
		c.Add(1, key, 1, Limits{}, false)
		c.Drop(2, key, 0)
		c.Add(3, key, 1, Limits{}, false)
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
		e.addHolder(e.put(key, HashKey(key)), uint16(i+1))
	}
	for _, tt := range []struct {
		key  shoal.Key
		by   uint16
		want uint32
	}{
		{a, 1, e.find(a, HashKey(a))}, {b, 2, e.find(b, HashKey(b))}, {a, 2, 0}, {shoal.Key{Index: 3}, 1, 0},
	} {
		if got, more := e.findHeld(HashKey(tt.key), tt.by); got != tt.want || more {
			t.Errorf("findHeld(%v, %d) = %d, %v, want %d alone", tt.key, tt.by, got, more, tt.want)
		}
	}
}

// A holder starts anew while a round that is to relieve it goes on. Its numbers and versions are
// others now: it must not be told what was meant for its last boot.
func TestNumbersOfAnotherBoot(t *testing.T) {
	members := []shoal.Member{{ID: "n1", Boot: 1}, {ID: "n2", Boot: 1}, {ID: "n3", Boot: 1}}
	d := NewDirectory("n1", Rules{Settle: 1})
	d.SetTable(0, NewTable(members))
	key := keyOf(d.table, "n1", "n2")
	now := Tick(100)
	for ; d.retells.Len() > 0; now++ {
		d.Tick(now)
	}
	for i, id := range []shoal.NodeID{"n3", "n2"} {
		d.Step(now, Message{
			Type: MsgBatch, From: id, Boot: 1, ToBoot: 1, Seq: 1, Version: uint64(4 + i),
			Changes: []Change{{Key: key, Sum: 1, Held: true, Gained: gainNumber(uint64(4 + i))}},
		})
	}
	// until returns what n2 is ordered meanwhile; n3 obeys when it listens.
	until := func(end Tick, listens bool) (orders []Order) {
		for ; now < end; now += 25 {
			for _, m := range d.Tick(now) {
				switch {
				case m.Type != MsgStand:
				case m.To == "n2":
					orders = append(orders, m.Orders...)
				case listens:
					d.Step(now, Message{
						Type: MsgStood, From: "n3", Boot: 1, ToBoot: 1, Seq: m.Seq, Version: 5, Results: make([]Result, len(m.Orders)),
					})
				}
			}
		}
		return orders
	}
	if got := until(now+500, false); len(got) > 0 || len(d.moves) != 1 {
		t.Fatalf("n2 is ordered %+v in %d rounds, want one that waits for n3", got, len(d.moves))
	}
	members[1].Boot = 2
	d.SetTable(now, NewTable(members))
	for _, o := range until(now+5000, true) {
		if o.Number != 0 || o.Basis > 0 {
			t.Errorf("the new boot of n2 is told %+v, which was meant for the last one", o)
		}
	}
}

// However many blocks a node resigns from, what it has said is known by its number until it is
// answered; and it says each once.
func TestResignationsAreBounded(t *testing.T) {
	const blocks, most = 100, 16
	c := NewCore("n1", Rules{MaxKept: most, Settle: 1})
	table := NewTable([]shoal.Member{{ID: "n1"}, {ID: "n2"}, {ID: "n3"}})
	c.SetTable(0, table)
	var keys []shoal.Key
	for i := uint32(0); len(keys) < blocks; i++ {
		key := shoal.Key{Index: i}
		if home, _ := table.Homes(ShardOf(key)); home == "n2" {
			keys = append(keys, key)
		}
	}
	c.Resign(50, keys...)
	c.Resign(50, keys[0])
	seq := uint64(0)
	for now := Tick(100); c.Standings.Resigned() > 0 && now < 10_000; now += 25 {
		m := Message{Type: MsgStand, From: "n2"}
		for _, r := range c.Standings.Tick(now) {
			for _, said := range r.Resigned {
				m.Orders = append(m.Orders, Order{Number: said.Number, Standing: shoal.Standing{Class: shoal.Last}, Basis: 1 << 40})
			}
		}
		if len(m.Orders) > most {
			t.Fatalf("%d resignations at once, want at most %d", len(m.Orders), most)
		}
		seq++
		m.Seq = seq
		c.Step(now, m)
		orders := c.TakeOrders()
		if len(orders) != len(m.Orders) {
			t.Fatalf("%d of %d answers are taken, want all", len(orders), len(m.Orders))
		}
		for i := range orders {
			orders[i].Held = true
		}
		c.EndOrders(now, orders)
	}
	if got := c.Standings.Resigned(); got != 0 || len(c.Standings.repeats) > 0 && seq < blocks/most {
		t.Errorf("%d of %d resignations outstanding after %d answers, want none", got, blocks, seq)
	}
}

// A block that comes and goes while its holder does not listen leaves nothing in the queue.
func TestCancelledOrdersAreForgotten(t *testing.T) {
	var s orderStream
	for i := range uint32(1000) {
		s.put(1, Order{Key: shoal.Key{Index: i}})
		if i%10 != 0 {
			s.cancel(shoal.Key{Index: i})
		}
	}
	if len(s.queue) > 2*100+1 || len(s.at) != 100 {
		t.Errorf("%d orders in the queue, %d known, want 100 and no more than as many void ones", len(s.queue), len(s.at))
	}
	for _, key := range []shoal.Key{{Index: 0}, {Index: 990}} {
		s.cancel(key)
	}
	got := s.next(1000)
	if len(got) != 98 || got[0].Key.Index != 10 || got[97].Key.Index != 980 || len(s.queue) != 0 || s.voids != 0 {
		t.Errorf("%d orders cut, %d and %d void left, want 98 and none", len(got), len(s.queue), s.voids)
	}
}
