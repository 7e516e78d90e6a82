package fuse

import (
	"fmt"
	"slices"
	"syscall"
	"testing"

	"github.com/shoal-mesh/shoal"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

// A lister reads a directory as the kernel does: page by page, from a cookie.
type lister struct {
	t    *testing.T
	r    *raw
	fh   uint64
	plus bool
}

func newLister(t *testing.T, tr *tree, dir uint64, plus bool) *lister {
	t.Helper()
	cfg, err := Config{Path: "/m"}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	return openLister(t, newRaw(tr, tr, cfg), dir, plus)
}

func openLister(t *testing.T, r *raw, dir uint64, plus bool) *lister {
	t.Helper()
	var out gofuse.OpenOut
	in := gofuse.OpenIn{InHeader: gofuse.InHeader{NodeId: dir}}
	if code := r.OpenDir(nil, &in, &out); !code.Ok() {
		t.Fatalf("OpenDir(%d) = %v, want OK", dir, code)
	}
	return &lister{t: t, r: r, fh: out.Fh, plus: plus}
}

// page reads one page of size bytes after cookie.
func (l *lister) page(cookie uint64, size int) ([]gofuse.DirEntry, gofuse.Status) {
	l.t.Helper()
	list := gofuse.NewDirEntryList(make([]byte, size), cookie)
	in := gofuse.ReadIn{Fh: l.fh, Offset: cookie, Size: uint32(size)}
	if !l.plus {
		code := l.r.ReadDir(nil, &in, list)
		got, err := gofuse.ParseDirEntries(list.Bytes())
		if err != nil {
			l.t.Fatal(err)
		}
		return got, code
	}
	code := l.r.ReadDirPlus(nil, &in, list)
	got, outs, err := gofuse.ParseDirLookupEntries(list.Bytes())
	if err != nil {
		l.t.Fatal(err)
	}
	for i, e := range got {
		dots := e.Name == "." || e.Name == ".."
		if !dots && (outs[i].NodeId != e.Ino || outs[i].Ino != e.Ino) || dots && outs[i].NodeId != 0 {
			l.t.Errorf("entry %q has node %d and inode %d, want %d", e.Name, outs[i].NodeId, outs[i].Ino, e.Ino)
		}
	}
	return got, code
}

// rest reads from cookie to the end.
func (l *lister) rest(cookie uint64, size int) []gofuse.DirEntry {
	l.t.Helper()
	var all []gofuse.DirEntry
	for {
		page, code := l.page(cookie, size)
		if !code.Ok() {
			l.t.Fatalf("page(%d) = %v, want OK", cookie, code)
		}
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
		cookie = page[len(page)-1].Off
	}
}

func names(entries []gofuse.DirEntry) []string {
	var all []string
	for _, e := range entries {
		all = append(all, e.Name)
	}
	return all
}

// fill adds n files to the root and returns the names a listing of them shows.
func fill(tr *tree, n int) []string {
	all := []string{".", ".."}
	for i := range n {
		name := fmt.Sprintf("file-%05d", i)
		tr.file(shoal.RootID, name, nil)
		all = append(all, name)
	}
	return all
}

func TestReadDirWhole(t *testing.T) {
	for _, n := range []int{0, 1, batchLen - 1, batchLen, batchLen + 1, 3000} {
		for _, plus := range []bool{false, true} {
			tr := newTree()
			want := fill(tr, n)
			l := newLister(t, tr, shoal.RootID, plus)
			for _, size := range []int{256, 4096, 1 << 20} {
				if got := names(l.rest(0, size)); !slices.Equal(got, want) {
					t.Errorf("%d files, plus %v, pages of %d: got %d names, want %d", n, plus, size, len(got), len(want))
				}
			}
		}
	}
}

func TestReadDirKinds(t *testing.T) {
	tr := newTree()
	dir := tr.dir(shoal.RootID, "dir")
	sub, file := tr.dir(dir, "a"), tr.file(dir, "b", nil)
	want := []gofuse.DirEntry{
		{Name: ".", Ino: dir, Mode: syscall.S_IFDIR, Off: 1},
		{Name: "..", Ino: shoal.RootID, Mode: syscall.S_IFDIR, Off: 2},
		{Name: "a", Ino: sub, Mode: syscall.S_IFDIR, Off: sub},
		{Name: "b", Ino: file, Mode: syscall.S_IFREG, Off: file},
	}
	if got := newLister(t, tr, dir, false).rest(0, 4096); !slices.Equal(got, want) {
		t.Errorf("listing = %v, want %v", got, want)
	}
}

func TestReadDirSeek(t *testing.T) {
	tr := newTree()
	want := fill(tr, 1500)
	l := newLister(t, tr, shoal.RootID, true)
	all := l.rest(0, 4096)
	for _, at := range []int{0, 1, 2, 3, 1502 - 1, 700, 511, 512, 513, 514, 515, 1, 1400} {
		cookie := uint64(0)
		if at > 0 {
			cookie = all[at-1].Off
		}
		if at == 0 {
			continue // a new listing, see below
		}
		if got := names(l.rest(cookie, 4096)); !slices.Equal(got, want[at:]) {
			t.Errorf("after seeking to %d: %d names, want %d", at, len(got), len(want)-at)
		}
		if again := l.rest(cookie, 4096); !slices.Equal(again, all[at:]) {
			t.Errorf("after seeking to %d: other cookies than before", at)
		}
	}
	if got := names(l.rest(0, 4096)); !slices.Equal(got, want) {
		t.Errorf("after rewinding: %d names, want %d", len(got), len(want))
	}
	if _, code := l.page(9999, 4096); code != gofuse.EINVAL {
		t.Errorf("page at an unknown cookie = %v, want %v", code, gofuse.EINVAL)
	}
	below := tr.file(tr.dir(shoal.RootID, "zz"), "below", nil)
	if _, code := l.page(below, 4096); code != gofuse.EINVAL {
		t.Errorf("page at a cookie of another directory = %v, want %v", code, gofuse.EINVAL)
	}
}

// TestReadDirSeekElsewhere continues a listing on a handle that has listed nothing, as
// those of a process do that takes a mount over.
func TestReadDirSeekElsewhere(t *testing.T) {
	tr := newTree()
	want := fill(tr, 700)
	all := newLister(t, tr, shoal.RootID, true).rest(0, 4096)
	for _, at := range []int{1, 2, 3, 600, len(all)} {
		other := newLister(t, tr, shoal.RootID, true)
		if got := names(other.rest(all[at-1].Off, 4096)); !slices.Equal(got, want[at:]) {
			t.Errorf("from position %d: %d names, want %d", at, len(got), len(want)-at)
		}
	}
}

// TestReadDirHoldsLittle lists more directories side by side than may hold a batch.
func TestReadDirHoldsLittle(t *testing.T) {
	tr := newTree()
	want := fill(tr, batchLen+10)
	first := newLister(t, tr, shoal.RootID, true)
	all := []*lister{first}
	for range maxBatches + 9 {
		all = append(all, openLister(t, first.r, shoal.RootID, true))
	}
	at := make([]uint64, len(all))
	got := make([][]string, len(all))
	for round := range 3 {
		for i, l := range all {
			size := []int{4096, 1 << 20, 1 << 20}[round]
			page, code := l.page(at[i], size)
			if !code.Ok() {
				t.Fatalf("page(%d) = %v, want OK", at[i], code)
			}
			got[i] = append(got[i], names(page)...)
			if len(page) > 0 {
				at[i] = page[len(page)-1].Off
			}
		}
		if n := first.r.batches.Load(); n != []int64{maxBatches, maxBatches, 0}[round] {
			t.Errorf("after page %d: %d directories hold a batch", round+1, n)
		}
	}
	for i := range all {
		if !slices.Equal(got[i], want) {
			t.Errorf("listing %d: %d names, want %d", i, len(got[i]), len(want))
		}
	}
	first.page(0, 4096)
	first.r.ReleaseDir(&gofuse.ReleaseIn{Fh: first.fh})
	if n := first.r.batches.Load(); n != 0 {
		t.Errorf("after the release: %d directories hold a batch", n)
	}
}

func TestReadDirWhileChanging(t *testing.T) {
	tr := newTree()
	want := fill(tr, 2000)
	l := newLister(t, tr, shoal.RootID, false)
	var got []string
	cookie := uint64(0)
	for i := 0; ; i++ {
		page, code := l.page(cookie, 512)
		if !code.Ok() {
			t.Fatalf("page(%d) = %v, want OK", cookie, code)
		}
		if len(page) == 0 {
			break
		}
		page = page[:1+len(page)/2] // the kernel's caller took only half
		got = append(got, names(page)...)
		cookie = page[len(page)-1].Off
		// Names behind come and go: they are neither missed nor seen.
		tr.file(shoal.RootID, fmt.Sprintf("file-00000-%d", i), nil)
		if i%3 == 0 && i > 0 {
			tr.remove(fmt.Sprintf("file-00000-%d", i-1))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %d names, want %d", len(got), len(want))
	}
}

func TestReadDirSeekAfterChange(t *testing.T) {
	tr := newTree()
	fill(tr, 1200)
	l := newLister(t, tr, shoal.RootID, false)
	all := l.rest(0, 4096)
	middle := all[101] // file-00099
	tr.remove("file-00099")
	tr.remove("file-00100")
	tr.file(shoal.RootID, "file-00100b", nil)
	got := l.rest(middle.Off, 4096)
	if got[0].Name != "file-00100b" || got[1].Name != "file-00101" || len(got) != 1200-100 {
		t.Errorf("after %s: %q, %q and %d in all, want file-00100b, file-00101 and 1100", middle.Name, got[0].Name, got[1].Name, len(got))
	}
	// Old cookies stand for the names they were given for, still.
	if got := names(l.rest(all[601].Off, 4096)); got[0] != "file-00600" || len(got) != 600 {
		t.Errorf("after %s: %q and %d in all, want file-00600 and 600", all[601].Name, got[0], len(got))
	}
	if got := names(l.rest(got[0].Off, 4096)); got[0] != "file-00101" || len(got) != 1099 {
		t.Errorf("after the new name: %q and %d in all, want file-00101 and 1099", got[0], len(got))
	}
}

func TestReadDirError(t *testing.T) {
	tr := newTree()
	fill(tr, 3)
	tr.file(shoal.RootID, "unlistable", nil)
	tr.file(shoal.RootID, "z", nil)
	l := newLister(t, tr, shoal.RootID, false)
	page, code := l.page(0, 4096)
	if !code.Ok() || len(page) != 5 {
		t.Fatalf("page(0) = %d names, %v, want 5, OK", len(page), code)
	}
	if page, code := l.page(page[4].Off, 4096); code != gofuse.EIO || len(page) != 0 {
		t.Errorf("page(%d) = %d names, %v, want 0, %v", 5, len(page), code, gofuse.EIO)
	}
}

func TestReadDirLeavesOutBadNames(t *testing.T) {
	tr := newTree()
	want := fill(tr, 2)
	for _, bad := range []string{"", ".", "a/b", "a\x00b", string(make([]byte, 1025))} {
		tr.file(shoal.RootID, bad, nil)
	}
	l := newLister(t, tr, shoal.RootID, false)
	if got := names(l.rest(0, 4096)); !slices.Equal(got, want) {
		t.Errorf("listing = %q, want %q", got, want)
	}
	if got := l.r.stats().BadNames; got == 0 {
		t.Errorf("BadNames = %d, want more", got)
	}
}

func TestReadDirAsksOncePerBatch(t *testing.T) {
	tr := newTree()
	fill(tr, 3*batchLen)
	l := newLister(t, tr, shoal.RootID, true)
	l.rest(0, 4096)
	if got := len(tr.listed); got > 4 {
		t.Errorf("ReadDir called %d times for 3 batches, want at most 4: %q", got, tr.listed)
	}
}

func TestReadDirBadHandle(t *testing.T) {
	l := newLister(t, newTree(), shoal.RootID, false)
	l.r.ReleaseDir(&gofuse.ReleaseIn{Fh: l.fh})
	if _, code := l.page(0, 4096); code != gofuse.EBADF {
		t.Errorf("page of a closed directory = %v, want %v", code, gofuse.EBADF)
	}
}
