package blockstore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/shoal-mesh/shoal"
)

// Progress is how far a long piece of work on a disk has come.
type Progress struct {
	Disk              string
	Done, Total       int   // containers of a rebuild, or blocks of a check
	Blocks            int   // found so far by a rebuild, or bad ones by a check
	Bytes, TotalBytes int64 // of a check
	Unreadable        int   // places a rebuild could not read: what was there is lost
}

// rebuildBatch is how many blocks go into the index at once.
const rebuildBatch = 1000

// rebuildWorkers read containers at a time: what is waited for is the device.
const rebuildWorkers = 8

// rebuild makes the index anew from what the containers say of themselves, and shows the
// blocks found. It reads a page for each slot and no block: a block that is not what its
// record says is found when it is read. Blocks evicted lately may come back: they are what
// they were. What cannot be read is lost, and nothing else, unless the disk fails altogether.
// After a crash meanwhile, or when ctx has ended, the next open begins it anew.
func (d *disk) rebuild(ctx context.Context) error {
	if err := writeFile(rebuildPath(d.path), ""); err != nil {
		return err
	}
	d.log.Warn("making the cache index from the containers", "disk", d.path)
	if err := d.index.discard(); err != nil {
		return err
	}
	if _, err := d.index.open(); err != nil {
		return err
	}
	d.marking.Lock()
	d.marked = 0
	d.marking.Unlock()
	if err := d.loadDatasets(); err != nil {
		return err
	}
	r := rebuilder{disk: d, unread: unread{disk: d}}
	if err := r.run(ctx); err != nil {
		return fmt.Errorf("rebuild the index of %s: %w", d.path, err)
	}
	if d.elsewhere != nil {
		d.dropTwice()
	}
	d.log.Warn("made the cache index from the containers", "disk", d.path,
		"containers", r.at.Total, "blocks", r.at.Blocks, "unreadable", r.at.Unreadable)
	return os.Remove(rebuildPath(d.path))
}

// A rebuilder makes an index anew.
type rebuilder struct {
	*disk
	unread unread

	mu sync.Mutex // guards the field below
	at Progress
}

// run does the work on several containers at a time.
func (r *rebuilder) run(ctx context.Context) error {
	work, err := r.work()
	if err != nil {
		return err
	}
	r.setReady()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r.at = Progress{Disk: r.path, Total: len(work)}
	var group sync.WaitGroup
	queue := make(chan func() (int, error))
	for range rebuildWorkers {
		group.Go(func() {
			for do := range queue {
				blocks, err := do()
				if err != nil {
					stop(err)
					continue
				}
				r.note(blocks)
			}
		})
	}
	for i := 0; i < len(work) && ctx.Err() == nil; i++ {
		queue <- work[i]
	}
	close(queue)
	group.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := r.unread.end(); err != nil {
		return err
	}
	if r.at.Unreadable < r.unread.n { // folders, when there was nothing else
		r.at.Unreadable = r.unread.n
		r.progress(r.at)
	}
	if err := r.keepDatasets(); err != nil {
		return err
	}
	if !r.crashed { // else a power loss may have torn any block
		if err := r.markSynced(r.syncs.Add(1)); err != nil {
			return err
		}
	}
	return r.index.flush()
}

// note counts a container that is done.
func (r *rebuilder) note(blocks int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at.Done++
	r.at.Blocks += blocks
	r.at.Unreadable = r.unread.count()
	r.progress(r.at)
}

// work returns what is to be done, a call for each container.
func (r *rebuilder) work() (work []func() (int, error), err error) {
	slabs, err := r.slabFiles()
	if err != nil {
		return nil, err
	}
	for number := range slabs {
		r.places.addSlab(number)
		work = append(work, func() (int, error) { return r.slab(number) })
	}
	for i := range filesDirs {
		names, err := r.files.List(filepath.Join(r.path, filesDir, subfolder(i)))
		if err != nil {
			if err := r.unread.lost(err); err != nil {
				return nil, err
			}
			continue
		}
		for _, base := range names {
			f, ok := parseFile(sparseFile, base)
			if ok && f.kind == sumsFile && f.path("") == filepath.Join(filesDir, subfolder(i), base) {
				work = append(work, func() (int, error) { return r.file(f.name) })
			}
		}
	}
	return work, nil
}

