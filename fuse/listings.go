package fuse

import (
	"sync"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

// maxListings is how many directories are remembered whose names the kernel keeps. Of more, all
// are forgotten: each is listed once more.
const maxListings = 64 << 10

// listings know which listing of a directory the kernel keeps, so that a directory that is
// walked again is not listed again. The kernel keeps names only; attributes have timeouts of
// their own. The zero value is ready.
type listings struct {
	mu   sync.Mutex // guards the field below
	kept map[uint64]time.Time
}

// open returns the flags for a directory that is opened while its names are those of the listing
// that began then; zero if they are not known to be those of one.
func (l *listings) open(id uint64, began time.Time) uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case began.IsZero():
		delete(l.kept, id)
		return 0 // the kernel drops what it has, and keeps nothing
	case l.kept[id].Equal(began):
		return gofuse.FOPEN_CACHE_DIR | gofuse.FOPEN_KEEP_CACHE
	}
	if l.kept == nil || len(l.kept) >= maxListings {
		l.kept = make(map[uint64]time.Time)
	}
	l.kept[id] = began
	return gofuse.FOPEN_CACHE_DIR
}

// forget has the names of a directory listed when it is opened next.
func (l *listings) forget(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.kept, id)
}
