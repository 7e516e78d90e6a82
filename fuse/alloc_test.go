//go:build !race

// Under the race detector pools drop what they are given, so these run without it.

package fuse

import (
	"testing"

	"github.com/shoal-mesh/shoal"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

func TestReadDoesNotAllocate(t *testing.T) {
	tr := newTree()
	r := testRaw(t, tr, nil)
	in := gofuse.ReadIn{Fh: open(t, r, tr.file(shoal.RootID, "a", make([]byte, 1<<20))), Size: lendFrom / 2}
	buf, cancel := make([]byte, lendFrom/2), make(chan struct{})
	allocs := testing.AllocsPerRun(200, func() {
		res, code := r.Read(cancel, &in, buf)
		if !code.Ok() {
			t.Fatalf("Read() = %v, want OK", code)
		}
		res.Done()
	})
	if allocs != 0 {
		t.Errorf("Read allocates %v times, want 0", allocs)
	}
}

func TestElidedReadDoesNotAllocate(t *testing.T) {
	tr := newTree()
	id := tr.file(shoal.RootID, "a", noise(1, 8192))
	r := testRaw(t, tr, elided)
	in, buf := gofuse.ReadIn{InHeader: header(id)}, make([]byte, 4096)
	if n := testing.AllocsPerRun(1000, func() {
		res, code := r.Read(nil, &in, buf)
		if !code.Ok() {
			t.Fatal(code)
		}
		res.Done()
	}); n != 0 {
		t.Errorf("a read of a file that is kept open allocates %v times, want 0", n)
	}
}
