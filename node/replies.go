package node

import (
	"sync"

	"github.com/shoal-mesh/shoal"
)

const (
	// replyBytes is how much is lent to one reply: to those of small files. Longer ones are most
	// often lent by a fetch, or read by the kernel itself.
	replyBytes = 256 << 10
	// replyMemory is how much there is to lend, for 32 replies at once.
	replyMemory = 2 * shoal.BlockSize
)

// replies is the memory that small files are read into on their way to the kernel: on huge pages.
// Of a buffer on pages of 4 KiB the kernel looks up each page, for the disk and again for the copy
// into the page cache, and tells the disk of each (docs/buffers.md). What was returned last is
// lent first, so that little more is touched than is in use at once.
type replies struct {
	mu      sync.Mutex // guards the fields below
	free    [][]byte   // of replyBytes each
	buffers []buffer   // what they are parts of
}

func newReplies() *replies {
	r := new(replies)
	for range replyMemory / shoal.BlockSize {
		b := newBuffer()
		r.buffers = append(r.buffers, b)
		for at := 0; at < len(b.data); at += replyBytes {
			r.free = append(r.free, b.data[at:at+replyBytes:at+replyBytes])
		}
	}
	return r
}

// Borrow returns n bytes, which may be anything, or nil if that is too many or all are lent.
func (r *replies) Borrow(n int) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := len(r.free) - 1
	if n > replyBytes || last < 0 {
		return nil
	}
	p := r.free[last]
	r.free = r.free[:last]
	return p[:n]
}

// Return takes back what Borrow returned.
func (r *replies) Return(p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free = append(r.free, p[:replyBytes])
}

// close gives the memory back to the kernel, and lends none any more. It stays if some is lent, which
// is not so once the mounts have ended.
func (r *replies) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.free) == replyMemory/replyBytes {
		for _, b := range r.buffers {
			b.unmap()
		}
	}
	r.free, r.buffers = nil, nil
}
