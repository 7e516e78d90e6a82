package policy

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/shoal-mesh/shoal"
)

// A modelSlot is a replica as the model knows it.
type modelSlot struct {
	group    Group
	class    shoal.Class
	size     int64
	reads    int
	tick     Tick
	order    int     // in its list; the lowest is oldest
	level    float64 // GDSF
	late     bool
	deferred bool
	hot      bool
}

// A modelList is what slots of one group, class and, where the base counts, reads and size
// have in common.
type modelList struct {
	group Group
	class shoal.Class
	reads int
	size  int64
}

// The costs are such that weights of two classes are never the same.
const modelPeer, modelZone = 0.0977, 0.3141

// model weighs every slot there is for each answer.
type model struct {
	now    Tick
	rules  []Rules
	slots  map[uint32]*modelSlot
	cold   map[modelList]Tick
	levels map[modelList]float64 // by group and class
	order  int
	times  [][]Tick // of the reads of each group
	seen   []map[uint64]bool
}

func newModel(rules []Rules) *model {
	m := &model{
		rules: rules, slots: make(map[uint32]*modelSlot), cold: make(map[modelList]Tick),
		levels: make(map[modelList]float64), times: make([][]Tick, len(rules)),
	}
	for range rules {
		m.seen = append(m.seen, make(map[uint64]bool))
	}
	return m
}

func (m *model) list(s *modelSlot) modelList {
	l := modelList{group: s.group, class: s.class}
	if base := m.rules[s.group].Base; base.counts() {
		l.reads = s.reads
		if base.sized() {
			l.size = s.size
		}
	}
	return l
}

func (m *model) queue(s *modelSlot) modelList { return modelList{group: s.group, class: s.class} }

// in returns the slots of a list, oldest first.
func (m *model) in(l modelList) (slots []uint32) {
	for n, s := range m.slots {
		if !s.deferred && m.list(s) == l {
			slots = append(slots, n)
		}
	}
	slices.SortFunc(slots, func(a, b uint32) int { return m.slots[a].order - m.slots[b].order })
	return slots
}

// priority is what the queue of a slot is ordered by before the order of lists.
func (m *model) priority(s *modelSlot) float64 {
	switch m.rules[s.group].Base {
	case BaseLFU:
		return float64(s.reads)
	case BaseGDSF:
		return s.level + float64(s.reads)/float64(s.size)
	}
	return 0
}

// head returns the next victim of a queue, and what it counts as read at.
func (m *model) head(q modelList) (slot uint32, tick Tick, ok bool) {
	for n, s := range m.slots {
		if s.deferred || m.queue(s) != q || m.rules[s.group].Base.counts() && m.in(m.list(s))[0] != n {
			continue // only the oldest of lists are compared
		}
		t := m.slots[slot]
		if !ok || m.priority(s) < m.priority(t) || m.priority(s) == m.priority(t) && m.first(s, t) {
			slot, ok = n, true
		}
	}
	if !ok {
		return 0, 0, false
	}
	return slot, m.settle(slot), true
}

// first reports whether of two slots of equal priority s goes first.
func (m *model) first(s, t *modelSlot) bool {
	switch {
	case m.rules[s.group].Base == BaseUniform:
		return s.order > t.order
	case m.list(s) == m.list(t):
		return s.order < t.order
	case s.tick != t.tick:
		return s.tick < t.tick
	case s.reads != t.reads:
		return s.reads < t.reads
	}
	return s.size > t.size
}

func (m *model) settle(slot uint32) Tick {
	s := m.slots[slot]
	l := m.list(s)
	tick := s.tick
	if s.late {
		tick = min(tick, m.cold[l])
	}
	m.cold[l] = tick
	return tick
}

