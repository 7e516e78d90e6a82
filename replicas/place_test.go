package replicas

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/shoal-mesh/shoal"
)

// The home names a node for a block that its reader will not keep: see Directory.place.
func TestPlace(t *testing.T) {
	never := float32(math.Inf(1))
	room := func(free int64) shoal.Frontier { return shoal.Frontier{FreeBytes: free, Surplus: never, Last: never} }
	full := func(surplus, last float32) shoal.Frontier { return shoal.Frontier{Surplus: surplus, Last: last} }
	for _, c := range []struct {
		name   string
		fronts map[shoal.NodeID]shoal.Frontier // of n2 and n3 in the reader's zone, f4 and f5 in another
		change func(members []shoal.Member)
		weight float32
		want   shoal.NodeID
	}{
		{name: "nobody has told anything"},
		{name: "the one with room", fronts: map[shoal.NodeID]shoal.Frontier{"n2": room(10), "n3": room(1 << 30)}, want: "n3"},
		{name: "the most room", fronts: map[shoal.NodeID]shoal.Frontier{"n2": room(1 << 32), "n3": room(1 << 30)}, want: "n2"},
		{name: "room near before more room far", fronts: map[shoal.NodeID]shoal.Frontier{"n2": room(1 << 30), "f4": room(1 << 40)}, want: "n2"},
		{name: "room far before a colder frontier near", weight: 9, fronts: map[shoal.NodeID]shoal.Frontier{"n2": full(1, 1), "f4": room(1 << 30)}, want: "f4"},
		{name: "colder surplus", weight: 1, fronts: map[shoal.NodeID]shoal.Frontier{"n2": full(0.5, 3), "n3": full(never, 3)}, want: "n2"},
		{name: "colder last", weight: 4, fronts: map[shoal.NodeID]shoal.Frontier{"n2": full(never, 3), "n3": full(never, 1)}, want: "n3"},
		{name: "colder near before coldest far", weight: 4, fronts: map[shoal.NodeID]shoal.Frontier{"n2": full(never, 3), "f5": full(0, 0)}, want: "n2"},
		{name: "not by a margin", weight: 1, fronts: map[shoal.NodeID]shoal.Frontier{"n2": full(never, 0.96)}},
		{name: "by a margin", weight: 1, fronts: map[shoal.NodeID]shoal.Frontier{"n2": full(never, 0.95)}, want: "n2"},
		{name: "not the reader", weight: 1, fronts: map[shoal.NodeID]shoal.Frontier{"n1": room(1 << 40)}},
		{
			name: "not who drains", fronts: map[shoal.NodeID]shoal.Frontier{"n2": room(1 << 40)},
			change: func(m []shoal.Member) { m[1].State = shoal.Draining },
		},
		{
			name: "not who warms up", fronts: map[shoal.NodeID]shoal.Frontier{"n2": room(1 << 40)},
			change: func(m []shoal.Member) { m[1].State = shoal.Warming },
		},
	} {
		c1, members := placers(Rules{Meet: 1 << 30})
		for id, f := range c.fronts {
			c1.Directory.heard(10, id, f)
		}
		if c.change != nil {
			c.change(members)
			c1.SetTable(20, NewTable(members))
		}
		got, ok := c1.Coldest(30, Offer{Weight: c.weight, SizeBytes: 4 << 20})
		if got != c.want || ok != (c.want != "") {
			t.Errorf("%s: Coldest = %q, %v, want %q", c.name, got, ok, c.want)
		}
	}
}

// What a member told long ago, or before it went away, says nothing.
func TestPlaceForgetsOldFrontiers(t *testing.T) {
	c, members := placers(Rules{Meet: 10_000})
	c.Directory.heard(0, "n2", shoal.Frontier{FreeBytes: 1 << 40})
	if id, _ := c.Coldest(59_999, Offer{SizeBytes: 1}); id != "n2" {
		t.Errorf("Coldest a minute after n2 has told of its room = %q, want n2", id)
	}
	if id, ok := c.Coldest(60_000, Offer{SizeBytes: 1}); ok {
		t.Errorf("Coldest after that = %q, want none", id)
	}
	c.SetMembers(70_000, members)
	c.Directory.heard(70_000, "n2", shoal.Frontier{FreeBytes: 1 << 40})
	c.SetMembers(70_001, slices.Delete(slices.Clone(members), 1, 2))
	if id, ok := c.Coldest(70_002, Offer{SizeBytes: 1}); ok {
		t.Errorf("Coldest while n2 is away = %q, want none", id)
	}
}

