package namespace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/shoal-mesh/shoal"
)

// Sync asks the UFS for what is at the absolute path p, however fresh what is known of it is: by
// one Stat and, of a directory, by one complete listing, not of those below. When it returns,
// Config.OnChange has been told of all that is not as it was known. That there is nothing at p is
// an answer, too, and no error. Of the names above p only those are asked for that are not there.
func (n *Namespace) Sync(ctx context.Context, p string) error {
	if !path.IsAbs(p) {
		return fmt.Errorf("sync %q: not absolute: %w", p, fs.ErrInvalid)
	}
	e, err := n.resolveAnew(ctx, path.Clean(p))
	if err == nil && e.Info.IsDir() {
		err = n.listAnew(ctx, e.ID)
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = n.changes.flush(ctx)
	}
	if err != nil {
		return fmt.Errorf("sync %s: %w", p, err)
	}
	return nil
}

// resolveAnew is Resolve that asks the UFS for the last name.
func (n *Namespace) resolveAnew(ctx context.Context, p string) (shoal.Entry, error) {
	if p == "/" {
		return n.Resolve(ctx, p)
	}
	up, err := n.Resolve(ctx, path.Dir(p))
	if errors.Is(err, fs.ErrNotExist) {
		up, err = n.resolveAnew(ctx, path.Dir(p))
	}
	if err != nil {
		return shoal.Entry{}, err
	}
	return n.lookupAnew(ctx, up.ID, path.Base(p))
}

// lookupAnew is Lookup that asks the UFS, if it has a say.
func (n *Namespace) lookupAnew(ctx context.Context, parent uint64, name string) (shoal.Entry, error) {
	d, err := n.dir(parent)
	if err != nil {
		return shoal.Entry{}, err
	}
	if d.mount != nil && d.child(name) == nil && validName(name) {
		if err := n.statAnew(ctx, d, name); err != nil {
			return shoal.Entry{}, err
		}
	}
	return n.Lookup(ctx, parent, name)
}

// statAnew sends a Stat of name in d and records the answer, also when ctx ends before. It joins
// none in progress: that may have been answered before something changed.
func (n *Namespace) statAnew(ctx context.Context, d *dir, name string) error {
	done := make(chan error, 1)
	n.mu.Lock()
	err := fs.ErrClosed
	if !n.closed {
		err = d.mount.admit(n.cfg.Now(), false)
	}
	if err == nil {
		n.wg.Go(func() {
			_, err := n.askStat(d, name, n.cfg.Now())
			done <- err
		})
	}
	n.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// listAnew waits for the end of a listing of the directory id that begins now, or later.
func (n *Namespace) listAnew(ctx context.Context, id uint64) error {
	d, err := n.dir(id)
	if err != nil || d.mount == nil {
		return err
	}
	for began := n.cfg.Now().UnixNano(); ; {
		l, err := n.list(d)
		if err != nil {
			return err
		}
		if err = l.end(ctx); l.started >= began || ctx.Err() != nil {
			return err
		}
	}
}

// end returns when the listing is over, with its error if it is not complete.
func (l *listing) end(ctx context.Context) error {
	for after := ""; ; {
		upto, done, err := l.wait(ctx, after, forever)
		if done || err != nil {
			return err
		}
		after = upto
	}
}
