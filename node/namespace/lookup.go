package namespace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/ufs"
)

// A verdict is what can be said of a name without the UFS.
type verdict uint8

const (
	unknown verdict = iota // nothing fresh: ask
	present
	absent
)

// A look is what is known of one name of a directory. l, and how far a listing in
// progress is, are read before the record: what a listing says holds for the records
// there are after it.
type look struct {
	l       *listRecord
	r       nameRecord
	have    bool
	verdict verdict
}

// look says what is known of name in d at now.
func (n *Namespace) look(d *dir, name string, now time.Time) (k look, err error) {
	progress := d.listing.Load() // before listed, or one that ends now is in neither
	k.l = d.listed.Load()
	seen, err := n.seen(d, progress, name)
	if err != nil {
		return k, err
	}
	k.r, k.have, err = n.store.name(d.id, name, d.mount.tag)
	if err != nil {
		return k, err
	}
	ttl := d.mount.TTL
	switch {
	case k.have && k.r.expired != 0:
	case k.have && (seen || young(k.r.fetched, now, ttl) || k.l.within(ttl, now)):
		k.verdict = present
	case k.have:
	case k.l.within(ttl, now), n.negatives.has(d.id, name, now, min(ttl, n.cfg.NegativeTTL)):
		k.verdict = absent
	}
	return k, nil
}

// lookup returns the entry of name, which no point has, in d, which has a mount.
func (n *Namespace) lookup(ctx context.Context, d *dir, name string) (shoal.Entry, error) {
	k, err := n.look(d, name, n.cfg.Now())
	if err != nil {
		return shoal.Entry{}, fmt.Errorf("lookup %s: %w", join(d.path, name), err)
	}
	switch k.verdict {
	case present:
		n.count.hits.Add(1)
		return d.entry(name, k.r, k.l, false), nil
	case absent:
		n.count.negativeHits.Add(1)
		return shoal.Entry{}, notExist(d, name)
	}
	patience := forever
	if k.have && k.r.expired == 0 && n.servable(d.mount, k.r.confirmed(k.l)) {
		patience = d.mount.patience(n.cfg.StaleWait)
	}
	r, l, err := n.refresh(ctx, d, name, patience)
	if patience > 0 && errors.Is(err, errSlow) {
		d.mount.lag()
	}
	switch {
	case err == nil:
		return d.entry(name, r, l, false), nil
	case errors.Is(err, ufs.ErrUnavailable) && k.have && n.servable(d.mount, k.r.confirmed(k.l)):
		n.count.staleServed.Add(1)
		return d.entry(name, k.r, k.l, true), nil
	case errors.Is(err, ctx.Err()):
		return shoal.Entry{}, err
	}
	return shoal.Entry{}, fmt.Errorf("lookup %s on mount %s (%s): %w", join(d.path, name), d.mount.Path, d.mount.address, err)
}

// servable reports whether what was confirmed at at may be served while m does not answer.
func (n *Namespace) servable(m *mount, at int64) bool {
	return n.cfg.Now().UnixNano()-at <= int64(m.MaxStale)
}

// forever is the patience of who has nothing to serve but what the UFS answers.
const forever time.Duration = -1

// errSlow reports that patience ran out. The request goes on.
var errSlow = fmt.Errorf("no answer yet: %w", ufs.ErrUnavailable)

// wait returns nil when done is closed, and an error when ctx ends or patience runs out.
func wait(ctx context.Context, done <-chan struct{}, patience time.Duration) error {
	var late <-chan time.Time
	switch {
	case patience == 0:
		select {
		case <-done:
			return nil
		default:
			return errSlow
		}
	case patience > 0:
		timer := time.NewTimer(patience)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-late:
		return errSlow
	}
}

// A statCall is one Stat that any number of lookups wait for.
type statCall struct {
	done chan struct{} // closed when the fields below are set
	r    nameRecord
	err  error
}

