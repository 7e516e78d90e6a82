package blockstore

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore/policy"
)

// TestPlacesAllocate compares the numbers that are free with a list of booleans.
func TestPlacesAllocate(t *testing.T) {
	const seed = 11
	rnd := rand.New(rand.NewPCG(seed, 0))
	p := newPlaces(256<<10, 4*pageSize)
	var taken []bool // by granule
	var live []run
	for step := range 20_000 {
		if len(live) > 0 && rnd.IntN(100) < 48 {
			i := rnd.IntN(len(live))
			r := live[i]
			live = slices.Delete(live, i, i+1)
			p.free(r)
			for g := r.first / granule; g < (r.first+r.n)/granule; g++ {
				taken[g] = false
			}
		} else {
			n := 1 + rnd.Uint32N(5*granule)
			r := run{p.allocate(n), wholeGranules(n)}
			if r.first%granule != 0 {
				t.Fatalf("seed %d step %d: allocate(%d) = %d, want a multiple of %d", seed, step, n, r.first, granule)
			}
			want := firstFit(taken, int(r.n/granule))
			if got := int(r.first / granule); got != want {
				t.Fatalf("seed %d step %d: allocate(%d) = granule %d, want %d, the first that fits", seed, step, n, got, want)
			}
			for len(taken) < want+int(r.n/granule) {
				taken = append(taken, false)
			}
			for g := want; g < want+int(r.n/granule); g++ {
				taken[g] = true
			}
			live = append(live, r)
		}
		if got, want := p.runs, freeRuns(taken); !slices.Equal(got, want) || len(p.owners) != len(taken) {
			t.Fatalf("seed %d step %d: runs %v of %d granules, want %v of %d", seed, step, got, len(p.owners), want, len(taken))
		}
		if int(p.end()) < len(taken)*granule {
			t.Fatalf("seed %d step %d: %d entries for %d granules", seed, step, p.end(), len(taken))
		}
	}
	for _, r := range live {
		p.free(r)
	}
	if all := (run{0, uint32(len(taken)) * granule}); len(p.runs) != 1 || p.runs[0] != all {
		t.Errorf("seed %d: runs after all were freed = %v, want %v", seed, p.runs, all)
	}
}

// firstFit returns where the first n free granules in a row begin.
func firstFit(taken []bool, n int) int {
	free := 0
	for g, is := range taken {
		if free++; is {
			free = 0
		}
		if free == n {
			return g + 1 - n
		}
	}
	return len(taken) - free
}

// freeRuns returns the free granules as runs of numbers.
func freeRuns(taken []bool) []run {
	var runs []run
	for g, is := range taken {
		switch last := len(runs) - 1; {
		case is:
		case g > 0 && !taken[g-1]:
			runs[last].n += granule
		default:
			runs = append(runs, run{uint32(g) * granule, granule})
		}
	}
	return runs
}

// placesModel is what places must say, kept as plain lists.
type placesModel struct {
	p     *places
	cut   []uint32 // slabs that are cut
	empty []uint32
	files []uint32           // indexes of sparse containers
	at    map[uint32]placing // taken entries
	names uint64
}

// A placing is the block that was put at an entry.
type placing struct {
	key    shoal.Key
	length int
	bytes  int64 // that it takes
}

const placesSlab = 256 << 10

// extent is where in a container's file a block and its record lie.
type extent struct {
	container  uint64
	from, till int64
}

