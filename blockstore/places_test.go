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

// TestNumbersAllocate compares the granules that are vacant with a list of booleans.
func TestNumbersAllocate(t *testing.T) {
	t.Parallel()
	const seed = 11
	rnd := rand.New(rand.NewPCG(seed, 0))
	var s numbers
	var taken []bool // by granule
	type row struct{ first, count uint32 }
	var live []row
	mark := func(r row, is bool) {
		for g := r.first; g < r.first+r.count; g++ {
			taken[g] = is
		}
	}
	for step := range length(20_000, 5000) {
		if len(live) > 0 && rnd.IntN(100) < 48 {
			i := rnd.IntN(len(live))
			s.release(live[i].first, live[i].count)
			mark(live[i], false)
			live = slices.Delete(live, i, i+1)
			continue
		}
		count := 1 + rnd.Uint32N(1+rnd.Uint32N(150))
		r := row{s.allocate(count), count}
		if want := firstFit(taken, int(count)); int(r.first) != want {
			t.Fatalf("seed %d step %d: allocate(%d) = %d, want %d, the first that fits", seed, step, count, r.first, want)
		}
		s.own(r.first, count, 7)
		taken = append(taken, make([]bool, max(0, int(r.first+count)-len(taken)))...)
		mark(r, true)
		live = append(live, r)
		if len(s.owners) != len(taken) {
			t.Fatalf("seed %d step %d: %d granules, want %d", seed, step, len(s.owners), len(taken))
		}
		for g, is := range taken {
			if owned := s.owners[g].container == 7; owned != is {
				t.Fatalf("seed %d step %d: granule %d is owned = %v, want %v", seed, step, g, owned, is)
			}
		}
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
		for slot := range c.n {
			size := sparseBytes(shoal.BlockLen(c.size, slot))
			whole += size
			n, ok := m.p.number(i, slot)
			if _, is := m.at[n]; ok && is {
				blocks++
			} else if ok && m.p.at(n).state == stateHole {
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

// checkNumbers checks that every granule is one container's or vacant, and that sparse
// containers have none without a block or a hole.
func (m *placesModel) checkNumbers() error {
	p := m.p
	owned := make([]bool, len(p.owners))
	for i, c := range p.containers {
		if c.n == 0 {
			continue
		}
		for slot := range c.n {
			n, ok := p.number(uint32(i), slot)
			if !ok {
				continue
			}
			owned[n/granule] = true
			if p.owner(n) != &p.containers[i] || p.slotOf(n) != slot {
				return fmt.Errorf("number %d is slot %d of %+v, want slot %d of container %d", n, p.slotOf(n), p.owner(n), slot, i)
			}
			if _, is := m.at[n]; is != (p.at(n).state != stateFree && p.at(n).state != stateHole) {
				return fmt.Errorf("entry %d taken = %v, want %v", n, !is, is)
			}
		}
		if err := m.checkPieces(uint32(i)); err != nil {
			return err
		}
	}
	for g, is := range owned {
		if (p.owners[g].container != none) != is || (p.vacant[g/64]>>(g%64)&1 == 0) != is {
			return fmt.Errorf("granule %d is owned by %d, want a container's = %v", g, p.owners[g].container, is)
		}
	}
	return nil
}

// checkPieces checks that the ring of a container has each of its pieces once, and that it is in
// the right chain.
func (m *placesModel) checkPieces(i uint32) error {
	p, c := m.p, m.p.containers[i]
	if c.packed {
		return nil
	}
	seen, holes := make(map[uint32]bool), int64(0)
	err := error(nil)
	p.eachPiece(i, func(first uint32) bool {
		name, used := p.owners[first/granule].piece, false
		for n := first; n < first+granule; n++ {
			used = used || p.at(n).state != stateFree
			if p.at(n).state == stateHole {
				holes += p.occupied(n)
			}
		}
		if seen[name] || !used {
			err = fmt.Errorf("piece %d of container %d came before = %v, has entries in use = %v", name, i, seen[name], used)
		}
		seen[name] = true
		return err == nil
	})
	for at := range p.pieces {
		if at.container == i && !seen[at.piece] {
			err = fmt.Errorf("piece %d of container %d is not in its ring", at.piece, i)
		}
	}
	want := noChain
	switch {
	case c.taken == 0:
		want = idleChain
	case holes > 0:
		want = holeyChain
	}
	if err == nil && (c.in != want || c.holes != holes) {
		err = fmt.Errorf("container %d of %d blocks is in chain %d with %d bytes of holes, want %d with %d", i, c.taken, c.in, c.holes, want, holes)
	}
	return err
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
		i := p.addFile(m.names, file, size)
		p.setMade(i)
		m.files = append(m.files, i)
	case op == 3:
		m.punch(rnd)
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
		if ok {
			m.p.slabs.Give(uint32(m.p.owner(n).name-1), int(n-m.p.owner(n).first))
		}
		at := m.files[rnd.IntN(len(m.files))]
		c := m.p.containers[at]
		slot := rnd.Uint32N(c.n)
		n, ok = m.p.number(at, slot)
		if ok {
			state := m.p.at(n).state
			ok = state == stateFree || state == stateHole
		} else {
			n, ok = m.p.reach(at, slot), true
		}
		b.length = shoal.BlockLen(c.size, slot)
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
	owner := m.p.owners[n/granule].container
	all := rnd.IntN(8) == 0
	for slot := range m.p.containers[owner].n {
		i, ok := m.p.number(owner, slot)
		if _, is := m.at[i]; !ok || !is || !all && i != n {
			continue
		}
		delete(m.at, i)
		m.p.give(i)
	}
	switch c := m.p.containers[owner]; {
	case c.taken > 0:
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

// punch gives back the room of a few holes.
func (m *placesModel) punch(rnd *rand.Rand) {
	holes := m.p.oldHoles(1 + rnd.IntN(20))
	for i, n := range holes {
		if i > 0 && m.p.slotOf(n) <= m.p.slotOf(holes[i-1]) {
			panic("holes are not in order")
		}
		m.p.fill(n)
		m.p.shed(n)
	}
}

// TestPlacesRandom compares places with a naive model.
func TestPlacesRandom(t *testing.T) {
	t.Parallel()
	const seed = 12
	rnd := rand.New(rand.NewPCG(seed, 0))
	m := &placesModel{p: newPlaces(placesSlab, 4*pageSize), at: make(map[uint32]placing)}
	most := 0
	for step := range length(10_000, 2500) {
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
