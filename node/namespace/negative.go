package namespace

import (
	"sync"
	"time"
)

// maxNegatives bounds how many names that do not exist are remembered, about 100 bytes
// each.
const maxNegatives = 64 << 10

// negatives remembers, in RAM only, which names a Stat did not find: that counts for a short
// time, but who was told so may believe it for longer, and is to hear when it is there.
type negatives struct {
	mu    sync.Mutex // guards the fields below
	asked map[nameOf]int64
}

// A nameOf is a name in a directory.
type nameOf struct {
	dir  uint64
	name string
}

func newNegatives() *negatives { return &negatives{asked: map[nameOf]int64{}} }

// has reports whether name was found missing less than ttl before now.
func (c *negatives) has(dir uint64, name string, now time.Time, ttl time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.asked[nameOf{dir, name}]
	return ok && young(at, now, ttl)
}

// add remembers that name was not there when asked at. When full it forgets any other.
func (c *negatives) add(dir uint64, name string, at int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.asked) >= maxNegatives {
		for k := range c.asked {
			delete(c.asked, k)
			break
		}
	}
	c.asked[nameOf{dir, name}] = at
}

// forget drops name, and reports whether it was remembered.
func (c *negatives) forget(dir uint64, name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.asked[nameOf{dir, name}]
	delete(c.asked, nameOf{dir, name})
	return ok
}

// appeared is told of a name in d that is recorded to exist.
func (n *Namespace) appeared(d *dir, name string) {
	if n.negatives.forget(d.id, name) {
		n.changes.post([]change{{parent: d.id, name: name}}, false)
	}
}

// young reports whether at, in nanoseconds since 1970, is less than ttl before now. What
// lies in the future is not young: the clock was wrong then or is wrong now.
func young(at int64, now time.Time, ttl time.Duration) bool {
	age := now.UnixNano() - at
	return age >= 0 && age < int64(ttl)
}