// check compares all that can be asked of places, and looks for overlaps.
func (m *placesModel) check() error {
	var extents []extent
	taken, sparse := int64(0), int64(0)
	for n, b := range m.at {
		loc, c := m.p.locate(n), m.p.owner(n)
		e := extent{loc.Container, loc.Offset, loc.Offset + pages(int64(b.length))}
		size := c.size + pageSize - 1 // the last page of a sparse file may be a part of one
		if c.packed {
			e.till = loc.Offset + packedBytes(b.length)
			size = placesSlab
		} else {
			e.container += 1 << bootShift
			sparse += b.bytes
		}
		taken += b.bytes
		if loc.Offset%pageSize != 0 || loc.Length != b.length || e.from < 0 || e.till > size || c.packed && e.from < slabFirst {
			return fmt.Errorf("locate(%d) = %+v, want a place inside a file of %d bytes", n, loc, size)
		}
		if got := m.p.occupied(n); got != b.bytes || c.packed && got < packedBytes(b.length) {
			return fmt.Errorf("occupied(%d) = %d, want %d", n, got, b.bytes)
		}
		if got := m.p.at(n); got.key != b.key || int(got.length) != b.length {
			return fmt.Errorf("entry %d is %+v, want %+v", n, got, b)
		}
		extents = append(extents, e)
	}
	slices.SortFunc(extents, func(a, b extent) int {
		return cmp.Or(cmp.Compare(a.container, b.container), cmp.Compare(a.from, b.from))
	})
	for i := 1; i < len(extents); i++ {
		if a, b := extents[i-1], extents[i]; a.container == b.container && a.till > b.from {
			return fmt.Errorf("blocks at %+v and %+v overlap", a, b)
		}
	}
	holes, idle, whole := m.holes()
	slabs := int64(len(m.cut)+len(m.empty)) * placesSlab
	if m.p.taken != taken || m.p.bytes() != slabs+sparse+holes {
		return fmt.Errorf("%d bytes taken of %d, want %d of %d", m.p.taken, m.p.bytes(), taken, slabs+sparse+holes)
	}
	if m.p.holes != holes || m.p.idleBytes != idle || m.p.lacking() != whole-sparse-holes {
		return fmt.Errorf("holes of %d bytes, %d of them idle, %d bytes lacking; want %d, %d, %d",
			m.p.holes, m.p.idleBytes, m.p.lacking(), holes, idle, whole-sparse-holes)
	}
	return m.checkNumbers()
}

// holes returns the bytes of all holes, of those in containers without blocks, and what all
// sparse containers would take if they had all blocks.
func (m *placesModel) holes() (holes, idle, whole int64) {
	for _, i := range m.files {
		c := m.p.containers[i]
		own, blocks := int64(0), 0
		for n := c.first; n < c.first+c.n; n++ {
			size := sparseBytes(shoal.BlockLen(c.size, n-c.first))
			whole += size
			if _, is := m.at[n]; is {
				blocks++
			} else if m.p.at(n).state == stateHole {
				own += size
			}
		}
		holes += own
		if blocks == 0 {
			idle += own
		}
	}
	return holes, idle, whole
}

// checkNumbers checks that every number is one container's or free.
func (m *placesModel) checkNumbers() error {
	runs := slices.Clone(m.p.runs)
	for i, c := range m.p.containers {
		if c.n == 0 {
			continue
		}
		runs = append(runs, run{c.first, wholeGranules(c.n)})
		for n := c.first; n < c.first+c.n; n++ {
			if m.p.owner(n) != &m.p.containers[i] {
				return fmt.Errorf("owner(%d) is not container %d of %d entries from %d", n, i, c.n, c.first)
			}
			if _, is := m.at[n]; is != (m.p.at(n).state != stateFree && m.p.at(n).state != stateHole) {
				return fmt.Errorf("entry %d taken = %v, want %v", n, !is, is)
			}
		}
	}
	slices.SortFunc(runs, func(a, b run) int { return cmp.Compare(a.first, b.first) })
	next := uint32(0)
	for _, r := range runs {
		if r.first != next {
			return fmt.Errorf("numbers %d and %d: one is of two containers or of none", next, r.first)
		}
		next += r.n
	}
	if next != uint32(len(m.p.owners))*granule {
		return fmt.Errorf("%d numbers, want %d", next, len(m.p.owners)*granule)
	}
	return nil
}

// step makes one random change.
func (m *placesModel) step(rnd *rand.Rand) {
	p := m.p
	switch op := rnd.IntN(20); {
	case op == 0 && len(m.cut)+len(m.empty) < 12:
		number := p.freshSlab()
		p.addSlab(number)
		p.empties = append(p.empties, number)
		m.empty = append(m.empty, number)
	case op == 1 && len(m.empty) > 0:
		i := rnd.IntN(len(m.empty))
		number := m.empty[i]
		m.empty = slices.Delete(m.empty, i, i+1)
		if rnd.IntN(4) == 0 {
			p.dropSlab(number)
			return
		}
		p.cut(number, policy.Class(rnd.IntN(p.slabs.Classes())))
		m.cut = append(m.cut, number)
	case op == 2 && len(m.files) < 12:
		m.names++
		file := shoal.FileID{byte(m.names), byte(m.names >> 8)}
		size := 1 + rnd.Int64N(rnd.Int64N(200*shoal.BlockSize)+1)
		m.files = append(m.files, p.addFile(m.names, file, size))
	case op < 14:
		for range 8 { // many sizes have no slab
			m.put(rnd)
		}
	default:
		m.drop(rnd)
	}
}

