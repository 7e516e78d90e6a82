package fuse

import (
	"context"
	"errors"
	"io/fs"
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
	mu    sync.Mutex
	at    cursor
	holds bool // at has a batch, which counts in raw.batches
}

// OpenDir opens a directory. The kernel keeps its names for as long as the listing they are from
// is good.
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
	out.Fh, out.OpenFlags = fh, r.listings.open(in.NodeId, r.names.Listed(in.NodeId))
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
func (r *raw) ReleaseDir(in *gofuse.ReleaseIn) {
	if d, ok := r.dirs.remove(in.Fh); ok {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.at.drop()
		r.settle(d)
	}
}

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
	defer r.settle(d)
	if code := r.seek(d, in.Offset); !code.Ok() {
		return code
	}
	for added := false; ; added = true {
		more, err := r.upcoming(cancel, in.Pid, d)
		switch {
		case err != nil && !added:
			return r.failed(idErrno(err), err, "readdir", in.NodeId, d.entry.Path)
		case err != nil || !more && added:
			return gofuse.OK // an error comes again with the next page
		case !more:
			d.at.finish()
			return gofuse.OK
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

// seek moves to the entry after the one that has cookie; EINVAL if none ever had it.
func (r *raw) seek(d *dir, cookie uint64) gofuse.Status {
	if d.at.seek(cookie) {
		return gofuse.OK
	}
	parent, name, err := r.names.NameOf(cookie)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && parent != d.entry.ID:
		return gofuse.EINVAL
	case err != nil:
		return r.failed(errno(err), err, "seekdir", d.entry.ID, d.entry.Path)
	}
	d.at.jump(cookie, name)
	return gofuse.OK
}

// settle counts the batch that d holds between two pages. If too many directories hold
// one, it drops it: the next page lists anew.
func (r *raw) settle(d *dir) {
	holds := len(d.at.batch) > 0
	switch {
	case holds && !d.holds && r.batches.Add(1) > maxBatches:
		r.batches.Add(-1)
		d.at.drop()
		return
	case !holds && d.holds:
		r.batches.Add(-1)
	}
	d.holds = holds
}

// upcoming reports whether another name follows, and lists on if that is not known.
func (r *raw) upcoming(cancel <-chan struct{}, tid uint32, d *dir) (bool, error) {
	if !d.at.hungry() {
		return d.at.ready(), nil
	}
	batch, more := d.at.take(), false
	err := r.interruptible(cancel, tid, func(ctx context.Context) (err error) {
		batch, more, err = r.batch(ctx, d.entry.ID, d.at.after, batch)
		return err
	})
	if err != nil {
		return false, err
	}
	d.at.feed(batch, more)
	return len(batch) > 0, nil
}

// batch lists the next entries of a directory, in place of those in batch, and whether
// there may be more.
func (r *raw) batch(ctx context.Context, id uint64, after string, batch []shoal.Entry) ([]shoal.Entry, bool, error) {
	batch = batch[:0]
	for e, err := range r.names.ReadDir(ctx, id, after) {
		if err != nil {
			if len(batch) > 0 {
				return batch, true, nil // it comes again after these
			}
			return nil, false, err
		}
		if !listable(e) {
			r.n.badNames.Add(1)
			continue
		}
		if batch = append(batch, e); len(batch) == batchLen {
			return batch, true, nil
		}
	}
	return batch, false, ctx.Err()
}

// listable reports whether the kernel accepts e in a listing. One entry that it does not
// accept would make the whole directory unreadable.
func listable(e shoal.Entry) bool {
	name := e.Info.Name
	return e.ID >= shoal.FirstID && e.ID <= shoal.LastID &&
		name != "" && name != "." && name != ".." && len(name) <= maxName && !strings.ContainsAny(name, "/\x00")
}

const (
	maxName  = 1024 // the longest name the kernel takes from a FUSE server
	batchLen = 512  // entries asked for at a time
	// maxBatches is how many open directories hold a batch between two pages, of about
	// 200 KB each. The others ask for one with every page.
	maxBatches = 256
)
