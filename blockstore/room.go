package blockstore

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore/policy"
)

// errAdmitsNothing reports a disk that has failed.
var errAdmitsNothing = errors.New("disk admits nothing")

// An ask is what a put wants of a disk.
type ask struct {
	putting
	size    policy.Class // NoClass for a sparse block
	index   uint32       // of a sparse block in its file
	bytes   int64        // that it takes
	wanted  int64        // that there should be for it: of a new sparse container, for all of it
	dataset uint16
	sum     shoal.Sum
}

// asking classifies a put. Holds mu.
func (d *disk) asking(p putting) ask {
	a := ask{putting: p, size: policy.NoClass, index: p.key.Index}
	length := shoal.BlockLen(p.fileSize, p.key.Index)
	if p.fileSize <= shoal.BlockSize {
		if c, ok := d.places.classOf(length); ok {
			a.size, a.bytes = c, d.places.slotBytes(c)
			a.wanted = a.bytes
			return a
		}
	}
	a.bytes = sparseBytes(length)
	a.wanted = a.bytes
	if whole := wholeBytes(p.fileSize); whole <= d.limit/16 {
		a.wanted = whole
	}
	return a
}

// reserve takes a place for a block and returns its entry number. It waits only when there
// is none: for one that is being made, or for what run gives up then.
func (d *disk) reserve(p putting) (n uint32, err error) {
	number, err := d.datasetNumber(p.dataset)
	if err != nil {
		return 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.asking(p)
	a.dataset, a.sum = number, shoal.BlockSum(p.sums)
	refusals, wasQuota, since := uint64(0), false, d.pass
	var until time.Time
	for waits := 0; ; waits++ {
		if d.err != nil {
			return 0, fmt.Errorf("%w: disk %s: %w", errAdmitsNothing, d.path, d.err)
		}
		n, ok, err := d.place(a)
		if ok || err != nil {
			if waits > 0 { // nothing is to be given up for it any more
				delete(d.demand, a.size)
				d.datasets.counts[a.dataset].wanted = 0
			}
			d.prepareRoom(a)
			return n, err
		}
		quota := d.datasets.over(a.dataset, a.bytes, 1) > 0
		refused := d.refused[a.size]
		if quota {
			refused = d.datasets.counts[a.dataset].refused
		}
		hopeless := waits > 0 && quota == wasQuota && refused > refusals || d.pass-since > patience
		if waits == 1 && d.asked > 0 {
			defer time.AfterFunc(consentWait, d.changed.Broadcast).Stop()
			until = time.Now().Add(consentWait)
		}
		hopeless = hopeless || !until.IsZero() && time.Now().After(until)
		switch {
		case quota && (hopeless || !d.datasets.want(a.dataset, a.bytes)):
			return 0, fmt.Errorf("disk %s: %w: %w", d.path, errQuota, ErrFull)
		case quota:
		case hopeless && a.wanted > a.bytes:
			a.wanted, waits, since = a.bytes, -1, d.pass // then just for this block
			continue
		case hopeless || d.takes(a) > d.limit:
			return 0, fmt.Errorf("disk %s of %d bytes: %w", d.path, d.limit, ErrFull)
		default:
			d.demand[a.size] = max(d.demand[a.size], a.wanted)
		}
		refusals, wasQuota = refused, quota
		d.recall()
		if d.asked == 0 || waits == 0 { // else the answers wake it
			d.wake()
		}
		d.wait()
	}
}

// patience is how many passes of evict a put waits for while others take what is made.
const patience = 1000

// consentWait is how long a put waits for homes that do not say whether replicas may go.
const consentWait = time.Second

// takes returns what must fit the limit for a to have a place. Holds mu.
func (d *disk) takes(a ask) int64 {
	if a.size == policy.NoClass {
		return a.bytes
	}
	return d.places.slabBytes
}

// datasetNumber returns the number of a dataset, a new one if it has none. Blocks beyond
// 65,534 datasets count as of none.
func (d *disk) datasetNumber(name string) (uint16, error) {
	d.mu.Lock()
	err := d.err
	n, known := d.datasets.numbers[name]
	known = known && int(n) < d.datasets.saved
	d.mu.Unlock()
	if err != nil { // it may be that the names have not been read: they must not be written then
		return 0, fmt.Errorf("%w: disk %s: %w", errAdmitsNothing, d.path, err)
	}
	if known {
		return n, nil
	}
	d.naming.Lock() // one at a time writes the file
	defer d.naming.Unlock()
	d.mu.Lock()
	n, ok := d.datasets.numbers[name]
	if !ok {
		n, ok = d.datasets.enter(name)
	}
	names := d.datasets.lines()
	d.mu.Unlock()
	if !ok {
		return 0, nil
	}
	if err := d.datasets.save(names); err != nil {
		return 0, err // a number that the file does not have would be nobody's after a restart
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.datasets.saved = max(d.datasets.saved, len(names))
	return n, nil
}

// place takes a place for a. When there is none, it makes a container or waits for the one
// that makes it; !ok: something must be given up first. Holds mu, but lets it go meanwhile.
func (d *disk) place(a ask) (n uint32, ok bool, err error) {
	for {
		if d.datasets.over(a.dataset, a.bytes, 1) > 0 {
			return 0, false, nil
		}
		var again bool
		if a.size == policy.NoClass {
			n, ok, again, err = d.placeSparse(a)
		} else {
			n, ok, again, err = d.placePacked(a)
		}
		if err != nil || !ok && !again {
			return 0, false, err
		}
		if ok {
			d.places.take(n, a.key, len(a.data), a.dataset, a.sum)
			d.places.at(n).marks |= marksOf(shoal.Standing{Class: a.class, Keeper: true})
			d.places.setPasses(n, a.passes)
			d.datasets.add(a.dataset, a.bytes)
			return n, true, nil
		}
		if d.err != nil {
			return 0, false, nil
		}
	}
}

// placePacked finds a slot; again: look once more, things have changed. Holds mu.
func (d *disk) placePacked(a ask) (n uint32, ok, again bool, err error) {
	if n, ok = d.places.takePacked(a.size, d.isClosing); ok {
		return n, true, false, nil
	}
	if d.cutting[a.size] {
		d.wait()
		return 0, false, true, nil
	}
	number := none
	if last := len(d.places.empties) - 1; last >= 0 {
		number = d.places.empties[last]
		d.places.empties = d.places.empties[:last]
	} else if d.places.slabBytes == 0 || d.places.bytes()+d.places.slabBytes > d.limit {
		return 0, false, false, nil
	}
	return 0, false, true, d.makeSlab(number, a.size)
}

// isClosing reports whether a slab is being emptied. Holds mu.
func (d *disk) isClosing(number uint32) bool { return number == d.closing }

// makeSlab cuts an empty slab, or a new one if number is none, for class c. Holds mu, but
// lets it go meanwhile.
func (d *disk) makeSlab(number uint32, c policy.Class) error {
	d.cutting[c] = true
	fresh := number == none
	if fresh {
		number = d.places.freshSlab()
		d.places.addSlab(number)
	}
	h := header{name: uint64(number), slot: d.places.slotBytes(c), size: d.places.slabBytes}
	d.mu.Unlock()
	d.index.gate.enter()
	defer d.index.gate.leave()
	err := d.writeSlab(h, fresh)
	d.mu.Lock()
	delete(d.cutting, c)
	d.changed.Broadcast()
	switch {
	case err == nil:
		d.places.cut(number, c)
	case fresh:
		d.places.dropSlab(number)
	default:
		d.places.empties = append(d.places.empties, number)
	}
	return err
}

// writeSlab makes the file of a slab if it is fresh, and writes its header and index entry.
func (d *disk) writeSlab(h header, fresh bool) error {
	name := fileName{slabFile, h.name}
	if fresh {
		if err := d.createSlab(name, h.size); err != nil {
			return err
		}
	}
	err := d.writeTo(name, [][]byte{h.bytes()}, 0)
	if _, gone := missing(err); gone && !fresh {
		err = d.remakeFile(name, h.size, h) // somebody has removed it while it was empty
	}
	if err == nil {
		entry := h
		entry.name++ // 0 is no container
		err = d.index.setContainer(entry)
	}
	if err != nil && fresh {
		d.handles.forget(name)
		_ = d.files.Remove(name.path(d.path)) // else the next run does
	}
	return err
}

// placeSparse finds the place of a block in the sparse container of its file. Holds mu.
func (d *disk) placeSparse(a ask) (n uint32, ok, again bool, err error) {
	i, there := d.places.files[a.key.File]
	if there {
		c := &d.places.containers[i]
		if a.index >= c.n {
			return 0, false, false, fmt.Errorf("block %v of a file of %d bytes: %w", a.key, c.size, errBeyondFile)
		}
		state, has := stateFree, false
		if n, has = d.places.number(i, a.index); has {
			state = d.places.at(n).state
		}
		switch {
		case !c.made:
			d.wait() // for the container
			return 0, false, true, nil
		case state == stateHole:
			return n, true, false, nil
		case state == stateDeleted && d.readers[n] > 0:
			// It was dropped and is read still: the same bytes are written over it.
			d.vacate(n)
			return n, true, false, nil
		case state != stateFree:
			d.wait() // for what is done with its room
			return 0, false, true, nil
		}
	}
	heir, inherits, room := none, false, d.limit-d.places.bytes()-a.bytes
	if !there {
		heir, inherits = d.places.heir(a.fileSize)
		room = d.limit - d.places.bytes() - d.places.keptFor(d.limit) - a.wanted
	}
	if !inherits && room < 0 {
		switch {
		case len(d.places.empties) > 0:
			return 0, false, true, d.removeSlab()
		case d.places.chains[idleChain].first != none:
			return 0, false, true, d.removeIdle()
		}
		return 0, false, false, nil
	}
	if there {
		return d.places.reach(i, a.index), true, false, nil
	}
	if int64(a.index) >= int64(max(1, shoal.Blocks(a.fileSize))) {
		return 0, false, false, fmt.Errorf("block %v of a file of %d bytes: %w", a.key, a.fileSize, errBeyondFile)
	}
	return 0, false, true, d.makeFile(a, heir)
}

// errBeyondFile reports a block that its file cannot have.
var errBeyondFile = errors.New("block lies beyond its file")

// makeFile makes the sparse container of a file, from the files of an idle one unless heir is
// none. Holds mu, but lets it go meanwhile.
func (d *disk) makeFile(a ask, heir uint32) error {
	name := d.next
	d.next++
	var old container
	if heir != none {
		old = d.places.containers[heir]
		d.places.retire(heir)
	}
	i := d.places.addFile(name, a.key.File, a.fileSize)
	h := header{name: name, file: a.key.File, size: a.fileSize}
	d.mu.Unlock()
	d.index.gate.enter()
	defer d.index.gate.leave()
	var err error
	if heir != none {
		err = d.takeOver(old.name, old.size, h)
	} else {
		err = d.writeFile(h)
	}
	again := false
	if err != nil {
		d.removeFiles(name, old.name)
		again = heir != none && d.heirGone(old.name, err)
	}
	d.mu.Lock()
	if err == nil && heir != none {
		d.places.inherit(i, heir)
	}
	if heir != none {
		d.places.dropFile(heir)
	}
	if err == nil {
		d.places.setMade(i)
	} else {
		d.places.retire(i)
		d.places.dropFile(i)
	}
	d.changed.Broadcast()
	if again {
		return nil
	}
	return err
}

// removeFiles removes what there is of containers that could not be made; what cannot be
// removed the next run removes.
func (d *disk) removeFiles(names ...uint64) {
	for _, name := range names {
		for _, f := range []fileName{{sparseFile, name}, {sumsFile, name}} {
			d.handles.forget(f)
			_ = d.files.Remove(f.path(d.path))
		}
	}
}

// removeIdle removes an idle container. Holds mu, but lets it go meanwhile.
func (d *disk) removeIdle() error {
	i := d.places.chains[idleChain].first
	d.places.retire(i)
	d.mu.Unlock()
	err := d.removeFile(i)
	d.mu.Lock()
	return err
}

// writeFile makes the files of a sparse container, and its index entry.
func (d *disk) writeFile(h header) error {
	blocks, sums := fileName{sparseFile, h.name}, fileName{sumsFile, h.name}
	err := d.files.Create(sums.path(d.path), sumsBytes(h.size), true)
	if err == nil {
		err = d.files.Create(blocks.path(d.path), h.size, true)
	}
	if err == nil {
		err = d.writeTo(sums, [][]byte{h.bytes()}, 0)
	}
	if err == nil {
		err = d.index.setContainer(h)
	}
	return err
}

// removeSlab gives the file of an empty slab back to the file system. Holds mu, but lets it
// go meanwhile. Its room counts as taken until the file is gone.
func (d *disk) removeSlab() error {
	last := len(d.places.empties) - 1
	if last < 0 {
		return nil // a put was faster and has cut it
	}
	number := d.places.empties[last]
	d.places.empties = d.places.empties[:last]
	d.mu.Unlock()
	name := fileName{slabFile, uint64(number)}
	err := d.files.Remove(name.path(d.path))
	d.handles.forget(name) // its number is used again
	d.mu.Lock()
	if !isGone(err) {
		d.places.empties = append(d.places.empties, number)
		return err
	}
	d.places.dropSlab(number)
	d.changed.Broadcast()
	return nil
}

// prepareRoom has run make room ahead of need, if little is left for blocks like a. Holds mu.
func (d *disk) prepareRoom(a ask) {
	spare, ahead := d.spare(a.size), d.ahead(a)
	quota := d.datasets.over(a.dataset, 0, d.high)
	if spare >= ahead && quota == 0 {
		return
	}
	d.demand[a.size] = max(d.demand[a.size], d.headroom(d.low), ahead)
	d.wake()
}

// ahead returns how much room there is to be for blocks like a before they come. Holds mu.
func (d *disk) ahead(a ask) int64 {
	if a.wanted > a.bytes {
		return max(d.headroom(d.high), a.wanted) // a file like it may come next
	}
	return d.headroom(d.high)
}

// spare returns the bytes that blocks of a class can be given without evicting. Holds mu.
func (d *disk) spare(c policy.Class) int64 {
	if c == policy.NoClass {
		return d.places.spareSparse(d.limit)
	}
	return d.places.spare(c, d.limit)
}

// headroom returns the bytes that a watermark leaves free. Holds mu.
func (d *disk) headroom(mark float64) int64 {
	return int64(math.Round((1 - mark) * float64(d.limit)))
}
