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
	p := make([]byte, 100)
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

func TestReadahead(t *testing.T) {
	const (
		mib  = 1 << 20
		size = 100 * shoal.BlockSize
	)
	type read struct{ off, n int64 }
	tests := []struct {
		name  string
		reads []read
		want  uint32 // blocks below have been asked for ahead
	}{
		{"the beginning of a file", []read{{0, mib}}, 3},
		{"one read in the middle", []read{{40 * mib, mib}}, 0},
		{"going on from the middle", []read{{40 * mib, mib}, {41 * mib, mib}}, 12},
		{"in order", []read{{0, 4 * mib}, {4 * mib, 4 * mib}, {8 * mib, 4 * mib}, {12 * mib, 4 * mib}}, 11},
		{"pieces out of order", []read{{0, mib}, {2 * mib, mib}, {mib, mib}, {3 * mib, mib}}, 3},
		{"up to the end of the file", []read{{size - 20*mib, 4 * mib}, {size - 16*mib, 4 * mib}, {size - 12*mib, 4 * mib}}, 100},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := readahead{max: 8}
			var reached uint32
			for _, rd := range tt.reads {
				if from, to := r.next(rd.off, int(rd.n), size, 100); to > from {
					reached = max(reached, to)
				}
			}
			if reached != tt.want {
				t.Errorf("asked for blocks below %d, want %d", reached, tt.want)
			}
		})
	}
}

// A reader that waits for its blocks has as many on their way as ever, though some come before
// others, up to three windows ahead.
func TestReadaheadFurther(t *testing.T) {
	const size = 100 * shoal.BlockSize
	all := func(uint32) bool { return true }
	tests := []struct {
		name     string
		size     int64
		room     uint32
		due      func(i uint32) bool
		from, to uint32
	}{
		{"none has come, but more may be on their way", size, 100, all, 11, 13},
		{"the reader does not wait", size, 100, func(i uint32) bool { return i < 4 }, 0, 0},
		{"two have come", size, 100, func(i uint32) bool { return i != 6 && i != 8 }, 11, 15},
		{"all others have come", size, 100, func(i uint32) bool { return i == 4 }, 11, 19},
		{"little room", size, 1, func(i uint32) bool { return i == 4 }, 11, 12},
		{"no room", size, 0, func(i uint32) bool { return i == 4 }, 0, 0},
		{"the end of the file", 14 * shoal.BlockSize, 100, func(i uint32) bool { return i == 4 }, 11, 14},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := readahead{max: 8}
			for i := range uint32(4) {
				r.next(int64(i)*shoal.BlockSize, shoal.BlockSize, tt.size, 100)
			}
			r.next(4*shoal.BlockSize, 1<<20, tt.size, 6) // asked for blocks below 11
			if tt.due(4) {
				r.waits(4)
			}
			from, to := r.further(tt.size, tt.room, tt.due)
			if from != tt.from || to != tt.to {
				t.Errorf("further = [%d, %d), want [%d, %d)", from, to, tt.from, tt.to)
			}
		})
	}
	r := readahead{max: 8}
	r.next(0, shoal.BlockSize, size, 100)
	r.waits(0)
	for range 100 { // its window of two blocks is used up again and again
		r.further(size, 100, func(i uint32) bool { return i == 0 })
	}
	if got, want := r.streams[0].ahead, uint32(1+reach*2); got != want {
		t.Errorf("asked for blocks below %d while block 0 is late, want %d", got, want)
	}
}

// TestFileLateBlock reads a file whose first block the UFS sends last.
func TestFileLateBlock(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	const blocks = 12
	e, want := b.put(t, blocks*shoal.BlockSize)
	const reached = 1 + reach*2 // a window of two blocks at the beginning of a file
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

func TestReadaheadOff(t *testing.T) {
	var r readahead
	for off := int64(0); off < 64<<20; off += 1 << 20 {
		if from, to := r.next(off, 1<<20, 1<<30, 100); from != to {
			t.Fatalf("next(%d) = [%d, %d), want nothing", off, from, to)
		}
	}
}
