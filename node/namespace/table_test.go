package namespace

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/ufs"
	"github.com/shoal-mesh/shoal/ufs/ufstest"
)

func TestTableViolations(t *testing.T) {
	u := &ufstest.FS{}
	_, err := Open("meta", []Mount{
		{Path: "relative", FS: u},
		{Path: "/a/../b", FS: u},
		{Path: "/trailing/", FS: u},
		{Path: "/" + strings.Repeat("l", 256), FS: u},
		{Path: "/nofs"},
		{Path: "/ttl", FS: u, TTL: -1},
		{Path: "/stale", FS: u, TTL: time.Hour, MaxStale: time.Minute},
		{Path: "/twice", FS: u},
		{Path: "/twice", FS: u},
	}, Config{})
	for _, want := range []string{
		`"relative": path is not absolute`, `write "/b"`, `write "/trailing"`, "cannot be a name", `"/nofs": no under file system`,
		`"/ttl": ttl -1ns is negative`, `"/stale": max stale 1m0s is less`, `"/twice": path used twice`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open() = %v, want an error with %q", err, want)
		}
	}
	_, err = Open("meta", nil, Config{Timeout: -1, RetryAfter: -1})
	if err == nil || !strings.Contains(err.Error(), "timeout: -1ns") || !strings.Contains(err.Error(), "retry after: -1ns") {
		t.Errorf("Open() = %v, want both violations", err)
	}
}

func TestNestedMounts(t *testing.T) {
	outer, inner, deep := &ufstest.FS{Name: "outer"}, &ufstest.FS{Name: "inner"}, &ufstest.FS{Name: "deep"}
	outer.Put("a/hidden", nil)
	outer.Put("a/b/hidden", nil)
	outer.Put("z", nil)
	outer.Put("m", nil)
	inner.Put("seen", nil)
	deep.Put("bottom", nil)
	n := open(
		t, Config{},
		Mount{Path: "/", FS: outer}, Mount{Path: "/a", FS: inner}, Mount{Path: "/a/x/y", FS: deep}, Mount{Path: "/m/only", FS: deep},
	)
	checkList(t, n, "/", "a", "m", "z")
	checkList(t, n, "/a", "seen", "x")
	checkList(t, n, "/a/x", "y") // not in inner at all
	checkList(t, n, "/a/x/y", "bottom")
	checkList(t, n, "/m/only", "bottom")
	for _, p := range []string{"/a/hidden", "/a/b", "/a/b/hidden", "/a/x/none"} {
		if e, err := n.Resolve(t.Context(), p); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Resolve(%s) = %+v, %v, want fs.ErrNotExist", p, e, err)
		}
	}
	tests := []struct {
		path, mount, source string
		from                ufs.FS
	}{
		{"/", "/", "", outer},
		{"/z", "/", "z", outer},
		{"/a", "/a", "", inner},
		{"/a/seen", "/a", "seen", inner},
		{"/a/x", "/a", "x", inner},
		{"/a/x/y", "/a/x/y", "", deep},
		{"/a/x/y/bottom", "/a/x/y", "bottom", deep},
		{"/m", "/", "m", outer},
	}
	for _, tt := range tests {
		e := resolve(t, n, tt.path)
		if e.Path != tt.path || e.Mount != tt.mount || e.Source != tt.source || n.FS(e) != tt.from {
			t.Errorf("Resolve(%s) = %+v, want mount %s, source %q", tt.path, e, tt.mount, tt.source)
		}
		if got, err := n.Attr(t.Context(), e.ID); err != nil || got != e {
			t.Errorf("Attr(%s) = %+v, %v, want %+v", tt.path, got, err, e)
		}
	}
	if outer, deep := resolve(t, n, "/z"), resolve(t, n, "/a/x/y/bottom"); outer.File == deep.File {
		t.Errorf("two files with one FileID: %+v and %+v", outer, deep)
	}
}

func TestAboveAllMounts(t *testing.T) {
	u := &ufstest.FS{}
	u.Put("f", nil)
	n := open(t, Config{}, Mount{Path: "/a/b", FS: u}, Mount{Path: "/a/c", FS: u}, Mount{Path: "/d", FS: u})
	checkList(t, n, "/", "a", "d")
	checkList(t, n, "/a", "b", "c")
	a := resolve(t, n, "/a")
	if a.Mount != "" || !a.Fetched.IsZero() || !a.Info.IsDir() || a.Parent != shoal.RootID || n.FS(a) != nil {
		t.Errorf("Resolve(/a) = %+v, want a directory that only the table makes", a)
	}
	if names, err := list(t, n, a.ID, "b"); err != nil || !slices.Equal(names, []string{"c"}) {
		t.Errorf("ReadDir(/a after b) = %q, %v, want c", names, err)
	}
	if got := u.Counts(); got.Stat+got.List != 0 {
		t.Errorf("%+v, want no request", got)
	}
	for e, err := range n.ReadDir(t.Context(), shoal.RootID, "") { // left unfinished
		if err != nil || e.Path != "/a" {
			t.Errorf("ReadDir(/) = %+v, %v, want /a first", e, err)
		}
		break
	}
	if e := resolve(t, n, "/"); e.ID != shoal.RootID || e.Parent != shoal.RootID || e.Path != "/" {
		t.Errorf("Resolve(/) = %+v, want the root", e)
	}
}

// TestMountTableChanges opens one directory with other mounts: what is known of a path
// must not pass for what another UFS has there.
func TestMountTableChanges(t *testing.T) {
	w := newWorld(t, "sub/f")
	other := &ufstest.FS{Name: "other"}
	other.Put("sub/g", nil)
	checkList(t, w.Namespace, "/data/sub", "f")
	file := resolve(t, w.Namespace, "/data/sub/f")
	dir := resolve(t, w.Namespace, "/data/sub")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	n := open(t, w.cfg, Mount{Path: "/data", FS: other})
	if e, err := n.Attr(t.Context(), file.ID); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Attr(id of the other UFS's file) = %+v, %v, want fs.ErrNotExist", e, err)
	}
	if e, err := n.Resolve(t.Context(), "/data/sub/f"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Resolve(other UFS's file) = %+v, %v, want fs.ErrNotExist", e, err)
	}
	checkList(t, n, "/data/sub", "g")
	if got := n.Stats().Entries; got != 2 {
		t.Errorf("Stats().Entries = %d, want 2: sub, g", got)
	}
	if got := resolve(t, n, "/data/sub").ID; got != dir.ID {
		t.Errorf("id of the directory = %d, want %d", got, dir.ID)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = open(t, w.cfg, Mount{Path: "/data/sub", FS: other})
	checkList(t, n, "/data", "sub")
	checkList(t, n, "/data/sub", "sub")
}
