package local

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/ufs"
)

// stream is a range of an open file. After each read from the kernel, and before its
// bytes are handed out, it looks whether the file is still of its version: the kernel
// sets the time of modification before it changes a byte.
type stream struct {
	file *os.File
	done func() error          // what the caller's context says
	wrap func(err error) error // adds operation and name
	v    shoal.Version
	at   int64 // offset in the file of the next byte
	left int64 // bytes to come
	err  error // what every Read returns from now on
}

func (f *FS) newStream(ctx context.Context, name string, file *os.File, v shoal.Version, off, length int64) *stream {
	return &stream{
		file: file, v: v, at: off, left: length, done: ctx.Err,
		wrap: func(err error) error { return f.wrap("read", name, err) },
	}
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if s.left == 0 {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := s.read(p[:min(int64(len(p)), s.left)])
	if err != nil {
		s.err = s.wrap(err)
		return 0, s.err
	}
	s.at, s.left = s.at+int64(n), s.left-int64(n)
	return n, nil
}

// Close implements io.Closer.
func (s *stream) Close() error {
	s.err = fs.ErrClosed
	_ = s.file.Close() // only read: nothing can be lost
	return nil
}

func (s *stream) read(p []byte) (int, error) {
	if err := s.done(); err != nil {
		return 0, err
	}
	n, err := s.file.ReadAt(p, s.at)
	if err == io.EOF && n < len(p) {
		return 0, fmt.Errorf("file ends at %d, %d bytes early: %w", s.at+int64(n), s.left-int64(n), ufs.ErrVersion)
	}
	if err != nil && err != io.EOF {
		return 0, err
	}
	return n, check(s.file, s.v, s.at, int64(n))
}

// check verifies that an open file is of version v and has the range.
func check(file *os.File, v shoal.Version, off, length int64) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.IsDir() {
		return fmt.Errorf("is a directory: %w", fs.ErrNotExist)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("is not a file: %w", fs.ErrPermission)
	}
	if got := version(info); got != v {
		return fmt.Errorf("version %q, not %q: %w", got, v, ufs.ErrVersion)
	}
	return ufs.CheckRange(off, length, info.Size())
}
