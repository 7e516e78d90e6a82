package namespace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-mesh/shoal/ufs"
	"github.com/shoal-mesh/shoal/ufs/ufstest"
)

func fileName(i int) string { return fmt.Sprintf("%04d", i) }

// newListed returns a world with the directory d of so many files, and d's id. d was
// listed, that has expired, and the counts are zero.
func newListed(t *testing.T, files int) (*world, uint64) {
	t.Helper()
	w := newWorld(t)
	for i := range files {
		w.ufs.Put("d/"+fileName(i), nil)
	}
	dir := resolve(t, w.Namespace, "/data/d").ID
	if names, err := list(t, w.Namespace, dir, ""); err != nil || len(names) != files {
		t.Fatalf("ReadDir() = %d names, %v, want %d", len(names), err, files)
	}
	w.clock.advance(time.Minute)
	w.ufs.ResetCounts()
	return w, dir
}

// lookupAll looks up names from to upto of dir, one after the other.
func (w *world) lookupAll(dir uint64, from, upto int) {
	w.t.Helper()
	for i := from; i < upto; i++ {
		if e, err := w.Lookup(w.t.Context(), dir, fileName(i)); err != nil || e.Stale {
			w.t.Errorf("Lookup(%s) = %+v, %v, want a fresh entry", fileName(i), e, err)
			return
		}
	}
}

// checkCounts compares what the UFS was asked since the last time, and forgets it.
func (w *world) checkCounts(what string, stats, lists int) {
	w.t.Helper()
	if got := w.ufs.Counts(); got.Stat != stats || got.List != lists {
		w.t.Errorf("%s: %d stats and %d lists of the UFS, want %d and %d", what, got.Stat, got.List, stats, lists)
	}
	w.ufs.ResetCounts()
}

// TestRelist is the middle of an epoch: nobody reads the directory again.
func TestRelist(t *testing.T) {
	const files = 5000
	w, dir := newListed(t, files)
	w.ufs.Remove("d/" + fileName(4999))
	w.ufs.Put("d/0000x", nil)
	for range 2 {
		w.lookupAll(dir, 0, files-1)
		w.checkCounts("all names after the TTL", 5, 5)
		w.lookupAll(dir, 0, files-1)
		for _, name := range []string{fileName(4999), "never"} {
			if _, err := w.Lookup(t.Context(), dir, name); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Lookup(%s) = %v, want fs.ErrNotExist", name, err)
			}
		}
		if _, err := w.Lookup(t.Context(), dir, "0000x"); err != nil {
			t.Errorf("Lookup(new name) = %v", err)
		}
		w.checkCounts("again, absent and new names too", 0, 0)
		w.clock.advance(time.Minute)
	}
	w.open() // by another process: what the listing cost is known
	w.lookupAll(dir, 0, 4)
	w.checkCounts("4 names in another process", 4, 0)
}

func TestRelistCost(t *testing.T) {
	for entries, want := range map[int64]int64{0: 2, 1: 2, 2000: 2, 2001: 3, 5000: 5, 5001: 6, 100_000: 100} {
		if got := (&listRecord{entries: entries}).relistCost(); got != want {
			t.Errorf("relistCost of %d entries = %d, want %d", entries, got, want)
		}
	}
}

// TestRelistHuge has a directory whose last listing claims 100,000 entries.
func TestRelistHuge(t *testing.T) {
	w, dir := newListed(t, 150)
	d := w.dirs.find(dir)
	huge := *d.listed.Load()
	huge.entries = 100_000
	d.listed.Store(&huge)
	w.lookupAll(dir, 0, 100)
	w.lookupAll(dir, 0, 100) // fresh
	w.checkCounts("100 names", 100, 0)
	w.lookupAll(dir, 100, 101)
	w.checkCounts("the next name", 0, 1)
	w.lookupAll(dir, 0, 150)
	w.checkCounts("all names", 0, 0)
}

