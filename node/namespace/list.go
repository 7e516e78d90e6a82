package namespace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/ufs"
)

// pageSize is how many names one List request asks for.
const pageSize = 1000

// A listing is one listing of a directory in progress. Names are recorded page by page;
// names that a page should have and has not are noted, and removed when the listing is
// complete. Until then they are left out of what ReadDir shows of it.
type listing struct {
	started int64
	missing atomic.Int64 // names noted

	mu   sync.Mutex // guards the fields below
	upto string     // all names up to it are recorded
	done bool
	err  error         // done: why it is not complete
	news chan struct{} // closed and replaced when the above change
}

// wait returns when names after after are recorded, and up to which; or when the listing
// is over: done if it is complete, with its error if it is not. It fails with errSlow if
// nothing is recorded for as long as patience: a listing that goes on is waited for.
func (l *listing) wait(ctx context.Context, after string, patience time.Duration) (upto string, done bool, err error) {
	for {
		l.mu.Lock()
		upto, done, err = l.upto, l.done, l.err
		news := l.news
		l.mu.Unlock()
		switch {
		case done && err == nil:
			return upto, true, nil
		case upto > after:
			return upto, false, nil
		case done:
			return upto, false, err
		}
		if err := wait(ctx, news, patience); err != nil {
			return "", false, err
		}
	}
}

func (l *listing) tell(upto string, done bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.upto, l.done, l.err = max(l.upto, upto), done, err
	close(l.news)
	l.news = make(chan struct{})
}

// seen reports whether l, nil for none, has recorded name and confirmed it: the record of
// name that is read after it, if there is one, is as the UFS said.
func (n *Namespace) seen(d *dir, l *listing, name string) (bool, error) {
	if l == nil {
		return false, nil
	}
	l.mu.Lock()
	seen := name <= l.upto && l.err == nil
	l.mu.Unlock()
	if !seen || l.missing.Load() == 0 {
		return seen, nil
	}
	missing, err := n.store.missing(d.id, name)
	return !missing, err
}

// list returns the listing of d that is in progress, or a new one. It goes on when
// nobody waits for it any more: what it records is of use.
func (n *Namespace) list(d *dir) (*listing, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, fs.ErrClosed
	}
	l := n.lists[d.id]
	if err := d.mount.admit(n.cfg.Now(), l != nil); err != nil {
		return nil, err
	}
	if l != nil {
		return l, nil
	}
	return n.startList(d), nil
}

// startList starts a listing of d, which the mount admitted. n.mu is held.
func (n *Namespace) startList(d *dir) *listing {
	l := &listing{news: make(chan struct{}), started: n.cfg.Now().UnixNano()}
	n.lists[d.id] = l
	d.spent = 0 // also if it fails: it is tried again after as many Stats
	d.listing.Store(l)
	n.wg.Go(func() {
		err := n.runList(d, l)
		d.listing.Store(nil)
		n.mu.Lock()
		delete(n.lists, d.id)
		n.mu.Unlock()
		l.tell("", true, err)
	})
	return l
}

// runList fetches and records d, page by page.
func (n *Namespace) runList(d *dir, l *listing) error {
	if err := n.clearMissing(d); err != nil {
		n.report(d.mount, context.Canceled)
		return err
	}
	var entries int64
	for after := ""; ; {
		asked := n.cfg.Now().UnixNano()
		n.count.ufsListPages.Add(1)
		page, err := ask(n, d.mount, n.cfg.ListTimeout, func(ctx context.Context) (ufs.Page, error) {
			return d.mount.FS.List(ctx, d.source, after, pageSize)
		})
		if errors.Is(err, fs.ErrNotExist) {
			if err := n.noDir(d, asked); err != nil {
				return err
			}
			page, err = ufs.Page{}, nil // a directory above a mount, and nothing else
		}
		if err != nil {
			return err
		}
		last, err := checkPage(page, after)
		if err != nil {
			return err
		}
		if err := n.learnPage(d, l, n.namesOf(d, page, after), after, last, asked); err != nil {
			return err
		}
		entries += int64(len(page.Entries))
		if !page.More {
			return n.learnList(d, l, entries)
		}
		l.tell(last, false, nil)
		after = last
	}
}

// noDir deals with the UFS saying that there is no directory d. It returns nil if that
// is fine because the mount table makes d.
func (n *Namespace) noDir(d *dir, asked int64) error {
	if d.point != nil && d.source != "" {
		return nil
	}
	gone := fmt.Errorf("%s: %w", d.path, fs.ErrNotExist)
	if d.point != nil { // a mount's root: its UFS may be back
		return gone
	}
	up, err := n.dir(d.parent)
	if err != nil {
		return err
	}
	return errors.Join(gone, n.learnAbsent(up, path.Base(d.path), asked))
}

// checkPage returns the name after which the next page of page starts, "" if there is
// none. It fails if the page is not what List promises: going on would lose names or
// never end.
func checkPage(page ufs.Page, after string) (last string, err error) {
	for i, info := range page.Entries {
		if info.Name < after || (i > 0 && info.Name < page.Entries[i-1].Name) {
			return "", fmt.Errorf("listing out of order: %q after %q", info.Name, after)
		}
	}
	if !page.More {
		return "", nil
	}
	if len(page.Entries) == 0 || page.Entries[len(page.Entries)-1].Name <= after {
		return "", fmt.Errorf("listing does not go on after %q", after)
	}
	return page.Entries[len(page.Entries)-1].Name, nil
}

// namesOf returns the entries of page that can be names here, each name once, those
// after after.
func (n *Namespace) namesOf(d *dir, page ufs.Page, after string) []shoal.FileInfo {
	good := make([]shoal.FileInfo, 0, len(page.Entries))
	for _, info := range page.Entries {
		if !validName(info.Name) || !usable(info) || info.Name == after {
			n.skip(d, info.Name)
			continue
		}
		after = info.Name
		good = append(good, info)
	}
	return good
}