// refresh asks the UFS for name in d, unless someone is asking already, and waits for the
// answer: that of a listing of d if one is due, else, or if it gives none, that of a
// Stat. The request goes on when ctx ends or patience runs out (errSlow): its answer is
// kept. l goes with r as in look.
func (n *Namespace) refresh(ctx context.Context, d *dir, name string, patience time.Duration) (r nameRecord, l *listRecord, err error) {
	if patience == 0 && d.mount.crowded() {
		return nameRecord{}, nil, errSlow
	}
	c, due, err := n.call(d, name, true)
	if due != nil {
		k, waitErr := n.await(ctx, d, due, name, patience)
		switch {
		case errors.Is(waitErr, errSlow):
			return nameRecord{}, nil, waitErr
		case waitErr == nil && k.verdict == present:
			return k.r, k.l, nil
		case waitErr == nil && k.verdict == absent:
			return nameRecord{}, nil, fs.ErrNotExist
		case ctx.Err() != nil:
			return nameRecord{}, nil, ctx.Err()
		}
		c, _, err = n.call(d, name, false)
	}
	if err != nil {
		return nameRecord{}, nil, err
	}
	if err := wait(ctx, c.done, patience); err != nil {
		return nameRecord{}, nil, err
	}
	return c.r, nil, c.err
}

// call returns the Stat for name in d, in progress or new; or, if mayList, the listing of
// d that is due in its place. It decides under one lock, so that no burst of lookups
// sends more Stats than due allows.
func (n *Namespace) call(d *dir, name string, mayList bool) (*statCall, *listing, error) {
	key := nameOf{d.id, name}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, nil, fs.ErrClosed
	}
	c := n.stats[key]
	if c == nil && mayList {
		if l := n.due(d); l != nil {
			return nil, l, nil
		}
	}
	if err := d.mount.admit(n.cfg.Now(), c != nil); err != nil {
		return nil, nil, err
	}
	if c != nil {
		return c, nil, nil
	}
	c = &statCall{done: make(chan struct{})}
	n.stats[key] = c
	if d.listed.Load().expired(d.mount.TTL, n.cfg.Now()) {
		d.spent++
	}
	n.wg.Go(func() {
		c.r, c.err = n.runStat(d, name)
		n.mu.Lock()
		delete(n.stats, key)
		n.mu.Unlock()
		close(c.done)
	})
	return c, nil, nil
}

// runStat is askStat for a lookup that found nothing fresh.
func (n *Namespace) runStat(d *dir, name string) (nameRecord, error) {
	asked := n.cfg.Now()
	// Between the caller's look and this call another one may have been answered.
	if k, err := n.look(d, name, asked); err != nil || k.verdict != unknown {
		n.report(d.mount, context.Canceled)
		if err == nil && k.verdict == absent {
			err = fs.ErrNotExist
		}
		return k.r, err
	}
	return n.askStat(d, name, asked)
}

// askStat asks the UFS for name in d, now, and records the answer. The mount has admitted it.
func (n *Namespace) askStat(d *dir, name string, asked time.Time) (nameRecord, error) {
	n.count.ufsStats.Add(1)
	info, err := ask(n, d.mount, n.cfg.Timeout, func(ctx context.Context) (shoal.FileInfo, error) {
		return d.mount.FS.Stat(ctx, d.sourceOf(name))
	})
	if err == nil && !usable(info) {
		n.skip(d, name)
		err = fmt.Errorf("neither file nor directory: %w", fs.ErrNotExist)
	}
	if err == nil {
		return n.learnStat(d, name, info, asked.UnixNano())
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.Join(err, n.learnAbsent(d, name, asked.UnixNano()))
	}
	return nameRecord{}, err
}

// skip counts a name of the UFS that cannot be one here.
func (n *Namespace) skip(d *dir, name string) {
	n.count.skipped.Add(1)
	n.cfg.Logger.Debug("name skipped", slog.String("directory", d.path), slog.String("name", name))
}
