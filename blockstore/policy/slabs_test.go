package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestSlabsClasses checks, for every largest slot there can be, that the classes are at most
// 12.5 % apart and that ClassOf finds the smallest one that is large enough.
func TestSlabsClasses(t *testing.T) {
	for maxPages := 0; maxPages <= 1040; maxPages++ {
		s := NewSlabs(16*max(1, maxPages), maxPages)
		if n := s.Classes(); n >= int(NoClass) {
			t.Fatalf("slots of up to %d pages: %d classes, want fewer than %d", maxPages, n, NoClass)
		}
		for c := 1; c < s.Classes(); c++ {
			small, large := s.Size(Class(c-1)), s.Size(Class(c))
			if large <= small || large > small+1 && 8*large > 9*small {
				t.Errorf("slots of up to %d pages: a class of %d pages follows one of %d, want at most 12.5 %% more", maxPages, large, small)
			}
			if small < 8 && large != small+1 {
				t.Errorf("slots of up to %d pages: a class of %d pages follows one of %d, want every size up to 8", maxPages, large, small)
			}
		}
		for pages := 1; pages <= maxPages; pages++ {
			c, ok := s.ClassOf(pages)
			if !ok || s.Size(c) < pages || c > 0 && s.Size(c-1) >= pages {
				t.Fatalf("slots of up to %d pages: ClassOf(%d) = %d, %v, want the smallest that is large enough", maxPages, pages, c, ok)
			}
		}
		if c, ok := s.ClassOf(maxPages + 1); ok {
			t.Errorf("slots of up to %d pages: ClassOf(%d) = %d, true, want none", maxPages, maxPages+1, c)
		}
	}
}

// slabsModel says the same as Slabs with a list of booleans per slab.
type slabsModel struct {
	s     *Slabs
	taken map[uint32][]bool // by number, of slabs that are cut
	class map[uint32]Class
}

func (m *slabsModel) left(number uint32) (n int) {
	for _, taken := range m.taken[number] {
		if !taken {
			n++
		}
	}
	return n
}

// numbers returns the slabs for which keep is true, in order.
func (m *slabsModel) numbers(keep func(number uint32) bool) []uint32 {
	var found []uint32
	for number := range m.taken {
		if keep(number) {
			found = append(found, number)
		}
	}
	slices.Sort(found)
	return found
}

// compare reports the first difference in what can be asked.
func (m *slabsModel) compare() error {
	for c := range m.s.Classes() {
		free := 0
		for _, number := range m.numbers(func(n uint32) bool { return m.class[n] == Class(c) }) {
			free += m.left(number)
		}
		if got := m.s.Free(Class(c)); got != free {
			return fmt.Errorf("Free(%d) = %d, want %d", c, got, free)
		}
		if got, want := m.s.Count(Class(c)), len(m.numbers(func(n uint32) bool { return m.class[n] == Class(c) })); got != want {
			return fmt.Errorf("Count(%d) = %d, want %d", c, got, want)
		}
	}
	for number, slots := range m.taken {
		if got := m.s.ClassAt(number); got != m.class[number] {
			return fmt.Errorf("ClassAt(%d) = %d, want %d", number, got, m.class[number])
		}
		for i, taken := range slots {
			if got := m.s.Taken(number, i); got != taken {
				return fmt.Errorf("Taken(%d, %d) = %v, want %v", number, i, got, taken)
			}
		}
	}
	return nil
}

// take compares Take with what the model allows: the slab that slots are taken from already,
// or one with the fewest left, and there the lowest slot.
func (m *slabsModel) take(c Class, avoid uint32) error {
	candidates := m.numbers(func(n uint32) bool { return m.class[n] == c && n != avoid && m.left(n) > 0 })
	fewest := 1 << 30
	for _, n := range candidates {
		fewest = min(fewest, m.left(n))
	}
	before := m.s.classes[c].filling
	number, slot, ok := m.s.Take(c, func(n uint32) bool { return n == avoid })
	if ok != (len(candidates) > 0) {
		return fmt.Errorf("Take(%d) = %v, want one of the slabs %v", c, ok, candidates)
	}
	if !ok {
		return nil
	}
	if !slices.Contains(candidates, number) || number != before && m.left(number) != fewest {
		return fmt.Errorf("Take(%d) = slab %d, want slab %d or one with %d slots left of %v", c, number, before, fewest, candidates)
	}
	if want := slices.Index(m.taken[number], false); slot != want {
		return fmt.Errorf("Take(%d) = slot %d of slab %d, want the first free one, %d", c, slot, number, want)
	}
	m.taken[number][slot] = true
	return nil
}

func noneSpared(Class) bool { return false }

