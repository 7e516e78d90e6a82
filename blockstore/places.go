package blockstore

import (
	"cmp"
	"slices"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore/policy"
)

// places says where on a disk each block lies and what room there is. It is arithmetic: no
// I/O, no lock.
//
// Every place that has a block has an entry, whose number is the place: see numbers. So an
// entry need not say where its block is.
type places struct {
	entries
	numbers
	slabs *policy.Slabs

	containers []container       // by index; name 0 when free
	names      map[uint64]uint32 // sparse containers: index by name
	files      map[shoal.FileID]uint32
	unused     []uint32 // indexes of free containers
	chains     [chainNames]chain
	slabAt     []uint32 // container index by slab number; none where it is cut for no class
	known      []bool   // whether there is such a slab, by number

	slabBytes int64    // of a slab file; 0 when all blocks are sparse
	slabCount int      // slab files
	sparse    int64    // bytes of sparse containers: blocks and holes
	holes     int64    // the part of sparse that is holes
	idleBytes int64    // the part of holes that is in idle containers
	promised  int64    // what sparse containers in use would take if they had all blocks
	retired   int64    // bytes of holes of containers out of use
	taken     int64    // bytes of all places that are taken, sparse included
	empties   []uint32 // slab numbers that are cut for no class
}

// A container is a slab or the sparse container of one file.
type container struct {
	name   uint64       // of a slab: its number+1
	file   shoal.FileID // zero of a slab
	size   int64        // bytes of the file
	slot   int64        // bytes of a slot
	first  uint32       // of a slab: the number of its first slot
	head   uint32       // of a sparse container: the first in its ring of pieces; none
	n      uint32       // slots
	taken  uint32       // slots that are neither free nor holes
	holes  int64        // bytes of its holes
	packed bool
	made   bool  // its files are there
	held   uint8 // calls of hold without letGo
	chained
}

// newPlaces returns places with slabs of so many bytes each; slots are at most maxSlot bytes.
func newPlaces(slabBytes, maxSlot int64) *places {
	return &places{
		slabs: policy.NewSlabs(int((slabBytes-slabFirst)/pageSize), int(maxSlot/pageSize)), slabBytes: slabBytes,
		names: make(map[uint64]uint32), files: make(map[shoal.FileID]uint32),
		numbers: numbers{pieces: make(map[pieceAt]piece)}, chains: [...]chain{{none, none}, {none, none}, {none, none}},
	}
}

// bytes returns what the containers take on the disk, free slots included.
func (p *places) bytes() int64 { return int64(p.slabCount)*p.slabBytes + p.sparse }

// owner returns the container that entry n belongs to.
func (p *places) owner(n uint32) *container { return &p.containers[p.owners[n/granule].container] }

// locate returns where the block of entry n lies.
func (p *places) locate(n uint32) Location {
	c, e := p.owner(n), p.at(n)
	i := int64(p.slotOf(n))
	if c.packed {
		end := slabFirst + (i+1)*c.slot
		return Location{Container: c.name - 1, Offset: end - packedBytes(int(e.length)), Length: int(e.length)}
	}
	return Location{Container: c.name, Offset: i * c.slot, Length: int(e.length)}
}

// header returns what the index has to say of a container.
func (p *places) header(c container) header {
	if c.packed {
		return header{name: c.name, slot: c.slot, size: p.slabBytes}
	}
	return header{name: c.name, file: c.file, size: c.size}
}

// occupied returns the bytes that the block of entry n takes.
func (p *places) occupied(n uint32) int64 {
	c := p.owner(n)
	if c.packed {
		return c.slot
	}
	return sparseBytes(int(p.at(n).length))
}

// classOf returns the class of slab slots for a block of length bytes; ok is false when it is
// too large for one.
func (p *places) classOf(length int) (c policy.Class, ok bool) {
	return p.slabs.ClassOf(int(packedBytes(length) / pageSize))
}

func (p *places) slotBytes(c policy.Class) int64 { return int64(p.slabs.Size(c)) * pageSize }

// addSlab makes a slab known that is cut for no class. Whoever adds it to empties lets it be
// used.
func (p *places) addSlab(number uint32) {
	for uint32(len(p.slabAt)) <= number {
		p.slabAt = append(p.slabAt, none)
		p.known = append(p.known, false)
	}
	p.slabs.Add(number)
	p.known[number] = true
	p.slabCount++
}

// freshSlab returns the lowest number that no slab has.
func (p *places) freshSlab() uint32 {
	if i := slices.Index(p.known, false); i >= 0 {
		return uint32(i)
	}
	return uint32(len(p.known))
}

// cut makes an empty slab one of class c.
func (p *places) cut(number uint32, c policy.Class) {
	p.unlist(number)
	p.slabs.Cut(number, c)
	i := p.addContainer(container{
		name: uint64(number) + 1, slot: p.slotBytes(c), n: uint32(p.slabs.Slots(c)), packed: true, made: true,
	})
	p.slabAt[number] = i
}

