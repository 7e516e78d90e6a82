package blockstore

import (
	"errors"
	"path/filepath"
)

// startScan starts the scan, once, before anything is put; and again when the disk has healed
// that failed it.
func (d *disk) startScan() {
	if d.scanStarted && !d.rescan.Swap(false) {
		return
	}
	if !d.scanStarted && d.crashed {
		d.mendSlabs()
	}
	d.scanStarted = true
	d.spawn(func(quit <-chan struct{}) { d.scan(quit) })
}

// scan compares the sparse containers on disk with those the index showed at open. It removes
// what an earlier run left without an index entry, and drops blocks whose container is
// missing. It cannot meet a new one: containers of this run have names from first on, and are
// left alone.
func (d *disk) scan(quit <-chan struct{}) {
	d.scanning.Lock() // one after the other
	defer d.scanning.Unlock()
	there := make(map[uint64]int) // files of each container
	removed, failed := 0, false
	for i := range filesDirs {
		select {
		case <-quit:
			return
		default:
		}
		dir := filepath.Join(d.path, filesDir, subfolder(i))
		names, err := d.files.List(dir)
		if err != nil {
			d.log.Warn("cannot look for leftovers", "dir", dir, "err", err)
			failed = true
			continue
		}
		n, err := d.sweep(dir, names, there)
		if err != nil {
			d.log.Warn("cannot remove leftovers", "dir", dir, "err", err)
		}
		removed += n
	}
	if removed > 0 {
		d.log.Info("removed leftovers of an earlier run", "disk", d.path, "files", removed)
	}
	if !failed {
		d.dropMissing(there)
	}
	if d.crashed && (!d.findHoles(quit) || !d.mendFiles(quit)) {
		return
	}
	d.scanned.Store(!failed)
}

// tidy reports whether the next run need not look for room that was not given back. The disk
// is at rest.
func (d *disk) tidy() bool {
	return (!d.crashed || d.scanned.Load()) && d.places.holes == 0
}

// sweep counts the files of known containers among the names in dir and removes those of
// unknown ones of earlier runs.
func (d *disk) sweep(dir string, names []string, there map[uint64]int) (removed int, err error) {
	var errs []error
	for _, base := range names {
		f, ok := parseFile(sparseFile, base)
		if !ok || f.name >= d.first {
			continue
		}
		d.mu.Lock()
		_, known := d.places.names[f.name]
		d.mu.Unlock()
		if known && f.path(d.path) == filepath.Join(dir, base) {
			there[f.name]++
			continue
		}
		if err := d.files.Remove(filepath.Join(dir, base)); !isGone(err) {
			errs = append(errs, err)
			continue
		}
		removed++
	}
	return removed, errors.Join(errs...)
}

// dropMissing drops the visible blocks of containers that lack a file.
func (d *disk) dropMissing(there map[uint64]int) {
	dropped := 0
	for blocks, next := d.batch(0); ; blocks, next = d.batch(next) {
		for _, b := range blocks {
			if !b.packed && b.loc.Container < d.first && there[b.loc.Container] < 2 && d.takeMissing(b) {
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
