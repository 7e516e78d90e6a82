package namespace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/ufs"
	"github.com/shoal-mesh/shoal/ufs/ufstest"
)

func TestLookup(t *testing.T) {
	w := newWorld(t, "f", "dir/sub/deep", "dir/g")
	tests := []struct {
		path   string
		source string
		dir    bool
		err    error
	}{
		{"/", "", true, nil},
		{"/data", "", true, nil},
		{"/data/f", "f", false, nil},
		{"/data/dir", "dir", true, nil},
		{"/data/dir/", "dir", true, nil},
		{"/data/../data/dir/g", "dir/g", false, nil},
		{"/data/dir/sub/deep", "dir/sub/deep", false, nil},
		{"/none", "", false, fs.ErrNotExist},
		{"/data/none", "", false, fs.ErrNotExist},
		{"/data/dir/none/x", "", false, fs.ErrNotExist},
		{"/data/f/x", "", false, syscall.ENOTDIR},
		{"data/f", "", false, fs.ErrInvalid},
		{"/data/" + strings.Repeat("n", 256), "", false, fs.ErrNotExist},
		{"/data/a\x00b", "", false, fs.ErrNotExist},
		{"/data/\xff", "", false, fs.ErrNotExist},
	}
	for range 2 { // from the UFS, then from what is kept
		for _, tt := range tests {
			e, err := w.Resolve(t.Context(), tt.path)
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Errorf("Resolve(%q) = %v, want %v", tt.path, err, tt.err)
			}
			if err != nil {
				continue
			}
			if e.Source != tt.source || e.Info.IsDir() != tt.dir || e.File.IsZero() != tt.dir || e.Stale {
				t.Errorf("Resolve(%q) = %+v, want source %q, directory %v", tt.path, e, tt.source, tt.dir)
			}
			if again, err := w.Attr(t.Context(), e.ID); err != nil || again != e {
				t.Errorf("Attr(%s) = %+v, %v, want %+v", tt.path, again, err, e)
			}
		}
	}
	if got := w.ufs.Counts(); got.Stat != 7 || got.List != 0 {
		t.Errorf("%d stats and %d lists of the UFS, want 7 and 0", got.Stat, got.List)
	}
	for _, name := range []string{"", ".", "..", "a/b"} {
		if _, err := w.Lookup(t.Context(), resolve(t, w.Namespace, "/data").ID, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Lookup(%q) = %v, want fs.ErrNotExist", name, err)
		}
	}
	if _, err := w.Attr(t.Context(), 12345); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Attr of no id = %v, want fs.ErrNotExist", err)
	}
}

func TestEntry(t *testing.T) {
	w := newWorld(t, "dir/f")
	e := resolve(t, w.Namespace, "/data/dir/f")
	dir := resolve(t, w.Namespace, "/data/dir")
	want := shoal.Entry{
		ID: e.ID, Parent: dir.ID, Path: "/data/dir/f", Mount: "/data", Source: "dir/f",
		File: shoal.NewFileID("fake://u", "dir/f", "v1"),
		Info: shoal.FileInfo{
			Name: "f", Size: 5, Mode: 0o644, Version: "v1", ModTime: e.Info.ModTime,
		},
		Fetched: w.clock.now(),
	}
	if e != want {
		t.Errorf("Resolve() = %+v, want %+v", e, want)
	}
	if e.ID < shoal.FirstID || dir.ID < shoal.FirstID || e.ID == dir.ID {
		t.Errorf("ids %d and %d, want two from %d", e.ID, dir.ID, shoal.FirstID)
	}
	if w.FS(e) != ufs.FS(w.ufs) {
		t.Errorf("FS(%v) = %v, want the mount's", e, w.FS(e))
	}
}