// unlist takes a slab from the empties, if it is there.
func (p *places) unlist(number uint32) {
	p.empties = slices.DeleteFunc(p.empties, func(e uint32) bool { return e == number })
}

// clear makes a slab empty of which no slot is taken.
func (p *places) clear(number uint32) {
	p.removeContainer(p.slabAt[number])
	p.slabAt[number] = none
	p.slabs.Clear(number)
	p.empties = append(p.empties, number)
}

// dropSlab forgets an empty slab.
func (p *places) dropSlab(number uint32) {
	p.unlist(number)
	p.slabs.Drop(number)
	p.known[number] = false
	p.slabCount--
}

// addFile makes the sparse container name known, for a file of size bytes.
func (p *places) addFile(name uint64, file shoal.FileID, size int64) uint32 {
	i := p.addContainer(container{
		name: name, file: file, size: size, slot: shoal.BlockSize, n: uint32(max(1, shoal.Blocks(size))),
	})
	p.names[name] = i
	p.promised += wholeBytes(size)
	if _, ok := p.files[file]; !ok {
		p.files[file] = i
	}
	return i
}

// setMade puts a sparse container into use, whose files are there.
func (p *places) setMade(i uint32) {
	p.containers[i].made = true
	p.enlist(i)
}

// retire takes a container without blocks out of use: blocks of its file go elsewhere from
// now on. Its holes count until dropFile.
func (p *places) retire(i uint32) {
	c := &p.containers[i]
	if at, ok := p.files[c.file]; ok && at == i {
		delete(p.files, c.file)
	}
	c.made = false
	p.enlist(i)
	p.promised -= wholeBytes(c.size)
	p.retired += c.holes
}

// revive takes a retired container into use again, idle.
func (p *places) revive(i uint32) {
	c := &p.containers[i]
	p.promised += wholeBytes(c.size)
	p.retired -= c.holes
	p.setMade(i)
}

// wholeBytes returns what all blocks of a file of size bytes take in a sparse container.
func wholeBytes(size int64) int64 {
	n := int64(shoal.Blocks(size))
	return pages(size) + n*sumsCell
}

// dropFile forgets a retired container, and its holes.
func (p *places) dropFile(i uint32) {
	c := &p.containers[i]
	p.retired -= c.holes
	p.eachPiece(i, func(first uint32) bool {
		clear(p.span(first))
		p.shed(first)
		return true
	})
	p.sparse -= c.holes
	p.holes -= c.holes
	delete(p.names, c.name)
	p.removeContainer(i)
}

// inherit gives container to the holes of container from, whose files it got: those of whole
// blocks that both have.
func (p *places) inherit(to, from uint32) {
	kept := uint32(keptBlocks(p.containers[from].size, p.containers[to].size))
	p.eachPiece(from, func(first uint32) bool {
		for n := first; n < first+granule; n++ {
			if slot := p.slotOf(n); slot < kept && p.at(n).state == stateHole {
				p.makeHole(p.reach(to, slot), shoal.BlockSize)
			}
		}
		return true
	})
}

// keptBlocks returns how many blocks' room the files of a container keep when they pass from
// a file of one size to one of another: only whole blocks do.
func keptBlocks(from, to int64) int64 { return min(from, to) / shoal.BlockSize }

// makeHole makes a free entry of a sparse container a hole.
func (p *places) makeHole(n uint32, length int) {
	*p.at(n) = entry{length: uint32(length), state: stateHole}
	p.addHoles(p.owners[n/granule].container, p.occupied(n))
}

// fill makes a hole a free entry, whose room is given back or taken.
func (p *places) fill(n uint32) {
	size := p.occupied(n)
	*p.at(n) = entry{}
	p.addHoles(p.owners[n/granule].container, -size)
}

// addHoles counts bytes of holes that sparse container i got, or, if negative, lost.
func (p *places) addHoles(i uint32, bytes int64) {
	c := &p.containers[i]
	c.holes += bytes
	p.holes += bytes
	p.sparse += bytes
	if c.in == idleChain {
		p.idleBytes += bytes
	}
	p.enlist(i)
}

// enlist has a sparse container in the chain in which it belongs: idle, holey, or none.
func (p *places) enlist(i uint32) {
	c := &p.containers[i]
	want := noChain
	switch {
	case !c.made, c.held > 0:
	case c.taken == 0:
		want = idleChain
	case c.holes > 0:
		want = holeyChain
	}
	if c.in == want {
		return
	}
	if c.in == idleChain {
		p.idleBytes -= c.holes
	}
	if want == idleChain {
		p.idleBytes += c.holes
	}
	p.chainTo(want, i)
}

// hold keeps sparse container i, whose files are worked on, out of the chains until letGo.
func (p *places) hold(i uint32) {
	p.containers[i].held++
	p.enlist(i)
}

// letGo ends a hold.
func (p *places) letGo(i uint32) {
	p.containers[i].held--
	p.enlist(i)
}

// forgetHoles makes the holes of sparse container i free entries: their room is gone.
func (p *places) forgetHoles(i uint32) {
	p.eachPiece(i, func(first uint32) bool {
		for n := first; n < first+granule; n++ {
			if p.at(n).state == stateHole {
				p.fill(n)
			}
		}
		p.shed(first)
		return true
	})
}

