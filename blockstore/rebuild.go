package blockstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
}

// rebuildBatch is how many blocks go into the index at once.
const rebuildBatch = 1000

// rebuildWorkers read containers at a time: what is waited for is the device.
const rebuildWorkers = 8

// rebuild makes the index anew from what the containers say of themselves, and shows the
// blocks found. It reads a page for each slot and no block: a block that is not what its
// record says is found when it is read. Blocks evicted lately may come back: they are what
// they were. After a crash meanwhile, or when ctx has ended, the next open begins it anew.
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
	if err := d.datasets.load(); err != nil {
		return err
	}
	work, err := d.rebuildWork()
	if err != nil {
		return err
	}
	var (
		group sync.WaitGroup
		mu    sync.Mutex // guards the variables below
		errs  []error
		at    = Progress{Disk: d.path, Total: len(work)}
	)
	queue := make(chan func() (int, error))
	for range rebuildWorkers {
		group.Go(func() {
			for do := range queue {
				blocks, err := do()
				mu.Lock()
				at.Done++
				at.Blocks += blocks
				errs = append(errs, err)
				d.progress(at)
				mu.Unlock()
			}
		})
	}
	for i := 0; i < len(work) && ctx.Err() == nil; i++ {
		queue <- work[i]
	}
	close(queue)
	group.Wait()
	if err := errors.Join(append(errs, ctx.Err(), d.index.flush())...); err != nil {
		return fmt.Errorf("rebuild the index of %s: %w", d.path, err)
	}
	if d.elsewhere != nil {
		d.dropTwice()
	}
	d.log.Warn("made the cache index from the containers", "disk", d.path, "containers", at.Total, "blocks", at.Blocks)
	return os.Remove(rebuildPath(d.path))
}

// rebuildWork returns what is to be done, a call for each container.
func (d *disk) rebuildWork() (work []func() (int, error), err error) {
	slabs, err := d.slabFiles()
	if err != nil {
		return nil, err
	}
	for number := range slabs {
		d.places.addSlab(number)
		work = append(work, func() (int, error) { return d.rebuildSlab(number) })
	}
	for i := range filesDirs {
		names, err := d.files.List(filepath.Join(d.path, filesDir, subfolder(i)))
		if err != nil {
			return nil, err
		}
		for _, base := range names {
			if f, ok := parseFile(sparseFile, base); ok && f.kind == sumsFile {
				work = append(work, func() (int, error) { return d.rebuildFile(f.name) })
			}
		}
	}
	return work, nil
}

// rebuildSlab enters the blocks of a slab. One without a header it can read stays empty.
func (d *disk) rebuildSlab(number uint32) (blocks int, err error) {
	h, err := d.handles.get(fileName{slabFile, uint64(number)})
	if err != nil {
		return 0, err
	}
	defer d.handles.release(h)
	head, err := readHeader(h)
	head.name++
	d.mu.Lock()
	ok := err == nil && head.slot > 0 && head.name == uint64(number)+1 && d.addContainer(head, map[uint32]bool{number: true})
	if !ok {
		d.places.empties = append(d.places.empties, number)
	}
	d.mu.Unlock()
	if !ok {
		return 0, unlessDamaged(err)
	}
	if err := d.index.setContainer(head); err != nil {
		return 0, err
	}
	tail := make([]byte, min(head.slot, pageSize))
	n := (d.slabBytes - slabFirst) / head.slot
	found := make([]indexed, 0, n)
	for i := range n {
		end := slabFirst + (i+1)*head.slot
		err := readFull(h, [][]byte{tail}, end-int64(len(tail)), false)
		if unlessDamaged(err) != nil {
			return 0, err
		}
		if r, ok := parseRecord(tail); err == nil && ok {
			found = append(found, r.indexed(head.name, uint32(i)))
		}
	}
	return d.enter(found)
}

// rebuildFile enters the blocks of a sparse container. One without a header it can read is
// left for scan to remove.
func (d *disk) rebuildFile(name uint64) (blocks int, err error) {
	sums, err := d.handles.get(fileName{sumsFile, name})
	if err != nil {
		return 0, err
	}
	defer d.handles.release(sums)
	head, err := readHeader(sums)
	if err != nil || head.slot != 0 || head.name != name || name < 1<<bootShift {
		return 0, unlessDamaged(err)
	}
	blocksFile, err := d.handles.get(fileName{sparseFile, name})
	if err != nil {
		return 0, unlessDamaged(err)
	}
	d.handles.release(blocksFile)
	d.mu.Lock()
	d.addContainer(head, nil)
	d.mu.Unlock()
	if err := d.index.setContainer(head); err != nil {
		return 0, err
	}
	cell := make([]byte, sumsCell)
	var found []indexed
	for i := range uint32(max(1, shoal.Blocks(head.size))) {
		err := readFull(sums, [][]byte{cell}, cellOffset(i), false)
		if unlessDamaged(err) != nil {
			return 0, err
		}
		r, ok := parseRecord(cell)
		if err == nil && ok && r.key == (shoal.Key{File: head.file, Index: i}) {
			found = append(found, r.indexed(name, i))
		}
	}
	return d.enter(found)
}

// enter shows blocks that were found in containers, those that are new, and writes the index.
func (d *disk) enter(found []indexed) (blocks int, err error) {
	entered := make([]indexed, 0, len(found))
	d.mu.Lock()
	for _, e := range found {
		n, ok := d.placeOf(e)
		if _, twice := d.table.get(e.key); !ok || twice || d.places.at(n).state != stateFree {
			continue // another container may have it too
		}
		d.places.take(n, e.key, int(e.length), e.dataset, e.sum)
		d.places.at(n).old = true
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
		if err := d.index.set(part...); err != nil {
			return 0, err
		}
		entered = entered[len(part):]
	}
	return blocks, nil
}

// indexed returns the index entry of a record found in a slot of a container.
func (r record) indexed(container uint64, slot uint32) indexed {
	return indexed{
		place: place{container, slot}, key: r.key, length: uint32(r.length), dataset: r.dataset, sum: shoal.BlockSum(r.sums),
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

// unlessDamaged returns err unless it is one container's that is damaged: there is nothing to
// be had from it.
func unlessDamaged(err error) error {
	if errors.Is(err, errRecord) || errors.Is(err, errTruncated) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