// TestRelistNot has what must not list: a directory never listed, and a name that is
// asked for because of Expire while the listing is fresh.
func TestRelistNot(t *testing.T) {
	w := newWorld(t)
	for i := range 100 {
		w.ufs.Put("d/"+fileName(i), nil)
	}
	dir := resolve(t, w.Namespace, "/data/d").ID
	w.ufs.ResetCounts()
	w.lookupAll(dir, 0, 100)
	w.checkCounts("never listed", 100, 0)
	if _, err := list(t, w.Namespace, dir, ""); err != nil {
		t.Fatal(err)
	}
	w.ufs.ResetCounts()
	for range 10 {
		w.clock.advance(time.Second)
		w.Expire(resolve(t, w.Namespace, "/data/d/0007").ID)
		w.lookupAll(dir, 7, 8)
	}
	w.checkCounts("expired names", 10, 0)
	w.clock.advance(time.Minute)
	w.lookupAll(dir, 0, 2)
	w.checkCounts("expired listing", 2, 0)
}

// TestRelistConcurrent sends a burst of lookups, of names that are there and that are not.
func TestRelistConcurrent(t *testing.T) {
	w, dir := newListed(t, 3000)
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := g; i < 3000; i += 16 * 7 {
				if e, err := w.Lookup(t.Context(), dir, fileName(i)); err != nil || e.Stale || e.Info.Name != fileName(i) {
					t.Errorf("Lookup(%s) = %+v, %v", fileName(i), e, err)
				}
				if _, err := w.Lookup(t.Context(), dir, fileName(i)+"x"); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("Lookup(%sx) = %v, want fs.ErrNotExist", fileName(i), err)
				}
			}
		})
	}
	wg.Wait()
	// A Stat may find its answer in the listing before it is sent.
	if got := w.ufs.Counts(); got.Stat > 3 || got.List != 3 {
		t.Errorf("a burst: %d stats and %d lists of the UFS, want at most 3, and 3", got.Stat, got.List)
	}
}

// TestRelistWaits holds the new listing after its first page: names of that page are
// answered, others wait, and who gives up waiting leaves it going.
func TestRelistWaits(t *testing.T) { synctest.Test(t, testRelistWaits) }

func testRelistWaits(t *testing.T) {
	w, dir := newListed(t, 2000)
	w.ufs.Remove("d/0003")
	w.lookupAll(dir, 0, 2)
	w.ufs.ResetCounts()
	release, second := make(chan struct{}), make(chan struct{})
	var pages atomic.Int32
	w.fault.set(func(string, string) error {
		if pages.Add(1) == 2 {
			close(second)
			<-release
		}
		return nil
	})
	w.lookupAll(dir, 4, 5) // starts it, and is on the first page
	<-second
	w.lookupAll(dir, 5, 100)

	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		_, err := w.Lookup(ctx, dir, "1999")
		gone <- err
	}()
	synctest.Wait()
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("Lookup with a cancelled context = %v, want context.Canceled", err)
	}
	var wg sync.WaitGroup
	var answered atomic.Int32
	for i := range 20 {
		wg.Go(func() {
			w.lookupAll(dir, 1500+i, 1501+i)
			answered.Add(1)
		})
		wg.Go(func() {
			if _, err := w.Lookup(t.Context(), dir, "0003"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Lookup(removed name) = %v, want fs.ErrNotExist", err)
			}
			answered.Add(1)
		})
	}
	synctest.Wait()
	if got := answered.Load(); got != 0 {
		t.Errorf("%d lookups answered before the listing got to them, want 0", got)
	}
	close(release)
	wg.Wait()
	w.checkCounts("lookups while it runs", 0, 2)
}

// TestRelistOutage has the UFS gone at the second page: who waited gets what there was.
func TestRelistOutage(t *testing.T) { synctest.Test(t, testRelistOutage) }

