package blockstore

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// memFiles keeps containers in a vfs.MemFS, of which a copy can be had as a power loss would
// leave it. Nothing is durable but by Sync.
type memFiles struct {
	fs     *vfs.MemFS
	before func() // called before each step of all that writes

	mu    sync.Mutex // guards the field below; held while a file is opened or removed
	dirty map[string]bool
}

// newMemFiles returns memFiles with the directories of a cache directory at root.
func newMemFiles(mem *vfs.MemFS, root string) (*memFiles, error) {
	f := &memFiles{fs: mem, before: func() {}, dirty: make(map[string]bool)}
	dirs := []string{root, filepath.Join(root, slabsDir), filepath.Join(root, filesDir)}
	for i := range filesDirs {
		dirs = append(dirs, filepath.Join(root, filesDir, subfolder(i)))
	}
	for _, dir := range dirs {
		if err := mem.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		for ; dir != "/"; dir = filepath.Dir(dir) {
			f.dirty[dir], f.dirty["/"] = true, true
		}
	}
	return f, f.Sync(root)
}

// wrote notes what Sync has to make durable.
func (m *memFiles) wrote(names ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range names {
		m.dirty[name] = true
	}
}

// Create makes a file.
func (m *memFiles) Create(name string, size int64, _ bool) error {
	m.before()
	if _, err := m.fs.Stat(name); err == nil {
		return fs.ErrExist
	}
	f, err := m.fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	m.before()
	_, err = f.Write(make([]byte, size))
	m.wrote(name, filepath.Dir(name))
	return errors.Join(err, f.Close())
}

// Open opens a file.
func (m *memFiles) Open(name string) (file, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.fs.Stat(name); err != nil {
		return nil, err // else it would be made
	}
	f, err := m.fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	return &memFile{f, name, m}, nil
}

// Remove removes a file.
func (m *memFiles) Remove(name string) error {
	m.before()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dirty[filepath.Dir(name)] = true
	return m.fs.Remove(name)
}

// Reuse renames a file, and writes zeros over what is cut off or added: a vfs.File keeps its
// length.
func (m *memFiles) Reuse(from, to string, keep, size int64) error {
	if err := m.rename(from, to); err != nil {
		return err
	}
	f, err := m.Open(to)
	if err != nil {
		return err
	}
	length, err := f.Size()
	if end := max(length, size); err == nil && end > keep {
		err = f.WriteAt([][]byte{make([]byte, end-keep)}, keep)
	}
	return errors.Join(err, f.Close())
}

func (m *memFiles) rename(from, to string) error {
	m.before()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dirty[from] {
		m.dirty[to] = true
	}
	m.dirty[filepath.Dir(from)], m.dirty[filepath.Dir(to)] = true, true
	return m.fs.Rename(from, to)
}

// List lists a directory.
func (m *memFiles) List(dir string) ([]string, error) { return m.fs.List(dir) }

// Sync makes durable what was written before it, one file after the other.
func (m *memFiles) Sync(string) error {
	m.mu.Lock()
	dirty := m.dirty
	m.dirty = make(map[string]bool)
	m.mu.Unlock()
	for name := range dirty {
		m.before()
		f, err := m.fs.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// memFile is a file of memFiles.
type memFile struct {
	vfs.File
	name  string
	files *memFiles
}

// ReadAt fills the parts.
func (f *memFile) ReadAt(parts [][]byte, off int64, _ bool) error {
	for _, p := range parts {
		if len(p) == 0 {
			continue
		}
		if _, err := f.File.ReadAt(p, off); err != nil {
			return err
		}
		off += int64(len(p))
	}
	return nil
}

// WriteAt writes the parts; a power loss may come between two.
func (f *memFile) WriteAt(parts [][]byte, off int64) error {
	defer f.files.wrote(f.name)
	for _, p := range parts {
		f.files.before()
		if _, err := f.File.WriteAt(p, off); err != nil {
			return err
		}
		off += int64(len(p))
	}
	return nil
}

// Punch writes zeros.
func (f *memFile) Punch(off, n int64) error {
	size, err := f.Size()
	if err != nil || off >= size {
		return err
	}
	return f.WriteAt([][]byte{make([]byte, min(n, size-off))}, off)
}

// WillNeed does nothing.
func (*memFile) WillNeed(int64, int64) {}

// Data returns all from off on.
func (f *memFile) Data(off int64) (from, end int64, err error) {
	size, err := f.Size()
	if err == nil && off >= size {
		err = io.EOF
	}
	return off, size, err
}

// Size returns the length.
func (f *memFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