func TestListingAnswersLookups(t *testing.T) {
	const files = 5000
	w := newWorld(t)
	for i := range files {
		w.ufs.Put(fmt.Sprintf("d/%04d", i), nil)
	}
	dir := resolve(t, w.Namespace, "/data/d")
	w.ufs.ResetCounts()
	names, err := list(t, w.Namespace, dir.ID, "")
	if err != nil || len(names) != files || !slices.IsSorted(names) {
		t.Fatalf("ReadDir() = %d names, %v, want %d in order", len(names), err, files)
	}
	for i := range files {
		e, err := w.Lookup(t.Context(), dir.ID, fmt.Sprintf("%04d", i))
		if err != nil {
			t.Fatalf("Lookup(%04d) = %v", i, err)
		}
		if _, err := w.Attr(t.Context(), e.ID); err != nil {
			t.Fatalf("Attr(%04d) = %v", i, err)
		}
		if _, err := w.Lookup(t.Context(), dir.ID, fmt.Sprintf("%04d.idx", i)); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("Lookup of an absent name = %v, want fs.ErrNotExist", err)
		}
	}
	if names, err = list(t, w.Namespace, dir.ID, "4997"); err != nil || !slices.Equal(names, []string{"4998", "4999"}) {
		t.Errorf("ReadDir(after 4997) = %q, %v, want the last two", names, err)
	}
	if got := w.ufs.Counts(); got.Stat != 0 || got.List != files/pageSize {
		t.Errorf("%d stats and %d lists of the UFS, want 0 and %d", got.Stat, got.List, files/pageSize)
	}
	s := w.Stats()
	if s.UFSListPages != files/pageSize || s.NegativeHits != files || s.Entries != files+1 {
		t.Errorf("Stats() = %+v, want %d pages, %d negative hits, %d entries", s, files/pageSize, files, files+1)
	}
}

func TestIDsSurvive(t *testing.T) {
	w := newWorld(t, "a", "d/x", "d/y")
	before := map[string]shoal.Entry{}
	for _, p := range []string{"/", "/data", "/data/a", "/data/d", "/data/d/x", "/data/d/y"} {
		before[p] = resolve(t, w.Namespace, p)
	}
	w.open()
	w.ufs.ResetCounts()
	for p, e := range before {
		if got, err := w.Attr(t.Context(), e.ID); err != nil || got != e {
			t.Errorf("Attr(%s) by another process = %+v, %v, want %+v", p, got, err, e)
		}
		if got := resolve(t, w.Namespace, p); got != e {
			t.Errorf("Resolve(%s) by another process = %+v, want %+v", p, got, e)
		}
	}
	if got := w.ufs.Counts().Stat; got != 0 {
		t.Errorf("%d stats of the UFS, want 0", got)
	}
	if got := w.Stats().Entries; got != 4 {
		t.Errorf("Stats().Entries = %d, want 4", got)
	}
}

// TestIDsSurviveKill ends the process's life without Close: only what was handed to the
// operating system is there afterwards.
func TestIDsSurviveKill(t *testing.T) {
	u := &ufstest.FS{}
	u.Put("f", nil)
	dir := t.TempDir()
	n, err := Open(dir, []Mount{{Path: "/", FS: u}}, Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	e := resolve(t, n, "/f")

	copied := t.TempDir() // what a process that is killed now leaves behind
	if _, err := vfs.Clone(vfs.Default, vfs.Default, dir, copied); err != nil {
		t.Fatal(err)
	}
	n2, err := Open(copied, []Mount{{Path: "/", FS: u}}, Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n2.Close() })
	if got, err := n2.Attr(t.Context(), e.ID); err != nil || got.Path != "/f" {
		t.Errorf("Attr(id of a killed process) = %+v, %v, want /f", got, err)
	}
}

func TestReplacedFile(t *testing.T) {
	for _, how := range []string{"lookup", "listing"} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t, "d/f", "d/keep")
			dir := resolve(t, w.Namespace, "/data/d")
			checkList(t, w.Namespace, "/data/d", "f", "keep")
			old, keep := resolve(t, w.Namespace, "/data/d/f"), resolve(t, w.Namespace, "/data/d/keep")
			w.ufs.Put("d/f", []byte("longer than before"))
			if got := resolve(t, w.Namespace, "/data/d/f"); got != old {
				t.Errorf("before the TTL: %+v, want %+v", got, old)
			}
			w.clock.advance(time.Minute)
			if how == "listing" {
				if _, err := list(t, w.Namespace, dir.ID, ""); err != nil {
					t.Fatal(err)
				}
			}
			now := resolve(t, w.Namespace, "/data/d/f")
			if now.ID == old.ID || now.File == old.File || now.Info.Size != 18 {
				t.Errorf("after the TTL: %+v, want a new version of %+v", now, old)
			}
			if got, err := w.Attr(t.Context(), old.ID); err != nil || got.Info != old.Info || got.File != old.File {
				t.Errorf("Attr(old id) = %+v, %v, want %+v", got, err, old)
			}
			if got := resolve(t, w.Namespace, "/data/d/keep"); got.ID != keep.ID {
				t.Errorf("id of an unchanged file = %d, want %d", got.ID, keep.ID)
			}
			if got := resolve(t, w.Namespace, "/data/d").ID; got != dir.ID {
				t.Errorf("id of the directory = %d, want %d", got, dir.ID)
			}
		})
	}
}

