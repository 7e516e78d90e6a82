package ufstest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/ufs"
)

// testListPages lists a directory with every limit and from every name. Its names sort
// differently as names and as paths: "a" < "a-b", but "a/x" > "a-b".
func testListPages(t *testing.T, _ Harness, f ufs.FS, w Writer) {
	files := []string{
		"a!", "a-b", "a-b-c", "a.txt", "a0", "ab", "b", "b-/x", "b.d/x", "B", "z-1", "z-2", "z-3",
		"a/x", "a/y", "a-b.d/x", "a-b.d-/y", "a.b.c/x", "dir/sub/deep", "z/1", "~", "zz/z", "0/0", "é", "日本",
	}
	names := []string{}
	for _, file := range files {
		put(t, w, "top/"+file, pattern(len(file), 1))
		first, _, _ := strings.Cut(file, "/")
		names = append(names, first)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for limit := 1; limit <= len(names)+1; limit++ {
		checkListing(t, f, "top", "", limit, names)
	}
	for i, after := range names {
		checkListing(t, f, "top", after, 3, names[i+1:])
	}
	for _, after := range []string{" ", "a ", "a-", "a/", "a.", "a-b!", "az", "dir/sub", "dir-", "zzz", "\xff"} {
		i, _ := slices.BinarySearch(names, after)
		checkListing(t, f, "top", after, 4, names[i:])
	}
	for _, e := range list(t, f, "top", "", 100) {
		if info := stat(t, f, path.Join("top", e.Name)); !sameInfo(info, e) {
			t.Errorf("List gives %+v, Stat %+v, want the same", e, info)
		}
	}
	checkListing(t, f, "top/dir", "", 10, []string{"sub"})
	checkListing(t, f, "", "", 10, []string{"top"})
}

func testListMany(t *testing.T, h Harness, f ufs.FS, w Writer) {
	var names []string
	for i := range h.Many {
		name := fmt.Sprintf("file-%06d.bin", i)
		put(t, w, "many/"+name, nil)
		names = append(names, name)
	}
	put(t, w, "many/file/inside", nil) // as a path, after all of those; as a name, before
	names = append([]string{"file"}, names...)
	checkListing(t, f, "many", "", h.Many*2, names)
	checkListing(t, f, "many", "", 97, names)
	checkListing(t, f, "many", names[h.Many/2], h.Many, names[h.Many/2+1:])
}

func testListEmpty(t *testing.T, h Harness, f ufs.FS, w Writer) {
	checkListing(t, f, "", "", 10, nil)
	checkListing(t, f, "", "x", 10, nil)
	if h.NoEmptyDirs {
		return
	}
	if err := w.Mkdir("empty"); err != nil {
		t.Fatal(err)
	}
	checkListing(t, f, "empty", "", 10, nil)
	checkListing(t, f, "empty", "x", 10, nil)
	checkListing(t, f, "", "", 10, []string{"empty"})
	if info := stat(t, f, "empty"); !info.IsDir() {
		t.Errorf("Stat(empty) = %+v, want a directory", info)
	}
}

func testListMissing(t *testing.T, _ Harness, f ufs.FS, w Writer) {
	put(t, w, "dir/file", pattern(10, 1))
	for _, name := range []string{"no", "dir/no", "di", "dir/file", "dir/file/below"} {
		for _, after := range []string{"", "x"} {
			if page, err := f.List(t.Context(), name, after, 10); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("List(%q, %q) = %+v, %v, want fs.ErrNotExist", name, after, page, err)
			}
		}
	}
}

func testOddNames(t *testing.T, h Harness, f ufs.FS, w Writer) {
	names := []string{
		"a b", "a+b", "a%20b", "100%", "a&b=c", "<tag>", "q?x=1#f", "'single'", `"double"`, `back\slash`,
		"...", "..a", "-", "日本語", "e\u0301", "\u00e9", "[x]{y}", "a:b;c,d", "$HOME~", strings.Repeat("n", 200),
	}
	names = append(names, h.Names...)
	for i, name := range names {
		put(t, w, "odd/"+name, pattern(100+i, i))
		put(t, w, "in "+name+"/+", pattern(100, i))
	}
	for i, name := range names {
		info := stat(t, f, "odd/"+name)
		got, err := read(t.Context(), f, "odd/"+name, info.Version, 0, info.Size)
		if err != nil || !bytes.Equal(got, pattern(100+i, i)) {
			t.Errorf("read of %q: %d bytes, %v, want %d right bytes", name, len(got), err, 100+i)
		}
		checkListing(t, f, "in "+name, "", 2, []string{"+"})
	}
	slices.Sort(names)
	checkListing(t, f, "odd", "", 3, names)
}

// checkListing lists name from after on in pages of limit and compares the names.
func checkListing(t *testing.T, f ufs.FS, name, after string, limit int, want []string) {
	t.Helper()
	var got []string
	for _, e := range list(t, f, name, after, limit) {
		got = append(got, e.Name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("List(%q, %q) in pages of %d = %s, want %s", name, after, limit, short(got), short(want))
	}
}

// list returns all entries of name after after.
func list(t *testing.T, f ufs.FS, name, after string, limit int) []shoal.FileInfo {
	t.Helper()
	var all []shoal.FileInfo
	for {
		page, err := f.List(t.Context(), name, after, limit)
		if err != nil {
			t.Errorf("List(%q, %q, %d): %v", name, after, limit, err)
			return all
		}
		if n := len(page.Entries); n > limit || page.More && n == 0 {
			t.Errorf("List(%q, %q, %d) = %d entries, more %v, want 1 to limit or no more", name, after, limit, n, page.More)
			return all
		}
		all = append(all, page.Entries...)
		if !page.More {
			return all
		}
		after = page.Entries[len(page.Entries)-1].Name
	}
}

// sameInfo compares what identifies a file: the times of directories may be unknown.
func sameInfo(a, b shoal.FileInfo) bool {
	same := a.Name == b.Name && a.Size == b.Size && a.Mode == b.Mode && a.Version == b.Version
	return same && (a.IsDir() || a.ModTime.Equal(b.ModTime))
}

// short prints the ends of a long list of names.
func short(names []string) string {
	if len(names) <= 40 {
		return fmt.Sprintf("%q", names)
	}
	return fmt.Sprintf("%q ... %q (%d names)", names[:10], names[len(names)-10:], len(names))
}
