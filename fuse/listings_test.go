package fuse

import (
	"os"
	"testing"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

func TestListings(t *testing.T) {
	const fill, keep = gofuse.FOPEN_CACHE_DIR, gofuse.FOPEN_CACHE_DIR | gofuse.FOPEN_KEEP_CACHE
	first, second := time.Unix(1, 0), time.Unix(2, 0)
	var l listings
	for i, step := range []struct {
		forget bool
		id     uint64
		began  time.Time
		want   uint32
	}{
		{false, 7, time.Time{}, 0},
		{false, 7, first, fill},
		{false, 7, first, keep},
		{false, 8, first, fill},
		{false, 7, second, fill},
		{false, 7, second, keep},
		{true, 7, second, fill},
		{false, 8, first, keep},
		{false, 8, time.Time{}, 0},
		{false, 8, first, fill},
	} {
		if step.forget {
			l.forget(step.id)
		}
		if got := l.open(step.id, step.began); got != step.want {
			t.Errorf("step %d: flags %#x, want %#x", i, got, step.want)
		}
	}
	for id := range uint64(2 * maxListings) {
		l.open(id, first)
	}
	if len(l.kept) > maxListings {
		t.Errorf("%d directories are remembered, want %d at most", len(l.kept), maxListings)
	}
}

// TestMountKeepsListings lists a directory again and again: only when its names may have changed is
// the agent asked for them.
func TestMountKeepsListings(t *testing.T) {
	c := startChild(t, mountDir(t))
	list := func(why string, asks, has bool) {
		t.Helper()
		before := c.report().Stats.ReadDirs
		entries, err := os.ReadDir(c.file(""))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, e := range entries {
			found = found || e.Name() == "come"
		}
		if asked := c.report().Stats.ReadDirs > before; asked != asks || found != has {
			t.Errorf("%s: the agent was asked: %v, the new name is listed: %v, want %v and %v", why, asked, found, asks, has)
		}
	}
	list("a listing that nobody confirmed", true, false)
	list("the same again", true, false)
	c.ask("listed 1")
	list("one that is good", true, false)
	list("the same again", false, false)
	c.ask("change come")
	list("a name has come, unknown to the kernel", false, false)
	c.ask("invalidate come")
	list("a name has come", true, true)
	list("the same again", false, true)
	c.ask("listed 2")
	list("another listing", true, true)
	list("the same again", false, true)
	c.ask("listed 0")
	list("it is not good any more", true, true)
}
