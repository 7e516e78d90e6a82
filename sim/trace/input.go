package trace

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	live "github.com/shoal-mesh/shoal/node/trace"
)

const (
	inputLen = 256 << 10 // the buffer of an input
	headLen  = 8 << 10   // how much of a trace is looked at to tell what it is: the longest header
	lineLen  = 64 << 10  // the longest line of text

	// maxWindow bounds the memory that unpacking takes. It is what zstd takes by default.
	maxWindow = 128 << 20
)

// A file is a file that is unpacked as it is read.
type file struct {
	in     *input
	closes []io.Closer // in this order
}

// openFile opens the file called name.
func openFile(name string) (*file, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	opened := &file{closes: []io.Closer{f}}
	var src io.Reader = f
	switch packing(name) {
	case ".gz":
		r, err := gzip.NewReader(f)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, errors.Join(fmt.Errorf("%s: gzip: %w", name, ended(err)), f.Close())
		}
		src = r
	case ".zst":
		// With one thread it unpacks within Read.
		r, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: zstd: %w", name, err), f.Close())
		}
		src = r
		opened.closes = []io.Closer{r.IOReadCloser(), f}
	}
	opened.in = newInput(src)
	return opened, nil
}

// packing returns ".gz" or ".zst" if the file called name is packed, else "".
func packing(name string) string {
	switch ext := strings.ToLower(filepath.Ext(name)); ext {
	case ".gz", ".zst":
		return ext
	}
	return ""
}

// Close closes the file, once.
func (f *file) Close() error {
	var errs []error
	for _, c := range f.closes {
		errs = append(errs, c.Close())
	}
	f.closes = nil
	return errors.Join(errs...)
}

// An input is a buffer before src that knows where in it a reader stands.
type input struct {
	src  io.Reader
	buf  []byte
	r, w int   // buf[r:w] has been read from src and not yet been taken
	base int64 // offset of buf[0] in src
	err  error // why src gives no more
}

func newInput(src io.Reader) *input { return &input{src: src, buf: make([]byte, inputLen)} }

// offset returns where the next byte is in src.
func (in *input) offset() int64 { return in.base + int64(in.r) }

// fill reads more of src, unless it has ended or buf is full of bytes not taken.
func (in *input) fill() {
	if in.r > 0 {
		in.base += int64(in.r)
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	}
	for range 100 {
		if in.err != nil || in.w == len(in.buf) {
			return
		}
		var n int
		n, in.err = in.src.Read(in.buf[in.w:])
		in.w += n
		if n > 0 {
			return
		}
	}
	in.err = io.ErrNoProgress
}

// peek returns the next n bytes, or less if there are less. They are not taken.
func (in *input) peek(n int) []byte {
	for in.w-in.r < n && in.err == nil {
		in.fill()
	}
	return in.buf[in.r:min(in.w, in.r+n)]
}

// take takes n bytes that have been seen.
func (in *input) take(n int) { in.r += n }

// records returns the next bytes of whole records of this size: at least one record, at most
// limit of them, as many as are at hand. They are not taken.
func (in *input) records(size, limit int) ([]byte, error) {
	if in.w-in.r < size {
		if got := len(in.peek(size)); got < size {
			return nil, in.ended(got, size)
		}
	}
	return in.buf[in.r : in.r+min(limit, (in.w-in.r)/size)*size], nil
}

// ended returns the error when got bytes are left where a record has size.
func (in *input) ended(got, size int) error {
	switch {
	case !errors.Is(in.err, io.EOF):
		return ended(in.err)
	case got == 0:
		return io.EOF
	}
	return fmt.Errorf("%w: %d bytes are left where a record has %d", live.ErrTruncated, got, size)
}

// line returns the next line, without what ends it. It is not taken; length is with what
// ends it.
func (in *input) line() (line []byte, length int, err error) {
	for {
		got := in.buf[in.r:in.w]
		if i := bytes.IndexByte(got[:min(len(got), lineLen)], '\n'); i >= 0 {
			return bytes.TrimSuffix(got[:i], []byte("\r")), i + 1, nil
		}
		switch {
		case len(got) >= lineLen:
			return nil, 0, fmt.Errorf("%w: a line is longer than %d bytes", live.ErrDamaged, lineLen)
		case in.err == nil:
			in.fill()
		case !errors.Is(in.err, io.EOF):
			return nil, 0, ended(in.err)
		case len(got) == 0:
			return nil, 0, io.EOF
		default:
			return got, len(got), nil
		}
	}
}

// Read takes bytes, for a decoder that has a buffer of its own.
func (in *input) Read(b []byte) (int, error) {
	if in.r == in.w {
		in.fill()
	}
	if in.r == in.w {
		return 0, in.err
	}
	n := copy(b, in.buf[in.r:in.w])
	in.r += n
	return n, nil
}

// ended makes an ErrTruncated of what unpacking returns when a file lacks its end.
func ended(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: the packed file lacks its end", live.ErrTruncated)
	}
	return err
}