// put takes a place for a block, packed or sparse, if there is one.
func (m *placesModel) put(rnd *rand.Rand) {
	b := placing{key: shoal.Key{Index: rnd.Uint32()}, length: 1 + rnd.IntN(15_500)}
	class, _ := m.p.classOf(b.length)
	n, ok := m.p.takePacked(class, nil)
	b.bytes = m.p.slotBytes(class)
	if len(m.files) > 0 && rnd.IntN(2) == 0 {
		c := m.p.containers[m.files[rnd.IntN(len(m.files))]]
		if ok {
			m.p.slabs.Give(uint32(m.p.owner(n).name-1), int(n-m.p.owner(n).first))
		}
		i := rnd.Uint32N(c.n)
		state := m.p.at(c.first + i).state
		n, ok = c.first+i, state == stateFree || state == stateHole
		b.length = shoal.BlockLen(c.size, i)
		b.bytes = sparseBytes(b.length)
	}
	if ok {
		m.p.take(n, b.key, b.length, 0, 0)
		m.at[n] = b
	}
}

// drop gives all places of a container back, or one, and forgets a container that is idle.
func (m *placesModel) drop(rnd *rand.Rand) {
	used := make([]uint32, 0, len(m.at))
	for n := range m.at {
		used = append(used, n)
	}
	if len(used) == 0 {
		return
	}
	slices.Sort(used)
	n := used[rnd.IntN(len(used))]
	c := *m.p.owner(n)
	all := rnd.IntN(8) == 0
	for i := c.first; i < c.first+c.n; i++ {
		if _, is := m.at[i]; !is || !all && i != n {
			continue
		}
		delete(m.at, i)
		m.p.give(i)
		owner := m.p.owners[i/granule]
		switch {
		case m.p.containers[owner].taken > 0:
		case c.packed:
			number := uint32(c.name - 1)
			m.p.clear(number)
			m.cut = slices.DeleteFunc(m.cut, func(o uint32) bool { return o == number })
			m.empty = append(m.empty, number)
		case rnd.IntN(2) == 0:
			m.p.retire(owner)
			m.p.dropFile(owner)
			m.files = slices.DeleteFunc(m.files, func(o uint32) bool { return o == owner })
		}
	}
}

// TestPlacesRandom compares places with a naive model.
func TestPlacesRandom(t *testing.T) {
	const seed = 12
	rnd := rand.New(rand.NewPCG(seed, 0))
	m := &placesModel{p: newPlaces(placesSlab, 4*pageSize), at: make(map[uint32]placing)}
	most := 0
	for step := range 10_000 {
		m.step(rnd)
		if err := m.check(); err != nil {
			t.Fatalf("seed %d step %d: %v", seed, step, err)
		}
		most = max(most, len(m.at))
	}
	if most < 200 {
		t.Errorf("seed %d: at most %d places were taken at a time, want a real load", seed, most)
	}
}

// TestPlacesSpare checks what can be put without evicting against what is then put.
func TestPlacesSpare(t *testing.T) {
	const limit = 5*placesSlab + 10_000
	p := newPlaces(placesSlab, 4*pageSize)
	p.addSlab(0)
	p.addSlab(1)
	p.empties = append(p.empties, 0, 1)
	for c := range policy.Class(p.slabs.Classes()) {
		want := int64(5) * int64(p.slabs.Slots(c)) * p.slotBytes(c)
		if got := p.spare(c, limit); got < want || got >= want+5*p.slotBytes(c) {
			t.Errorf("spare(%d) = %d, want %d and less than a slot more for each slab", c, got, want)
		}
	}
	if got, want := p.spareSparse(limit), int64(limit); got != want {
		t.Errorf("spareSparse() = %d, want %d", got, want)
	}
	p.cut(0, 1)
	if _, ok := p.takePacked(1, nil); !ok {
		t.Fatal("takePacked() = false, want a slot of the slab that was cut")
	}
	slots := int64(p.slabs.Slots(1)-1) * p.slotBytes(1)
	if got, want := p.spare(1, limit), slots+4*(placesSlab-slabFirst); got != want {
		t.Errorf("spare(1) = %d, want %d", got, want)
	}
	if got, want := p.spareSparse(limit), int64(limit-placesSlab); got != want {
		t.Errorf("spareSparse() = %d, want %d", got, want)
	}
}
