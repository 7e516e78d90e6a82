package replicas

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/shoal-mesh/shoal"
)

// Commands of TestHistories about keepers. Nodes carry out orders each time they are let to:
// at every tick, unless they are deaf.
//
//	hold n1 k1 min=2 max=3    the dataset wants so many keepers and replicas
//	evict n1 k1 idle=60s      a drop that says how long the block had not been read
//	resign n1 k1
//	deaf n1                   takes orders, and carries them out only when it is deaf no more
//	hears n1
//	standing k1 k2            what holders have been told, and what the home thinks
func (m *mesh) keeperCommand(t *testing.T, d *datadriven.TestData, n *meshNode, keys []shoal.Key) {
	switch d.Cmd {
	case "resign":
		n.core.Resign(m.now, keys...)
	case "evict":
		var idle time.Duration
		if a, ok := d.Arg("idle"); ok {
			idle, _ = time.ParseDuration(a.Vals[0])
		}
		for _, key := range keys {
			delete(n.store, key)
			m.send(n.core.Drop(m.now, key, idle))
		}
	case "deaf", "hears":
		n.deaf = d.Cmd == "deaf"
	default:
		t.Fatalf("unknown command %q", d.Cmd)
	}
}

// limitsArg returns the limits min= and max= of a command.
func limitsArg(d *datadriven.TestData) Limits {
	number := func(name string) uint8 {
		a, ok := d.Arg(name)
		if !ok {
			return 0
		}
		v, _ := strconv.Atoi(a.Vals[0])
		return uint8(v)
	}
	return Limits{Min: number("min"), Max: number("max")}
}

// carryOut does what a Runner and the block store do with the orders n has.
func (m *mesh) carryOut(n *meshNode) {
	if n.deaf {
		return
	}
	orders := n.core.TakeOrders()
	if orders == nil {
		return
	}
	for i, o := range orders {
		_, held := n.store[o.Key]
		if orders[i].Held = held; held {
			n.stand[o.Key] = o.Standing
		}
		if m.verbose {
			fmt.Fprintf(&m.out, "%s carries out %s held=%v\n", n.member.ID, m.oneOrder(o), held)
		}
	}
	m.send(n.core.EndOrders(m.now, orders))
}

// standing writes what the holders of a key have been told, and what its home thinks.
func (m *mesh) standing(word string) {
	key := m.key(word)
	home, _ := m.live()[0].core.Table().Homes(ShardOf(key))
	fmt.Fprintf(&m.out, "%s at home %s:", word, home)
	for _, h := range m.nodes[home].core.Directory.Explain(key) {
		fmt.Fprintf(&m.out, " %s=%s", h.Node, standingText(shoal.Standing{Class: h.Class, Keeper: h.Keeper}))
	}
	told := ""
	for _, n := range m.live() {
		if _, ok := n.store[key]; ok {
			told += fmt.Sprintf(" %s=%s", n.member.ID, standingText(n.stand[key]))
		}
	}
	fmt.Fprintf(&m.out, "; told:%s\n", told)
}

func standingText(s shoal.Standing) string {
	if s.Keeper {
		return "keeper/" + s.Class.String()
	}
	return s.Class.String()
}

// orderText returns what is in m about keepers.
func (m *mesh) orderText(o Message) string {
	var b strings.Builder
	for _, order := range o.Orders {
		b.WriteString(" " + m.oneOrder(order))
	}
	for _, r := range o.Results {
		b.WriteString(" " + [...]string{"obeyed", "gone", "stale", "not-home"}[r])
	}
	return b.String()
}

func (m *mesh) oneOrder(o Order) string {
	text := m.name(o.Key) + "=" + standingText(o.Standing)
	if o.Credit != 0 {
		text += fmt.Sprintf("+credit(%v)", o.Credit.Duration().Round(time.Second))
	}
	return text
}

func TestIdle(t *testing.T) {
	for _, d := range []time.Duration{time.Millisecond, time.Second, time.Minute, time.Hour, 30 * 24 * time.Hour} {
		got := IdleOf(d).Duration()
		if got < d*9/10-time.Second/10 || got > d*11/10+time.Second/10 {
			t.Errorf("IdleOf(%v).Duration() = %v, want about as much", d, got)
		}
	}
	for _, d := range []time.Duration{0, -time.Second} {
		if got := IdleOf(d); got != 0 || got.Duration() != 0 {
			t.Errorf("IdleOf(%v) = %d, %v, want 0: not known", d, got, got.Duration())
		}
	}
}