// weight is V as policy.md §5.1 has it.
func (m *model) weight(slot uint32, tick Tick) float64 {
	s := m.slots[slot]
	costs := []float64{1, modelZone, modelPeer, 0}
	size, rate := float64(s.size), float64(s.reads)/float64(m.now-tick+1)
	rules := m.rules[s.group]
	if rules.Base == BaseUniform {
		sum, n := 0.0, 0.0
		for _, o := range m.slots {
			if o.group == s.group {
				sum += float64(o.size)
				n++
			}
		}
		size = sum / n
		if times := m.times[s.group]; len(times) > 0 {
			rate = m.reads(times, float64(rules.HalfLife)/math.Ln2) / float64(len(m.seen[s.group]))
		}
	} else if !rules.Base.counts() {
		rate = 1 / float64(m.now-tick+1)
	}
	return rate * costs[s.class] / size
}

// reads returns the reads per tick of a group, decayed.
func (m *model) reads(times []Tick, tau float64) (f float64) {
	for _, t := range times {
		f += math.Exp(-float64(m.now-t) / tau)
	}
	return f / (tau * (1 - math.Exp(-float64(m.now-times[0]+1)/tau)))
}

// victim returns the slot of the lowest weight of some groups.
func (m *model) victim(groups ...Group) (victim uint32, lowest float64, ok bool) {
	lowest = math.Inf(1)
	for class := shoal.Excess; class < shoal.Classes; class-- {
		for _, g := range groups {
			slot, tick, found := m.head(modelList{group: g, class: class})
			if !found {
				continue
			}
			// Weights that differ in rounding only are equal.
			if v := m.weight(slot, tick); !ok || v < lowest*(1-1e-12) {
				victim, lowest, ok = slot, v, true
			}
		}
	}
	return victim, lowest, ok
}

// place puts a slot at an end of its list.
func (m *model) place(slot uint32, where end) {
	s := m.slots[slot]
	s.deferred = true // not in its list yet
	others := m.in(m.list(s))
	s.deferred, s.hot, s.late = false, false, false
	uniform := m.rules[s.group].Base == BaseUniform
	m.order++
	s.order = m.order
	s.level = m.levels[m.queue(s)]
	if where == newest || (where == cold) == uniform {
		return
	}
	s.order = -m.order
	if len(others) == 0 {
		return
	}
	s.level = m.slots[others[0]].level
	s.late = !uniform && s.tick > m.settle(others[0])
}

func (m *model) count(g Group, block uint64) {
	m.times[g] = append(m.times[g], m.now)
	m.seen[g][block] = true
}

func (m *model) touch(slot uint32) {
	s := m.slots[slot]
	s.hot = s.hot || s.deferred
	if s.tick == m.now {
		return
	}
	s.tick = m.now
	m.count(s.group, uint64(slot))
	if s.deferred || m.rules[s.group].Base == BaseUniform {
		return
	}
	s.reads = min(s.reads+1, maxReads)
	m.place(slot, newest)
}

// rejoin puts a slot into a class.
func (m *model) rejoin(slot uint32, class shoal.Class) {
	s := m.slots[slot]
	if !m.rules[s.group].Classes {
		class = shoal.Last
	}
	if class == s.class && !s.deferred {
		return
	}
	where := cold
	if s.deferred && s.hot {
		s.reads = min(s.reads+1, maxReads)
		where = hot
	}
	was, uniform := s.class, m.rules[s.group].Base == BaseUniform
	s.class = class
	if class < was && m.recent(slot) {
		where = hot
	}
	m.place(slot, where)
	if class > was && where == cold && !uniform {
		m.chill(slot)
	}
}

// recent reports whether a slot that is about to join its list was read at a time that is nearer
// to that of the newest one.
func (m *model) recent(slot uint32) bool {
	s := m.slots[slot]
	defer func(was bool) { s.deferred = was }(s.deferred)
	s.deferred = true
	others := m.in(m.list(s))
	if len(others) == 0 {
		return false
	}
	oldest, newest := m.slots[others[0]].tick, m.slots[others[len(others)-1]].tick
	return s.tick > newest-(newest-min(oldest, newest))/2
}

