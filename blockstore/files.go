package blockstore

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fileSystem is what the store needs of a file system for its containers. Tests put a
// faulty one in the place of osFiles.
type fileSystem interface {
	// Create makes the file name, which must not exist, of so many bytes. Their space is
	// taken at once, unless sparse is set.
	Create(name string, size int64, sparse bool) error
	Open(name string) (file, error)
	// Reuse gives a file another name, and makes it size bytes long: its first keep bytes, which
	// keep their room, and zeros.
	Reuse(from, to string, keep, size int64) error
	// Remove removes a file; one that is not there is fs.ErrNotExist.
	Remove(name string) error
	// List returns the names in a directory, in no order.
	List(dir string) ([]string, error)
	// Sync makes durable all that was written to files of the directory's file system.
	Sync(dir string) error
}

// file is a container open for reading and writing.
type file interface {
	io.Closer
	// ReadAt fills the parts one behind the other from off on; io.EOF when the file ends
	// before. direct: past the page cache, if off and the parts are as WriteAt wants them.
	ReadAt(parts [][]byte, off int64, direct bool) error
	// WriteAt writes the parts one behind the other from off on. What is long enough goes
	// past the page cache, if off is a multiple of pageSize and every part lies page-aligned
	// in memory and has whole pages.
	WriteAt(parts [][]byte, off int64) error
	// Punch makes n bytes at off read as zeros and gives their space back.
	Punch(off, n int64) error
	// WillNeed has the kernel read n bytes at off ahead, without waiting for them.
	WillNeed(off, n int64)
	stretches
}

// stretches says where a file may have something.
type stretches interface {
	// Size returns the length of the file in bytes.
	Size() (int64, error)
	// Data returns the first stretch from off on that may have bytes other than zeros; io.EOF when
	// there is none.
	Data(off int64) (from, end int64, err error)
}

// directBytes is how long a write must be to go past the page cache (docs/direct-io.md).
const directBytes = 64 << 10

// osFiles is the operating system's file system. It keeps descriptors bare: os.File would
// try each container with the poller, and give each a finalizer.
type osFiles struct{}

