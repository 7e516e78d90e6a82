package namespace

import (
	"context"
	"io/fs"
	"sync"
)

// A change says that name in the directory parent does not stand for id as it did; for id 0,
// that it did not exist and does. With reached it is a mark in the queue.
type change struct {
	parent  uint64
	name    string
	id      uint64
	reached chan struct{}
}

// changes hands changes to a function, from a goroutine of its own and one by one, and
// never makes the one who posts wait: that may be a request of the very kernel that the
// function wants to tell. So the queue has no bound but the number of names that changed.
type changes struct {
	tell func(parent uint64, name string, oldID uint64)
	wake chan struct{} // holds one token while the queue may not be empty
	stop chan struct{}
	wg   sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	queue   []change
	waiting map[change]bool // the same, to find equal ones
}

// newChanges returns a running queue; close ends it. tell may be nil.
func newChanges(tell func(parent uint64, name string, oldID uint64)) *changes {
	c := &changes{tell: tell, wake: make(chan struct{}, 1), stop: make(chan struct{}), waiting: map[change]bool{}}
	if tell != nil {
		c.wg.Go(c.run)
	}
	return c
}

func (c *changes) post(list []change) {
	if c.tell == nil || len(list) == 0 {
		return
	}
	c.mu.Lock()
	for _, ch := range list {
		if !c.waiting[ch] {
			c.waiting[ch] = true
			c.queue = append(c.queue, ch)
		}
	}
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *changes) run() {
	for {
		select {
		case <-c.stop:
			return
		case <-c.wake:
		}
		for _, ch := range c.take() {
			select {
			case <-c.stop:
				return
			default:
				c.pass(ch)
			}
		}
	}
}

func (c *changes) pass(ch change) {
	if ch.reached != nil {
		close(ch.reached)
		return
	}
	c.tell(ch.parent, ch.name, ch.id)
}

// flush returns when all that was posted before has been told.
func (c *changes) flush(ctx context.Context) error {
	if c.tell == nil {
		return nil
	}
	mark := change{reached: make(chan struct{})}
	c.post([]change{mark})
	select {
	case <-mark.reached:
		return nil
	case <-c.stop:
		return fs.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *changes) take() []change {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.queue
	c.queue, c.waiting = nil, map[change]bool{}
	return list
}

// close drops what waits, and returns when a call in progress has. It is called once.
func (c *changes) close() {
	close(c.stop)
	c.wg.Wait()
}
