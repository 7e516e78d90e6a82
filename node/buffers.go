package node

import (
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
)

const (
	// keptBuffers is how many free buffers stay allocated between fetches: 256 MiB, what is
	// in flight by default.
	keptBuffers = 64
	// keptFor is how long they stay when nothing is fetched.
	keptFor = 30 * time.Second

	hugePage = 2 << 20
)

// A buffer is memory for one block, outside the Go heap.
type buffer struct {
	data   []byte // BlockSize bytes, on huge pages where the kernel has them
	mapped []byte // what data lies in
}

// buffers hands out the memory of blocks on their way. The kernel and this process touch
// every byte of a block four times (socket, checksum, disk, reply), which costs less on huge
// pages; and memory that is new to the process costs more than all four (docs/buffers.md).
type buffers struct {
	mu     sync.Mutex // guards the fields below
	free   []buffer
	trim   *time.Timer
	closed bool
}

func newBuffers() *buffers {
	b := new(buffers)
	b.trim = time.AfterFunc(keptFor, b.drain)
	return b
}

// get returns a buffer; its bytes may be anything.
func (b *buffers) get() buffer {
	b.mu.Lock()
	if n := len(b.free) - 1; n >= 0 {
		got := b.free[n]
		b.free[n] = buffer{}
		b.free = b.free[:n]
		b.mu.Unlock()
		return got
	}
	b.mu.Unlock()
	return newBuffer()
}

// put takes a buffer back that nobody refers to any more.
func (b *buffers) put(done buffer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || len(b.free) == keptBuffers {
		done.unmap()
		return
	}
	b.free = append(b.free, done)
	b.trim.Reset(keptFor)
}

// drain gives the free buffers back to the kernel.
func (b *buffers) drain() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.free {
		f.unmap()
	}
	b.free = nil
}

// close is drain, also for the buffers that come back later.
func (b *buffers) close() {
	b.mu.Lock()
	b.closed = true
	b.trim.Stop()
	b.mu.Unlock()
	b.drain()
}

// newBuffer maps memory, or takes it from the heap where the kernel refuses.
func newBuffer() buffer {
	mapped, err := unix.Mmap(-1, 0, shoal.BlockSize+hugePage, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return buffer{data: make([]byte, shoal.BlockSize)}
	}
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(mapped)))) & (hugePage - 1)
	data := mapped[skip : skip+shoal.BlockSize : skip+shoal.BlockSize]
	_ = unix.Madvise(data, unix.MADV_HUGEPAGE) // a kernel without them has the small ones
	return buffer{data, mapped}
}

func (b buffer) unmap() {
	if b.mapped != nil {
		_ = unix.Munmap(b.mapped) // it was mapped here, so it can be
	}
}