// slab enters the blocks of a slab. One without a header it can read stays empty.
func (r *rebuilder) slab(number uint32) (blocks int, err error) {
	name := fileName{slabFile, uint64(number)}
	h, err := r.handles.get(name)
	if err != nil { // nor can it be used
		return 0, r.unread.lost(err)
	}
	defer r.handles.release(h)
	head, err := readHeader(h)
	if err != nil && !damagedContainer(err) {
		return 0, r.unread.lostAt(name, 0, pageSize, err, func() { r.leaveEmpty(number) })
	}
	head.name++
	r.disk.mu.Lock()
	ok := err == nil && head.slot > 0 && head.name == uint64(number)+1 && r.addContainer(head, map[uint32]bool{number: true})
	r.disk.mu.Unlock()
	if !ok {
		r.leaveEmpty(number)
		return 0, nil
	}
	if err := r.index.setContainer(head); err != nil {
		return 0, err
	}
	tail := make([]byte, min(head.slot, pageSize))
	n := (r.slabBytes - slabFirst) / head.slot
	found := make([]indexed, 0, n)
	for i := range n {
		end := slabFirst + (i+1)*head.slot
		err := readFull(h, [][]byte{tail}, end-int64(len(tail)), false)
		if err != nil && !damagedContainer(err) {
			if err := r.unread.lost(fmt.Errorf("slab %08x, slot %d: %w", number, i, err)); err != nil {
				return 0, err
			}
			r.spoil(number, uint32(i))
		}
		if rec, ok := parseRecord(tail); err == nil && ok {
			found = append(found, rec.indexed(head.name, uint32(i), r.syncs.Load()))
		}
	}
	return r.enter(found)
}

// leaveEmpty makes a slab one that may be cut for any class.
func (r *rebuilder) leaveEmpty(number uint32) {
	r.disk.mu.Lock()
	defer r.disk.mu.Unlock()
	r.places.empties = append(r.places.empties, number)
}

// spoil takes a slot out of use for this run: it may be the disk's fault that it cannot be read.
func (r *rebuilder) spoil(number, slot uint32) {
	r.disk.mu.Lock()
	defer r.disk.mu.Unlock()
	n := r.places.containers[r.places.slabAt[number]].first + slot
	*r.places.at(n) = entry{length: 1, state: stateUnusable}
	r.places.count(n)
	r.places.slabs.Use(number, int(slot))
	r.unusable += r.places.occupied(n)
}

// enter shows blocks that were found in containers, those that are new, and writes the index.
func (d *disk) enter(found []indexed) (blocks int, err error) {
	entered := make([]indexed, 0, len(found))
	d.mu.Lock()
	for _, e := range found {
		i, ok := d.containerFor(e)
		if _, twice := d.table.get(e.key); !ok || twice {
			continue // another container may have it too
		}
		n := d.places.reach(i, e.slot)
		if d.places.at(n).state != stateFree {
			continue
		}
		d.datasets.reach(int(e.dataset) + 1)
		d.places.take(n, e.key, int(e.length), e.dataset, e.sum)
		d.places.at(n).marks |= marks(pastUnsynced)
		if c := d.places.owner(n); c.packed {
			d.places.slabs.Use(uint32(c.name-1), int(n-c.first))
		}
		d.datasets.add(e.dataset, d.places.occupied(n))
		d.show(n)
		entered = append(entered, e)
	}
	d.mu.Unlock()
	blocks = len(entered)
	for len(entered) > 0 {
		part := entered[:min(rebuildBatch, len(entered))]
		if err := d.setShown(part); err != nil {
			return 0, err
		}
		entered = entered[len(part):]
	}
	return blocks, nil
}

// setShown enters blocks in the index that are visible already. One may have been dropped since:
// then its entry was deleted before it was there.
func (d *disk) setShown(blocks []indexed) error {
	if err := d.index.set(blocks...); err != nil {
		return err
	}
	places := make([]place, len(blocks))
	for i, b := range blocks {
		places[i] = b.place
	}
	if gone := d.emptyOf(places); len(gone) > 0 {
		return d.index.delete(gone...)
	}
	return nil
}

// indexed returns the index entry of a record found in a slot of a container.
func (r record) indexed(container uint64, slot, syncs uint32) indexed {
	return indexed{
		place: place{container, slot}, key: r.key, length: uint32(r.length), dataset: r.dataset, syncs: syncs,
		sum: shoal.BlockSum(r.sums),
	}
}

// readHeader reads the header of a slab or a sums file; errRecord when there is none.
func readHeader(f file) (header, error) {
	b := make([]byte, headerLen)
	if err := readFull(f, [][]byte{b}, 0, false); err != nil {
		return header{}, err
	}
	h, ok := parseHeader(b)
	if !ok {
		return header{}, errRecord
	}
	return h, nil
}
