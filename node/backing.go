package node

import (
	"context"
	"os"
	"sync"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore"
	"github.com/shoal-mesh/shoal/fuse"
)

var _ fuse.Backed = (*File)(nil)

// Backing returns the file of the store that has just the bytes of this one, open, if all of it is
// here and verified, for the kernel to read by itself; nil if not. It stays until nobody has it open
// or mapped, once done was called.
// A file that an earlier run of the agent has brought is verified now, in the background: who opens
// it after that gets it.
func (f *File) Backing() (backing *os.File, done func(), err error) {
	w := f.r.store.Whole(f.entry.File, f.entry.Info.Size)
	if w == nil {
		return nil, nil, nil
	}
	if !w.Verified() {
		f.r.verifier.take(w)
		return nil, nil, nil
	}
	if backing, err = w.Open(); err != nil {
		_ = w.Close() // returns no error
		return nil, nil, err
	}
	return backing, func() { _ = w.Close() }, nil
}

// Passed counts and records a file that the kernel reads by itself as one that is read now, all of it:
// what is read of it, and when, nobody here sees.
func (f *File) Passed() {
	f.r.bytes[shoal.TierLocal].Add(f.entry.Info.Size)
	f.r.last.note(f.entry.File, shoal.TierLocal)
	if f.r.trace == nil {
		return
	}
	for i := range uint32(shoal.Blocks(f.entry.Info.Size)) {
		length := shoal.BlockLen(f.entry.Info.Size, i)
		seen := f.r.trace.see(shoal.Key{File: f.entry.File, Index: i})
		f.r.trace.gave(seen, &f.visitor, length, length, shoal.TierLocal)
	}
}

// A verifier verifies files one after another; of those that come while it is at work, none: they
// come again with the next open. Its zero value is ready.
type verifier struct {
	mu   sync.Mutex // guards the fields below
	stop func()     // ends the one at work; nil when there is none
	shut bool
	wg   sync.WaitGroup
}

// take verifies w, and closes it.
func (v *verifier) take(w *blockstore.Whole) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.stop != nil || v.shut {
		_ = w.Close() // returns no error
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	v.stop = cancel
	v.wg.Go(func() {
		_ = w.Verify(ctx) // what is bad the store has dropped and logged
		_ = w.Close()
		cancel()
		v.mu.Lock()
		defer v.mu.Unlock()
		v.stop = nil
	})
}

// close ends what is at work, and waits for it.
func (v *verifier) close() {
	v.mu.Lock()
	v.shut = true
	if v.stop != nil {
		v.stop()
	}
	v.mu.Unlock()
	v.wg.Wait()
}