// Nodes with about the same room take turns, and what they were sent counts until they
// tell that it is there; a full node is sent so much and no more.
func TestPlaceTakesTurns(t *testing.T) {
	const block = 4 << 20
	c, _ := placers(Rules{Meet: 1 << 30})
	d := c.Directory
	d.heard(10, "n2", shoal.Frontier{FreeBytes: 100 * block})
	d.heard(10, "n3", shoal.Frontier{FreeBytes: 90 * block})
	got := make(map[shoal.NodeID]int)
	for range 400 {
		id, _ := c.Coldest(20, Offer{SizeBytes: block})
		got[id]++
	}
	if got["n2"] != 100 || got["n3"] != 90 {
		t.Errorf("400 blocks placed = %v, want 100 on n2 and 90 on n3, which is what there is room for", got)
	}
	d.heard(40, "n2", shoal.Frontier{FreeBytes: 30 * block}) // not all of it is there yet
	if id, ok := c.Coldest(50, Offer{SizeBytes: block}); ok {
		t.Errorf("Coldest just after n2 told of room that is spoken for = %q, want none", id)
	}
	d.heard(3000, "n2", shoal.Frontier{FreeBytes: 30 * block})
	if id, _ := c.Coldest(3000+settling, Offer{SizeBytes: block}); id != "n2" {
		t.Errorf("Coldest after n2 told of room again = %q, want n2", id)
	}
	d.heard(9000, "n3", shoal.Frontier{Surplus: 1, Last: 2})
	d.heard(9000, "n2", shoal.Frontier{Surplus: 9, Last: 9})
	n := 0
	for range 100 {
		if _, ok := c.Coldest(20_000, Offer{Weight: 5, SizeBytes: block}); ok {
			n++
		}
	}
	if n != placeBytes/block {
		t.Errorf("%d blocks placed on a full node, want %d until it tells its frontier again", n, placeBytes/block)
	}
}

// A lookup that brings an offer gets a place with its lease, and only then.
func TestLookupNamesPlace(t *testing.T) {
	c, _ := placers(Rules{Warm: 1})
	c.Directory.heard(10, "n2", shoal.Frontier{FreeBytes: 1 << 40})
	key := ownedBy(c.Directory, 1)
	for _, w := range []struct {
		ask  Ask
		peek bool
		want shoal.NodeID
	}{
		{Ask{Keys: key}, false, ""},
		{Ask{Keys: key, Offer: &Offer{SizeBytes: 1}}, true, ""},
		{Ask{Keys: key, Offer: &Offer{SizeBytes: 1}}, false, "n2"},
	} {
		answers := c.Ask(20_000, w.ask, nil, w.peek, nil)
		if got := answers[0].Place; got != w.want {
			t.Errorf("Ask(offer %v, peek %v) names place %q, want %q", w.ask.Offer, w.peek, got, w.want)
		}
	}
}

// Nodes that meet tell one another what they know; news goes round the mesh.
func TestFrontiersGoRound(t *testing.T) {
	m := fleet(9, 0)
	m.nodes["n1"].core.SetFrontier(m.now, shoal.Frontier{FreeBytes: 7})
	m.pass(60_000)
	knows := 0
	for _, n := range m.live() {
		m.nodes["n1"].core.SetFrontier(m.now, shoal.Frontier{FreeBytes: 7})
		d := n.core.Directory
		if p := d.byID["n1"]; d.fresh(m.now, p) && p.front.frontier.FreeBytes == 7 {
			knows++
		}
	}
	if knows < 8 {
		t.Errorf("%d of 9 nodes know the frontier of n1 after a minute, want at least 8", knows)
	}
	// It travels with what is said anyway: to the homes of what n2 gets.
	n := m.nodes["n2"]
	n.core.SetFrontier(m.now, shoal.Frontier{FreeBytes: 8})
	for i := range uint32(100) {
		m.send(n.core.Add(m.now, shoal.Key{Index: i}, 1, Limits{}, false))
	}
	m.pass(100)
	for _, other := range m.live() {
		if f := other.core.Directory.byID["n2"].front; f.frontier.FreeBytes != 8 {
			t.Errorf("%s knows of n2 %+v after its batches, want 8 bytes free", other.member.ID, f)
		}
	}
}

