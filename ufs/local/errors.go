package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/shoal-mesh/shoal/ufs"
)

// wrap says what was done to which name, and adds the error of package ufs or io/fs
// that callers branch on. It is the only such table of this package.
func (f *FS) wrap(op, name string, err error) error {
	var kind error
	var errno syscall.Errno
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, ufs.ErrVersion), errors.Is(err, fs.ErrInvalid), errors.Is(err, fs.ErrNotExist),
		errors.Is(err, fs.ErrPermission):
		// Already one of those: ENOENT, EACCES and EPERM are.
	case refused(err):
		kind = fs.ErrPermission
	case errors.Is(err, os.ErrDeadlineExceeded):
		kind = ufs.ErrUnavailable
	case errors.As(err, &errno):
		kind = kindOf(errno)
	}
	if kind == nil {
		return fmt.Errorf("%s %q in %s: %w", op, name, f.path, err)
	}
	return fmt.Errorf("%s %q in %s: %w: %w", op, name, f.path, err, kind)
}

// kindOf sorts the errors of the kernel that io/fs does not know. One it does not know
// either is nil: the file is there, and cannot be read.
func kindOf(errno syscall.Errno) error {
	switch errno {
	case syscall.ENOTDIR: // an element above the last is a file
		return fs.ErrNotExist
	case syscall.ELOOP:
		return fs.ErrPermission
	case syscall.ENAMETOOLONG, syscall.EINVAL, syscall.EILSEQ:
		return fs.ErrInvalid
	case syscall.EIO, syscall.ENOTCONN, syscall.ESTALE, syscall.ETIMEDOUT, syscall.ENODEV, syscall.ENXIO,
		syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.ENETUNREACH, syscall.ECONNABORTED,
		syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ESHUTDOWN, syscall.EREMOTEIO, syscall.EAGAIN,
		syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM:
		return ufs.ErrUnavailable
	}
	return nil
}

// refused reports whether err is os.Root's refusal to leave the root, which package os
// does not export. A test watches that the text stays what it is.
func refused(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path) && path.Err != nil && path.Err.Error() == "path escapes from parent"
}