// heir returns the idle container whose files suit a file of so many bytes best: its holes
// are used, and little is cut off. ok is false when none does.
func (p *places) heir(size int64) (i uint32, ok bool) {
	i = none
	best := int64(-1)
	at := p.chains[idleChain].first
	for range maxHeirs {
		if at == none {
			break
		}
		c := &p.containers[at]
		keeps := keptBlocks(c.size, size)
		if fit := keeps*shoal.BlockSize - max(0, c.size-size); c.holes > 0 && keeps > 0 && fit >= 0 && fit > best {
			i, best, ok = at, fit, true
		}
		at = c.next
	}
	return i, ok
}

// maxHeirs is how many idle containers heir looks at: those that have been idle for longest.
const maxHeirs = 256

// addContainer gives c an index and its entries numbers.
func (p *places) addContainer(c container) uint32 {
	var i uint32
	if n := len(p.unused); n > 0 {
		i, p.unused = p.unused[n-1], p.unused[:n-1]
	} else {
		i = uint32(len(p.containers))
		p.containers = append(p.containers, container{})
	}
	c.chained = chained{noChain, none, none}
	if c.head = none; c.packed {
		g := p.allocate(granules(c.n))
		p.grow((g + granules(c.n)) * granule)
		p.own(g, granules(c.n), i)
		c.first = g * granule
	}
	p.containers[i] = c
	return i
}

// removeContainer forgets a container without entries in use.
func (p *places) removeContainer(i uint32) {
	if c := p.containers[i]; c.packed {
		p.release(c.first/granule, granules(c.n))
	}
	p.containers[i] = container{}
	p.unused = append(p.unused, i)
}

// take makes entry n that of a block which is being written.
func (p *places) take(n uint32, key shoal.Key, length int, dataset uint16, sum shoal.Sum) {
	if p.at(n).state == stateHole {
		p.fill(n)
	}
	*p.at(n) = entry{key: key, sum: sum, length: uint32(length), dataset: dataset, state: stateWriting}
	p.count(n)
}

// count counts the place of entry n as taken.
func (p *places) count(n uint32) {
	c := p.owner(n)
	c.taken++
	size := p.occupied(n)
	p.taken += size
	if !c.packed {
		p.sparse += size
		p.enlist(p.owners[n/granule].container)
	}
}

// takePacked takes a slot of class c, if one is free. Slabs for which avoid is true are left
// alone.
func (p *places) takePacked(c policy.Class, avoid func(uint32) bool) (n uint32, ok bool) {
	number, slot, ok := p.slabs.Take(c, avoid)
	if !ok {
		return 0, false
	}
	return p.containers[p.slabAt[number]].first + uint32(slot), true
}

// give gives the place of entry n back. That of a sparse block is a hole then.
func (p *places) give(n uint32) {
	c := p.owner(n)
	size, length := p.occupied(n), p.at(n).length
	p.taken -= size
	c.taken--
	*p.at(n) = entry{}
	if c.packed {
		p.slabs.Give(uint32(c.name-1), int(n-c.first))
		return
	}
	p.sparse -= size
	p.makeHole(n, int(length))
}

// spare returns the bytes that blocks of class c can be given without evicting: free slots,
// empty slabs, and what the limit leaves.
func (p *places) spare(c policy.Class, limit int64) int64 {
	free := int64(p.slabs.Free(c)) * p.slotBytes(c)
	slabs := int64(len(p.empties)) + max(0, limit-p.bytes())/p.slabBytes
	return free + slabs*(p.slabBytes-slabFirst)
}

// lacking returns what sparse containers in use would take more if they had all blocks.
func (p *places) lacking() int64 { return p.promised - (p.sparse - p.retired) }

// keptFor returns what new sparse containers leave for those there are: what they lack, or a
// sixteenth of the limit.
func (p *places) keptFor(limit int64) int64 { return min(p.lacking(), limit/16) }

// spareSparse returns the bytes that new sparse containers can be given without evicting:
// idle ones, and what the limit leaves when the others get the blocks they lack.
func (p *places) spareSparse(limit int64) int64 {
	return max(0, limit-p.bytes()-p.keptFor(limit)) + int64(len(p.empties))*p.slabBytes + p.idleBytes
}

// oldHoles returns holes of the container that has had some for longest, of those in use that
// are not idle: up to most, or a few more, in the order in which they lie.
func (p *places) oldHoles(most int) (holes []uint32) {
	oldest := p.chains[holeyChain].first
	if oldest == none {
		return nil
	}
	p.eachPiece(oldest, func(first uint32) bool {
		for n := first; n < first+granule; n++ {
			if p.at(n).state == stateHole {
				holes = append(holes, n)
			}
		}
		return len(holes) < most
	})
	slices.SortFunc(holes, func(a, b uint32) int { return cmp.Compare(p.slotOf(a), p.slotOf(b)) })
	return holes
}
