package blockstore

import (
	"errors"
	"fmt"
	"io/fs"
)

// Somebody may remove files of a cache directory that is in use. What is lost by that is a
// container's, not the disk's: its blocks are dropped, and the file is made anew when it is
// wanted. A file that is open is used until its handle is pushed out or the scrub comes by.

// A missingFile is the error of opening a container's file that is not there.
type missingFile struct {
	name fileName
	err  error
}

// Error returns the text of the error of the file system.
func (e *missingFile) Error() string { return e.err.Error() }

// Unwrap returns that error.
func (e *missingFile) Unwrap() error { return e.err }

// missing returns the file that is not there, if that is what err says.
func missing(err error) (name fileName, ok bool) {
	var m *missingFile
	if !errors.As(err, &m) {
		return fileName{}, false
	}
	return m.name, true
}

// mend makes do with a container's file that is not there, if that is what err says: it drops
// the blocks of the container and makes its files anew. It returns nil when what failed may be
// tried again, else why not.
func (d *disk) mend(err error) error {
	name, ok := missing(err)
	if !ok {
		return err
	}
	d.dropAll(name)
	return d.remake(name)
}

// containerOf returns the index of the container in use that a file belongs to. Holds mu.
func (d *disk) containerOf(name fileName) (i uint32, ok bool) {
	if name.kind != slabFile {
		i, ok = d.places.names[name.name]
		return i, ok && d.places.containers[i].made
	}
	if name.name >= uint64(len(d.places.slabAt)) {
		return 0, false
	}
	i = d.places.slabAt[name.name]
	return i, i != none
}

// dropAll drops the blocks of a container that has lost a file. It waits for no claim, since the
// caller may hold some: a block that another is about to drop or to move is left to it, and
// to who reads it.
func (d *disk) dropAll(name fileName) {
	d.handles.forget(name)
	gone := 0
	for slot, more := uint32(0), true; more; {
		var blocks []block
		blocks, slot, more = d.hideSome(name, slot)
		if gone += len(blocks); len(blocks) > 0 {
			d.drop(blocks, d.onEvict)
		}
	}
	d.log.Error("a container's file is gone", "disk", d.path, "file", name.path(""), "blocks", gone)
}

// hideSome hides and claims visible blocks of a container from a slot on, as many as batch
// returns, and counts them as bad unless a crash may have lost them. It returns the slot to go
// on from, if there are more.
func (d *disk) hideSome(name fileName, slot uint32) (blocks []block, next uint32, more bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i, ok := d.containerOf(name)
	if !ok {
		return nil, 0, false
	}
	c := d.places.containers[i]
	for end := min(c.n, slot+batchSpan); slot < end && len(blocks) < batchSize; slot++ {
		n, ok := d.places.number(i, slot)
		if !ok {
			continue
		}
		e := d.places.at(n)
		if e.state != stateVisible || d.claims.try(e.key) != nil {
			continue
		}
		if !d.crashed || e.marks.past() == pastNone {
			d.corrupt.Add(1)
		}
		b := d.block(n)
		d.hide(&b)
		blocks = append(blocks, b)
	}
	return blocks, slot, slot < c.n
}

// remake makes those files of a container that are not there, empty but for the header. That
// another was faster is well.
func (d *disk) remake(name fileName) error {
	d.mu.Lock()
	i, ok := d.containerOf(name)
	if !ok {
		d.mu.Unlock()
		return nil // it has gone since
	}
	c := d.places.containers[i]
	slabBytes := d.places.slabBytes
	d.mu.Unlock()
	if c.packed {
		return d.remakeFile(name, slabBytes, header{name: name.name, slot: c.slot, size: slabBytes})
	}
	err := d.remakeFile(fileName{sumsFile, c.name}, sumsBytes(c.size), header{name: c.name, file: c.file, size: c.size})
	if err != nil {
		return err
	}
	err = d.files.Create(fileName{sparseFile, c.name}.path(d.path), c.size, true)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil // it has kept the room of its holes
	case err != nil:
		return fmt.Errorf("make container anew: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if i, ok := d.containerOf(fileName{sparseFile, c.name}); ok {
		d.places.forgetHoles(i)
	}
	return nil
}

// remakeFile makes a file that begins with a header, or nothing.
func (d *disk) remakeFile(name fileName, size int64, h header) error {
	path := name.path(d.path)
	err := d.files.Create(path, size, name.kind != slabFile)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		d.handles.forget(name)
		if err = d.writeTo(name, [][]byte{h.bytes()}, 0); err != nil {
			_ = d.files.Remove(path) // without its header a rebuild would not know it
		}
	}
	if err != nil {
		return fmt.Errorf("make container anew: %w", err)
	}
	return nil
}

// createSlab makes the file of a slab. One that is there is what could not be removed before.
func (d *disk) createSlab(name fileName, size int64) error {
	path := name.path(d.path)
	err := d.files.Create(path, size, false)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	d.handles.forget(name)
	if err := d.files.Remove(path); !isGone(err) {
		return err
	}
	return d.files.Create(path, size, false)
}

// heirGone reports whether a container could not be taken over because somebody has removed a
// file of it: then it is forgotten, and a put may look for another place.
func (d *disk) heirGone(name uint64, err error) bool {
	if !errors.Is(err, fs.ErrNotExist) || d.index.deleteContainer(name) != nil {
		return false
	}
	d.log.Error("a container's file is gone", "disk", d.path, "file", fileName{sparseFile, name}.path(""), "blocks", 0)
	return true
}
