package blockstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
)

// open makes the disk ready and shows what is on it. If that fails for a fault of the
// device, the blocks are shown that can be had by reading alone, and the disk admits
// nothing until retry has mended it. fatal: waiting does not mend the error.
func (d *disk) open() (fatal bool, err error) {
	d.crashed = d.endedBadly()
	err = d.prepare()
	if err == nil {
		err = explain(d.path, d.openIndex(context.Background()))
	}
	switch {
	case err == nil:
		d.loaded = true
		return false, nil
	case errors.Is(err, ErrLocked), errors.Is(err, ErrFormat), errors.Is(err, fs.ErrPermission):
		return true, err
	}
	d.err = err
	if d.lock != nil {
		_, unreadable := d.loadReadOnly()
		if d.loaded = unreadable == nil; !d.loaded {
			d.begin() // what it came to enter is not to be seen
		}
	}
	d.log.Warn("disk admits nothing", "disk", d.path, "blocks", d.places.used, "err", err)
	return false, err
}

// begin makes memory as of an empty disk.
func (d *disk) begin() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ready = false
	d.places = newPlaces(d.slabBytes, d.slabBytes/slotsPerSlab)
	d.table = table{entries: &d.places.entries}
	d.policy = d.newPolicy()
	d.datasets.forget(d.policy)
	d.classes, d.asked, d.freed = [shoal.Classes]Usage{}, 0, nil
	d.forgetLeaving()
}

// setReady lets others see what is in memory of the blocks.
func (d *disk) setReady() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ready = true
}

// openIndex opens the index and shows the blocks in it. One that is lost or damaged is made
// anew from the containers; ctx ends that.
func (d *disk) openIndex(ctx context.Context) error {
	_, err := os.Stat(rebuildPath(d.path))
	torn := err == nil // a rebuild did not come to its end
	if !torn {
		torn = d.indexMissing()
	}
	d.begin()
	if !torn {
		var lost bool
		if lost, err = d.index.open(); err != nil {
			return err
		}
		if !lost {
			err = d.load()
			if !damaged(err) {
				return err
			}
			d.log.Error("cache index is damaged", "disk", d.path, "err", err)
			d.begin()
		}
	}
	return d.rebuild(ctx)
}

