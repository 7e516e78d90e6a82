package namespace

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/shoal-mesh/shoal/ufs"
)

// TestSync changes the UFS while everything known of it is fresh, and syncs.
func TestSync(t *testing.T) {
	w := newWorld(t, "d/a", "d/b", "d/c", "d/sub/x", "e/a")
	var told []string // only OnChange writes, and Sync returns after it
	w.cfg.OnChange = func(_ uint64, name string, _ uint64) { told = append(told, name) }
	w.open()
	checkList(t, w.Namespace, "/data", "d", "e")
	checkList(t, w.Namespace, "/data/d", "a", "b", "c", "sub")
	checkList(t, w.Namespace, "/data/d/sub", "x")
	old := resolve(t, w.Namespace, "/data/d/a").ID
	for _, name := range []string{"d/b", "d/c", "e/a"} {
		w.ufs.Remove(name)
	}
	for _, name := range []string{"d/a", "d/new", "d/newer", "d/sub/new", "f/g/h"} {
		w.ufs.Put(name, []byte("new"))
	}
	steps := []struct {
		path        string
		told        []string // sorted
		stats, list int64
	}{
		{"/", nil, 0, 0},
		{"/data/d/a", []string{"a"}, 1, 0},
		{"/data/d/a/", nil, 1, 0},
		{"/data/d/b", []string{"b"}, 1, 0},
		{"/data/d/b", nil, 1, 0},
		{"/data/d/new", []string{"new"}, 1, 0},
		{"/data/d", []string{"c", "newer"}, 1, 1},
		{"/data/e", []string{"e"}, 1, 0}, // without files it is gone
		{"/data/f/g/h", []string{"f"}, 3, 0},
		{"/data", nil, 0, 1},
	}
	for _, s := range steps {
		told = nil
		before := w.ufs.Counts()
		if err := w.Sync(t.Context(), s.path); err != nil {
			t.Errorf("Sync(%s) = %v", s.path, err)
		}
		after := w.ufs.Counts()
		slices.Sort(told)
		if !slices.Equal(told, s.told) {
			t.Errorf("Sync(%s) told of %q, want %q", s.path, told, s.told)
		}
		if stats, lists := int64(after.Stat-before.Stat), int64(after.List-before.List); stats != s.stats || lists != s.list {
			t.Errorf("Sync(%s) sent %d stats and %d lists, want %d and %d", s.path, stats, lists, s.stats, s.list)
		}
	}
	if now := resolve(t, w.Namespace, "/data/d/a"); now.ID == old || now.Info.Size != 3 {
		t.Errorf("a is id %d with %d bytes, want another than %d with 3", now.ID, now.Info.Size, old)
	}
	checkList(t, w.Namespace, "/data/d", "a", "new", "newer", "sub")
	checkList(t, w.Namespace, "/data/d/sub", "x") // below: not asked for
	checkList(t, w.Namespace, "/data", "d", "f")
}

func TestSyncFails(t *testing.T) {
	w := newWorld(t, "d/a")
	resolve(t, w.Namespace, "/data/d/a")
	expect := func(path string, want error) {
		t.Helper()
		if err := w.Sync(t.Context(), path); !errors.Is(err, want) {
			t.Errorf("Sync(%q) = %v, want %v", path, err, want)
		}
	}
	expect("data", fs.ErrInvalid)
	expect("", fs.ErrInvalid)
	expect("/data/d/a/b", syscall.ENOTDIR)
	w.fault.set(outage)
	expect("/data/d/a", ufs.ErrUnavailable)
	expect("/data/d", ufs.ErrUnavailable)
	w.fault.clear()
	if e := resolve(t, w.Namespace, "/data/d/a"); e.Stale {
		t.Error("what is fresh is stale after a Sync without an answer")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	expect("/data/d/a", fs.ErrClosed)
}

// TestSyncListsAfresh syncs a directory while a listing that began before is on its way.
func TestSyncListsAfresh(t *testing.T) { synctest.Test(t, testSyncListsAfresh) }

func testSyncListsAfresh(t *testing.T) {
	w := newWorld(t, "d/a")
	d := resolve(t, w.Namespace, "/data/d").ID
	entered, gate := make(chan struct{}, 2), make(chan struct{})
	w.fault.set(func(op, _ string) error {
		if op == "list" {
			entered <- struct{}{}
			<-gate
		}
		return nil
	})
	listed := make(chan error, 1)
	go func() {
		_, err := list(t, w.Namespace, d, "")
		listed <- err
	}()
	<-entered
	w.clock.advance(1)
	synced := make(chan error, 1)
	go func() { synced <- w.Sync(context.Background(), "/data/d") }()
	synctest.Wait() // until it waits for that listing
	close(gate)
	if err := errors.Join(<-listed, <-synced); err != nil {
		t.Error(err)
	}
	if got := w.ufs.Counts().List; got != 2 {
		t.Errorf("%d listings, want the one under way and one for Sync", got)
	}
}
