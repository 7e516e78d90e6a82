package blockstore

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// directBytes is how long a block must be for its bytes to be written past the page cache.
const directBytes = 1 << 20

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
	WillNeed(length int64)
}

// osFiles is the operating system's file system. It keeps descriptors bare: os.File would
// try each container with the poller, and give each a finalizer.
type osFiles struct{}

// Write creates and fills a file. It does not sync. What it could not complete it removes.
// Whole blocks go past the page cache (docs/direct-io.md).
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
	direct, err := writeDirect(fd, data)
	if err == nil {
		err = writeAll(fd, [][]byte{data[direct:], trailer}, int64(direct))
	}
	if err != nil {
		return &fs.PathError{Op: "write", Path: name, Err: err}
	}
	return nil
}

// writeDirect writes data at the beginning of a file without the page cache and returns
// how much of it, a multiple of pageSize: nothing where the data is short or lies in memory
// as the device cannot take it, or where the file system does not do it.
func writeDirect(fd int, data []byte) (int, error) {
	if len(data) < directBytes || uintptr(unsafe.Pointer(unsafe.SliceData(data)))%pageSize != 0 {
		return 0, nil
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return 0, err
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags|unix.O_DIRECT); err != nil {
		return 0, nil //nolint:nilerr // the file system has no direct I/O
	}
	whole := data[:len(data)&^(pageSize-1)]
	n, err := retryEINTR(func() (int, error) { return unix.Pwrite(fd, whole, 0) })
	if errors.Is(err, unix.EINVAL) {
		n, err = 0, nil // it takes the flag but not the alignment
	}
	if err != nil {
		return 0, err
	}
	_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags)
	return n &^ (pageSize - 1), err // the rest of a page is written again
}

// writeAll writes the parts, one behind the other, from offset at.
func writeAll(fd int, parts [][]byte, at int64) error {
	for {
		for len(parts) > 0 && len(parts[0]) == 0 {
			parts = parts[1:]
		}
		if len(parts) == 0 {
			return nil
		}
		n, err := retryEINTR(func() (int, error) { return unix.Pwritev(fd, parts, at) })
		if err == nil && n == 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return err
		}
		at += int64(n)
		for n > 0 {
			m := min(n, len(parts[0]))
			parts[0] = parts[0][m:]
			if n -= m; len(parts[0]) == 0 {
				parts = parts[1:]
			}
		}
	}
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

// WillNeed has the kernel read the file ahead, without waiting for it.
func (f osFile) WillNeed(length int64) {
	_ = unix.Fadvise(int(f), 0, length, unix.FADV_WILLNEED) // advice: nothing depends on it
}

func retryEINTR(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
