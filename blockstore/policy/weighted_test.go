package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/cockroachdb/datadriven"

	"github.com/shoal-mesh/shoal"
)

// TestWeighted runs histories of replicas that have classes. Slots are letters.
func TestWeighted(t *testing.T) {
	datadriven.Walk(t, "testdata/weighted", func(t *testing.T, path string) {
		var h history
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return h.do(t, d) })
	})
}

type history struct {
	w   *Weighted
	now Tick
}

func (h *history) do(t *testing.T, d *datadriven.TestData) string {
	item, rules, slots := arguments(t, d)
	ticks := func(name string) (n Tick) {
		d.ScanArgs(t, name, (*uint32)(&n))
		return n
	}
	switch d.Cmd {
	case "init":
		h.w, _ = NewWeighted(Config{})
		h.now = 0
	case "rules":
		h.w.SetRules(item.Group, rules)
	case "costs":
		var peer, zone float64
		d.ScanArgs(t, "peer", &peer)
		d.ScanArgs(t, "zone", &zone)
		h.w.SetCosts(peer, zone)
	case "at":
		h.now = ticks("tick")
		h.w.Advance(h.now)
	case "frontier":
		surplus, last := h.w.Frontier()
		return fmt.Sprintf("surplus %.4g last %.4g\n", surplus*4096, last*4096)
	case "admit":
		v, ok := h.w.Admit(item)
		return fmt.Sprintf("%.4g %v\n", v*4096, ok)
	case "admit-in":
		v, ok := h.w.AdmitIn(item)
		return fmt.Sprintf("%.4g %v\n", v*4096, ok)
	case "miss":
		for _, s := range slots {
			h.w.Miss(item.Group, uint64(s))
		}
	case "victim":
		slot, ok := h.w.Victim()
		if d.HasArg("group") {
			slot, ok = h.w.VictimOf(item.Group)
		}
		if !ok {
			return "none\n"
		}
		return name(slot) + "\n"
	case "drain": // all victims, in order
		return h.drain() + "\n"
	default:
		return h.each(d, slots, item, ticks)
	}
	return ""
}

// each does a command for every slot.
func (h *history) each(d *datadriven.TestData, slots []uint32, item Item, ticks func(string) Tick) string {
	var out strings.Builder
	for _, s := range slots {
		switch d.Cmd {
		case "insert":
			h.w.Insert(s, item)
		case "restore":
			h.w.Restore(s, item, ticks("tick"))
		case "touch":
			h.w.Touch(s, uint64(s))
		case "read-often": // every tick
			for range 300 {
				h.now++
				h.w.Advance(h.now)
				h.w.Touch(s, uint64(s))
			}
		case "credit":
			h.w.Credit(s, ticks("idle"))
		case "class":
			h.w.SetClass(s, item.Class)
		case "defer":
			h.w.Defer(s)
		case "resume":
			h.w.Resume(s)
		case "remove":
			h.w.Remove(s)
		case "move":
			h.w.Move(slots[0], slots[1])
			return ""
		case "weight":
			fmt.Fprintf(&out, "%s %.4g idle %d\n", name(s), h.w.Weight(s)*4096, h.w.Idle(s))
		}
	}
	return out.String()
}

func (h *history) drain() string {
	var names []string
	for s, ok := h.w.Victim(); ok; s, ok = h.w.Victim() {
		names = append(names, name(s))
		h.w.Remove(s)
	}
	return strings.Join(names, " ")
}

// arguments reads the words of a command: slots, and what is said of them. Sizes are in units
// of 4096 bytes.
func arguments(t *testing.T, d *datadriven.TestData) (item Item, rules Rules, slots []uint32) {
	item.SizeBytes = 4096
	for _, a := range d.CmdArgs {
		switch a.Key {
		case "group":
			a.Scan(t, 0, (*uint16)(&item.Group))
		case "size":
			a.Scan(t, 0, &item.SizeBytes)
			item.SizeBytes *= 4096
		case "last", "last-in-zone", "surplus", "excess":
			for c := range shoal.Class(shoal.Classes) {
				if c.String() == a.Key {
					item.Class = c
				}
			}
		case "classes":
			rules.Classes = true
		case "halflife":
			a.Scan(t, 0, (*uint32)(&rules.HalfLife))
		case "tick", "idle", "peer", "zone":
		default:
			if b, err := ParseBase(a.Key); err == nil {
				rules.Base = b
				continue
			}
			slots = append(slots, uint32(a.Key[0]-'a'))
		}
	}
	return item, rules, slots
}

func TestParseBase(t *testing.T) {
	for b := range bases {
		if got, err := ParseBase(b.String()); err != nil || got != b {
			t.Errorf("ParseBase(%q) = %v, %v, want %v", b.String(), got, err, b)
		}
	}
	if _, err := ParseBase("random"); err == nil {
		t.Error("ParseBase(random) = nil error, want one")
	}
	if got := bases.String(); got != "invalid" {
		t.Errorf("String() = %q, want invalid", got)
	}
}

func TestWeightedConfig(t *testing.T) {
	for _, cfg := range []Config{{Rho: 0.01}, {Rho: 0.9}, {Rho: 0.5, RhoZone: 0.4}, {RhoZone: 2}, {Epsilon: -1}} {
		if _, err := NewWeighted(cfg); err == nil {
			t.Errorf("NewWeighted(%+v) = nil error, want one", cfg)
		}
	}
}

