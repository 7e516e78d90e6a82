package namespace

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sort"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/ufs"
)

// chunk is how many names of a directory a ReadDir holds in RAM.
const chunk = 512

// ReadDir returns the entries of the directory id in the byte order of their names,
// those strictly after after. From a fresh listing they come without asking the UFS; of
// a listing that has to be fetched they come page by page as it does. An error is the
// last thing the sequence yields. It holds nothing between two entries but a few hundred
// of them, so that it may be left unfinished or be slow.
func (n *Namespace) ReadDir(ctx context.Context, id uint64, after string) iter.Seq2[shoal.Entry, error] {
	return func(yield func(shoal.Entry, error) bool) {
		d, err := n.dir(id)
		if err != nil {
			yield(shoal.Entry{}, fmt.Errorf("read directory: %w", err))
			return
		}
		w := &walk{n: n, d: d, after: after, yield: yield, points: d.names()}
		w.points = w.points[sort.Search(len(w.points), func(i int) bool { return w.points[i] > after }):]
		if d.mount != nil {
			err = w.run(ctx)
		}
		switch {
		case errors.Is(err, errStopped):
		case err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()):
			yield(shoal.Entry{}, err)
		case err != nil:
			yield(shoal.Entry{}, fmt.Errorf("read directory %s on mount %s (%s): %w", d.path, d.mount.Path, d.mount.address, err))
		default:
			_ = w.pointsBefore("") // errStopped: nobody listens any more
		}
	}
}

// Listed returns when the complete listing of the directory id began that ReadDir shows without
// asking the UFS; else the zero time. Names that have changed since were told to Config.OnChange;
// those that a lookup found since, and nobody had asked for, were not.
func (n *Namespace) Listed(id uint64) time.Time {
	d, err := n.dir(id)
	if err != nil || d.mount == nil {
		return time.Time{}
	}
	l := d.listed.Load()
	if !l.within(d.mount.TTL, n.cfg.Now()) {
		return time.Time{}
	}
	return time.Unix(0, l.started)
}

// errStopped reports that the consumer of a sequence wants no more.
var errStopped = errors.New("stopped")

// A walk is one pass over the names of a directory of a mount.
type walk struct {
	n      *Namespace
	d      *dir
	after  string // the last name that was looked at
	points []string
	yield  func(shoal.Entry, error) bool
}

// run goes over all names: those there are if the listing is fresh, those that a listing
// in progress has seen as it sees them, or those there are if the UFS does not answer, or
// not soon.
func (w *walk) run(ctx context.Context) error {
	l := w.d.listed.Load()
	if l.within(w.d.mount.TTL, w.n.cfg.Now()) {
		return w.upTo("", l, nil, false)
	}
	patience := forever
	if l != nil && w.n.servable(w.d.mount, l.started) {
		patience = w.d.mount.patience(w.n.cfg.StaleWait)
	}
	var progress *listing
	err := errSlow
	if patience != 0 || !w.d.mount.crowded() {
		progress, err = w.n.list(w.d)
	}
	for err == nil {
		var upto string
		var done bool
		upto, done, err = progress.wait(ctx, w.after, patience)
		if done {
			return w.upTo("", w.d.listed.Load(), nil, false)
		}
		if err == nil {
			err = w.upTo(upto, l, progress, false)
		}
	}
	if patience > 0 && errors.Is(err, errSlow) {
		w.d.mount.lag()
	}
	if errors.Is(err, ufs.ErrUnavailable) && l != nil && w.n.servable(w.d.mount, l.started) {
		return w.upTo("", l, nil, true)
	}
	return err
}

// upTo yields the names that are kept after w.after up to upto, "" for all, and the
// points between them.
func (w *walk) upTo(upto string, l *listRecord, progress *listing, stale bool) error {
	for {
		hide := progress != nil && progress.missing.Load() > 0
		found, more, err := w.n.store.names(w.d.id, w.d.mount.tag, w.after, upto, chunk, hide)
		if err != nil {
			return err
		}
		for _, r := range found {
			w.after = r.name
			if err := w.pointsBefore(r.name); err != nil {
				return err
			}
			if w.d.child(r.name) != nil {
				continue
			}
			if stale {
				w.n.count.staleServed.Add(1)
			}
			if !w.yield(w.d.entry(r.name, r.nameRecord, l, stale), nil) {
				return errStopped
			}
		}
		if !more {
			w.after = max(w.after, upto)
			return nil
		}
	}
}

// pointsBefore yields the points not yielded yet up to name, "" for all.
func (w *walk) pointsBefore(name string) error {
	for len(w.points) > 0 && (name == "" || w.points[0] <= name) {
		p := w.d.child(w.points[0])
		w.points = w.points[1:]
		if !w.yield(p.entry(), nil) {
			return errStopped
		}
	}
	return nil
}
