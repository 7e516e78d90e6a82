package namespace

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal/ufs"
	"github.com/shoal-mesh/shoal/ufs/ufstest"
)

func TestOutage(t *testing.T) {
	w := newWorld(t, "d/f", "d/g", "unlisted/x")
	checkList(t, w.Namespace, "/data/d", "f", "g")
	f := resolve(t, w.Namespace, "/data/d/f")
	resolve(t, w.Namespace, "/data/unlisted/x")
	w.fault.set(outage)
	w.clock.advance(2 * time.Minute)

	got := resolve(t, w.Namespace, "/data/d/f")
	if !got.Stale || got.ID != f.ID || !got.Fetched.Equal(f.Fetched) {
		t.Errorf("in an outage: %+v, want %+v, stale", got, f)
	}
	for range 10 {
		resolve(t, w.Namespace, "/data/d/g")
		checkList(t, w.Namespace, "/data/d", "f", "g")
	}
	if got := w.ufs.Counts(); got.Stat != 4 { // d, unlisted, x, then d again
		t.Errorf("%d stats of the UFS, want 4: it is left alone after no answer", got.Stat)
	}
	if e, err := w.Attr(t.Context(), f.ID); err != nil || !e.Stale {
		t.Errorf("Attr() = %+v, %v, want a stale entry", e, err)
	}
	for e, err := range w.ReadDir(t.Context(), f.Parent, "") {
		if err != nil || !e.Stale {
			t.Errorf("ReadDir() = %+v, %v, want stale entries", e, err)
		}
	}
	checkUnavailable(t, w, "/data/d/never")
	checkUnavailable(t, w, "/data/never")
	if _, err := list(t, w.Namespace, resolve(t, w.Namespace, "/data/unlisted").ID, ""); !errors.Is(err, ufs.ErrUnavailable) {
		t.Errorf("ReadDir of a directory never listed = %v, want ufs.ErrUnavailable", err)
	}
	s := w.Mounts()[0]
	if !s.Down || !strings.Contains(s.LastError, "connection refused") || s.SuccessAge != 2*time.Minute {
		t.Errorf("Mounts() = %+v, want one down for 2m with its error", s)
	}
	w.clock.advance(24 * time.Hour)
	checkUnavailable(t, w, "/data/d/f") // beyond MaxStale

	w.fault.clear()
	w.clock.advance(2 * time.Second)
	if got := resolve(t, w.Namespace, "/data/d/f"); got.Stale || got.ID != f.ID {
		t.Errorf("after the outage: %+v, want %+v, fresh", got, f)
	}
	if s := w.Mounts()[0]; s.Down || s.LastError != "" || s.SuccessAge != 0 {
		t.Errorf("Mounts() = %+v, want one that is up", s)
	}
}

func checkUnavailable(t *testing.T, w *world, path string) {
	t.Helper()
	_, err := w.Resolve(t.Context(), path)
	if !errors.Is(err, ufs.ErrUnavailable) {
		t.Fatalf("Resolve(%s) = %v, want ufs.ErrUnavailable", path, err)
	}
	for _, part := range []string{"/data", "fake://u", "connection refused"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("Resolve(%s) = %v, want an error with %q", path, err, part)
		}
	}
}

// TestOutageAcrossProcesses is the same for an agent that starts during the outage.
func TestOutageAcrossProcesses(t *testing.T) {
	w := newWorld(t, "d/f")
	checkList(t, w.Namespace, "/data/d", "f")
	w.clock.advance(time.Hour)
	w.fault.set(outage)
	w.open()
	checkList(t, w.Namespace, "/data/d", "f")
	if e := resolve(t, w.Namespace, "/data/d/f"); !e.Stale {
		t.Errorf("Resolve() = %+v, want a stale entry", e)
	}
}

func TestRefusalIsNoOutage(t *testing.T) {
	w := newWorld(t, "d/f")
	resolve(t, w.Namespace, "/data/d/f")
	w.clock.advance(time.Hour)
	w.fault.set(func(string, string) error { return fmt.Errorf("who are you: %w", fs.ErrPermission) })
	if _, err := w.Resolve(t.Context(), "/data/d/f"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Resolve() = %v, want fs.ErrPermission", err)
	}
	if s := w.Mounts()[0]; s.Down || !strings.Contains(s.LastError, "who are you") {
		t.Errorf("Mounts() = %+v, want one that is up, with the error", s)
	}
}

func TestAbandonedCallsAreBounded(t *testing.T) {
	m := newMount(Mount{Path: "/", FS: &ufstest.FS{}}.withDefaults())
	now := time.Now()
	m.report(now, ufs.ErrUnavailable, time.Second)
	m.leave(maxAbandoned)
	if err := m.admit(now.Add(time.Hour), false); !errors.Is(err, ufs.ErrUnavailable) {
		t.Errorf("admit() with %d calls out = %v, want ufs.ErrUnavailable", maxAbandoned, err)
	}
	m.leave(-1)
	if err := m.admit(now.Add(time.Hour), false); err != nil {
		t.Errorf("admit() with one less = %v, want nil", err)
	}
	if err := m.admit(now.Add(time.Hour), false); err == nil {
		t.Errorf("admit() while another probes = nil, want an error")
	}
}

func TestListingFailsMidway(t *testing.T) {
	for _, cause := range []error{ufs.ErrUnavailable, fs.ErrPermission} {
		t.Run(cause.Error(), func(t *testing.T) {
			w := newWorld(t)
			for i := range 2500 {
				w.ufs.Put(fmt.Sprintf("d/%04d", i), nil)
			}
			dir := resolve(t, w.Namespace, "/data/d").ID
			if names, err := list(t, w.Namespace, dir, ""); err != nil || len(names) != 2500 {
				t.Fatalf("ReadDir() = %d names, %v, want 2500", len(names), err)
			}
			w.ufs.Remove("d/0007")
			w.ufs.Put("d/0008x", nil)
			w.clock.advance(time.Minute)
			pages := 0
			w.fault.set(func(string, string) error {
				if pages++; pages > 1 {
					return fmt.Errorf("page %d: %w", pages, cause)
				}
				return nil
			})
			names, err := list(t, w.Namespace, dir, "")
			if errors.Is(cause, ufs.ErrUnavailable) && (err != nil || len(names) < 2500) {
				t.Errorf("ReadDir() = %d names, %v, want those there were", len(names), err)
			}
			if !errors.Is(cause, ufs.ErrUnavailable) && !errors.Is(err, cause) {
				t.Errorf("ReadDir() = %d names, %v, want %v", len(names), err, cause)
			}
			if got := w.Stats().Entries; got != 2502 {
				t.Errorf("Stats().Entries = %d, want 2502: one more, none less", got)
			}
			w.fault.clear()
			w.clock.advance(3 * time.Second)
			w.ufs.ResetCounts()
			w.ufs.Put("d/later", nil)
			if _, err := w.Lookup(t.Context(), dir, "later"); err != nil || w.ufs.Counts().Stat != 1 {
				t.Errorf("Lookup(new name) = %v with %d stats, want it found by 1", err, w.ufs.Counts().Stat)
			}
			if names, err = list(t, w.Namespace, dir, ""); err != nil || len(names) != 2501 {
				t.Errorf("ReadDir() = %d names, %v, want 2501", len(names), err)
			}
		})
	}
}
