package policy

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
)

// benchSlots is how many slots the benchmarks have.
var benchSlots = flag.Uint("slots", 20_000_000, "slots of the benchmarks of Weighted")

// benchGroups is how many datasets they are of.
const benchGroups = 16

// lines are what calls are measured by, as policy.md §5.4 does not know this machine: random
// cache lines, as many as there are slots.
type lines [][64]byte

// touch returns how many ns one takes.
func (l lines) touch(rnd *rand.Rand) float64 {
	const rounds = 1 << 21
	n := uint32(len(l))
	began := time.Now()
	for range rounds {
		l[rnd.Uint32N(n)][0]++
	}
	return float64(time.Since(began).Nanoseconds()) / rounds
}

// filled returns a Weighted with n slots, all read long ago in random order.
func filled(b *testing.B, base Base, n uint32) (*Weighted, *rand.Rand) {
	w, err := NewWeighted(Config{})
	if err != nil {
		b.Fatal(err)
	}
	for g := range Group(benchGroups) {
		w.SetRules(g, Rules{Base: base, Classes: true})
	}
	for s := range n {
		w.Insert(s, benchItem(s))
	}
	rnd := rand.New(rand.NewPCG(1, 0))
	for i := range n { // so that neighbours in a list are not neighbours in memory
		w.Advance(Tick(1 + i>>10))
		w.Touch(rnd.Uint32N(n), uint64(i)<<32)
	}
	return w, rnd
}

func benchItem(slot uint32) Item {
	return Item{SizeBytes: 4096 << (slot % 4), Group: Group(slot % benchGroups), Class: shoal.Class(slot / benchGroups % 3)}
}

// BenchmarkWeighted gives what a call takes, and as a multiple of one random cache line.
func BenchmarkWeighted(b *testing.B) {
	n := uint32(*benchSlots)
	for base := BaseUniform; base < bases; base++ {
		b.Run(fmt.Sprint(base), func(b *testing.B) {
			w, rnd := filled(b, base, n)
			memory := make(lines, n)
			memory.touch(rnd) // pages are there from now on
			now := w.now << 4
			for _, op := range []struct {
				name string
				do   func(slot uint32)
			}{
				{"Touch", func(s uint32) { w.Touch(s, uint64(s)<<20) }},
				{"SetClass", func(s uint32) { w.SetClass(s, shoal.Class(rnd.Uint32N(3))) }},
				{"Evict+Insert", func(uint32) {
					v, _ := w.Victim()
					w.Remove(v)
					w.Insert(v, benchItem(v))
				}},
				{"Admit", func(s uint32) { w.Admit(benchItem(s)) }},
				{"Move", func(s uint32) {
					w.Move(s, n)
					w.Move(n, s)
				}},
			} {
				b.Run(fmt.Sprintf("%s/%d", op.name, n), func(b *testing.B) {
					before := memory.touch(rnd)
					b.ReportAllocs()
					b.ResetTimer()
					for b.Loop() {
						now++
						w.Advance(now >> 4)
						op.do(rnd.Uint32N(n))
					}
					ns := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
					line := (before + memory.touch(rnd)) / 2
					b.ReportMetric(line, "ns/line")
					b.ReportMetric(ns/line, "lines/op")
				})
			}
		})
	}
}