// TestWeightedMemory holds slots to 16 bytes, and GDSF to 24 (policy.md §5.4).
func TestWeightedMemory(t *testing.T) {
	if got := unsafe.Sizeof(entryPage{}) / slotsPerPage; got != 16 {
		t.Errorf("bytes per slot = %d, want 16", got)
	}
	if got := (unsafe.Sizeof(entryPage{}) + unsafe.Sizeof(stampPage{})) / slotsPerPage; got != 24 {
		t.Errorf("bytes per slot of GDSF = %d, want 24", got)
	}
	if got := unsafe.Sizeof(sample{}) * maxSamples; got > 32<<10 {
		t.Errorf("bytes of a detector's sample = %d, want at most %d", got, 32<<10)
	}
}

// TestWeightedAllocs has no call allocate once all groups and lists were there.
func TestWeightedAllocs(t *testing.T) {
	for base := range bases {
		w, _ := NewWeighted(Config{})
		const slots = 10_000
		for g := range Group(4) {
			w.SetRules(g, Rules{Base: base, Classes: true})
		}
		rnd := rand.New(rand.NewPCG(1, uint64(base)))
		now := Tick(0)
		step := func() {
			now++
			w.Advance(now)
			s := rnd.Uint32N(slots)
			item := Item{SizeBytes: 4096 << rnd.UintN(4), Group: Group(s % 4), Class: shoal.Class(rnd.UintN(3))}
			w.Touch(s, uint64(s))
			w.Miss(item.Group, uint64(s))
			w.SetClass(s, item.Class)
			w.Admit(item)
			w.Frontier()
			if v, ok := w.Victim(); ok {
				w.Remove(v)
				w.Insert(v, item)
			}
			w.Defer(s)
			w.Resume(s)
		}
		for s := range uint32(slots) {
			w.Insert(s, Item{SizeBytes: 4096, Group: Group(s % 4)})
		}
		for range 200_000 {
			step()
		}
		if got := testing.AllocsPerRun(20_000, step); got > 0 {
			t.Errorf("%v: allocations per step = %v, want 0", base, got)
		}
	}
}

// TestUpcoming compares what is said to go next with what goes, of one group of which two slots
// were read again. Where the hand of sieve begins anew is not foretold.
func TestUpcoming(t *testing.T) {
	for _, base := range []Base{BaseUniform, BaseLRU, BaseSieve, BaseLFU} {
		w, _ := NewWeighted(Config{})
		w.SetRules(0, Rules{Base: base})
		if got := w.Upcoming(nil, 10); len(got) != 0 {
			t.Errorf("%v: Upcoming of none = %v, want none", base, got)
		}
		for s := range uint32(20) {
			w.Insert(s, Item{SizeBytes: 4096})
		}
		w.Advance(1)
		w.Touch(0, 0)
		w.Touch(1, 1)
		for range 5 { // so that the hand of sieve is not where it was
			v, _ := w.Victim()
			w.Remove(v)
		}
		for _, n := range []int{3, 30} {
			got := w.Upcoming(nil, n)
			var want []uint32
			for v, ok := w.Victim(); ok && len(want) < len(got); v, ok = w.Victim() {
				want = append(want, v)
				w.Remove(v)
			}
			if len(got) < min(n, 10) || !slices.Equal(got, want) {
				t.Errorf("%v: Upcoming(%d) = %v, want %v and 10 at least, if so many are asked for", base, n, got, want)
			}
		}
	}
}

func name(slot uint32) string { return string(rune('a' + slot)) }

// TestUniformRates checks what is taken for the rate of a block that is read in epochs which four
// nodes share: of a last replica all the reads it gets, of one beside others those of its own
// node, of which one comes in four epochs.
func TestUniformRates(t *testing.T) {
	const d, nodes, epoch = 4000, 4, 1000 // blocks; ticks: each node reads one per tick
	w, err := NewWeighted(Config{Burst: 1})
	if err != nil {
		t.Fatal(err)
	}
	w.SetRules(0, Rules{Base: BaseUniform, Classes: true, HalfLife: epoch})
	for b := range uint32(d / nodes) { // what is kept here
		w.Insert(b, Item{SizeBytes: 4096})
	}
	rnd, now := rand.New(rand.NewPCG(1, 0)), Tick(0)
	for range 20 {
		for i, b := range rnd.Perm(d) {
			if i%nodes == 0 {
				now++
				w.Advance(now)
			}
			switch here, mine := b < d/nodes, i%nodes == 0; {
			case here && mine:
				w.Touch(uint32(b), uint64(b))
			case here:
				w.Serve(uint32(b), uint64(b))
			case mine:
				w.Miss(0, uint64(b))
			}
		}
	}
	for class, want := range map[shoal.Class]float64{shoal.Last: 1.0 / epoch, shoal.Surplus: 1.0 / (nodes * epoch)} {
		if got := w.uniformRate(w.group(0), class); got < 0.8*want || got > 1.2*want {
			t.Errorf("rate of a block whose replica is %v = %.6f per tick, want about %.6f", class, got, want)
		}
	}
}
