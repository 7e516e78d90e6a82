package blockstore

import (
	"errors"
	"io/fs"
	"sync"
)

// A container's header is for a rebuild, and nobody reads it else. But a power loss may keep what
// the index has of a container and not its header: then blocks put and synced from then on lie
// where the next rebuild looks for others, or for none. So after a run that did not end well the
// headers are compared with the index, those of slabs before anything is put, since there are few
// of them, those of sparse containers in the background.

// mendSlabs writes the headers anew of slabs that have another than the index says. One that
// cannot be written is left as it is: nothing is lost by it as long as there is the index.
func (d *disk) mendSlabs() {
	d.mu.Lock()
	var heads []header
	for _, c := range d.places.containers {
		if c.packed {
			heads = append(heads, header{name: c.name - 1, slot: c.slot, size: d.slabBytes})
		}
	}
	d.mu.Unlock()
	var (
		group  sync.WaitGroup
		mu     sync.Mutex // guards mended
		mended int
		queue  = make(chan header)
	)
	for range rebuildWorkers {
		group.Go(func() {
			for h := range queue {
				if d.mendHeader(fileName{slabFile, h.name}, h, pageSize) {
					mu.Lock()
					mended++
					mu.Unlock()
				}
			}
		})
	}
	for _, h := range heads {
		queue <- h
	}
	close(queue)
	group.Wait()
	if mended > 0 {
		d.log.Info("wrote headers of slabs anew that a crash had lost", "disk", d.path, "slabs", mended)
	}
}

// mendFiles does for the sparse containers of earlier runs what mendSlabs does for slabs; false
// when quit was closed. Those without blocks findHoles has removed.
func (d *disk) mendFiles(quit <-chan struct{}) bool {
	for i := uint32(0); ; i++ {
		select {
		case <-quit:
			return false
		default:
		}
		d.mu.Lock()
		if int(i) >= len(d.places.containers) {
			d.mu.Unlock()
			return true
		}
		c := d.places.containers[i]
		ours := c.name < d.first && !c.packed && c.made
		if ours {
			d.places.hold(i) // or another file might take its files over
		}
		d.mu.Unlock()
		if ours {
			d.mendHeader(fileName{sumsFile, c.name}, header{name: c.name, file: c.file, size: c.size}, sumsCell)
			d.mu.Lock()
			d.places.letGo(i)
			d.mu.Unlock()
		}
	}
}

// mendHeader writes a header that is not on disk, in so many bytes of its own, and reports whether
// it did.
func (d *disk) mendHeader(name fileName, want header, room int) bool {
	h, err := d.handles.get(name)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			d.log.Warn("cannot look at the header of a container", "file", name.path(d.path), "err", err)
		}
		return false
	}
	defer d.handles.release(h)
	got, err := readHeader(h)
	if err == nil && got == want {
		return false
	}
	whole := make([]byte, room) // a page that cannot be read can be written whole
	copy(whole, want.bytes())
	if err := h.WriteAt([][]byte{whole}, 0); err != nil {
		d.log.Warn("cannot write the header of a container", "file", name.path(d.path), "err", err)
		return false
	}
	return true
}
