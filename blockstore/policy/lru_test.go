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
	var p Policy
	datadriven.RunTest(t, "testdata/lru", func(t *testing.T, d *datadriven.TestData) string {
		var slots []uint32
		for _, a := range d.CmdArgs {
			slots = append(slots, uint32(a.Key[0]-'a'))
		}
		switch d.Cmd {
		case "init":
			p = NewLRU()
		case "insert":
			for _, s := range slots {
				p.Insert(s, Item{SizeBytes: 4096})
			}
		case "touch":
			for _, s := range slots {
				p.Touch(s)
			}
		case "remove":
			for _, s := range slots {
				p.Remove(s)
			}
		case "victim":
			if s, ok := p.Victim(); ok {
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
func order(p Policy) string {
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

// TestLRURandom compares LRU with a plain slice, oldest first.
func TestLRURandom(t *testing.T) {
	const seed = 7
	rnd := rand.New(rand.NewPCG(seed, 0))
	l := NewLRU()
	var model []uint32
	for step := range 20_000 {
		slot := rnd.Uint32N(50)
		i := slices.Index(model, slot)
		switch op := rnd.IntN(4); {
		case op == 0 && i < 0:
			l.Insert(slot, Item{})
			model = append(model, slot)
		case op == 1:
			l.Remove(slot)
			if i >= 0 {
				model = slices.Delete(model, i, i+1)
			}
		default:
			l.Touch(slot)
			if i >= 0 {
				model = append(slices.Delete(model, i, i+1), slot)
			}
		}
		got, ok := l.Victim()
		if ok != (len(model) > 0) || ok && got != model[0] {
			t.Fatalf("seed %d step %d: Victim() = %d, %v, want the first of %v", seed, step, got, ok, model)
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