func TestFileBecomesDirectory(t *testing.T) {
	w := newWorld(t, "x")
	file := resolve(t, w.Namespace, "/data/x")
	w.ufs.Remove("x")
	w.ufs.Put("x/below", nil)
	w.clock.advance(time.Hour)
	dir := resolve(t, w.Namespace, "/data/x")
	if !dir.Info.IsDir() || dir.ID == file.ID {
		t.Errorf("Resolve() = %+v, want a directory with an id other than %d", dir, file.ID)
	}
	w.ufs.Remove("x/below")
	w.ufs.Put("x", nil)
	w.clock.advance(time.Hour)
	if got, err := w.Attr(t.Context(), dir.ID); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Attr(id of a directory that is a file now) = %+v, %v, want fs.ErrNotExist", got, err)
	}
	if _, err := w.Attr(t.Context(), file.ID); err != nil {
		t.Errorf("Attr(id of the first file) = %v", err)
	}
}

func TestTTL(t *testing.T) {
	w := newWorld(t, "d/f")
	steps := []struct {
		advance time.Duration
		path    string
		stats   int // further stats of the UFS by the lookup of path
		missing bool
	}{
		{0, "/data/d/f", 2, false},
		{59 * time.Second, "/data/d/f", 0, false},
		{time.Second, "/data/d/f", 2, false},
		{-30 * time.Second, "/data/d/f", 2, false}, // a clock set back: the future is not fresh
		{0, "/data/d/f", 0, false},
		{0, "/data/d/no", 1, true},
		{9 * time.Second, "/data/d/no", 0, true},
		{time.Second, "/data/d/no", 1, true},
	}
	for i, s := range steps {
		w.clock.advance(s.advance)
		w.ufs.ResetCounts()
		_, err := w.Resolve(t.Context(), s.path)
		if got := w.ufs.Counts().Stat; got != s.stats || errors.Is(err, fs.ErrNotExist) != s.missing {
			t.Errorf("step %d: Resolve(%s) = %v with %d stats, want missing %v, %d stats", i, s.path, err, got, s.missing, s.stats)
		}
	}
}

func TestVanish(t *testing.T) {
	w := newWorld(t, "d/a", "d/b", "d/c", "d/sub/x")
	checkList(t, w.Namespace, "/data/d", "a", "b", "c", "sub")
	w.ufs.Remove("d/b")
	w.ufs.Put("d/bb", nil)
	checkList(t, w.Namespace, "/data/d", "a", "b", "c", "sub")
	w.clock.advance(time.Minute)
	checkList(t, w.Namespace, "/data/d", "a", "bb", "c", "sub")
	if _, err := w.Resolve(t.Context(), "/data/d/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Resolve(removed file) = %v, want fs.ErrNotExist", err)
	}
	sub := resolve(t, w.Namespace, "/data/d/sub")
	w.ufs.Remove("d/sub/x")
	w.clock.advance(time.Minute)
	if names, err := list(t, w.Namespace, sub.ID, ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadDir(removed directory) = %q, %v, want fs.ErrNotExist", names, err)
	}
	if got := w.Stats().Entries; got != 4 {
		t.Errorf("Stats().Entries = %d, want 4: d, a, bb, c", got)
	}
}