// Create makes a file, or nothing.
func (osFiles) Create(name string, size int64, sparse bool) error {
	fd, err := retryEINTR(func() (int, error) {
		return unix.Open(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	})
	if err != nil {
		return &fs.PathError{Op: "create", Path: name, Err: err}
	}
	_, err = retryEINTR(func() (int, error) {
		if sparse {
			return 0, unix.Ftruncate(fd, size)
		}
		err := unix.Fallocate(fd, 0, 0, size)
		if errors.Is(err, unix.EOPNOTSUPP) {
			err = unix.Ftruncate(fd, size)
		}
		return 0, err
	})
	if cerr := unix.Close(fd); err == nil && cerr != nil && !errors.Is(cerr, unix.EINTR) {
		err = cerr
	}
	if err != nil {
		_ = unix.Unlink(name)
		return &fs.PathError{Op: "create", Path: name, Err: err}
	}
	return nil
}

// Open opens a file; one on a read-only file system for reading.
func (osFiles) Open(name string) (file, error) {
	fd, err := retryEINTR(func() (int, error) { return unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC, 0) })
	if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) {
		fd, err = retryEINTR(func() (int, error) { return unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	// A second descriptor, since O_DIRECT is of a descriptor and not of a call.
	direct, err := retryEINTR(func() (int, error) { return unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC|unix.O_DIRECT, 0) })
	if err != nil {
		direct = -1 // the file system has no direct I/O, or is read-only
	}
	return &osFile{fd, direct}, nil
}

// Reuse renames a file, cuts it and extends it.
func (osFiles) Reuse(from, to string, keep, size int64) error {
	for _, step := range []func() error{
		func() error { return unix.Rename(from, to) },
		func() error { return unix.Truncate(to, keep) },
		func() error { return unix.Truncate(to, size) },
	} {
		if _, err := retryEINTR(func() (int, error) { return 0, step() }); err != nil {
			return &fs.PathError{Op: "reuse", Path: from, Err: err}
		}
	}
	return nil
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

// freeBytes returns how many bytes more the directory's file system has room for. What it keeps
// for root is not free.
func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if _, err := retryEINTR(func() (int, error) { return 0, unix.Statfs(dir, &st) }); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// Sync syncs the whole file system: one call, however many containers were written.
func (osFiles) Sync(dir string) error {
	fd, err := retryEINTR(func() (int, error) { return unix.Open(dir, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err == nil {
		err = errors.Join(unix.Syncfs(fd), unix.Close(fd))
	}
	if err != nil {
		return &fs.PathError{Op: "sync", Path: dir, Err: err}
	}
	return nil
}

// osFile is a file as two bare descriptors.
type osFile struct {
	fd     int
	direct int // of the same file, for O_DIRECT; -1 when there is none
}

// ReadAt fills the parts.
func (f *osFile) ReadAt(parts [][]byte, off int64, direct bool) error {
	left, aligned := trim(parts, off)
	direct = direct && aligned && f.direct >= 0
	for len(left) > 0 {
		n, err := retryEINTR(func() (int, error) { return unix.Preadv(f.pick(direct), left, off) })
		switch {
		case direct && errors.Is(err, unix.EINVAL):
			direct = false // the device wants another alignment
			continue
		case err != nil:
			return &fs.PathError{Op: "read", Path: "container", Err: err}
		case n == 0:
			return io.EOF
		}
		off += int64(n)
		direct = direct && n%pageSize == 0
		left = skip(left, n)
	}
	return nil
}

// pick returns the descriptor to use.
func (f *osFile) pick(direct bool) int {
	if direct {
		return f.direct
	}
	return f.fd
}

// trim returns the parts that are not empty, and whether all of them and off are aligned for
// direct I/O.
func trim(parts [][]byte, off int64) (left [][]byte, aligned bool) {
	aligned = off%pageSize == 0
	left = make([][]byte, 0, len(parts))
	for _, p := range parts {
		if len(p) > 0 {
			left = append(left, p)
			aligned = aligned && len(p)%pageSize == 0 && isPageAligned(p)
		}
	}
	return left, aligned
}

func isPageAligned(p []byte) bool { return uintptr(unsafe.Pointer(unsafe.SliceData(p)))%pageSize == 0 }

// WriteAt writes the parts, past the page cache where that can be done.
func (f *osFile) WriteAt(parts [][]byte, off int64) error {
	left, direct := trim(parts, off)
	total := 0
	for _, p := range left {
		total += len(p)
	}
	direct = direct && total >= directBytes && f.direct >= 0
	for len(left) > 0 {
		n, err := retryEINTR(func() (int, error) { return unix.Pwritev(f.pick(direct), left, off) })
		if direct && errors.Is(err, unix.EINVAL) {
			direct = false // the device wants another alignment
			continue
		}
		if err == nil && n == 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return &fs.PathError{Op: "write", Path: "container", Err: err}
		}
		off += int64(n)
		direct = direct && n%pageSize == 0
		left = skip(left, n)
	}
	return nil
}

// skip returns parts without their first n bytes, and without what is empty before the rest.
func skip(parts [][]byte, n int) [][]byte {
	for len(parts) > 0 && (n > 0 || len(parts[0]) == 0) {
		m := min(n, len(parts[0]))
		n -= m
		if parts[0] = parts[0][m:]; len(parts[0]) == 0 {
			parts = parts[1:]
		}
	}
	return parts
}

// Punch deallocates a range; where the file system cannot, it writes nothing and the space
// stays taken until the file goes.
func (f *osFile) Punch(off, n int64) error {
	_, err := retryEINTR(func() (int, error) {
		return 0, unix.Fallocate(f.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return &fs.PathError{Op: "punch", Path: "container", Err: err}
	}
	return nil
}

// WillNeed has the kernel read ahead.
func (f *osFile) WillNeed(off, n int64) {
	_ = unix.Fadvise(f.fd, off, n, unix.FADV_WILLNEED) // advice: nothing depends on it
}

// Data asks where the file has no hole. Where the file system cannot tell, it may be anywhere.
func (f *osFile) Data(off int64) (from, end int64, err error) {
	size, err := f.Size()
	if err != nil {
		return 0, 0, err
	}
	from, err = unix.Seek(f.fd, off, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) || off >= size {
		return 0, 0, io.EOF
	}
	if err == nil {
		end, err = unix.Seek(f.fd, from, unix.SEEK_HOLE)
	}
	if err != nil {
		return off, size, nil
	}
	return from, end, nil
}

// Size asks for the file's length.
func (f *osFile) Size() (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return 0, &fs.PathError{Op: "stat", Path: "container", Err: err}
	}
	return st.Size, nil
}

// Close closes the descriptors.
func (f *osFile) Close() error {
	err := unix.Close(f.fd)
	if f.direct >= 0 {
		err = errors.Join(err, unix.Close(f.direct))
	}
	return err
}

func retryEINTR(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
