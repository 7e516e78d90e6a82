package blockstore

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
)

// tryWrite writes to the device, and waits for it. A file system without room for that can be
// written to all the same, where it has given room: then the header of a slab is written, as it
// is.
func (d *disk) tryWrite() error {
	err := d.tryCreate(directBytes)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		if h, ok := d.anySlab(); ok {
			err = d.writeTo(fileName{slabFile, h.name}, [][]byte{h.bytes()}, 0)
		}
	}
	if err != nil {
		return err
	}
	return d.files.Sync(d.path)
}

// tryCreate makes a file of so many bytes, writes some of them past the page cache, and removes
// it.
func (d *disk) tryCreate(bytes int64) error {
	path := filepath.Join(d.path, "trial")
	if err := d.files.Remove(path); !isGone(err) {
		return err
	}
	if err := d.files.Create(path, bytes, false); err != nil {
		return err
	}
	f, err := d.files.Open(path)
	if err == nil {
		err = errors.Join(f.WriteAt([][]byte{*alignedPages(directBytes)}, 0), f.Close())
	}
	return errors.Join(err, d.files.Remove(path))
}

// anySlab returns the header of a slab.
func (d *disk) anySlab() (h header, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.places.containers {
		if c.packed {
			return header{name: c.name - 1, slot: c.slot, size: d.slabBytes}, true
		}
	}
	return header{}, false
}

// room returns the limit that the file system has room for: what the containers have, and what
// is free, less a part that is left to others. That is as much as shrink gives back, or the limit
// would go up and down, and blocks with it.
func (d *disk) room() int64 {
	free, err := d.freeBytes(d.path)
	if err != nil {
		return 0
	}
	d.mu.Lock()
	bytes := d.places.bytes()
	d.mu.Unlock()
	free -= min(max(bytes/64, d.slabBytes), free/2)
	more := min(free, d.capacity-bytes, max(d.slabBytes, shoal.BlockSize))
	if more > 0 && d.tryCreate(more) != nil { // there may be a quota
		return 0
	}
	return bytes + free
}

// A quitContext is a context that ends when its channel is closed.
type quitContext <-chan struct{}

// Deadline returns none.
func (quitContext) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done returns the channel.
func (q quitContext) Done() <-chan struct{} { return q }

// Err returns context.Canceled once the channel is closed.
func (q quitContext) Err() error {
	select {
	case <-q:
		return context.Canceled
	default:
		return nil
	}
}

// Value returns nothing.
func (quitContext) Value(any) any { return nil }
