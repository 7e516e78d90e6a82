package node

import (
	"errors"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/ufs"
)

// failures are the fetches that failed a moment ago, after a long wait for a UFS that does not answer.
// Who wants such a block is told so at once. The kernel asks more than once for the bytes of one read:
// it reads ahead, and if that fails once more what is wanted; a mapped page it asks for until no signal
// came meanwhile. Each time would take as long to fail as the first. What fails quickly is tried again.
type failures map[shoal.Key]failure

type failure struct {
	err error
	at  time.Time
}

// add notes that the fetch of a block that began then ended with err now, if it began before since.
// What failed before since is forgotten.
func (f failures) add(key shoal.Key, err error, began, now, since time.Time) {
	if !errors.Is(err, ufs.ErrUnavailable) || began.After(since) {
		return
	}
	for k, old := range f {
		if old.at.Before(since) {
			delete(f, k)
		}
	}
	f[key] = failure{err, now}
}

// of returns why the fetch of a block failed, if it did since then.
func (f failures) of(key shoal.Key, since time.Time) error {
	if old, ok := f[key]; ok && !old.at.Before(since) {
		return old.err
	}
	return nil
}
