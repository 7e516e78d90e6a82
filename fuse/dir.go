package fuse

import (
	"context"
	"strings"
	"sync"
	"syscall"

	"github.com/shoal-mesh/shoal"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

// A dir is one open directory.
type dir struct {
	entry shoal.Entry
	// mu is held while the directory is listed: a handle has one position, and the
	// kernel asks for one page of it at a time. It guards the fields below.
	mu sync.Mutex
	at cursor
}

// OpenDir opens a directory.
func (r *raw) OpenDir(cancel <-chan struct{}, in *gofuse.OpenIn, out *gofuse.OpenOut) gofuse.Status {
	d := new(dir)
	err := r.interruptible(cancel, in.Pid, func(ctx context.Context) (err error) {
		d.entry, err = r.names.Attr(ctx, in.NodeId)
		if err == nil && !d.entry.Info.IsDir() {
			err = syscall.ENOTDIR
		}
		return err
	})
	if err != nil {
		return r.failed(idErrno(err), err, "opendir", in.NodeId, d.entry.Path)
	}
	fh, ok := r.dirs.add(d)
	if !ok {
		return r.full("opendir", in.NodeId, d.entry.Path)
	}
	out.Fh = fh
	return gofuse.OK
}

// ReadDir fills one page with names.
func (r *raw) ReadDir(cancel <-chan struct{}, in *gofuse.ReadIn, out *gofuse.DirEntryList) gofuse.Status {
	return r.list(cancel, in, func(d gofuse.DirEntry, _ *shoal.Entry) bool {
		return out.AddDirEntry(d)
	})
}

// ReadDirPlus fills one page with names and what they stand for, which spares the
// kernel a lookup each.
func (r *raw) ReadDirPlus(cancel <-chan struct{}, in *gofuse.ReadIn, out *gofuse.DirEntryList) gofuse.Status {
	return r.list(cancel, in, func(d gofuse.DirEntry, e *shoal.Entry) bool {
		at := out.AddDirLookupEntry(d)
		if at != nil && e != nil {
			r.cfg.fillEntry(*e, at)
		}
		return at != nil
	})
}

// ReleaseDir closes a directory.
func (r *raw) ReleaseDir(in *gofuse.ReleaseIn) { r.dirs.remove(in.Fh) }

// list gives add the names that follow in.Offset until it returns false. The entry is
// nil for "." and "..".
func (r *raw) list(cancel <-chan struct{}, in *gofuse.ReadIn, add func(gofuse.DirEntry, *shoal.Entry) bool) gofuse.Status {
	r.n.readDirs.Add(1)
	d, ok := r.dirs.at(in.Fh)
	if !ok {
		return gofuse.EBADF
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.at.seek(in.Offset) {
		return gofuse.EINVAL
	}
	for added := false; ; added = true {
		more, err := r.upcoming(cancel, in.Pid, d)
		switch {
		case err != nil && !added:
			return r.failed(idErrno(err), err, "readdir", in.NodeId, d.entry.Path)
		case err != nil || !more:
			return gofuse.OK // an error comes again with the next page
		}
		item, e := d.at.item(d.entry)
		if e != nil {
			item.Mode = r.cfg.mode(*e)
		}
		if !add(item, e) {
			return gofuse.OK
		}
		d.at.pass()
	}
}

// upcoming reports whether another name follows, and lists on if that is not known.
func (r *raw) upcoming(cancel <-chan struct{}, tid uint32, d *dir) (bool, error) {
	if !d.at.hungry() {
		return d.at.next < len(d.at.batch) || d.at.cookie < dotdot, nil
	}
	var batch []shoal.Entry
	more := false
	err := r.interruptible(cancel, tid, func(ctx context.Context) (err error) {
		batch, more, err = r.batch(ctx, d.entry.ID, d.at.after())
		return err
	})
	if err != nil {
		return false, err
	}
	d.at.feed(batch, more)
	return len(batch) > 0, nil
}

// batch lists the next entries of a directory, and whether there may be more.
func (r *raw) batch(ctx context.Context, id uint64, after string) ([]shoal.Entry, bool, error) {
	batch := make([]shoal.Entry, 0, batchLen)
	for e, err := range r.names.ReadDir(ctx, id, after) {
		if err != nil {
			if len(batch) > 0 {
				return batch, true, nil // it comes again after these
			}
			return nil, false, err
		}
		if e.ID == 0 || !listable(e.Info.Name) {
			r.n.badNames.Add(1)
			continue
		}
		if batch = append(batch, e); len(batch) == batchLen {
			return batch, true, nil
		}
	}
	return batch, false, ctx.Err()
}

// listable reports whether the kernel accepts name in a listing. One name that it does
// not accept would make the whole directory unreadable.
func listable(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= maxName && !strings.ContainsAny(name, "/\x00")
}

const (
	dotdot   = 2    // the cookie of ".."; "." has 1, and names those after
	maxName  = 1024 // the longest name the kernel takes from a FUSE server
	batchLen = 512  // entries asked for at a time
)

// A cursor is a position in a listing. The kernel names positions by a number, the
// cookie of the entry before; Names by the name of that entry. So a cursor remembers
// the name each cookie it gave stands for, and goes on after that name: entries that
// come and go in between neither hide nor repeat another.
type cursor struct {
	names  []string // names[i] has the cookie i+dotdot+1
	cookie uint64   // of the entry passed last, 0 at the start

	// batch holds entries in order, of which those before next have been passed:
	// kept, since the kernel asks again for what its caller's buffer did not hold.
	batch   []shoal.Entry
	cookies []uint64 // of the passed ones
	base    uint64   // cookie of the entry before the batch
	next    int
	more    bool // entries may follow the batch
}

// seek moves to the entry after the one that has cookie; false if none has. Seeking to
// 0 starts a new listing, whose cookies start anew.
func (c *cursor) seek(cookie uint64) bool {
	switch {
	case cookie == 0:
		*c = cursor{more: true}
	case cookie == c.cookie:
	case cookie > dotdot+uint64(len(c.names)):
		return false
	case c.again(cookie):
	default:
		c.cookie, c.base, c.more = cookie, max(cookie, dotdot), true
		c.batch, c.cookies, c.next = nil, nil, 0
	}
	return true
}

// again moves back within the batch if cookie is of it, or is of the entry before.
func (c *cursor) again(cookie uint64) bool {
	if cookie < dotdot || len(c.batch) == 0 {
		return false
	}
	if cookie == c.base {
		c.cookie, c.next, c.cookies = cookie, 0, c.cookies[:0]
		return true
	}
	for i, passed := range c.cookies {
		if passed == cookie {
			c.cookie, c.next, c.cookies = cookie, i+1, c.cookies[:i+1]
			return true
		}
	}
	return false
}

// hungry reports whether the batch must be fed before one knows what follows.
func (c *cursor) hungry() bool {
	return c.cookie >= dotdot && c.next == len(c.batch) && c.more
}

// after returns the name that the next batch follows.
func (c *cursor) after() string {
	if c.cookie <= dotdot {
		return ""
	}
	return c.names[c.cookie-dotdot-1]
}

// feed sets the entries that follow; more tells that others may follow these.
func (c *cursor) feed(batch []shoal.Entry, more bool) {
	c.batch, c.cookies, c.next, c.more = batch, c.cookies[:0], 0, more
	c.base = c.cookie
}

// item returns the upcoming entry of the directory d, nil for "." and "..".
func (c *cursor) item(d shoal.Entry) (gofuse.DirEntry, *shoal.Entry) {
	switch c.cookie {
	case 0:
		return gofuse.DirEntry{Name: ".", Ino: d.ID, Mode: syscall.S_IFDIR, Off: 1}, nil
	case 1:
		return gofuse.DirEntry{Name: "..", Ino: d.Parent, Mode: syscall.S_IFDIR, Off: dotdot}, nil
	}
	e := &c.batch[c.next]
	return gofuse.DirEntry{Name: e.Info.Name, Ino: e.ID, Off: c.upcoming()}, e
}

// upcoming returns the cookie the upcoming entry gets: the one it had when it was
// listed before at this place, else a new one.
func (c *cursor) upcoming() uint64 {
	i := c.cookie - dotdot
	if i < uint64(len(c.names)) && c.names[i] == c.batch[c.next].Info.Name {
		return c.cookie + 1
	}
	return dotdot + uint64(len(c.names)) + 1
}

// pass moves beyond the upcoming entry.
func (c *cursor) pass() {
	if c.cookie < dotdot {
		c.cookie++
		return
	}
	cookie := c.upcoming()
	if cookie > dotdot+uint64(len(c.names)) {
		c.names = append(c.names, c.batch[c.next].Info.Name)
	}
	c.cookie = cookie
	c.cookies = append(c.cookies, cookie)
	c.next++
}