// donor compares Donor with the least taken share.
func (m *slabsModel) donor(avoid uint32) error {
	share := func(n uint32) float64 {
		return float64(len(m.taken[n])-m.left(n)) / float64(len(m.taken[n]))
	}
	spared := Class(avoid) % Class(m.s.Classes()+1) // one of the classes, or none
	candidates := m.numbers(func(n uint32) bool { return n != avoid && m.class[n] != spared && m.left(n) > 0 })
	got, ok := m.s.Donor(func(c Class) bool { return c == spared }, func(n uint32) bool { return n == avoid })
	if ok != (len(candidates) > 0) {
		return fmt.Errorf("Donor() = %v, want one of %v", ok, candidates)
	}
	for _, n := range candidates {
		if n == got && slices.IndexFunc(candidates, func(o uint32) bool { return share(o) < share(n) }) < 0 {
			return nil
		}
	}
	if ok {
		return fmt.Errorf("Donor() = %d with a share of %.2f, want the least of %v", got, share(got), candidates)
	}
	return nil
}

// change cuts an empty slab, or uses or gives one slot of a cut one, or clears an idle one.
func (m *slabsModel) change(rnd *rand.Rand, number uint32) error {
	slots, cut := m.taken[number]
	if !cut {
		c := Class(rnd.IntN(m.s.Classes()))
		m.s.Add(number)
		m.s.Cut(number, c)
		m.taken[number], m.class[number] = make([]bool, m.s.Slots(c)), c
		return nil
	}
	if m.left(number) == len(slots) && rnd.IntN(2) == 0 {
		m.s.Clear(number)
		if rnd.IntN(2) == 0 {
			m.s.Drop(number)
		}
		delete(m.taken, number)
		if got := m.s.ClassAt(number); got != NoClass {
			return fmt.Errorf("ClassAt(%d) after Clear = %d, want none", number, got)
		}
		return nil
	}
	i := rnd.IntN(len(slots))
	if !slots[i] {
		m.s.Use(number, i)
		slots[i] = true
		return nil
	}
	slots[i] = false
	if got, want := m.s.Give(number, i), m.left(number) == len(slots); got != want {
		return fmt.Errorf("Give(%d, %d) = %v, want %v", number, i, got, want)
	}
	return nil
}

// TestSlabsRandom compares Slabs with a naive model, and two of them with one another.
func TestSlabsRandom(t *testing.T) {
	const seed, slabs, steps = 5, 12, 20_000
	history := func() []string {
		rnd := rand.New(rand.NewPCG(seed, 0))
		m := &slabsModel{s: NewSlabs(66, 4), taken: make(map[uint32][]bool), class: make(map[uint32]Class)}
		var trace []string
		for step := range steps {
			avoid := rnd.Uint32N(slabs)
			var err error
			switch op := rnd.IntN(10); {
			case op < 4:
				err = m.take(Class(rnd.IntN(m.s.Classes())), avoid)
			case op < 5:
				err = m.donor(avoid)
			default:
				// A few numbers at a time, so that slabs run full and empty.
				err = m.change(rnd, (uint32(step)/1000+rnd.Uint32N(3))%slabs)
			}
			if err == nil {
				err = m.compare()
			}
			if err != nil {
				t.Fatalf("seed %d step %d: %v", seed, step, err)
			}
			d, ok := m.s.Donor(noneSpared, func(uint32) bool { return false })
			trace = append(trace, fmt.Sprint(d, ok, m.s.classes))
		}
		return trace
	}
	if a, b := history(), history(); !slices.Equal(a, b) {
		t.Errorf("seed %d: the same calls had other answers", seed)
	}
}

// TestSlabsFillsFullest checks that a class that shrinks leaves slabs empty: what is put goes
// to the slab with the fewest free slots.
func TestSlabsFillsFullest(t *testing.T) {
	s := NewSlabs(64, 1)
	for number := range uint32(3) {
		s.Add(number)
		s.Cut(number, 0)
		for range 64 {
			if _, _, ok := s.Take(0, nil); !ok {
				t.Fatal("Take() found no slot in a new slab")
			}
		}
	}
	for i := range 30 {
		s.Give(0, i)
	}
	for i := range 10 {
		s.Give(1, i)
	}
	for i := range 20 {
		s.Give(2, i)
	}
	// Slots are taken from slab 2 already; after it slab 1 has the fewest left.
	for i := range 60 {
		want := uint32(2)
		switch {
		case i >= 30:
			want = 0
		case i >= 20:
			want = 1
		}
		if got, _, ok := s.Take(0, nil); !ok || got != want {
			t.Fatalf("Take() number %d = slab %d, %v, want %d", i, got, ok, want)
		}
	}
	if _, _, ok := s.Take(0, nil); ok {
		t.Error("Take() = true, want no slot")
	}
}
