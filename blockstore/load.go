package blockstore

import (
	"errors"
	"math"
	"runtime"
	"slices"
	"sync"

	"github.com/shoal-mesh/shoal"
)

// A loader brings the blocks of an index into memory, ten millions in seconds. What costs is
// the cache misses of places in random order. So the index is in the order of memory; the
// table is filled part by part, each of which fits a processor's cache; and the policy gets
// the blocks by the quarter hour in which they were put, each in the order of memory.
type loader struct {
	*disk

	mu       sync.Mutex // guards the fields below
	order    []uint64   // when a block was put, above its entry number
	cells    [tableParts][][]cell
	sizes    []datasetCount // by dataset
	unwanted []place
	lastSync uint32 // the highest of any block
	errs     []error

	synced uint32 // blocks with a lower number are durable
}

const (
	loadRanges = 64 // into which the containers are cut
	stampShift = 10 // 1,024 seconds: within them the policy's order is that of memory
)

// run loads all blocks. Nobody else uses the disk's memory meanwhile: it admits nothing and
// shows nothing.
func (l *loader) run() error {
	ranges := l.ranges()
	var err error
	if l.synced, err = l.index.synced(); err != nil {
		return err
	}
	parallel(len(ranges), func(i int) { l.loadRange(ranges[i]) })
	if err := errors.Join(l.errs...); err != nil {
		return err
	}
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	l.table.reserve(len(l.order))
	parallel(tableParts+1, func(i int) {
		if i == 0 { // the longest first
			l.fillPolicy()
			return
		}
		for _, cells := range l.cells[i-1] {
			l.table.fill(i-1, cells)
		}
	})
	l.datasets.reach(len(l.sizes))
	for i, c := range l.sizes {
		l.datasets.counts[i].blocks += c.blocks
		l.datasets.counts[i].bytes += c.bytes
	}
	l.places.used += len(l.order)
	l.classes[shoal.Last] = Usage{Blocks: len(l.order), Bytes: l.places.taken}
	for i := range l.places.containers {
		if c := &l.places.containers[i]; !l.crashed && !c.packed && c.taken == 0 { // else findHoles sees to it
			l.places.enlist(uint32(i))
		}
	}
	return nil
}

// fillPolicy enters the blocks in the order in which they were put.
func (l *loader) fillPolicy() {
	slices.Sort(l.order)
	for _, o := range l.order {
		n := uint32(o)
		e := l.places.at(n)
		if !l.pins.pinned(e.key) {
			l.policy.Restore(n, l.item(n), tickOf(uint32(o>>32)<<stampShift))
		}
	}
}

// A nameRange is the container names from first to last.
type nameRange struct{ first, last uint64 }

// ranges cuts the containers into spans of about as many each.
func (l *loader) ranges() []nameRange {
	var names []uint64
	for _, c := range l.places.containers {
		if c.name != 0 {
			names = append(names, c.name)
		}
	}
	slices.Sort(names)
	spans := []nameRange{{0, math.MaxUint64}}
	for i := 1; i < loadRanges && len(names) > loadRanges; i++ {
		from := names[i*len(names)/loadRanges]
		spans[len(spans)-1].last = from - 1
		spans = append(spans, nameRange{from, math.MaxUint64})
	}
	return spans
}

// loadRange enters the blocks of a range of containers, whose memory nobody else touches.
func (l *loader) loadRange(s nameRange) {
	var (
		order    []uint64
		unwanted []place
		cells    [tableParts][]cell
		took     tally
		lastSync uint32
		here     = pieceAt{none, none} // where the last block was
		first    uint32                // number of the granule there
		entries  []entry               // of it
	)
	upper := blockKey(nil, place{s.last, math.MaxUint32})
	err := l.index.loadRange(blockKey(nil, place{s.first, 0}), append(upper, 0), func(key, value []byte) {
		e, ok := parseIndexed(key, value)
		if !ok {
			if p, isPlace := parsePlace(key); isPlace {
				unwanted = append(unwanted, p)
			}
			return
		}
		i, ok := l.containerFor(e)
		if !ok {
			unwanted = append(unwanted, e.place)
			return
		}
		before := pastUnsynced
		if e.syncs < l.synced {
			before = pastSynced
		}
		lastSync = max(lastSync, e.syncs)
		if at := (pieceAt{i, e.slot / granule}); at != here {
			first, entries, here = l.granule(i, e.slot, at)
		}
		n := first + e.slot%granule
		entries[e.slot%granule] = entry{key: e.key, sum: e.sum, length: e.length, dataset: e.dataset, state: stateVisible, marks: marks(before) | marksOf(shoal.Untold())}
		took.add(&l.places.containers[i], e)
		part, c := l.table.split(e.key, n)
		cells[part] = append(cells[part], c)
		order = append(order, uint64(e.stamp>>stampShift)<<32|uint64(n))
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.order = append(l.order, order...)
	l.unwanted = append(l.unwanted, unwanted...)
	for i, c := range cells {
		if len(c) > 0 {
			l.cells[i] = append(l.cells[i], c)
		}
	}
	l.places.taken += took.bytes
	l.places.sparse += took.sparse
	l.lastSync = max(l.lastSync, lastSync)
	l.sizes = reach(l.sizes, len(took.sizes))
	for i, c := range took.sizes {
		l.sizes[i].blocks += c.blocks
		l.sizes[i].bytes += c.bytes
	}
	for _, u := range took.slots {
		l.places.slabs.Use(u.slab, u.slot)
	}
	if err != nil {
		l.errs = append(l.errs, err)
	}
}

// granule returns the first number of the granule that has a slot of container i, and its
// entries. Those are the caller's alone, the numbers are everybody's: other ranges take some, too.
func (l *loader) granule(i, slot uint32, at pieceAt) (first uint32, entries []entry, here pieceAt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first = l.places.reach(i, slot) &^ (granule - 1)
	return first, l.places.span(first), at
}

// A tally counts blocks for the sums that all ranges share.
type tally struct {
	bytes, sparse int64
	sizes         []datasetCount
	slots         []usedSlot
}

type usedSlot struct {
	slab uint32
	slot int
}

// add counts a block of container c.
func (t *tally) add(c *container, e indexed) {
	c.taken++
	size := c.slot
	if c.packed {
		t.slots = append(t.slots, usedSlot{uint32(c.name - 1), int(e.slot)})
	} else {
		size = sparseBytes(int(e.length))
		t.sparse += size
	}
	t.bytes += size
	dataset := int(e.dataset)
	if dataset >= len(t.sizes) {
		t.sizes = reach(t.sizes, dataset+1)
	}
	t.sizes[dataset].blocks++
	t.sizes[dataset].bytes += size
}

// reach makes counts at least n long.
func reach(counts []datasetCount, n int) []datasetCount {
	return append(counts, make([]datasetCount, max(0, n-len(counts)))...)
}

// parallel calls do with 0 to n-1, on all processors.
func parallel(n int, do func(int)) {
	next := make(chan int)
	var group sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		group.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	group.Wait()
}
