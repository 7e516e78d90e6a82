package namespace

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/ufs"
)

// A script is a UFS whose listings are what a test wrote, good or bad.
type script struct {
	ufs.FS
	pages []ufs.Page
	next  int
}

func (*script) Address() string { return "script" }

func (s *script) List(context.Context, string, string, int) (ufs.Page, error) {
	p := s.pages[min(s.next, len(s.pages)-1)]
	s.next++
	return p, nil
}

func page(more bool, names ...string) ufs.Page {
	p := ufs.Page{More: more}
	for _, n := range names {
		p.Entries = append(p.Entries, shoal.FileInfo{Name: n, Mode: 0o644, Version: "v"})
	}
	return p
}

func TestHostileNames(t *testing.T) {
	long := strings.Repeat("l", 256)
	odd := page(true, "", ".", "..", "a", "a", "a\x00", "a/b", long)
	odd.Entries[3].Mode |= fs.ModeSymlink
	odd.Entries = append(odd.Entries, shoal.FileInfo{Name: "negative", Size: -1, Mode: 0o644}, shoal.FileInfo{Name: "pipe", Mode: fs.ModeNamedPipe})
	n := open(t, Config{}, Mount{Path: "/", FS: &script{pages: []ufs.Page{odd, page(false, "pipe", "z", "z", "\xff")}}})
	checkList(t, n, "/", "a", "z")
	if got := n.Stats().Skipped; got != 12 {
		t.Errorf("Stats().Skipped = %d, want 12", got)
	}
}

func TestBrokenListings(t *testing.T) {
	tests := []struct {
		name  string
		pages []ufs.Page
		want  string
	}{
		{"out of order", []ufs.Page{page(false, "b", "a")}, "out of order"},
		{"goes back", []ufs.Page{page(true, "b"), page(false, "a")}, "out of order"},
		{"empty page and more", []ufs.Page{page(true)}, "does not go on"},
		{"same page for ever", []ufs.Page{page(true, "a")}, "does not go on"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := open(t, Config{}, Mount{Path: "/", FS: &script{pages: tt.pages}})
			if names, err := list(t, n, shoal.RootID, ""); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ReadDir() = %q, %v, want an error with %q", names, err, tt.want)
			}
		})
	}
}

// TestPagesShowAsTheyCome reads a directory while its listing stands still after the
// first page, for the first time and again.
func TestPagesShowAsTheyCome(t *testing.T) {
	w := newWorld(t)
	for i := range 2000 {
		w.ufs.Put(fmt.Sprintf("d/%04d", i), nil)
	}
	dir := resolve(t, w.Namespace, "/data/d").ID
	for _, want := range []int{2000, 1999} {
		release := make(chan struct{})
		pages := 0
		w.fault.set(func(string, string) error {
			if pages++; pages == 2 {
				<-release
			}
			return nil
		})
		w.ufs.ResetCounts()
		got := 0
		for e, err := range w.ReadDir(t.Context(), dir, "") {
			if err != nil {
				t.Fatalf("ReadDir() = %v", err)
			}
			if got++; got == 500 { // the second page cannot have come
				if _, err := w.Lookup(t.Context(), dir, e.Info.Name); err != nil {
					t.Errorf("Lookup(%s) = %v", e.Info.Name, err)
				}
				close(release)
			}
			if want == 1999 && e.Info.Name == "0003" {
				t.Errorf("ReadDir() shows the removed 0003")
			}
		}
		if c := w.ufs.Counts(); got != want || c.Stat != 0 || c.List != 2 {
			t.Errorf("ReadDir() = %d names with %d stats and %d lists, want %d, 0, 2", got, c.Stat, c.List, want)
		}
		w.ufs.Remove("d/0003")
		w.clock.advance(time.Minute)
	}
}

// TestUnchangedListingWritesNothing counts on a listing to say by itself that its names
// are fresh: a directory of a million names is not rewritten every minute.
func TestUnchangedListingWritesNothing(t *testing.T) {
	w := newWorld(t)
	for i := range 3000 {
		w.ufs.Put(fmt.Sprintf("d/%04d", i), nil)
	}
	dir := resolve(t, w.Namespace, "/data/d").ID
	written := func() uint64 {
		if _, err := list(t, w.Namespace, dir, ""); err != nil {
			t.Fatal(err)
		}
		return w.store.db.Metrics().WAL.BytesIn
	}
	first := written()
	w.clock.advance(time.Minute)
	if again := written() - first; again > 1000 {
		t.Errorf("an unchanged listing wrote %d bytes, want at most 1000", again)
	}
	w.ufs.ResetCounts()
	resolve(t, w.Namespace, "/data/d/2999")
	if got := w.ufs.Counts(); got.Stat != 1 { // of d
		t.Errorf("%d stats, want 1", got.Stat)
	}
}

// TestCancelledReadDir leaves a listing that goes on without its reader.
func TestCancelledReadDir(t *testing.T) {
	w := newWorld(t, "d/f")
	dir := resolve(t, w.Namespace, "/data/d").ID
	release := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	w.fault.set(func(string, string) error {
		cancel()
		<-release
		return nil
	})
	for e, err := range w.ReadDir(ctx, dir, "") {
		if err != context.Canceled { //nolint:errorlint // as it is, not wrapped
			t.Errorf("ReadDir() = %+v, %v, want context.Canceled", e, err)
		}
	}
	close(release)
	checkList(t, w.Namespace, "/data/d", "f")
	if got := w.ufs.Counts().List; got != 1 {
		t.Errorf("%d lists of the UFS, want 1", got)
	}
}

// Listed tells one complete listing from the next, and from none that is good.
func TestListed(t *testing.T) {
	w := newWorld(t)
	w.ufs.Put("d/a", nil)
	w.open()
	d := resolve(t, w.Namespace, "/data/d")
	listed := func(why string, want bool) time.Time {
		t.Helper()
		began := w.Listed(d.ID)
		if began.IsZero() == want {
			t.Errorf("%s: Listed = %v, want a time: %v", why, began, want)
		}
		return began
	}
	listed("never listed", false)
	if _, err := list(t, w.Namespace, d.ID, ""); err != nil {
		t.Fatal(err)
	}
	first := listed("listed", true)
	w.clock.advance(24 * time.Hour)
	listed("its TTL is over", false)
	if _, err := list(t, w.Namespace, d.ID, ""); err != nil {
		t.Fatal(err)
	}
	if second := listed("listed again", true); !second.After(first) {
		t.Errorf("the second listing began at %v, the first at %v", second, first)
	}
}
