package fuse

import (
	"syscall"
	"testing"

	"github.com/shoal-mesh/shoal"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

// lookup has a name of the root looked up.
func lookup(t *testing.T, r *raw, name string) {
	t.Helper()
	in := header(shoal.RootID)
	if code := r.Lookup(nil, &in, name, new(gofuse.EntryOut)); !code.Ok() {
		t.Fatalf("Lookup(%s) = %v, want OK", name, code)
	}
}

// A file is read as the lookup found it, whose kernel has it open since.
func TestFoundRead(t *testing.T) {
	tr := newTree()
	id, dir := tr.file(shoal.RootID, "a", []byte("old bytes")), tr.dir(shoal.RootID, "d")
	r := testRaw(t, tr, elided)
	lookup(t, r, "a")
	lookup(t, r, "d")
	tr.remove("a")
	for range 2 {
		if got, code := readID(t, r, id, 8); !code.Ok() || string(got) != "old byte" {
			t.Errorf("Read = %q, %v, want the bytes", got, code)
		}
	}
	if _, code := readID(t, r, dir, 8); code != gofuse.Status(syscall.EISDIR) {
		t.Errorf("Read of a directory = %v, want EISDIR", code)
	}
	r.kept.sweep()
	r.kept.sweep()
	if _, code := readID(t, r, id, 8); code != gofuse.Status(syscall.ESTALE) {
		t.Errorf("Read after it was closed = %v, want ESTALE", code)
	}
}

// What was looked up and not read is forgotten with the next sweep.
func TestFoundForgotten(t *testing.T) {
	tr := newTree()
	id := tr.file(shoal.RootID, "a", []byte("bytes"))
	r := testRaw(t, tr, elided)
	lookup(t, r, "a")
	tr.remove("a")
	r.kept.sweep()
	if _, code := readID(t, r, id, 8); code != gofuse.Status(syscall.ESTALE) {
		t.Errorf("Read = %v, want ESTALE", code)
	}
}

func TestFoundReplaced(t *testing.T) {
	var f found
	first, second := opened(5), opened(5+foundSlots)
	f.note(first)
	f.note(second)
	if got := f.take(5); got != nil {
		t.Errorf("take(5) = %v, want nothing: another file has its place", got)
	}
	if got := f.take(5 + foundSlots); got != second {
		t.Errorf("take = %v, want what was noted last", got)
	}
	if got := f.take(5 + foundSlots); got != nil {
		t.Errorf("take = %v the second time, want nothing", got)
	}
}
