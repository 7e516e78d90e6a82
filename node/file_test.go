package node

import (
	"bytes"
	"context"
	"maps"
	"sync"
	"testing"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/ufs"
)

// TestFileWithoutRoom reads a block in pieces while there is no room for readahead, from a
// UFS that is slower than the reader.
func TestFileWithoutRoom(t *testing.T) {
	b := newBench(t, FetcherConfig{InFlightBytes: 1})
	e, want := b.put(t, 2*shoal.BlockSize)
	b.readInPieces(t, e, want)
}

// readInPieces reads a file from its beginning to its end, and checks that the UFS sent each byte
// once.
func (b *bench) readInPieces(t *testing.T, e shoal.Entry, want []byte) {
	t.Helper()
	f, err := NewFiles(b.Fetcher, b.store, 8<<20).Open(e)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 2*shoal.ChunkSize)
	for off := 0; off < len(want); off += len(p) {
		if n, err := f.ReadAt(t.Context(), p, int64(off)); err != nil || !bytes.Equal(p[:n], want[off:off+len(p)]) {
			t.Fatalf("ReadAt(%d) = %d, %v, want right bytes", off, n, err)
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if got := b.ufs.Counts().Bytes; got != int64(len(want)) {
		t.Errorf("the UFS sent %d bytes, want %d", got, len(want))
	}
}

// TestFileForgetsFailures reads on after the UFS failed during readahead.
func TestFileForgetsFailures(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	e, want := b.put(t, 2*shoal.BlockSize)
	failed := make(chan struct{})
	var once sync.Once
	b.ufs.OnRead = func(_ context.Context, _ string, off int64) error {
		select {
		case <-failed:
			return nil
		default:
		}
		if off >= shoal.BlockSize {
			defer once.Do(func() { close(failed) })
			return ufs.ErrUnavailable
		}
		return nil
	}
	f, err := NewFiles(b.Fetcher, b.store, 8<<20).Open(e)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, shoal.BlockSize)
	if _, err := f.ReadAt(t.Context(), p, 0); err != nil {
		t.Fatal(err)
	}
	<-failed
	f.r.mu.Lock()
	h := f.held[1]
	f.r.mu.Unlock()
	if h != nil { // the readahead's failure, once it is over
		_ = h.wait(t.Context(), len(h.sums))
	}
	if n, err := f.ReadAt(t.Context(), p, shoal.BlockSize); err != nil || !bytes.Equal(p[:n], want[shoal.BlockSize:]) {
		t.Errorf("read after a failed readahead = %d, %v, want the bytes", n, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestFilesLetGoOfIdleBlocks holds many files open after one read of each.
func TestFilesLetGoOfIdleBlocks(t *testing.T) {
	b := newBench(t, FetcherConfig{InFlightBytes: 4 * shoal.BlockSize})
	e, _ := b.put(t, 4*shoal.BlockSize)
	files := NewFiles(b.Fetcher, b.store, 8<<20)
	p := make([]byte, fromStart) // no less, or it is no sequential reader's
	for i := range 20 {
		one := e
		one.File[0] = byte(i) // a file of its own, with the same bytes behind it
		f, err := files.Open(one)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.ReadAt(t.Context(), p, 0); err != nil {
			t.Fatal(err)
		}
		f.r.mu.Lock()
		held := maps.Clone(f.held)
		f.r.mu.Unlock()
		for _, h := range held {
			if err := h.wait(t.Context(), len(h.sums)); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.Close() // every fetch has ended
	files.mu.Lock()
	files.relieve()
	files.mu.Unlock()
	if got := b.Stats().InFlightBytes; got > 4*shoal.BlockSize {
		t.Errorf("20 idle files hold %d bytes, want at most the bound of %d", got, 4*shoal.BlockSize)
	}
}

func TestFileReadAt(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	const size = 3*shoal.BlockSize + 12345
	e, want := b.put(t, size)
	f, err := NewFiles(b.Fetcher, b.store, 8<<20).Open(e)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		off    int64
		length int
	}{
		{0, 1},
		{0, 1 << 20},
		{shoal.BlockSize - 1, 2},
		{shoal.BlockSize, shoal.BlockSize},
		{shoal.ChunkSize - 1, 2 * shoal.BlockSize},
		{size - 1, 1},
		{size - 1, 100},
		{size, 10},
		{size + 5, 10},
		{0, size}, // for whatever Close would end, so that all of it has been sent
	}
	for _, tt := range tests {
		p := make([]byte, tt.length)
		n, err := f.ReadAt(t.Context(), p, tt.off)
		from := min(tt.off, size)
		to := min(tt.off+int64(tt.length), size)
		if err != nil || !bytes.Equal(p[:n], want[from:max(from, to)]) {
			t.Errorf("ReadAt(%d bytes, %d) = %d, %v, want %d right bytes", tt.length, tt.off, n, err, max(0, to-from))
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	b.Close()
	if got := b.Stats().InFlightBytes; got != 0 {
		t.Errorf("%d bytes in flight after Close, want 0", got)
	}
	if got := b.ufs.Counts().Bytes; got != size {
		t.Errorf("the UFS sent %d bytes, want %d", got, size)
	}
}

// TestStridedFile reads 1 MiB of every 16 MiB, and checks what the UFS sent: where nothing is
// kept the ranges that were read, else the blocks they lie in, and no byte twice.
func TestStridedFile(t *testing.T) {
	const size, step, n = 128 << 20, 16 << 20, 1 << 20
	tests := []struct {
		name string
		full bool
		want int64
	}{
		{"kept", false, size / step * shoal.BlockSize},
		{"not kept", true, size / step * n},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, FetcherConfig{})
			b.full.Store(tt.full)
			e, want := b.put(t, size)
			f, err := NewFiles(b.Fetcher, b.store, 32<<20).Open(e)
			if err != nil {
				t.Fatal(err)
			}
			p := make([]byte, n)
			ahead := 0
			for off := int64(step - n); off < size; off += step {
				if f.held[uint32(off/shoal.BlockSize)] != nil {
					ahead++
				}
				if got, err := f.ReadAt(t.Context(), p, off); err != nil || !bytes.Equal(p[:got], want[off:off+n]) {
					t.Fatalf("ReadAt(%d) = %d, %v, want right bytes", off, got, err)
				}
			}
			b.wg.Wait()
			if got := b.ufs.Counts().Bytes; got != tt.want {
				t.Errorf("the UFS sent %d bytes, want %d", got, tt.want)
			}
			if want := size/step - 3; ahead != want {
				t.Errorf("%d blocks were on their way before they were read, want %d", ahead, want)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			if got := b.Stats().InFlightBytes; got != 0 {
				t.Errorf("%d bytes in flight after Close, want 0", got)
			}
		})
	}
}

// TestFileLateBlock reads a file whose first block the UFS sends last.
func TestFileLateBlock(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	const blocks = 12
	e, want := b.put(t, blocks*shoal.BlockSize)
	const reached = 1 + lead*2 // a window of two blocks at the beginning of a file
	var asked sync.WaitGroup
	asked.Add(reached - 1)
	b.ufs.OnRead = func(_ context.Context, _ string, off int64) error {
		switch {
		case off == 0:
			asked.Wait()
		case off%shoal.BlockSize == 0 && off < reached*shoal.BlockSize:
			asked.Done()
		}
		return nil
	}
	b.readInPieces(t, e, want)
}

// TestRandomFile reads at random what nobody keeps, and checks that the UFS sends the chunks that
// are read, and no more.
func TestRandomFile(t *testing.T) {
	const size = 128 << 20
	b := newBench(t, FetcherConfig{})
	b.full.Store(true)
	e, want := b.put(t, size)
	f, err := NewFiles(b.Fetcher, b.store, 32<<20).Open(e)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 4096)
	reads := anywhere(500, size, int64(len(p)))
	for _, rd := range reads {
		if got, err := f.ReadAt(t.Context(), p, rd.off); err != nil || !bytes.Equal(p[:got], want[rd.off:rd.off+rd.n]) {
			t.Fatalf("ReadAt(%d) = %d, %v, want right bytes", rd.off, got, err)
		}
	}
	b.wg.Wait()
	// Two reads of one chunk may share a fetch.
	if got := b.ufs.Counts().Bytes; got > int64(len(reads))*shoal.ChunkSize || got < int64(len(reads))/2*shoal.ChunkSize {
		t.Errorf("the UFS sent %d bytes for %d reads, want a chunk each", got, len(reads))
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// stuck has the UFS send nothing from off on.
func (b *bench) stuck(off int64) {
	b.ufs.OnRead = func(ctx context.Context, _ string, at int64) error {
		if at >= off {
			<-ctx.Done()
		}
		return ctx.Err()
	}
}

// TestReadaheadGivenUp checks that what was read ahead is not fetched any more, and takes no
// memory, once its reader has closed the file or reads elsewhere.
func TestReadaheadGivenUp(t *testing.T) {
	tests := []struct {
		name  string
		leave func(t *testing.T, f *File)
	}{
		{"closed", func(*testing.T, *File) {}},
		{"reads elsewhere", func(t *testing.T, f *File) {
			p := make([]byte, 4096)
			for _, rd := range anywhere(64, shoal.BlockSize-4096, int64(len(p))) {
				if _, err := f.ReadAt(t.Context(), p, rd.off); err != nil {
					t.Fatal(err)
				}
			}
			for i := range f.held {
				if i > 4 {
					t.Fatalf("block %d, which nobody comes to, is still held", i)
				}
			}
			f.r.fetch.wg.Wait() // before the file is closed
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, FetcherConfig{})
			e, _ := b.put(t, 16*shoal.BlockSize)
			b.stuck(5 * shoal.BlockSize)
			f, err := NewFiles(b.Fetcher, b.store, 32<<20).Open(e)
			if err != nil {
				t.Fatal(err)
			}
			p := make([]byte, shoal.BlockSize)
			for i := range int64(4) {
				if _, err := f.ReadAt(t.Context(), p, i*shoal.BlockSize); err != nil {
					t.Fatal(err)
				}
			}
			if got := b.Stats().InFlightBytes; got < 4*shoal.BlockSize {
				t.Fatalf("%d bytes in flight ahead of a reader, want 4 blocks at least", got)
			}
			tt.leave(t, f)
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			b.wg.Wait()
			if got := b.Stats().InFlightBytes; got != 0 {
				t.Errorf("%d bytes in flight, want 0", got)
			}
			if got := b.ufs.Counts().Streams; got != 0 {
				t.Errorf("%d streams of the UFS open, want 0", got)
			}
		})
	}
}

// TestReadaheadOfManyFiles has many files read at once while the UFS sends nothing but what is
// read, and checks that all the agent reads ahead is within its bound.
func TestReadaheadOfManyFiles(t *testing.T) {
	const files, bound = 24, 16
	b := newBench(t, FetcherConfig{InFlightBytes: bound * shoal.BlockSize})
	e, _ := b.put(t, 16*shoal.BlockSize)
	b.stuck(mib)
	all := NewFiles(b.Fetcher, b.store, 32<<20)
	var open []*File
	for i := range files {
		one := e
		one.File[0] = byte(i) // a file of its own, with the same bytes behind it
		f, err := all.Open(one)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, f)
	}
	var wg sync.WaitGroup
	for _, f := range open {
		wg.Go(func() {
			p := make([]byte, mib/4)
			for i := range 4 {
				if _, err := f.ReadAt(t.Context(), p, int64(i*len(p))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	// A reader that waits gets memory in any case: one block each.
	if got := b.Stats().InFlightBytes; got > (files+bound)*shoal.BlockSize {
		t.Errorf("%d blocks in flight for %d readers, want %d at most ahead of them", got/shoal.BlockSize, files, bound)
	}
	for _, f := range open {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}
