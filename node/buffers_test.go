package node

import (
	"bytes"
	"testing"
	"unsafe"

	"github.com/shoal-mesh/shoal"
)

func TestBuffers(t *testing.T) {
	b := newBuffers()
	first := b.get()
	if len(first.data) != shoal.BlockSize || cap(first.data) != shoal.BlockSize {
		t.Errorf("a buffer has %d bytes of %d, want %d", len(first.data), cap(first.data), shoal.BlockSize)
	}
	at := uintptr(unsafe.Pointer(&first.data[0]))
	if at%hugePage != 0 {
		t.Errorf("a buffer begins at %#x, want a multiple of %#x", at, hugePage)
	}
	second := b.get()
	if &first.data[0] == &second.data[0] {
		t.Fatal("a buffer was handed out twice")
	}
	b.put(first)
	if again := b.get(); &again.data[0] != &first.data[0] {
		t.Error("a buffer that was given back is not used again")
	}
	b.put(first)
	b.drain()
	if len(b.free) != 0 {
		t.Errorf("%d buffers are kept, want 0 after drain", len(b.free))
	}
	b.close()
	b.put(second)
	if len(b.free) != 0 {
		t.Errorf("%d buffers are kept, want 0 after close", len(b.free))
	}
}

func TestBuffersAreBounded(t *testing.T) {
	b := newBuffers()
	defer b.close()
	var out []buffer
	for range keptBuffers + 3 {
		out = append(out, b.get())
	}
	for _, o := range out {
		b.put(o)
	}
	if len(b.free) != keptBuffers {
		t.Errorf("%d buffers are kept, want %d", len(b.free), keptBuffers)
	}
}

// TestReadLends holds what a read was lent over the reading of all other blocks: nobody
// else may be given that memory meanwhile.
func TestReadLends(t *testing.T) {
	b := newBench(t, FetcherConfig{InFlightBytes: 2 * shoal.BlockSize})
	e, want := b.put(t, 8*shoal.BlockSize)
	files := NewFiles(b.Fetcher, b.store, 8<<20)
	f, err := files.Open(e)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 1<<20)
	lent, done, err := f.Read(t.Context(), p, 0)
	if err != nil || done == nil || !bytes.Equal(lent, want[:len(p)]) {
		t.Fatalf("Read(0) = %d bytes, %v, want those of the file, lent", len(lent), err)
	}
	if !bytes.Equal(p, make([]byte, len(p))) {
		t.Error("what was lent has been copied too")
	}
	rest := make([]byte, len(want))
	if n, err := f.ReadAt(t.Context(), rest, 0); n != len(want) || err != nil || !bytes.Equal(rest, want) {
		t.Errorf("ReadAt = %d, %v, want the file", n, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(lent, want[:len(p)]) {
		t.Error("lent bytes changed before they were given back")
	}
	done()
	b.Close() // waits for the blocks that are still being stored
	if got := b.stats.inFlight.Load(); got != 0 {
		t.Errorf("%d bytes are in memory, want 0: nobody holds a block", got)
	}
}
