package namespace

import (
	"context"
	"io/fs"
	"sync"
)

// A change says that name in the directory parent does not stand for id as it did; for id 0,
// that it did not exist and does.
type change struct {
	parent uint64
	name   string
	id     uint64
}

// maxChanges bounds how many changes wait in RAM, about 150 bytes each and the name.
const maxChanges = 64 << 10

// changes hands changes to a function, from a goroutine of its own and one by one, and
// never makes the one who posts wait: that may be a request of the very kernel that the
// function wants to tell. When limit wait already, the edit that makes more keeps them in
// the store, from where they come in their turn.
type changes struct {
	tell  func(parent uint64, name string, oldID uint64)
	limit int
	wake  chan struct{} // holds one token while something may wait
	stop  chan struct{}
	wg    sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	queue   []change
	waiting map[change]bool // the same, to find equal ones
	stored  bool            // others may wait in the store
	flushes []chan struct{} // each closed when nothing waits
}

// newChanges returns a queue: start sets it to work, close ends it. tell may be nil.
func newChanges(tell func(parent uint64, name string, oldID uint64)) *changes {
	return &changes{
		tell: tell, limit: maxChanges, wake: make(chan struct{}, 1), stop: make(chan struct{}),
		waiting: map[change]bool{}, stored: true, // an earlier process may have left some
	}
}

// start begins to tell. fromStore takes some changes out of the store, none if there are
// none.
func (c *changes) start(fromStore func() []change) {
	if c.tell != nil {
		c.wg.Go(func() { c.run(fromStore) })
	}
}

// full reports whether what changes now is to be kept in the store.
func (c *changes) full() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue) >= c.limit
}

// post queues list; stored tells that others were kept in the store.
func (c *changes) post(list []change, stored bool) {
	if c.tell == nil || len(list) == 0 && !stored {
		return
	}
	c.mu.Lock()
	c.stored = c.stored || stored
	for _, ch := range list {
		if !c.waiting[ch] {
			c.waiting[ch] = true
			c.queue = append(c.queue, ch)
		}
	}
	c.mu.Unlock()
	c.rouse()
}

func (c *changes) rouse() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// flush returns when all that was posted before has been told.
func (c *changes) flush(ctx context.Context) error {
	if c.tell == nil {
		return nil
	}
	told := make(chan struct{})
	c.mu.Lock()
	c.flushes = append(c.flushes, told)
	c.mu.Unlock()
	c.rouse()
	select {
	case <-told:
		return nil
	case <-c.stop:
		return fs.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *changes) run(fromStore func() []change) {
	for {
		list := c.take(fromStore)
		for _, ch := range list {
			select {
			case <-c.stop:
				return
			default:
				c.tell(ch.parent, ch.name, ch.id)
			}
		}
		if len(list) > 0 {
			continue
		}
		select {
		case <-c.stop:
			return
		case <-c.wake:
		}
	}
}

// take returns changes to tell: those in RAM, else some from the store. When there is none it
// ends the flushes asked for until then.
func (c *changes) take(fromStore func() []change) []change {
	for {
		c.mu.Lock()
		list, stored := c.queue, c.stored
		c.queue, c.waiting = nil, map[change]bool{}
		c.stored = stored && len(list) > 0
		if len(list) == 0 && !stored {
			c.flushed()
		}
		c.mu.Unlock()
		if len(list) > 0 || !stored {
			return list
		}
		if list = fromStore(); len(list) > 0 {
			c.mu.Lock()
			c.stored = true // there may be more
			c.mu.Unlock()
			return list
		}
	}
}

// flushed ends the flushes. c.mu is held.
func (c *changes) flushed() {
	for _, told := range c.flushes {
		close(told)
	}
	c.flushes = nil
}

// close drops what waits in RAM, and returns when a call in progress has. It is called
// once.
func (c *changes) close() {
	close(c.stop)
	c.wg.Wait()
}
