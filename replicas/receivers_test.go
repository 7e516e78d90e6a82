package replicas

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/shoal-mesh/shoal"
)

// A relayHome is the home of a block, and those who ask it.
type relayHome struct {
	*Directory
	t   *testing.T
	key shoal.Key
	now Tick
}

// newRelayHome returns the home of a block in a mesh of two zones: n1 to n12, the even ones in one.
func newRelayHome(t *testing.T) *relayHome {
	d := NewDirectory("n1", Rules{})
	var members []shoal.Member
	for i := range 12 {
		members = append(members, shoal.Member{ID: nodeName(i + 1), State: shoal.Serving, Zone: []string{"even", "odd"}[(i+1)%2]})
	}
	d.SetTable(0, NewTable(members))
	return &relayHome{Directory: d, t: t, key: ownedBy(d, 1)[0], now: 20_000}
}

func nodeName(i int) shoal.NodeID { return shoal.NodeID(fmt.Sprintf("n%d", i)) }

// ask checks what node number from is told.
func (h *relayHome) ask(from int, kind Kind, to int, avoid ...Avoid) {
	h.t.Helper()
	a := h.Lookup(h.now, nodeName(from), []shoal.Key{h.key}, avoid, false, nil)[0]
	var first shoal.NodeID
	if len(a.Nodes) > 0 {
		first = a.Nodes[0]
	}
	want := nodeName(to)
	if to == 0 {
		want = ""
	}
	if a.Kind != kind || first != want {
		h.t.Errorf("Lookup by n%d = %v %s, want %v %s", from, a.Kind, first, kind, want)
	}
}

// hold has node number i say that it holds the block, or no longer.
func (h *relayHome) hold(i int, held bool) {
	change := drop(h.key, 0)
	if held {
		change = Change{Key: h.key, Sum: 7, Held: true}
	}
	id := nodeName(i)
	h.Step(h.now, Message{Type: MsgBatch, From: id, Seq: h.byID[id].seq + 1, Changes: []Change{change}})
}

func without(id int) Avoid { return Avoid{Node: nodeName(id), Reason: NotFound} }

// TestFollowFiller has readers of a block that is being filled follow one another.
func TestFollowFiller(t *testing.T) {
	h := newRelayHome(t)
	h.ask(3, Fill, 0)
	h.ask(5, Filling, 3)
	h.ask(7, Filling, 5)
	h.ask(9, Filling, 7)
	h.ask(2, Filling, 9)
	h.ask(4, Filling, 2)
	h.ask(7, Filling, 3, without(5)) // who asks again is sent to the filler
	h.ask(9, Filling, 3)             // n2 follows it
	h.ask(11, Filling, 4)            // of the other zone, but nobody follows it
	h.ask(3, Fill, 0)                // the filler
	h.ask(5, Fill, 0, without(3))    // n3 has not got it: n5 takes over
	h.ask(6, Filling, 5)
	h.now += receivesFor
	h.ask(8, Filling, 5) // the others are taken to be done
	h.ask(10, Filling, 8)
	h.ask(10, Filling, 5, without(8))
	h.ask(12, Filling, 10)
	h.now += 4000
	h.ask(11, Filling, 12) // not to n8: a reader was sent there
}

// TestFollowReceiver has readers sent to those that are receiving a block when its only holder
// passes it on already.
func TestFollowReceiver(t *testing.T) {
	h := newRelayHome(t)
	h.hold(3, true)
	h.ask(5, Held, 3)
	a := h.Lookup(h.now, "n7", []shoal.Key{h.key}, nil, false, nil)[0]
	if want := (Answer{Kind: Filling, Nodes: []shoal.NodeID{"n5"}, Sum: 7}); !reflect.DeepEqual(a, want) {
		t.Errorf("the second reader is told %+v, want %+v", a, want)
	}
	h.ask(9, Filling, 7)
	h.ask(7, Held, 3, without(5))
	h.ask(2, Filling, 9)
}

// TestFollowInZone has the second reader of a zone follow the first, rather than read from
// another zone.
func TestFollowInZone(t *testing.T) {
	h := newRelayHome(t)
	h.hold(2, true)
	h.ask(3, Held, 2)
	h.ask(5, Filling, 3)
	h.ask(4, Held, 2)
}

// TestFollowNobodyBehind sends a node that is said to hold the block, or to which readers were
// sent, to holders only: those that receive the block may be waiting for it.
func TestFollowNobodyBehind(t *testing.T) {
	h := newRelayHome(t)
	h.hold(3, true)
	h.hold(2, true)
	h.ask(5, Held, 3)
	h.hold(3, false)
	h.ask(3, Held, 2) // n5, of its zone, may wait for it
	h.ask(7, Filling, 5)
	h.hold(7, true)
	h.hold(7, false)
	h.ask(9, Filling, 7)
	h.hold(9, true)
	h.ask(9, Held, 2) // it has lost the block, and its home does not know yet
}

// TestReceivers fills a set of receivers and lets time pass.
func TestReceivers(t *testing.T) {
	var r receivers
	const hash = 0xabcdef
	numbers := func(hash uint64, now Tick) (out []uint16) {
		for _, v := range r.of(hash, now, nil) {
			out = append(out, v.number)
		}
		slices.Sort(out)
		return out
	}
	for i := range uint16(receiversOf + 2) {
		r.add(hash, i+1, Tick(i), true)
	}
	for _, tc := range []struct {
		what string
		now  Tick
		want []uint16
	}{
		{"the last of those added", receiversOf + 1, []uint16{3, 4, 5, 6, 7, 8, 9, 10}},
		{"those after the fifth, ten seconds after it", receivesFor + 4, []uint16{6, 7, 8, 9, 10}},
	} {
		if got := numbers(hash, tc.now); !slices.Equal(got, tc.want) {
			t.Errorf("of() = %v, want %v: %s", got, tc.want, tc.what)
		}
	}
	r.drop(hash, 9)
	r.add(hash, 3, receivesFor, true)
	if got, want := numbers(hash, receivesFor+4), []uint16{3, 6, 7, 8, 10}; !slices.Equal(got, want) {
		t.Errorf("of() without 9, and 3 added again = %v, want %v", got, want)
	}
	r.add(hash, 11, 2*receivesFor, false)
	if got, want := numbers(hash, 2*receivesFor+passesFor-1), []uint16{11}; !slices.Equal(got, want) {
		t.Errorf("of() when 11 has come, which does not keep the block = %v, want %v", got, want)
	}
	if got := numbers(hash, 2*receivesFor+passesFor); len(got) > 0 {
		t.Errorf("of() a second later = %v, want none", got)
	}
	if got := numbers(hash|1<<40, receiversOf+1); len(got) > 0 {
		t.Errorf("of() of another block of the set = %v, want none", got)
	}
}
