package node

import (
	"errors"
	"io/fs"
	"syscall"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/ufs"
)

// failures are the fetches that failed a moment ago and would again: the version is gone, the UFS
// forbids it, or was long in not answering. Who wants such a block is told so at once. The kernel asks
// more than once for the bytes of one read: it reads ahead, and if that fails once more what is
// wanted; a mapped page it asks for until no signal came meanwhile, and in some programs one comes
// every 10 ms. What else fails, and quickly, is tried again.
type failures struct {
	last  map[shoal.Key]failure
	swept time.Time
}

type failure struct {
	err error
	at  time.Time
}

// add notes that the fetch of a block that began then ended with err now. since is the least time at
// which a fetch must have begun for its wait to be short, and what failed before it is forgotten.
func (f *failures) add(key shoal.Key, err error, began, now, since time.Time) {
	long := errors.Is(err, ufs.ErrUnavailable) && !began.After(since)
	if !long && !errors.Is(err, syscall.ESTALE) && !errors.Is(err, fs.ErrPermission) {
		return
	}
	if f.last == nil {
		f.last = make(map[shoal.Key]failure)
	}
	if !f.swept.After(since) {
		f.swept = now
		for k, old := range f.last {
			if old.at.Before(since) {
				delete(f.last, k)
			}
		}
	}
	f.last[key] = failure{err, now}
}

// of returns why the fetch of a block failed, if it did since then.
func (f *failures) of(key shoal.Key, since time.Time) error {
	if old, ok := f.last[key]; ok && !old.at.Before(since) {
		return old.err
	}
	return nil
}
