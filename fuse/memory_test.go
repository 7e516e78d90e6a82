package fuse

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/shoal-mesh/shoal"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

// A oneReply is memory for one reply of up to len(bytes).
type oneReply struct {
	bytes []byte
	lent  bool
}

func (m *oneReply) Borrow(n int) []byte {
	if m.lent || n > len(m.bytes) {
		return nil
	}
	m.lent = true
	return m.bytes[:n]
}

func (m *oneReply) Return(p []byte) {
	clear(p)
	m.lent = false
}

// TestReadBorrows reads into memory that is lent, and into the request's buffer when there is none.
func TestReadBorrows(t *testing.T) {
	tr := newTree()
	data := noise(1, 2*lendFrom)
	m := &oneReply{bytes: make([]byte, lendFrom)}
	r := testRaw(t, tr, func(c *Config) { c.Memory = m })
	fh, bad := open(t, r, tr.file(shoal.RootID, "a", data)), open(t, r, tr.file(shoal.RootID, "eio", data))
	read := func(off uint64, n int, buf []byte) gofuse.ReadResult {
		t.Helper()
		res, code := r.Read(nil, &gofuse.ReadIn{Fh: fh, Offset: off}, buf[:n])
		if !code.Ok() {
			t.Fatalf("Read of %d bytes at %d = %v, want OK", n, off, code)
		}
		if got, _ := res.(*result).Slices(); !bytes.Equal(slices.Concat(got...), data[off:off+uint64(n)]) {
			t.Errorf("Read of %d bytes at %d: other bytes", n, off)
		}
		return res
	}
	buf := make([]byte, lendFrom)

	first := read(3, 1000, buf)
	if !m.lent || !bytes.Equal(m.bytes[:1000], data[3:1003]) {
		t.Error("a read is not of the memory that is lent")
	}
	second := read(5, 1000, buf)
	if !bytes.Equal(buf[:1000], data[5:1005]) {
		t.Error("a read for which there is none is not of the request's buffer")
	}
	second.Done()
	if !m.lent {
		t.Error("the end of a read that borrowed nothing returned something")
	}
	first.Done()
	if m.lent {
		t.Error("the end of a read does not return what it borrowed")
	}

	if read(0, lendFrom, buf).Done(); m.lent || tr.lent.Load() != 0 {
		t.Error("the end of a read that the file lent its bytes does not return what it borrowed, or was lent")
	}
	if _, code := r.Read(nil, &gofuse.ReadIn{Fh: bad}, buf[:1000]); code != gofuse.EIO || m.lent {
		t.Errorf("a read that fails = %v, borrowed: %v; want EIO, and nothing", code, m.lent)
	}

	mad, _ := r.open.add(&handle{entry: shoal.Entry{Info: shoal.FileInfo{Size: 10}}, file: panicFile{}})
	func() {
		defer func() { _ = recover() }() // as go-fuse does
		r.Read(nil, &gofuse.ReadIn{Fh: mad}, buf[:10])
		t.Error("a read of a file that panics returns")
	}()
	if m.lent {
		t.Error("a read that panics does not return what it borrowed")
	}
}

type panicFile struct{ File }

func (panicFile) Read(context.Context, []byte, int64) ([]byte, func(), error) { panic("a bug") }