// chill has a slot count as cold as the coldest of its group that are worth as much or more.
func (m *model) chill(slot uint32) {
	s := m.slots[slot]
	coldest := s.tick
	if s.late {
		coldest = m.cold[m.list(s)]
	}
	for class := range s.class + 1 {
		if _, tick, ok := m.head(modelList{group: s.group, class: class}); ok {
			coldest = min(coldest, tick)
		}
	}
	if coldest < s.tick {
		s.late, m.cold[m.list(s)] = true, coldest
	}
}

func (m *model) remove(slot uint32) {
	s := m.slots[slot]
	if head, _, ok := m.head(m.queue(s)); ok && head == slot {
		m.levels[m.queue(s)] = max(m.levels[m.queue(s)], m.priority(s))
	}
	delete(m.slots, slot)
}

// TestWeightedRandom compares random histories with the model.
func TestWeightedRandom(t *testing.T) {
	rules := []Rules{
		{Base: BaseLRU, Classes: true},
		{Base: BaseLFU, Classes: true},
		{Base: BaseGDSF, Classes: true},
		{Base: BaseUniform, Classes: true, HalfLife: 300},
		{Base: BaseLRU},
	}
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 9))
			w, _ := NewWeighted(Config{})
			w.SetCosts(modelPeer, modelZone)
			m := newModel(rules)
			for g, r := range rules {
				w.SetRules(Group(g), r)
			}
			for step := range 5000 {
				m.now += Tick(rnd.UintN(2))
				w.Advance(m.now)
				m.step(rnd, w)
				if !m.same(t, w) {
					t.Fatalf("seed %d step %d", seed, step)
				}
			}
		})
	}
}

// step makes one random call of both. Sizes are powers of two, which weights know exactly.
func (m *model) step(rnd *rand.Rand, w *Weighted) {
	const slots = 80
	slot := rnd.Uint32N(slots)
	g := Group(slot) % Group(len(m.rules))
	class := shoal.Class(rnd.UintN(shoal.Classes))
	s, here := m.slots[slot]
	switch op := rnd.IntN(12); {
	case !here:
		item := Item{SizeBytes: 4096 << rnd.UintN(3), Group: g, Class: class}
		w.Miss(g, uint64(slot))
		w.Insert(slot, item)
		m.count(g, uint64(slot))
		m.slots[slot] = &modelSlot{group: g, size: item.SizeBytes, reads: 1, tick: m.now}
		if m.rules[g].Classes {
			m.slots[slot].class = class
		}
		m.place(slot, newest)
	case op == 0 || op == 1:
		if v, _, ok := m.victim(0, 1, 2, 3, 4); ok && op == 0 {
			slot = v
		}
		w.Remove(slot)
		m.remove(slot)
	case op == 2 && !s.deferred:
		w.Defer(slot)
		s.deferred, s.hot = true, false
	case op == 3 && s.deferred:
		w.Resume(slot)
		m.rejoin(slot, s.class)
	case op == 4:
		to := rnd.Uint32N(slots)
		if m.slots[to] == nil {
			w.Move(slot, to)
			m.slots[to] = s
			delete(m.slots, slot)
		}
	case op < 7:
		w.SetClass(slot, class)
		m.rejoin(slot, class)
	default:
		w.Touch(slot, uint64(slot))
		m.touch(slot)
	}
}

// same compares answers.
func (m *model) same(t *testing.T, w *Weighted) bool {
	t.Helper()
	got, ok := w.Victim()
	if want, v, wantOK := m.victim(0, 1, 2, 3, 4); ok != wantOK || ok && got != want {
		t.Errorf("Victim() = %d %+v, %v, want %d %+v of weight %v, %v", got, m.slots[got], ok, want, m.slots[want], v, wantOK)
		return false
	}
	for g := range Group(len(m.rules)) {
		got, ok := w.VictimOf(g)
		if want, v, wantOK := m.victim(g); ok != wantOK || ok && got != want {
			t.Errorf("VictimOf(%d) = %d %+v, %v, want %d %+v of weight %v, %v", g, got, m.slots[got], ok, want, m.slots[want], v, wantOK)
			return false
		}
	}
	return true
}
