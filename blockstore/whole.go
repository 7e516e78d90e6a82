package blockstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
)

// A Whole is a file of which all blocks are here, in one container, at the file's own offsets: so
// whoever has that open may read it without asking. Until Close none of its blocks is evicted,
// whatever else needs the room, and no room of one that goes for being bad is used or given back,
// so no byte that was right becomes another one.
type Whole struct {
	disk  *disk
	pins  *Pins
	name  fileName
	held  []uint32 // entry numbers of its blocks, in order
	close sync.Once

	opened     bool     // by Open
	unverified []uint32 // of held; those of Verify
}

// Whole returns a file of size bytes if all its blocks are here in one container of their own, as
// they are of files that are longer than a block; nil if not. It counts as a read of each block. The
// caller must Close it.
func (s *Store) Whole(file shoal.FileID, size int64) *Whole {
	if size <= shoal.BlockSize || s.enter() != nil {
		return nil
	}
	defer s.calls.Done()
	for _, d := range s.disks {
		if !d.hasWhole(file, size) {
			continue
		}
		w := &Whole{disk: d, pins: s.NewPins("read by the kernel")}
		keys := make([]shoal.Key, shoal.Blocks(size))
		for i := range keys {
			keys[i] = shoal.Key{File: file, Index: uint32(i)}
		}
		if w.pins.Add(keys...) == len(keys) && w.hold(keys) {
			return w
		}
		_ = w.Close() // one went meanwhile
		return nil
	}
	return nil
}

// hasWhole reports whether the disk seems to have all blocks of a file.
func (d *disk) hasWhole(file shoal.FileID, size int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	i, ok := d.places.files[file]
	if !ok || d.err != nil {
		return false
	}
	c := &d.places.containers[i]
	return c.made && c.size == size && c.taken == c.n
}

// hold holds all blocks, some at a time, so that nobody waits for long. It reports whether they
// are there, in the same container.
func (w *Whole) hold(keys []shoal.Key) bool {
	w.held = make([]uint32, 0, len(keys))
	for len(keys) > 0 {
		some := keys[:min(len(keys), batchSize)]
		if !w.holdSome(some) {
			return false
		}
		keys = keys[len(some):]
	}
	return true
}

func (w *Whole) holdSome(keys []shoal.Key) bool {
	d := w.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, key := range keys {
		n, ok := d.table.get(key)
		if !ok {
			return false
		}
		name := fileName{sparseFile, d.places.owner(n).name}
		switch {
		case d.places.owner(n).packed, len(w.held) > 0 && name != w.name:
			return false
		}
		w.name = name
		d.touch(n, key, false)
		d.readers[n]++
		w.held = append(w.held, n)
		if !d.isVerified(n) {
			w.unverified = append(w.unverified, n)
		}
	}
	return true
}

// isVerified reports whether the block of entry n was put in this run, or found good in it by
// Verify. Holds mu.
func (d *disk) isVerified(n uint32) bool {
	_, found := d.verified[n]
	return found || d.places.at(n).marks.past() == pastNone
}

// Verified reports whether each block has been seen to be what its file has, in this run.
func (w *Whole) Verified() bool { return len(w.unverified) == 0 }

// Verify reads the blocks that were put by earlier runs and have not been verified in this one, past
// the page cache, and makes them verified. Bad ones are dropped, which is ErrCorrupt.
func (w *Whole) Verify(ctx context.Context) error {
	buf := *alignedPages(shoal.BlockSize)
	for len(w.unverified) > 0 {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("verify %s: %w", w.name.path(w.disk.path), err)
		}
		if err := w.disk.verifyHeld(w.unverified[0], buf); err != nil {
			return err
		}
		w.unverified = w.unverified[1:]
	}
	return nil
}

// verifyHeld verifies the block of entry n, which is held.
func (d *disk) verifyHeld(n uint32, buf []byte) error {
	d.mu.Lock()
	visible := d.places.at(n).state == stateVisible
	b := d.block(n)
	d.mu.Unlock()
	if !visible {
		return fmt.Errorf("block %v: %w", b.key, fs.ErrNotExist)
	}
	if err := d.readAnew(b, buf[:b.loc.Length]); err != nil {
		again, cause := d.judge(b, err)
		if again {
			cause = fs.ErrNotExist
		}
		return fmt.Errorf("block %v: %w", b.key, cause)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.places.at(n).state == stateVisible {
		d.verified[n] = struct{}{}
	}
	return nil
}

// errUnverified reports a Whole that nobody is to read yet.
var errUnverified = errors.New("not all blocks are verified")

// Open opens the container for reading, once: its bytes are those of the file, at the same offsets,
// as long as it is open or mapped anywhere.
func (w *Whole) Open() (*os.File, error) {
	path := w.name.path(w.disk.path)
	if !w.Verified() {
		return nil, fmt.Errorf("open %s: %w", path, errUnverified)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err = lease(f); err == nil || errors.Is(err, unix.EAGAIN) {
		err = w.disk.expose(w)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("open %s for others: %w", path, err)
	}
	w.opened = true
	return f, nil
}

// Close lets the blocks go; those of a container that was opened as soon as nobody has it open or
// mapped any more. It may be called twice.
func (w *Whole) Close() error {
	w.close.Do(func() {
		if w.opened {
			w.disk.conceal(w)
		} else {
			w.release()
		}
	})
	return nil
}

// release lets the blocks go now.
func (w *Whole) release() {
	for len(w.held) > 0 {
		some := w.held[:min(len(w.held), batchSize)]
		w.disk.mu.Lock()
		for _, n := range some {
			w.disk.releaseLocked(n)
		}
		w.disk.mu.Unlock()
		w.held = w.held[len(some):]
	}
	_ = w.pins.Close() // returns no error
}
