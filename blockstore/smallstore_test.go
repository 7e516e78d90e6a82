package blockstore

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/shoal-mesh/shoal"
)

// A smallStore is a store of a packed block and of a sparse file of two blocks, the last a
// short one.
type smallStore struct {
	*Store
	t      *testing.T
	told   map[shoal.Key]int // how often OnEvict told
	packed shoal.Key
	sparse [2]shoal.Key
	data   map[shoal.Key][]byte
}

// The lengths of the packed block and of the short last one of the sparse file.
const (
	smallPacked = 5000
	smallLast   = 4000
)

// smallConfig has slabs of 128 KiB, the smallest that have slots for blocks of smallPacked.
func smallConfig(dir string) Config {
	cfg := oneDisk(dir, 128<<20)
	cfg.SlabBytes = 128 << 10
	return cfg
}

func newSmallStore(t *testing.T) *smallStore {
	t.Helper()
	s := &smallStore{t: t, told: make(map[shoal.Key]int), data: make(map[shoal.Key][]byte)}
	cfg := smallConfig(fastDir(t))
	cfg.OnEvict = func(went []Gone) {
		keys := keysOf(went)
		for _, k := range keys {
			s.told[k]++
		}
	}
	s.Store = openTest(t, cfg)
	s.packed = pageKey(1)
	s.data[s.packed] = randomBytes(1, smallPacked)
	for i := range s.sparse {
		s.sparse[i] = shoal.Key{File: shoal.FileID{2}, Index: uint32(i)}
	}
	s.data[s.sparse[0]] = randomBytes(2, shoal.BlockSize)
	s.data[s.sparse[1]] = randomBytes(3, smallLast)
	for key := range s.data {
		s.put(key)
	}
	return s
}

func (s *smallStore) put(key shoal.Key) {
	s.t.Helper()
	file := File{SizeBytes: int64(len(s.data[key]))}
	if key.File == s.sparse[0].File {
		file.SizeBytes = shoal.BlockSize + smallLast
	}
	if err := s.Put(key, file, s.data[key], shoal.ChunkSums(key, s.data[key])); err != nil {
		s.t.Fatal(err)
	}
}

// A stretch is where some bytes of a block lie.
type stretch struct {
	path string
	off  int64
	n    int
}

// bytesOf and recordOf return where the bytes and the record of a block lie.
func (s *smallStore) bytesOf(key shoal.Key) stretch {
	s.t.Helper()
	d, b, ok := s.find(key)
	if !ok {
		s.t.Fatalf("block %v is not there", key)
	}
	return stretch{b.file().path(d.path), b.loc.Offset, b.loc.Length}
}

func (s *smallStore) recordOf(key shoal.Key) stretch {
	s.t.Helper()
	d, b, _ := s.find(key)
	n := recordLen(b.loc.Length)
	if b.packed {
		return stretch{b.file().path(d.path), b.loc.Offset + packedBytes(b.loc.Length) - int64(n), n}
	}
	return stretch{fileName{sumsFile, b.loc.Container}.path(d.path), cellOffset(key.Index+1) - int64(n), n}
}

// read is what ReadAt does, but for what follows when the block is bad. Chunk sums are read
// anew.
func (s *smallStore) read(key shoal.Key, p []byte, off int) error {
	d, b, ok := s.holdBy(key, (*disk).hold)
	if !ok {
		return fs.ErrNotExist
	}
	defer d.release(b)
	d.sums.forget(key)
	return d.read(b, p, off)
}

// load and store are the bytes of a stretch.
func (s *smallStore) load(at stretch) []byte {
	s.t.Helper()
	b := make([]byte, at.n)
	if _, err := openFlip(s.t, at.path).ReadAt(b, at.off); err != nil {
		s.t.Fatal(err)
	}
	return b
}

func (s *smallStore) store(at stretch, b []byte) {
	s.t.Helper()
	if _, err := openFlip(s.t, at.path).WriteAt(b, at.off); err != nil {
		s.t.Fatal(err)
	}
}

func (s *smallStore) zero(at stretch) { s.store(at, make([]byte, at.n)) }

func (s *smallStore) swap(a, b stretch) {
	inA := s.load(a)
	s.store(a, s.load(b))
	s.store(b, inA)
}

// remove removes a file that the store may have open, and makes it open it anew.
func (s *smallStore) remove(path string) {
	s.t.Helper()
	if err := os.Remove(path); err != nil {
		s.t.Fatal(err)
	}
	for _, d := range s.disks {
		d.handles.close()
	}
}

// reopen opens the store at dir, checks that each block is right or is not there, and returns
// how many are.
func (s *smallStore) reopen(dir string) (there int) {
	s.t.Helper()
	again, err := Open(smallConfig(dir))
	if err != nil {
		s.t.Errorf("Open() = %v", err)
		return 0
	}
	there = s.rightOrMissing(again)
	s.putAnother(again)
	if err := again.Close(); err != nil {
		s.t.Errorf("Close() = %v", err)
	}
	return there
}

// rightOrMissing checks that each block of a store is right or is not there, and returns how many
// are.
func (s *smallStore) rightOrMissing(again *Store) (there int) {
	s.t.Helper()
	for key, want := range s.data {
		got := make([]byte, len(want))
		n, err := again.ReadAt(key, got, 0)
		switch {
		case err == nil && n == len(want) && bytes.Equal(got, want):
			there++
		case err == nil:
			s.t.Errorf("block %v: wrong bytes are served", key)
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrCorrupt):
			s.t.Errorf("ReadAt() = %v, want the bytes or a miss", err)
		}
	}
	return there
}

// putAnother checks that a store takes a block.
func (s *smallStore) putAnother(again *Store) {
	s.t.Helper()
	key, data := pageKey(999), randomBytes(9, 100)
	if err := again.Put(key, fileOf(key, data), data, shoal.ChunkSums(key, data)); err != nil {
		s.t.Errorf("Put() = %v", err)
	}
}

// A savedFile is what copyTree keeps of a file: what is not zero of it.
type savedFile struct {
	size  int64
	pages map[int64][]byte
}

// copyTree reads the files of a directory.
func copyTree(t *testing.T, dir string) map[string]savedFile {
	t.Helper()
	files := make(map[string]savedFile)
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, name))
		saved := savedFile{int64(len(b)), make(map[int64][]byte)}
		for off := 0; off < len(b); off += pageSize {
			page := b[off:min(len(b), off+pageSize)]
			if !bytes.Equal(page, make([]byte, len(page))) {
				saved.pages[int64(off)] = page
			}
		}
		files[name] = saved
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// restoreTree makes the files of a directory what they were when copyTree read them.
func restoreTree(t *testing.T, files map[string]savedFile, dir string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if _, ok := files[name]; !ok {
			return os.Remove(filepath.Join(dir, name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, saved := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if saved.size > shoal.BlockSize && !saved.changed(t, path) {
			continue
		}
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		err = f.Truncate(saved.size)
		for off, page := range saved.pages {
			_, werr := f.WriteAt(page, off)
			err = errors.Join(err, werr)
		}
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// changed reports whether the first page of a file is not as it was, or the file is not there.
func (f savedFile) changed(t *testing.T, path string) bool {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		return true
	}
	defer func() { _ = file.Close() }()
	page := make([]byte, pageSize)
	_, err = file.ReadAt(page, 0)
	return err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(page, f.pages[0])
}