func testRelistOutage(t *testing.T) {
	w, dir := newListed(t, 3000)
	w.lookupAll(dir, 0, 3)
	w.ufs.ResetCounts()
	down, gone := make(chan struct{}), make(chan struct{})
	var lists atomic.Int32
	w.fault.set(func(op, name string) error {
		if lists.Add(1) == 1 {
			return nil
		}
		close(gone)
		<-down
		return outage(op, name)
	})
	w.lookupAll(dir, 10, 11)
	<-gone
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			name := fileName(2000 + i)
			if e, err := w.Lookup(t.Context(), dir, name); err != nil || !e.Stale {
				t.Errorf("Lookup(%s) = %+v, %v, want a stale entry", name, e, err)
			}
			if _, err := w.Lookup(t.Context(), dir, name+"x"); !errors.Is(err, ufs.ErrUnavailable) {
				t.Errorf("Lookup(%sx) = %v, want ufs.ErrUnavailable", name, err)
			}
		})
	}
	synctest.Wait() // all of them wait for the listing
	close(down)
	wg.Wait()
	w.checkCounts("in the outage", 0, 2)

	// Probes are Stats, however many it takes; then all is as after an expiry.
	w.fault.set(outage)
	for range 5 {
		w.clock.advance(2 * time.Second)
		if e, err := w.Lookup(t.Context(), dir, "2000"); err != nil || !e.Stale {
			t.Errorf("Lookup(2000) = %+v, %v, want a stale entry", e, err)
		}
		synctest.Wait() // the probe goes on without it
	}
	w.checkCounts("probes", 5, 0)
	answer := make(chan struct{})
	w.fault.set(func(string, string) error { <-answer; return nil })
	w.clock.advance(2 * time.Second)
	if e, err := w.Lookup(t.Context(), dir, "1000"); err != nil || !e.Stale {
		t.Errorf("Lookup(1000) = %+v, %v, want a stale entry while it is asked for", e, err)
	}
	close(answer)
	synctest.Wait()
	w.lookupAll(dir, 1000, 3000)
	w.checkCounts("after the outage", 1, 3)
}

// TestRelistRefused has a UFS that lets nobody list.
func TestRelistRefused(t *testing.T) {
	w, dir := newListed(t, 90)
	w.fault.set(func(op, _ string) error {
		if op == "list" {
			return fmt.Errorf("not you: %w", fs.ErrPermission)
		}
		return nil
	})
	w.lookupAll(dir, 0, 90)
	w.checkCounts("listings refused", 90, 44) // one try for two Stats
}

// A sparse UFS has pages that are shorter than asked for.
type sparse struct{ *ufstest.FS }

func (s sparse) List(ctx context.Context, name, after string, _ int) (ufs.Page, error) {
	return s.FS.List(ctx, name, after, 10)
}

// TestRelistRace has lookups, listings and changes all at once.
func TestRelistRace(t *testing.T) {
	u := &ufstest.FS{}
	for i := range 100 {
		u.Put("d/"+fileName(i), nil)
	}
	clock := newClock()
	n := open(t, Config{Now: clock.now}, Mount{Path: "/", FS: sparse{u}})
	dir := resolve(t, n, "/d").ID
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() {
			for i := range 200 {
				name := fileName((i*7 + g) % 100)
				e, err := n.Lookup(t.Context(), dir, name)
				if err != nil && (name >= "0010" || !errors.Is(err, fs.ErrNotExist)) {
					t.Errorf("Lookup(%s) = %+v, %v", name, e, err)
				}
				switch {
				case g == 0 && i%50 == 0:
					if _, err := list(t, n, dir, ""); err != nil {
						t.Errorf("ReadDir() = %v", err)
					}
				case g == 1 && i%10 == 0:
					clock.advance(30 * time.Second)
				case g == 2 && i < 10:
					u.Remove("d/" + fileName(i))
				case g == 3 && i%20 == 0:
					n.Expire(e.ID)
				}
			}
		})
	}
	wg.Wait()
	clock.advance(time.Hour)
	if names, err := list(t, n, dir, ""); err != nil || len(names) != 90 {
		t.Errorf("ReadDir() = %d names, %v, want 90", len(names), err)
	}
}
