package fuse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
	"testing"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

func TestErrno(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("read %s: %w", "/a", fmt.Errorf("fetch: %w", err)) }
	for _, c := range []struct {
		err      error
		want, id syscall.Errno // for names, for ids
	}{
		{nil, 0, 0},
		{fs.ErrNotExist, syscall.ENOENT, syscall.ESTALE},
		{syscall.ENOENT, syscall.ENOENT, syscall.ESTALE},
		{fs.ErrPermission, syscall.EACCES, syscall.EACCES},
		{syscall.EPERM, syscall.EPERM, syscall.EPERM},
		{fs.ErrInvalid, syscall.EINVAL, syscall.EINVAL},
		{context.Canceled, syscall.EINTR, syscall.EINTR},
		{context.DeadlineExceeded, syscall.ETIMEDOUT, syscall.ETIMEDOUT},
		{os.ErrDeadlineExceeded, syscall.ETIMEDOUT, syscall.ETIMEDOUT},
		{&net.DNSError{IsTimeout: true}, syscall.ETIMEDOUT, syscall.ETIMEDOUT},
		{&net.DNSError{}, syscall.EIO, syscall.EIO},
		{syscall.ESTALE, syscall.ESTALE, syscall.ESTALE},
		{errors.Join(errors.New("version changed"), syscall.ESTALE), syscall.ESTALE, syscall.ESTALE},
		{errors.Join(fs.ErrNotExist, syscall.ESTALE), syscall.ESTALE, syscall.ESTALE},
		{syscall.EISDIR, syscall.EISDIR, syscall.EISDIR},
		{syscall.ENFILE, syscall.ENFILE, syscall.ENFILE},
		{io.ErrUnexpectedEOF, syscall.EIO, syscall.EIO},
		{errors.New("anything"), syscall.EIO, syscall.EIO},
		// The kernel would never ask again, or misread these.
		{syscall.ENOSYS, syscall.EIO, syscall.EIO},
		{syscall.EAGAIN, syscall.EIO, syscall.EIO},
		{syscall.ECONNREFUSED, syscall.EIO, syscall.EIO},
		{syscall.EMFILE, syscall.EIO, syscall.EIO},
		{syscall.ENOTCONN, syscall.EIO, syscall.EIO},
	} {
		err := c.err
		if err != nil {
			err = wrap(err)
		}
		if got := errno(err); got != gofuse.Status(c.want) {
			t.Errorf("errno(%v) = %v, want %v", err, got, c.want)
		}
		if got := idErrno(err); got != gofuse.Status(c.id) {
			t.Errorf("idErrno(%v) = %v, want %v", err, got, c.id)
		}
	}
}