// A frontier goes to each node once, until there is another.
func TestFrontierToldOnce(t *testing.T) {
	c, members := placers(Rules{Warm: 1})
	told := func(id shoal.NodeID) bool {
		out := c.Step(1, Message{Type: MsgPeek, From: id})
		return out[len(out)-1].Frontier != nil
	}
	for _, change := range []func(){
		func() { c.SetFrontier(1, shoal.Frontier{FreeBytes: 1}) },
		func() { c.SetFrontier(1, shoal.Frontier{FreeBytes: 2}) },
		func() { c.SetMembers(1, members[:4]) }, // one of them may have started anew
	} {
		change()
		for i, want := range []bool{true, false, false} {
			for _, id := range []shoal.NodeID{"n2", "n3"} {
				if got := told(id); got != want {
					t.Errorf("answer %d to %s tells the frontier: %v, want %v", i+1, id, got, want)
				}
			}
		}
	}
}

// Of one block no more than so many concurrent readers are sent to one holder, and over
// all blocks the near holders with the least to do come first.
func TestHolderChoice(t *testing.T) {
	d := NewDirectory("n1", Rules{})
	var members []shoal.Member
	for i := range 8 {
		members = append(members, shoal.Member{ID: shoal.NodeID(fmt.Sprintf("n%d", i+1)), State: shoal.Serving, Zone: "near"})
	}
	members[4].Zone, members[5].Zone = "far", "far"
	d.SetTable(0, NewTable(members))
	keys := ownedBy(d, 300)
	hold := func(id shoal.NodeID, keys ...shoal.Key) {
		m := Message{Type: MsgBatch, From: id, Seq: d.byID[id].seq + 1}
		for _, key := range keys {
			m.Changes = append(m.Changes, Change{Key: key, Sum: 1, Held: true})
		}
		d.Step(0, m)
	}
	for _, id := range []shoal.NodeID{"n3", "n4", "n5", "n6"} {
		hold(id, keys...)
	}
	first := func(now Tick, from shoal.NodeID, key shoal.Key) shoal.NodeID {
		again := []Avoid{{Node: "n2"}} // else it may be sent to who receives the block
		return d.Lookup(now, from, []shoal.Key{key}, again, false, nil)[0].Nodes[0]
	}
	sent := make(map[shoal.NodeID]int)
	for i := range 4 * MostReaders {
		sent[first(20_000, []shoal.NodeID{"n7", "n8"}[i%2], keys[0])]++
	}
	for id, n := range sent {
		if n != MostReaders {
			t.Errorf("%d readers of one block, sent to %s = %d, want as many to each of 4 holders", 4*MostReaders, id, n)
		}
	}
	if id := first(25_000, "n7", keys[0]); id != "n3" && id != "n4" {
		t.Errorf("a reader five seconds later is sent to %s, want one of its zone", id)
	}
	clear(sent)
	for _, key := range keys[1:] {
		sent[first(60_000, "n7", key)]++
	}
	if sent["n3"]+sent["n4"] != 299 || max(sent["n3"], sent["n4"]) > 200 {
		t.Errorf("299 blocks read by one node = %v, want all from its zone, about as many from each", sent)
	}
}

// placers returns the Core of n1, and who it knows: three nodes in a zone, two in another.
func placers(rules Rules) (*Core, []shoal.Member) {
	var members []shoal.Member
	for _, id := range []shoal.NodeID{"n1", "n2", "n3", "f4", "f5"} {
		members = append(members, shoal.Member{ID: id, State: shoal.Serving, Zone: string(id[:1])})
	}
	c := NewCore("n1", rules)
	c.SetMembers(0, members)
	return c, members
}
