package blockstore

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// fileSystem is what the store needs of a file system for its containers. Tests put a
// faulty one in the place of osFiles.
type fileSystem interface {
	// Write creates the file name, which must not exist, with the two parts as contents.
	Write(name string, data, trailer []byte) error
	Open(name string) (file, error)
	// Remove removes a file; one that is not there is fs.ErrNotExist.
	Remove(name string) error
	// List returns the names in a directory, in no order.
	List(dir string) ([]string, error)
}

// file is a container open for reading.
type file interface {
	io.ReaderAt
	io.Closer
}

// osFiles is the operating system's file system. It keeps descriptors bare: os.File would
// try each container with the poller, and give each a finalizer.
type osFiles struct{}

// Write creates and fills a file with one system call for both parts. It does not sync.
// What it could not complete it removes.
func (osFiles) Write(name string, data, trailer []byte) (err error) {
	fd, err := retryEINTR(func() (int, error) {
		return unix.Open(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	})
	if err != nil {
		return &fs.PathError{Op: "create", Path: name, Err: err}
	}
	defer func() {
		if cerr := unix.Close(fd); err == nil && cerr != nil && !errors.Is(cerr, unix.EINTR) {
			err = &fs.PathError{Op: "close", Path: name, Err: cerr}
		}
		if err != nil {
			_ = unix.Unlink(name)
		}
	}()
	parts := [][]byte{data, trailer}
	for at := int64(0); len(parts) > 0; {
		n, err := retryEINTR(func() (int, error) { return unix.Pwritev(fd, parts, at) })
		if err == nil && n == 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return &fs.PathError{Op: "write", Path: name, Err: err}
		}
		at += int64(n)
		for len(parts) > 0 && n >= len(parts[0]) {
			n -= len(parts[0])
			parts = parts[1:]
		}
		if len(parts) > 0 {
			parts[0] = parts[0][n:]
		}
	}
	return nil
}

// Open opens a file for reading.
func (osFiles) Open(name string) (file, error) {
	fd, err := retryEINTR(func() (int, error) {
		return unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return osFile(fd), nil
}

// Remove unlinks a file.
func (osFiles) Remove(name string) error {
	_, err := retryEINTR(func() (int, error) { return 0, unix.Unlink(name) })
	if err != nil {
		return &fs.PathError{Op: "remove", Path: name, Err: err}
	}
	return nil
}

// List reads a directory.
func (osFiles) List(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	names, err := d.Readdirnames(-1)
	return names, errors.Join(err, d.Close())
}

// osFile is a bare descriptor.
type osFile int

// ReadAt reads len(p) bytes, or fails; at the file's end with io.EOF.
func (f osFile) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		m, err := unix.Pread(int(f), p[n:], off+int64(n))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return n, &fs.PathError{Op: "read", Path: "container", Err: err}
		case m == 0:
			return n, io.EOF
		}
		n += m
	}
	return n, nil
}

// Close closes the descriptor.
func (f osFile) Close() error { return unix.Close(int(f)) }

func retryEINTR(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
