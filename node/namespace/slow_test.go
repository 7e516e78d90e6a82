package namespace

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/ufs"
)

// newSlow returns a world by the bubble's clock, with the directory d of so many files
// listed and expired, and d's id.
func newSlow(t *testing.T, files int) (*world, uint64) {
	t.Helper()
	w := newWorld(t)
	for i := range files {
		w.ufs.Put("d/"+fileName(i), nil)
	}
	w.cfg.Now = nil
	w.open()
	t.Cleanup(func() { _ = w.Close() }) // in the bubble
	dir := resolve(t, w.Namespace, "/data/d").ID
	if names, err := list(t, w.Namespace, dir, ""); err != nil || len(names) != files {
		t.Fatalf("ReadDir() = %d names, %v, want %d", len(names), err, files)
	}
	time.Sleep(time.Minute)
	w.ufs.ResetCounts()
	return w, dir
}

// hang has the UFS neither answer nor heed contexts until the function it returns is
// called; then it answers.
func (w *world) hang() (end func()) {
	stuck := make(chan struct{})
	w.fault.set(func(string, string) error { <-stuck; return nil })
	return func() {
		w.fault.clear()
		close(stuck)
	}
}

// slow has each request to the UFS take so long.
func (w *world) slow(d time.Duration) {
	w.fault.set(func(string, string) error { time.Sleep(d); return nil })
}

// checkLookup looks name up and compares how stale the answer is and how long it took.
func (w *world) checkLookup(dir uint64, name string, stale bool, took time.Duration) shoal.Entry {
	w.t.Helper()
	began := time.Now()
	e, err := w.Lookup(w.t.Context(), dir, name)
	if got := time.Since(began); err != nil || e.Stale != stale || got != took {
		w.t.Errorf("Lookup(%s) = %+v, %v after %v, want stale %v after %v", name, e, err, got, stale, took)
	}
	return e
}

// checkReadDir is the same for a ReadDir, which is to give so many entries.
func (w *world) checkReadDir(dir uint64, entries int, stale bool, took time.Duration) {
	w.t.Helper()
	began, got := time.Now(), 0
	for e, err := range w.ReadDir(w.t.Context(), dir, "") {
		if err != nil || e.Stale != stale {
			w.t.Errorf("ReadDir() = %+v, %v, want stale %v", e, err, stale)
		}
		got++
	}
	if d := time.Since(began); got != entries || d != took {
		w.t.Errorf("ReadDir() = %d entries after %v, want %d after %v", got, d, entries, took)
	}
}

// TestNoAnswer has a UFS that swallows requests: what can be served stale is, at the
// onset after StaleWait and then at once, also by who sends the probe.
func TestNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, dir := newSlow(t, 3)
		end := w.hang()
		w.checkLookup(dir, "0000", true, time.Second)
		w.checkLookup(dir, "0001", true, 0) // nobody else waits
		w.checkReadDir(dir, 3, true, 0)
		began := time.Now()
		if _, err := w.Lookup(t.Context(), dir, "never"); !errors.Is(err, ufs.ErrUnavailable) {
			t.Errorf("Lookup(never seen) = %v after %v, want ufs.ErrUnavailable", err, time.Since(began))
		}
		if !w.Mounts()[0].Down {
			t.Errorf("mount is up after %v without an answer", time.Since(began))
		}
		for i := range 20 { // each is the probe, or has a probe out
			time.Sleep(3 * time.Second)
			w.checkLookup(dir, fileName(i%3), true, 0)
			w.checkReadDir(dir, 3, true, 0)
		}
		time.Sleep(time.Minute) // no request is out
		asked := w.ufs.Counts()
		for range 10 {
			w.checkReadDir(dir, 3, true, 0)
			w.checkLookup(dir, "0000", true, 0)
		}
		synctest.Wait()
		if got := w.ufs.Counts(); got.Stat+got.List != asked.Stat+asked.List+1 {
			t.Errorf("%+v, then %+v, want one probe more", asked, got)
		}

		end()
		synctest.Wait()
		time.Sleep(3 * time.Second)
		w.checkLookup(dir, "0002", w.Mounts()[0].Down, 0)
		synctest.Wait()
		w.checkLookup(dir, "0002", false, 0)
		w.checkReadDir(dir, 3, false, 0)
	})
}

func TestNoAnswerReadDir(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, dir := newSlow(t, 3)
		defer w.hang()()
		w.checkReadDir(dir, 3, true, time.Second)
		w.checkReadDir(dir, 3, true, 0)
		w.checkLookup(dir, "0000", true, 0)
	})
}

