package blockstore

import (
	"errors"
	"path/filepath"
	"slices"
)

// startScan starts the scan, once. Called before anything is put.
func (d *disk) startScan() {
	if d.scanStarted {
		return
	}
	d.scanStarted = true
	known := d.known()
	d.spawn(func(quit <-chan struct{}) { d.scan(quit, known) })
}

// known returns the containers that the index showed at open, in order. Called before
// anything is put.
func (d *disk) known() []uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	containers := make([]uint64, 0, d.slots.used)
	for i := range d.slots.next {
		if s := d.slots.at(i); s.length > 0 {
			containers = append(containers, s.container)
		}
	}
	slices.Sort(containers)
	return containers
}

// scan compares the containers on disk with those the index showed at open. It removes
// what an earlier run left without an index entry, and drops blocks whose container is
// missing. It cannot meet a new block: containers of this run have names from first on,
// and are left alone.
func (d *disk) scan(quit <-chan struct{}, known []uint64) {
	there := make([]bool, len(known))
	removed, failed := 0, false
	for i := range containerDirs {
		select {
		case <-quit:
			return
		default:
		}
		dir := filepath.Join(d.path, containersDir, subfolder(i))
		names, err := d.files.List(dir)
		if err != nil {
			d.log.Warn("cannot look for leftovers", "dir", dir, "err", err)
			failed = true
			continue
		}
		n, err := d.sweep(dir, names, known, there)
		if err != nil {
			d.log.Warn("cannot remove leftovers", "dir", dir, "err", err)
		}
		removed += n
	}
	if removed > 0 {
		d.log.Info("removed leftovers of an earlier run", "disk", d.path, "containers", removed)
	}
	if !failed {
		d.dropMissing(known, there)
		d.mu.Lock()
		d.scanned = true
		d.mu.Unlock()
	}
}

// sweep marks the known containers among the names in dir and removes the unknown ones of
// earlier runs.
func (d *disk) sweep(dir string, names []string, known []uint64, there []bool) (removed int, err error) {
	var errs []error
	for _, name := range names {
		container, ok := parseContainer(name)
		if !ok || container >= d.first {
			continue
		}
		if i, ok := slices.BinarySearch(known, container); ok {
			there[i] = true
			continue
		}
		if err := d.files.Remove(filepath.Join(dir, name)); err != nil {
			errs = append(errs, err)
			continue
		}
		removed++
	}
	return removed, errors.Join(errs...)
}

// dropMissing drops the visible blocks whose container was known but is not there.
func (d *disk) dropMissing(known []uint64, there []bool) {
	missing := make(map[uint64]bool)
	for i, ok := range there {
		if !ok {
			missing[known[i]] = true
		}
	}
	if len(missing) == 0 {
		return
	}
	dropped := 0
	for blocks, next := d.batch(0); ; blocks, next = d.batch(next) {
		for _, s := range blocks {
			if missing[s.container] && d.takeMissing(s) {
				dropped++
			}
		}
		if next == 0 {
			break
		}
	}
	if dropped > 0 {
		d.log.Info("dropped blocks without a container", "disk", d.path, "blocks", dropped)
	}
}
