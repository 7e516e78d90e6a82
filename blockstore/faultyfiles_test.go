package blockstore

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/shoal-mesh/shoal"
)

// faultyFiles is osFiles whose calls fault is asked before. op is create, open, remove, list,
// sync, read, write, punch, reuse or size.
type faultyFiles struct {
	osFiles
	fault func(op, name string) error
}

func (f *faultyFiles) check(op, name string) error {
	if err := f.fault(op, name); err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

func (f *faultyFiles) Create(name string, size int64, sparse bool) error {
	if err := f.check("create", name); err != nil {
		return err
	}
	return f.osFiles.Create(name, size, sparse)
}

func (f *faultyFiles) Open(name string) (file, error) {
	if err := f.check("open", name); err != nil {
		return nil, err
	}
	opened, err := f.osFiles.Open(name)
	if err != nil {
		return nil, err
	}
	return &faultyFile{opened, f, name}, nil
}

func (f *faultyFiles) Remove(name string) error {
	if err := f.check("remove", name); err != nil {
		return err
	}
	return f.osFiles.Remove(name)
}

func (f *faultyFiles) Reuse(from, to string, keep, size int64) error {
	if err := f.check("reuse", from); err != nil {
		return err
	}
	return f.osFiles.Reuse(from, to, keep, size)
}

func (f *faultyFiles) List(dir string) ([]string, error) {
	if err := f.check("list", dir); err != nil {
		return nil, err
	}
	return f.osFiles.List(dir)
}

func (f *faultyFiles) Sync(dir string) error {
	if err := f.check("sync", dir); err != nil {
		return err
	}
	return f.osFiles.Sync(dir)
}

type faultyFile struct {
	file
	fs   *faultyFiles
	name string
}

func (f *faultyFile) ReadAt(parts [][]byte, off int64, direct bool) error {
	if err := f.fs.check("read", f.name); err != nil {
		return err
	}
	return f.file.ReadAt(parts, off, direct)
}

// WriteAt writes half of what it should before it fails.
func (f *faultyFile) WriteAt(parts [][]byte, off int64) error {
	if err := f.fs.check("write", f.name); err != nil {
		whole := slices.Concat(parts...)
		return errors.Join(err, f.file.WriteAt([][]byte{whole[:len(whole)/2]}, off))
	}
	return f.file.WriteAt(parts, off)
}

func (f *faultyFile) Punch(off, n int64) error {
	if err := f.fs.check("punch", f.name); err != nil {
		return err
	}
	return f.file.Punch(off, n)
}

func (f *faultyFile) Size() (int64, error) {
	if err := f.fs.check("size", f.name); err != nil {
		return 0, err
	}
	return f.file.Size()
}

// sparseKey is the key of the second block of a file of two, which is in a sparse container.
func sparseKey(i uint32) shoal.Key {
	key := testKey(i)
	key.Index = 1
	return key
}
