package blockstore

import (
	"sync"

	"github.com/shoal-mesh/shoal"
)

// claims lets one goroutine at a time change whether a key is present: put it, or drop it
// and tell OnEvict. So the two never overlap for one key, and OnEvict has returned before
// the key is put again. No claim is waited for with a lock held.
type claims struct {
	mu   sync.Mutex // guards the field below
	held map[shoal.Key]chan struct{}
}

func newClaims() *claims { return &claims{held: make(map[shoal.Key]chan struct{})} }

// try claims key. If another holds it, try returns what is closed when it lets go.
func (c *claims) try(key shoal.Key) (released <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch, ok := c.held[key]; ok {
		return ch
	}
	c.held[key] = make(chan struct{})
	return nil
}

// wait claims key, after those who hold it now.
func (c *claims) wait(key shoal.Key) {
	for released := c.try(key); released != nil; released = c.try(key) {
		<-released
	}
}

// release lets keys go.
func (c *claims) release(keys ...shoal.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range keys {
		close(c.held[key])
		delete(c.held, key)
	}
}
