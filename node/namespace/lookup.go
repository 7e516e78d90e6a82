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

// A look is what is known of one name of a directory. l is read before the record: what
// a listing says holds for the records there are after it.
type look struct {
	l       *listRecord
	r       nameRecord
	have    bool
	verdict verdict
}

// look says what is known of name in d at now.
func (n *Namespace) look(d *dir, name string, now time.Time) (k look, err error) {
	k.l = d.listed.Load()
	progress := d.listing.Load()
	k.r, k.have, err = n.store.name(d.id, name, d.mount.tag)
	if err != nil {
		return k, err
	}
	ttl := d.mount.TTL
	switch {
	case k.have && k.r.expired != 0:
	case k.have && (young(k.r.fetched, now, ttl) || k.l.within(ttl, now)):
		k.verdict = present
	case k.have:
		seen, err := n.seen(d, progress, name)
		if err != nil {
			return k, err
		}
		if seen {
			k.verdict = present
		}
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
	r, err := n.stat(ctx, d, name)
	switch {
	case err == nil:
		return d.entry(name, r, nil, false), nil
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

// A statCall is one Stat that any number of lookups wait for.
type statCall struct {
	done chan struct{} // closed when the fields below are set
	r    nameRecord
	err  error
}

// stat asks the UFS for name in d, unless someone is asking already, and waits for the
// answer. The request goes on when ctx ends: its answer is kept.
func (n *Namespace) stat(ctx context.Context, d *dir, name string) (nameRecord, error) {
	c, err := n.statCall(d, name)
	if err != nil {
		return nameRecord{}, err
	}
	select {
	case <-c.done:
		return c.r, c.err
	case <-ctx.Done():
		return nameRecord{}, ctx.Err()
	}
}

// statCall returns the call for name in d, in progress or new.
func (n *Namespace) statCall(d *dir, name string) (*statCall, error) {
	key := nameOf{d.id, name}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, fs.ErrClosed
	}
	c := n.stats[key]
	if err := d.mount.admit(n.cfg.Now(), c != nil); err != nil {
		return nil, err
	}
	if c != nil {
		return c, nil
	}
	c = &statCall{done: make(chan struct{})}
	n.stats[key] = c
	n.wg.Go(func() {
		c.r, c.err = n.runStat(d, name)
		n.mu.Lock()
		delete(n.stats, key)
		n.mu.Unlock()
		close(c.done)
	})
	return c, nil
}

// runStat asks the UFS for name in d and records the answer.
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
