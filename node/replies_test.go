package node

import (
	"testing"
	"unsafe"
)

func TestReplies(t *testing.T) {
	r := newReplies()
	if p := r.Borrow(replyBytes + 1); p != nil {
		t.Errorf("%d bytes are lent at once, want at most %d", len(p), replyBytes)
	}
	lent := make(map[*byte]bool)
	var last []byte
	for range replyMemory / replyBytes {
		last = r.Borrow(1000)
		at := unsafe.SliceData(last)
		if len(last) != 1000 || lent[at] || uintptr(unsafe.Pointer(at))%replyBytes != 0 {
			t.Fatalf("borrowed %d bytes at %p, lent already: %v; want 1000 at a multiple of %#x, of one reply", len(last), at, lent[at], replyBytes)
		}
		lent[at] = true
	}
	if p := r.Borrow(1); p != nil {
		t.Error("more is lent than there is")
	}
	r.Return(last)
	if p := r.Borrow(replyBytes); len(p) != replyBytes || unsafe.SliceData(p) != unsafe.SliceData(last) {
		t.Errorf("borrowed %d bytes at %p, want %d at %p, as returned", len(p), p, replyBytes, last)
	}

	r.close() // with all lent
	clear(last)
	r.Return(last)
	r = newReplies()
	r.Return(r.Borrow(1))
	r.close()
	if p := r.Borrow(1); p != nil {
		t.Error("memory that was given back is lent")
	}
}
