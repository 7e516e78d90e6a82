package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

func TestLRU(t *testing.T) {
	var p *LRU
	datadriven.RunTest(t, "testdata/lru", func(t *testing.T, d *datadriven.TestData) string {
		var slots []uint32
		group := Group(0)
		grouped := false
		for _, a := range d.CmdArgs {
			if a.Key == "group" {
				a.Scan(t, 0, (*uint16)(&group))
				grouped = true
				continue
			}
			slots = append(slots, uint32(a.Key[0]-'a'))
		}
		switch d.Cmd {
		case "init":
			p = NewLRU()
		case "insert":
			for _, s := range slots {
				p.Insert(s, Item{SizeBytes: 4096, Group: group})
			}
		case "touch":
			for _, s := range slots {
				p.Touch(s)
			}
		case "age":
			for range clockStep {
				p.Touch(slots[0])
			}
		case "remove":
			for _, s := range slots {
				p.Remove(s)
			}
		case "move":
			p.Move(slots[0], slots[1])
		case "victim":
			s, ok := p.Victim()
			if grouped {
				s, ok = p.VictimOf(group)
			}
			if ok {
				return name(s) + "\n"
			}
			return "none\n"
		case "order":
			return order(p)
		default:
			d.Fatalf(t, "unknown command %q", d.Cmd)
		}
		return ""
	})
}

// order removes victims until there are none, and puts them back in the same order.
func order(p *LRU) string {
	var slots []uint32
	for s, ok := p.Victim(); ok; s, ok = p.Victim() {
		p.Remove(s)
		slots = append(slots, s)
	}
	var names []string
	for _, s := range slots {
		p.Insert(s, Item{})
		names = append(names, name(s))
	}
	return strings.Join(names, " ") + "\n"
}

func name(slot uint32) string { return string(rune('a' + slot)) }

// lruModel is plain slices, oldest first, and when each slot was inserted or touched, counted
// in calls.
type lruModel struct {
	groups [][]uint32
	calls  int
	at     map[uint32]int
}

// find returns the group of slot and its place in it; -1 when it is in none.
func (m *lruModel) find(slot uint32) (group, i int) {
	for g := range m.groups {
		if i := slices.Index(m.groups[g], slot); i >= 0 {
			return g, i
		}
	}
	return 0, -1
}

func (m *lruModel) push(group int, slot uint32) {
	m.groups[group] = append(m.groups[group], slot)
	m.at[slot] = m.calls
	m.calls++
}

// victim returns the oldest of all groups, as exactly as LRU promises: by its clock.
func (m *lruModel) victim() (slot uint32, ok bool) {
	for _, g := range m.groups {
		if len(g) > 0 && (!ok || m.at[g[0]]/clockStep < m.at[slot]/clockStep) {
			slot, ok = g[0], true
		}
	}
	return slot, ok
}

// step makes one random call of both.
func (m *lruModel) step(rnd *rand.Rand, l *LRU) {
	const slots = 50
	slot := rnd.Uint32N(slots)
	g, i := m.find(slot)
	switch op := rnd.IntN(5); {
	case op == 0 && i < 0:
		g = rnd.IntN(len(m.groups))
		l.Insert(slot, Item{Group: Group(g)})
		m.push(g, slot)
	case op == 1:
		l.Remove(slot)
		if i >= 0 {
			m.groups[g] = slices.Delete(m.groups[g], i, i+1)
		}
	case op == 2:
		to := slots + rnd.Uint32N(slots) // what is above the others is moved to only
		if _, j := m.find(to); j >= 0 {
			slot, to = to, slot
			g, i, j = m.groupOf(slot), j, i
			if j >= 0 {
				return // both are present
			}
		}
		l.Move(slot, to)
		if i >= 0 {
			m.groups[g][i] = to
			m.at[to] = m.at[slot]
		}
	default:
		l.Touch(slot)
		if i >= 0 {
			m.groups[g] = slices.Delete(m.groups[g], i, i+1)
			m.push(g, slot)
		}
	}
}

func (m *lruModel) groupOf(slot uint32) int {
	g, _ := m.find(slot)
	return g
}

// TestLRURandom compares LRU with plain slices.
func TestLRURandom(t *testing.T) {
	const seed, groups = 7, 4
	rnd := rand.New(rand.NewPCG(seed, 0))
	l := NewLRU()
	m := &lruModel{groups: make([][]uint32, groups), at: make(map[uint32]int)}
	for step := range 50_000 {
		m.step(rnd, l)
		got, ok := l.Victim()
		if want, wantOK := m.victim(); ok != wantOK || ok && got != want {
			t.Fatalf("seed %d step %d: Victim() = %d, %v, want %d, %v of %v", seed, step, got, ok, want, wantOK, m.groups)
		}
		for g := range groups + 1 {
			got, ok := l.VictimOf(Group(g))
			var want []uint32
			if g < groups {
				want = m.groups[g]
			}
			if ok != (len(want) > 0) || ok && got != want[0] {
				t.Fatalf("seed %d step %d: VictimOf(%d) = %d, %v, want the first of %v", seed, step, g, got, ok, want)
			}
		}
	}
}

func BenchmarkLRUTouch(b *testing.B) {
	for _, n := range []uint32{10_000, 1_000_000} {
		b.Run(fmt.Sprintf("%d", n), func(b *testing.B) {
			l := NewLRU()
			for s := range n {
				l.Insert(s, Item{SizeBytes: 4096})
			}
			rnd := rand.New(rand.NewPCG(1, 2))
			slots := make([]uint32, 1<<16)
			for i := range slots {
				slots[i] = rnd.Uint32N(n)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				l.Touch(slots[i&(1<<16-1)])
				i++
			}
		})
	}
}
