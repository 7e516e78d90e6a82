package node

import (
	"bytes"
	"io"
	"testing"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore"
)

// TestFileBacking asks for the file of the store when a block is missing, when all are here, and in
// the next run of the store, whose blocks are to be verified first.
func TestFileBacking(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	e, want := b.put(t, 2*shoal.BlockSize+100)
	dir := t.TempDir()
	store := openStore(t, dir)
	putBlocks(t, store, e, want[:shoal.BlockSize], 0)
	files := NewFiles(b.Fetcher, store, 0)
	f, err := files.Open(e)
	if err != nil {
		t.Fatal(err)
	}
	if backing, _, _ := f.Backing(); backing != nil {
		t.Error("Backing() without two of the blocks, want nil")
	}
	putBlocks(t, store, e, want[shoal.BlockSize:], 1)
	if got := readBacking(t, f); !bytes.Equal(got, want) {
		t.Errorf("Backing() has %d bytes, want the %d of the file", len(got), len(want))
	}
	f.Passed()
	if got := files.Stats().Bytes["local"]; got != e.Info.Size {
		t.Errorf("%d bytes read here of a file that is passed through, want its %d", got, e.Info.Size)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	store = openStore(t, dir)
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	files = NewFiles(b.Fetcher, store, 0)
	if f, err = files.Open(e); err != nil {
		t.Fatal(err)
	}
	if backing, _, _ := f.Backing(); backing != nil {
		t.Error("Backing() of an earlier run's blocks before they are verified, want nil")
	}
	files.verifier.wg.Wait()
	if got := readBacking(t, f); !bytes.Equal(got, want) {
		t.Errorf("Backing() after it was verified has %d bytes, want the %d of the file", len(got), len(want))
	}
	if err := files.Close(); err != nil {
		t.Error(err)
	}
	files.verifier.take(store.Whole(e.File, e.Info.Size)) // closes it, or the store would not close
	if n := len(store.Stats().Pinned); n != 0 {
		t.Errorf("%d owners of pins are left, want none", n)
	}
}

func openStore(t *testing.T, dir string) *blockstore.Store {
	t.Helper()
	s, err := blockstore.Open(blockstore.Config{Disks: []blockstore.Disk{{Path: dir, SizeBytes: 1 << 30}}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// putBlocks puts the blocks of e from the first on that data begins with.
func putBlocks(t *testing.T, s *blockstore.Store, e shoal.Entry, data []byte, first uint32) {
	t.Helper()
	for i := first; len(data) > 0; i++ {
		key := shoal.Key{File: e.File, Index: i}
		block := data[:shoal.BlockLen(e.Info.Size, i)]
		if err := s.Put(key, blockstore.File{SizeBytes: e.Info.Size, Dataset: e.Mount}, block, shoal.ChunkSums(key, block)); err != nil {
			t.Fatal(err)
		}
		data = data[len(block):]
	}
}

func readBacking(t *testing.T, f *File) []byte {
	t.Helper()
	backing, done, err := f.Backing()
	if backing == nil {
		t.Fatalf("Backing() = nil, %v, want a file", err)
	}
	defer done()
	defer func() { _ = backing.Close() }()
	got, err := io.ReadAll(backing)
	if err != nil {
		t.Fatal(err)
	}
	return got
}
