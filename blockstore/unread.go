package blockstore

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// An unread is what a rebuild of a disk could not read. A bad sector loses what lies in it, and
// no more; a disk that reads nothing is another matter, since all may be there when it is well.
type unread struct {
	disk *disk

	mu     sync.Mutex // guards the fields below
	n      int
	places []badPlace
}

// A badPlace is a part of a container's file that cannot be read. Writing over it may mend it.
type badPlace struct {
	name   fileName
	off, n int64
	mended func() // may be nil
}

// lost counts what could not be read because of err, and returns an error if the rebuild is to
// end. A container that is damaged, or nil, is not counted: there is nothing to be had from it.
func (u *unread) lost(err error) error {
	if err == nil || damagedContainer(err) {
		return nil
	}
	if !unreadable(err) {
		return err
	}
	u.mu.Lock()
	u.n++
	n := u.n
	u.mu.Unlock()
	if n&(n-1) != 0 { // now and then is enough to see that a disk is no more
		return nil
	}
	u.disk.log.Error("a part of a container cannot be read", "disk", u.disk.path, "so far", n, "err", err)
	return u.disk.tryRead(err)
}

// lostAt is lost of n bytes of a file, which are written over in the end.
func (u *unread) lostAt(name fileName, off, n int64, err error, mended func()) error {
	if end := u.lost(fmt.Errorf("%s: %w", name.path(""), err)); end != nil || !unreadable(err) {
		return end
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if last := len(u.places) - 1; last >= 0 && mended == nil {
		if p := &u.places[last]; p.name == name && p.off+p.n == off {
			p.n += n
			return nil
		}
	}
	u.places = append(u.places, badPlace{name, off, n, mended})
	return nil
}

// count returns how often something could not be read.
func (u *unread) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.n
}

// end makes what could not be read usable, as far as it can be: who writes a part of a page that
// cannot be read would fail. It returns an error if the disk reads nothing.
func (u *unread) end() error {
	if u.n == 0 {
		return nil
	}
	if err := u.disk.tryRead(nil); err != nil {
		return err
	}
	for _, p := range u.places {
		if err := u.disk.writeTo(p.name, [][]byte{make([]byte, p.n)}, p.off); err != nil {
			u.disk.log.Warn("a part of a container cannot be written either", "file", p.name.path(u.disk.path), "offset", p.off, "err", err)
			continue
		}
		if p.mended != nil {
			p.mended()
		}
	}
	return nil
}

// damagedContainer reports whether an error is that a container is not what it should be, rather
// than that it cannot be read.
func damagedContainer(err error) bool {
	return errors.Is(err, errRecord) || errors.Is(err, errTruncated) || errors.Is(err, fs.ErrNotExist)
}

// unreadable reports whether an error of reading is of the place that is read, or of the disk.
func unreadable(err error) bool {
	return deviceFault(err) && !exhausted(err) && !errors.Is(err, fs.ErrPermission)
}

// tryRead finds out whether the disk reads what it is given to write. It returns an error, with
// cause if there is one, when it does not.
func (d *disk) tryRead(cause error) error {
	path := filepath.Join(d.path, "trial")
	if err := d.files.Remove(path); !isGone(err) {
		return trialError(cause, err)
	}
	err := d.writeAndRead(path)
	_ = d.files.Remove(path)
	if err == nil || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) { // that it is full says nothing
		return nil
	}
	return trialError(cause, err)
}

func trialError(cause, err error) error {
	if cause != nil {
		return fmt.Errorf("%w; trial read: %w", cause, err)
	}
	return fmt.Errorf("trial read: %w", err)
}

func (d *disk) writeAndRead(path string) error {
	if err := d.files.Create(path, pageSize, false); err != nil {
		return err
	}
	f, err := d.files.Open(path)
	if err != nil {
		return err
	}
	page := *alignedPages(pageSize)
	err = f.WriteAt([][]byte{page}, 0)
	if err == nil {
		err = f.ReadAt([][]byte{page}, 0, true)
	}
	return errors.Join(err, f.Close())
}