func TestExpire(t *testing.T) {
	w := newWorld(t, "d/f", "d/g")
	checkList(t, w.Namespace, "/data/d", "f", "g")
	old := resolve(t, w.Namespace, "/data/d/f")
	w.ufs.Put("d/f", nil)
	w.ufs.ResetCounts()
	w.clock.advance(time.Second)
	w.Expire(old.ID)
	now := resolve(t, w.Namespace, "/data/d/f")
	resolve(t, w.Namespace, "/data/d/g")
	if got := w.ufs.Counts(); now.ID == old.ID || got.Stat != 1 || got.List != 0 {
		t.Errorf("after Expire: id %d (was %d), %d stats, %d lists, want another id, 1 and 0", now.ID, old.ID, got.Stat, got.List)
	}
	w.Expire(old.ID) // the name stands for another id already
	w.Expire(shoal.RootID)
	w.Expire(999)
	resolve(t, w.Namespace, "/data/d/f")
	if got := w.ufs.Counts().Stat; got != 1 {
		t.Errorf("%d stats after another Expire of the old id, want 1", got)
	}
	checkList(t, w.Namespace, "/data/d", "f", "g")
}

func TestConcurrent(t *testing.T) {
	w := newWorld(t)
	for i := range 2500 {
		w.ufs.Put(fmt.Sprintf("d/%04d", i), nil)
	}
	dir := resolve(t, w.Namespace, "/data/d").ID
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for round := range 5 {
				names, err := list(t, w.Namespace, dir, "")
				if err != nil || len(names) < 2500-40 || !slices.IsSorted(names) {
					t.Errorf("ReadDir() = %d names, %v", len(names), err)
				}
				for i := range 40 {
					name := fmt.Sprintf("%04d", (i*61+g)%2500)
					e, err := w.Lookup(t.Context(), dir, name)
					if err != nil && !errors.Is(err, fs.ErrNotExist) {
						t.Errorf("Lookup(%s) = %v", name, err)
					}
					if _, err := w.Attr(t.Context(), e.ID); err != nil && e.ID != 0 {
						t.Errorf("Attr(%s) = %v", name, err)
					}
					if g == 0 {
						w.Expire(e.ID)
						w.ufs.Put("d/"+name, nil)
					}
				}
				if g == 1 {
					w.ufs.Remove(fmt.Sprintf("d/%04d", round))
					w.clock.advance(time.Minute)
				}
			}
		})
	}
	wg.Wait()
	w.clock.advance(time.Hour)
	names, err := list(t, w.Namespace, dir, "")
	want, _ := w.ufs.List(t.Context(), "d", "", 5000)
	if err != nil || len(names) != len(want.Entries) {
		t.Errorf("ReadDir() = %d names, %v, want %d", len(names), err, len(want.Entries))
	}
	if got := w.Stats().Entries; got != int64(len(names))+1 {
		t.Errorf("Stats().Entries = %d, want %d", got, len(names)+1)
	}
}

func TestSingleFlight(t *testing.T) {
	w := newWorld(t, "f")
	data := resolve(t, w.Namespace, "/data").ID
	release, asked := make(chan struct{}), make(chan struct{}, 10)
	w.fault.set(func(string, string) error {
		asked <- struct{}{}
		<-release
		return nil
	})
	// The first who asks gives up; its request goes on and is the others' too.
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		_, err := w.Lookup(ctx, data, "f")
		gone <- err
	}()
	<-asked
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("Lookup with a cancelled context = %v, want context.Canceled", err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if e, err := w.Lookup(t.Context(), data, "f"); err != nil || e.Stale {
				t.Errorf("Lookup() = %+v, %v", e, err)
			}
		})
	}
	close(release)
	wg.Wait()
	if got := w.ufs.Counts().Stat; got != 1 {
		t.Errorf("%d stats of the UFS, want 1", got)
	}
	if s := w.Mounts()[0]; s.Down || s.LastError != "" {
		t.Errorf("Mounts() = %+v, want one that is up", s)
	}
}

func TestClosed(t *testing.T) {
	w := newWorld(t, "f")
	e := resolve(t, w.Namespace, "/data/f")
	if err := errors.Join(w.Close(), w.Close()); err != nil {
		t.Fatalf("Close() twice = %v", err)
	}
	if _, err := w.Attr(t.Context(), e.ID); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Attr after Close = %v, want fs.ErrClosed", err)
	}
	if _, err := w.Resolve(t.Context(), "/data/f"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Resolve after Close = %v, want fs.ErrClosed", err)
	}
	if _, err := list(t, w.Namespace, e.Parent, ""); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("ReadDir after Close = %v, want fs.ErrClosed", err)
	}
	w.Expire(e.ID)
}