// TestNoAnswerRelist has the lookups of an expired directory wait for its new listing.
func TestNoAnswerRelist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, dir := newSlow(t, 3)
		w.checkLookup(dir, "0000", false, 0)
		w.checkLookup(dir, "0001", false, 0)
		defer w.hang()()
		w.checkLookup(dir, "0002", true, time.Second)
		if got := w.ufs.Counts(); got.Stat != 2 || got.List != 1 {
			t.Errorf("%d stats and %d lists, want 2 and 1", got.Stat, got.List)
		}
	})
}

// TestSlowAnswerIsKept has a UFS that answers after those who asked are gone.
func TestSlowAnswerIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, dir := newSlow(t, 3)
		w.ufs.Put("d/0000", []byte("new"))
		w.slow(3 * time.Second)
		old := w.checkLookup(dir, "0000", true, time.Second)
		time.Sleep(3 * time.Second)
		if e := w.checkLookup(dir, "0000", false, 0); e.ID == old.ID {
			t.Errorf("Lookup() = %+v, want the new version", e)
		}
		w.checkLookup(dir, "0001", true, time.Second) // it did answer: it is waited for again
		time.Sleep(3 * time.Second)
		w.ufs.Put("d/more", nil)
		w.checkReadDir(dir, 3, true, time.Second)
		time.Sleep(3 * time.Second)
		w.checkReadDir(dir, 4, false, 0)
	})
}

// TestListingThatGoesOnIsWaitedFor has pages that come within StaleWait, one by one.
func TestListingThatGoesOnIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, dir := newSlow(t, 3000)
		w.slow(700 * time.Millisecond)
		w.checkReadDir(dir, 3000, false, 2100*time.Millisecond)
		time.Sleep(time.Minute)
		w.fault.clear()
		for i := range 3 {
			w.checkLookup(dir, fileName(i), false, 0)
		}
		w.slow(700 * time.Millisecond)
		w.checkLookup(dir, "2999", false, 2100*time.Millisecond)
	})
}

// TestSlowRequestsAreBounded counts what is sent to a slow UFS while nobody waits.
func TestSlowRequestsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cfg.Now = nil
		w.open()
		t.Cleanup(func() { _ = w.Close() })
		data := resolve(t, w.Namespace, "/data").ID
		const files = 3 * maxAbandoned
		for i := range files {
			w.ufs.Put(fileName(i), nil)
			resolve(t, w.Namespace, "/data/"+fileName(i))
		}
		time.Sleep(time.Minute)
		w.ufs.ResetCounts()
		defer w.hang()()
		w.checkLookup(data, "0000", true, time.Second)
		for i := range files {
			w.checkLookup(data, fileName(i), true, 0)
			synctest.Wait()
		}
		if got := w.ufs.Counts().Stat; got != maxAbandoned {
			t.Errorf("%d stats sent, want %d", got, maxAbandoned)
		}
	})
}

// TestExpiredIsWaitedFor has the UFS deny a version: its word on the name is worth it.
func TestExpiredIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, dir := newSlow(t, 1)
		old := w.checkLookup(dir, "0000", false, 0)
		w.ufs.Put("d/0000", []byte("new"))
		w.Expire(old.ID)
		w.slow(3 * time.Second)
		if e := w.checkLookup(dir, "0000", false, 3*time.Second); e.ID == old.ID {
			t.Errorf("Lookup() = %+v, want the new version", e)
		}
	})
}

func TestStaleWaitHeedsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, dir := newSlow(t, 1)
		defer w.hang()()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := w.Lookup(ctx, dir, "0000")
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 300*time.Millisecond {
			t.Errorf("Lookup() = %v after %v, want the context's error after 300ms", err, time.Since(began))
		}
		for e, err := range w.ReadDir(ctx, dir, "") {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("ReadDir() = %+v, %v, want the context's error", e, err)
			}
		}
	})
}

// TestStaleWaitAges serves nothing that is beyond MaxStale, however long that takes.
func TestStaleWaitAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, dir := newSlow(t, 1)
		time.Sleep(25 * time.Hour)
		defer w.hang()()
		began := time.Now()
		_, err := w.Lookup(t.Context(), dir, "0000")
		if !errors.Is(err, ufs.ErrUnavailable) || time.Since(began) != 10*time.Second {
			t.Errorf("Lookup() = %v after %v, want ufs.ErrUnavailable after 10s", err, time.Since(began))
		}
		var names []string
		if names, err = list(t, w.Namespace, dir, ""); !errors.Is(err, ufs.ErrUnavailable) {
			t.Errorf("ReadDir() = %s, %v, want ufs.ErrUnavailable", fmt.Sprint(names), err)
		}
	})
}