// What a holder has forgotten to have been told is refused, not taken.
func TestStandingsForget(t *testing.T) {
	c := NewCore("n1", Rules{MaxKept: 16, Settle: 1})
	c.SetTable(0, NewTable([]shoal.Member{{ID: "n1"}}))
	for i := range uint32(100) {
		c.Add(1, shoal.Key{Index: i}, 1, Limits{}, false)
	}
	s := c.Standings
	for _, tt := range []struct {
		key   uint32
		basis uint64
		want  bool
	}{
		{0, 0, false}, {0, 50, false}, {0, 100, true}, {99, 99, false}, {99, 100, true}, {1000, 0, false}, {1000, 100, true},
	} {
		if got := s.allows(shoal.Key{Index: tt.key}, tt.basis); got != tt.want {
			t.Errorf("allows(%d, %d) = %v, want %v", tt.key, tt.basis, got, tt.want)
		}
	}
	if len(s.kept) > 32 || len(s.log) > 32 {
		t.Errorf("remembers %d blocks and %d events, want at most 32", len(s.kept), len(s.log))
	}
}

// A node that is alone from the start may drop what it has at once, without any other.
func TestStandingsAlone(t *testing.T) {
	c := NewCore("n1", Rules{})
	c.SetTable(0, NewTable([]shoal.Member{{ID: "n1"}}))
	key := shoal.Key{Index: 7}
	c.Add(1, key, 1, Limits{}, false)
	c.Resign(1, key)
	if out := c.deliver(1, c.Standings.Tick(1)); len(out) != 0 {
		t.Errorf("resignations = %+v, want none for others", out)
	}
	orders := c.TakeOrders()
	want := Order{Key: key, Number: 1, Standing: shoal.Standing{Class: shoal.Last}, Basis: 1}
	if len(orders) != 1 || orders[0] != want {
		t.Fatalf("TakeOrders() = %+v, want %+v", orders, want)
	}
	orders[0].Held = true
	c.EndOrders(1, orders)
	c.Drop(1, key, time.Minute)
	if n := c.Directory.Counts(); n.Entries != 0 || n.Moves != 0 || n.LastResigned != 1 || c.Standings.Resigned() != 0 {
		t.Errorf("Counts() = %+v, want no entries and no moves", n)
	}
	// A block that it had before it started may matter to others that it does not see yet.
	old := shoal.Key{Index: 8}
	for now := Tick(1); now < 12_000 && c.Directory.Counts().LastResigned < 2; now += 100 {
		if c.Announcer.WantsScan(now) {
			c.Announcer.BeginScan(now)
			c.Feed(now, old, 1, Limits{})
			c.EndScan(now)
		}
		c.Tick(now)
		c.Resign(now, old)
		orders := c.TakeOrders()
		for i, o := range orders {
			if !o.Standing.Keeper && now < 10_000 {
				t.Fatalf("after %d ms, a block from before the start is let go", now)
			}
			orders[i].Held = true
		}
		c.EndOrders(now, orders)
	}
	if got := c.Directory.Counts().LastResigned; got != 2 {
		t.Errorf("%d last replicas let go, want 2", got)
	}
	// When others join, it has to settle like everybody else.
	c.Add(2, key, 1, Limits{}, false)
	c.SetTable(3, NewTable([]shoal.Member{{ID: "n1"}, {ID: "n2"}}))
	c.Resign(4, key)
	c.Tick(4)
	if orders := c.TakeOrders(); orders != nil {
		t.Errorf("TakeOrders() right after a join = %+v, want nil", orders)
	}
}

// TestPeekNamesSomeHolders has more nodes hold a block than an answer names.
func TestPeekNamesSomeHolders(t *testing.T) {
	const nodes = MaxHolders + 3
	members := make([]shoal.Member, nodes)
	for i := range members {
		members[i].ID = shoal.NodeID(fmt.Sprintf("n%d", i))
	}
	table := NewTable(members)
	key := keyOf(table, "n0", "n1")
	c := NewCore("n0", Rules{})
	c.SetTable(0, table)
	for i := range members {
		c.Step(1, Message{
			Type: MsgBatch, From: members[i].ID, To: "n0", View: table.View(), Seq: 1,
			Changes: []Change{{Key: key, Sum: 1, Held: true}},
		})
	}
	c.Add(1, key, 1, Limits{}, false)
	for _, m := range []MessageType{MsgPeek, MsgLookup} {
		out := c.Step(2, Message{Type: m, From: "n5", To: "n0", View: table.View(), Keys: []shoal.Key{key}})
		a := out[len(out)-1].Answers[0]
		want := MaxHolders
		if m == MsgLookup {
			want = 0
		}
		if len(a.Holders) != want || a.More != min(want, 3) || len(a.Nodes) != MaxNodes {
			t.Errorf("%v = %d holders, %d more, %d nodes, want %d, %d, %d", m, len(a.Holders), a.More, len(a.Nodes), want, min(want, 3), MaxNodes)
		}
	}
}
