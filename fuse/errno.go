package fuse

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

// errno returns what the kernel is told of err. An Errno in the chain comes first, so
// that who makes the error decides; but only those a reader of files can make sense of
// pass. Above all never ENOSYS: to the kernel that means "do not ask this again", for
// as long as the mount lives.
func errno(err error) gofuse.Status {
	var own syscall.Errno
	if errors.As(err, &own) {
		return passed(own)
	}
	var t interface{ Timeout() bool }
	switch {
	case err == nil:
		return gofuse.OK
	case errors.Is(err, fs.ErrNotExist):
		return gofuse.ENOENT
	case errors.Is(err, fs.ErrPermission):
		return gofuse.EACCES
	case errors.Is(err, fs.ErrInvalid):
		return gofuse.EINVAL
	case errors.Is(err, context.Canceled):
		return gofuse.EINTR
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &t) && t.Timeout():
		return gofuse.Status(syscall.ETIMEDOUT)
	}
	return gofuse.EIO
}

// idErrno is errno for requests that name an entry by its id. That it does not exist
// then means that the id is of the past: the kernel looks the name up again on ESTALE,
// and tells the caller ENOENT only if the name is gone too.
func idErrno(err error) gofuse.Status {
	if code := errno(err); code != gofuse.ENOENT {
		return code
	}
	return gofuse.Status(syscall.ESTALE)
}

// passed returns e if a reader of files can make sense of it, else EIO.
func passed(e syscall.Errno) gofuse.Status {
	switch e {
	case 0, syscall.ENOENT, syscall.EACCES, syscall.EPERM, syscall.EINTR, syscall.ESTALE,
		syscall.ETIMEDOUT, syscall.EIO, syscall.EINVAL, syscall.ENOTDIR, syscall.EISDIR,
		syscall.ENAMETOOLONG, syscall.ELOOP, syscall.EROFS, syscall.ENOMEM, syscall.ENOSPC,
		syscall.EDQUOT, syscall.ENFILE, syscall.ENODATA, syscall.EOPNOTSUPP, syscall.EFBIG,
		syscall.EOVERFLOW, syscall.EBADF, syscall.EBUSY:
		return gofuse.Status(e)
	}
	return gofuse.EIO
}

// ordinary reports whether code is an answer rather than a failure: it is neither
// logged nor counted as one.
func ordinary(code gofuse.Status) bool {
	switch code {
	case gofuse.OK, gofuse.ENOENT, gofuse.EACCES, gofuse.EPERM, gofuse.EINTR, gofuse.EROFS,
		gofuse.ENOTDIR, gofuse.EISDIR, gofuse.ENODATA:
		return true
	}
	return false
}