// indexMissing reports that a directory has no index and has containers, or may have.
func (d *disk) indexMissing() bool {
	if _, err := d.index.base.Stat(d.index.dir); !errors.Is(err, fs.ErrNotExist) {
		return false // who opens it finds out what is wrong
	}
	folders := []string{slabsDir}
	for i := range filesDirs {
		folders = append(folders, filepath.Join(filesDir, subfolder(i)))
	}
	for _, folder := range folders {
		names, err := d.files.List(filepath.Join(d.path, folder))
		if len(names) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// loadReadOnly is load without a write to the disk. It returns what load would delete.
func (d *disk) loadReadOnly() (dead deadEntries, err error) {
	slab, err := readFormat(d.path)
	if err != nil {
		return deadEntries{}, err
	}
	if slab > 0 {
		d.slabBytes = slab
	}
	d.begin()
	if err := d.index.peek(); err != nil {
		return deadEntries{}, err
	}
	return d.fill()
}

// deadEntries are index entries of which nothing can be had.
type deadEntries struct {
	containers []uint64
	blocks     []place
	unsynced   bool // among the others are some of which it is not known that they are durable
}

// endedBadly reports whether the last run of the directory did not come to its end.
func (d *disk) endedBadly() bool {
	_, err := os.Stat(runningPath(d.path))
	return err == nil || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR)
}

// load fills memory from the index, without reading a container. What it cannot show (a block
// whose container is gone, or that another disk has) it deletes. The block that was put first
// comes first in the policy's order.
func (d *disk) load() error {
	dead, err := d.fill()
	if err != nil {
		return err
	}
	for _, name := range dead.containers {
		if err := d.index.deleteContainer(name); err != nil {
			return err
		}
	}
	if err := d.index.delete(dead.blocks...); err != nil {
		return err
	}
	if err := d.keepDatasets(); err != nil {
		return err
	}
	if d.crashed || !dead.unsynced {
		return nil
	}
	return d.markSynced(d.syncs.Add(1)) // the last run has ended well, so all is durable
}

// fill is load without a write.
func (d *disk) fill() (dead deadEntries, err error) {
	if err := d.loadDatasets(); err != nil {
		return deadEntries{}, err
	}
	gone, err := d.loadContainers()
	if err != nil {
		return deadEntries{}, err
	}
	l := loader{disk: d}
	if err := l.run(); err != nil {
		return deadEntries{}, err
	}
	d.setReady()
	d.syncs.Store(max(l.lastSync, l.synced))
	d.marked = l.synced
	if d.elsewhere != nil {
		d.dropTwice()
	}
	return deadEntries{gone, l.unwanted, l.lastSync >= l.synced && d.places.used > 0}, nil
}

// dropTwice drops blocks that another disk shows.
func (d *disk) dropTwice() {
	for blocks, next := d.batch(0); ; blocks, next = d.batch(next) {
		for _, b := range blocks {
			d.claims.wait(b.key) // a put may be at work that began before the block was shown
			twice := d.elsewhere(b.key)
			d.claims.release(b.key)
			if twice {
				d.take(b, func([]Gone) {})
			}
		}
		if next == 0 {
			return
		}
	}
}

// loadContainers makes the containers known, and returns the names of those whose files are
// not there.
func (d *disk) loadContainers() (gone []uint64, err error) {
	slabs, err := d.slabFiles()
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for number := range slabs {
		d.places.addSlab(number)
	}
	err = d.index.load(containerPrefix, func(key, value []byte) {
		h, ok := parseHeader(value)
		if !ok || len(key) != 9 {
			return
		}
		if !d.addContainer(h, slabs) {
			gone = append(gone, h.name)
		}
	})
	for number := range slabs {
		if d.places.slabAt[number] == none {
			d.places.empties = append(d.places.empties, number)
		}
	}
	return gone, err
}

// addContainer makes one container known; false if it is not to be used. Holds mu.
func (d *disk) addContainer(h header, slabs map[uint32]bool) bool {
	if h.slot == 0 {
		i := d.places.addFile(h.name, h.file, h.size)
		d.places.containers[i].made = true
		return true
	}
	class, ok := d.places.slabs.ClassOf(int(h.slot / pageSize))
	number := uint32(h.name - 1)
	if !ok || d.places.slotBytes(class) != h.slot || !slabs[number] {
		return false
	}
	d.places.cut(number, class)
	return true
}

// slabFiles returns the numbers of the slab files there are.
func (d *disk) slabFiles() (map[uint32]bool, error) {
	names, err := d.files.List(filepath.Join(d.path, slabsDir))
	if err != nil {
		return nil, fmt.Errorf("disk %s: %w", d.path, err)
	}
	slabs, most := make(map[uint32]bool, len(names)), d.mostSlabs(len(names))
	for _, base := range names {
		f, ok := parseFile(slabFile, base)
		switch {
		case !ok || f.path("") != filepath.Join(slabsDir, base):
		case f.name >= most:
			d.log.Error("a file is no slab of this cache", "disk", d.path, "file", f.path(""))
		default:
			slabs[uint32(f.name)] = true
		}
	}
	return slabs, nil
}

// mostSlabs returns what the numbers of slabs are below when there are so many. A new slab has the
// lowest number that is free. So one with a number far above what the limit has room for is not
// ours, and to know it would take memory for all below it. The limit may have been higher, though,
// and is not known offline.
func (d *disk) mostSlabs(there int) uint64 {
	n := int64(there)
	if d.capacity < unlimited {
		n = max(n, d.capacity/d.slabBytes)
	}
	return uint64(min(maxContainers, max(1<<20, 16*n)))
}

// containerFor returns the index of the container of a block of the index; ok is false when it
// cannot be there. Holds mu.
func (d *disk) containerFor(e indexed) (i uint32, ok bool) {
	if i, ok = d.containerNamed(e.container); !ok || int(e.dataset) >= maxDatasets {
		return 0, false
	}
	c := &d.places.containers[i]
	if e.slot >= c.n || c.packed && packedBytes(int(e.length)) > c.slot || !c.packed && c.file != e.key.File {
		return 0, false
	}
	return i, true
}

// containerNamed returns the index of the container with a name. Holds mu.
func (d *disk) containerNamed(name uint64) (i uint32, ok bool) {
	if name >= 1<<bootShift {
		i, ok = d.places.names[name]
		return i, ok
	}
	if name == 0 || name > uint64(len(d.places.slabAt)) {
		return 0, false
	}
	i = d.places.slabAt[name-1]
	return i, i != none
}
