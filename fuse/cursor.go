package fuse

import (
	"syscall"

	"github.com/shoal-mesh/shoal"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

// dotdot is the cookie of ".."; "." has 1, and a name its id.
const dotdot = shoal.FirstID - 1

// A cursor is a position in a listing. The kernel names positions by a number, the
// cookie of the entry before; Names by the name of that entry. An entry's cookie is its
// id, whose name is known for good: so a cursor remembers nothing of what it has passed,
// however large the directory, and what follows a cookie is what follows that name.
// Entries that come and go in between neither hide nor repeat another.
type cursor struct {
	cookie uint64 // of the entry passed last, 0 at the start
	after  string // its name, "" before the first

	// batch holds entries in order, of which those before next have been passed:
	// kept, since the kernel asks again for what its caller's buffer did not hold.
	batch []shoal.Entry
	next  int
	more  bool // entries may follow the batch
}

// seek moves to the entry after the one that has cookie. It returns false if that takes
// the name that cookie stands for: see jump. Seeking to 0 starts a new listing.
func (c *cursor) seek(cookie uint64) bool {
	switch {
	case cookie == 0:
		*c = cursor{more: true}
	case cookie == c.cookie, c.again(cookie):
	case cookie <= dotdot:
		*c = cursor{cookie: cookie, more: true}
	default:
		return false
	}
	return true
}

// again moves within the batch if cookie is of it.
func (c *cursor) again(cookie uint64) bool {
	for i := range c.batch {
		if c.batch[i].ID == cookie {
			c.next = i
			c.pass()
			return true
		}
	}
	return false
}

// jump moves to the entry after name, which cookie stands for.
func (c *cursor) jump(cookie uint64, name string) {
	*c = cursor{cookie: cookie, after: name, more: true}
}

// hungry reports whether the batch must be fed before one knows what follows.
func (c *cursor) hungry() bool {
	return c.cookie >= dotdot && c.next == len(c.batch) && c.more
}

// ready reports whether an entry is upcoming, when the cursor is not hungry.
func (c *cursor) ready() bool { return c.cookie < dotdot || c.next < len(c.batch) }

// take gives up a batch of which all have been passed, for its memory.
func (c *cursor) take() []shoal.Entry {
	batch := c.batch
	c.batch, c.next = nil, 0
	return batch
}

// feed sets the entries that follow after; more tells that others may follow these.
func (c *cursor) feed(batch []shoal.Entry, more bool) {
	c.batch, c.next, c.more = batch, 0, more
}

// drop gives the batch up: what follows is asked for again.
func (c *cursor) drop() {
	if len(c.batch) > 0 {
		c.batch, c.next, c.more = nil, 0, true
	}
}

// finish gives the batch up at the end of the listing, where nothing follows.
func (c *cursor) finish() { c.batch, c.next = nil, 0 }

// item returns the upcoming entry of the directory d, nil for "." and "..".
func (c *cursor) item(d shoal.Entry) (gofuse.DirEntry, *shoal.Entry) {
	switch c.cookie {
	case 0:
		return gofuse.DirEntry{Name: ".", Ino: d.ID, Mode: syscall.S_IFDIR, Off: 1}, nil
	case 1:
		return gofuse.DirEntry{Name: "..", Ino: d.Parent, Mode: syscall.S_IFDIR, Off: dotdot}, nil
	}
	e := &c.batch[c.next]
	return gofuse.DirEntry{Name: e.Info.Name, Ino: e.ID, Off: e.ID}, e
}

// pass moves beyond the upcoming entry.
func (c *cursor) pass() {
	if c.cookie < dotdot {
		c.cookie++
		return
	}
	e := &c.batch[c.next]
	c.cookie, c.after = e.ID, e.Info.Name
	c.next++
}
