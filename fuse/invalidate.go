package fuse

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

// invalidationQueue is how many invalidations may wait for the kernel.
const invalidationQueue = 4096

// notifier is the part of the connection that tells the kernel to forget.
type notifier interface {
	EntryNotify(parent uint64, name string) gofuse.Status
	InodeNotify(id uint64, off, length int64) gofuse.Status
}

// An invalidation is a name of a directory, an id (when name is empty), or a mark in
// the queue (when reached is set).
type invalidation struct {
	id      uint64
	name    string
	reached chan struct{}
}

// An invalidator tells the kernel what to forget, from one goroutine of its own. The
// kernel may make it wait for a directory that a request holds; then all that wait
// behind it wait too, but no request does.
type invalidator struct {
	kernel notifier
	log    *slog.Logger
	queue  chan invalidation
	quit   chan struct{}
	once   sync.Once
	ended  chan struct{} // closed when run has returned

	done, dropped atomic.Uint64
}

func newInvalidator(kernel notifier, log *slog.Logger) *invalidator {
	return &invalidator{
		kernel: kernel, log: log,
		queue: make(chan invalidation, invalidationQueue),
		quit:  make(chan struct{}),
		ended: make(chan struct{}),
	}
}

// run works the queue off until close.
func (v *invalidator) run() {
	defer close(v.ended)
	for {
		select {
		case i := <-v.queue:
			v.tell(i)
		case <-v.quit:
			return
		}
	}
}

func (v *invalidator) tell(i invalidation) {
	var code gofuse.Status
	switch {
	case i.reached != nil:
		close(i.reached)
		return
	case i.name != "":
		code = v.kernel.EntryNotify(i.id, i.name)
	default:
		code = v.kernel.InodeNotify(i.id, 0, 0)
	}
	v.done.Add(1)
	// ENOENT: the kernel did not know it, which is as good.
	if !code.Ok() && code != gofuse.ENOENT {
		v.log.Warn("invalidation refused by the kernel", "id", i.id, "name", i.name, "status", code)
	}
}

// add queues i, waiting for room.
func (v *invalidator) add(ctx context.Context, i invalidation) error {
	select {
	case v.queue <- i:
		return nil
	case <-v.quit:
		return fmt.Errorf("invalidate %d/%s: mount is gone: %w", i.id, i.name, fs.ErrClosed)
	case <-ctx.Done():
		return fmt.Errorf("invalidate %d/%s: queue full: %w", i.id, i.name, ctx.Err())
	}
}

// try queues the name of a directory if there is room. Requests may call it.
func (v *invalidator) try(parent uint64, name string) {
	select {
	case v.queue <- invalidation{id: parent, name: name}:
	default:
		v.dropped.Add(1)
	}
}

// sync waits until all that is in the queue now has been told.
func (v *invalidator) sync(ctx context.Context) error {
	mark := invalidation{reached: make(chan struct{})}
	if err := v.add(ctx, mark); err != nil {
		return err
	}
	select {
	case <-mark.reached:
		return nil
	case <-v.quit:
		return nil // the kernel forgot everything with the mount
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close ends run and waits for it. The connection must have ended before: that frees
// a call the kernel makes wait.
func (v *invalidator) close() {
	v.once.Do(func() { close(v.quit) })
	<-v.ended
}

func (v *invalidator) count(st *Stats) {
	st.Invalidations = v.done.Load()
	st.InvalidationsDropped = v.dropped.Load()
}
