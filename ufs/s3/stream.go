package s3

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/shoal-mesh/shoal/ufs"
)

// resumeBudget is how many streams of one FS may be resumed, or asked for again, when nothing goes well.
const resumeBudget = 100

// stream is a range of a key, read over one connection after another.
type stream struct {
	part    io.ReadCloser // the answer being read; nil when it broke
	at      int64         // offset in the file of the next byte
	left    int64         // bytes to come
	resumed int           // how often it was resumed
	resumes int           // how often it may be
	budget  *budget
	err     error // what every Read returns from now on

	get  func(off, length int64, hurry bool) (io.ReadCloser, error) // asks for a range
	done func() error                                               // what the caller's context says
	wrap func(err error) error                                      // adds operation and name
	wait func(n int) error                                          // waits before resume number n
	note func(at int64, cause error)                                // logs a resume
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
		s.closePart()
		s.err = s.wrap(err)
		return 0, s.err
	}
	s.at, s.left = s.at+int64(n), s.left-int64(n)
	if s.left == 0 {
		s.closePart() // so that its connection serves the next stream
		s.budget.give()
	}
	return n, nil
}

// Close implements io.Closer.
func (s *stream) Close() error {
	s.closePart()
	s.err = fs.ErrClosed
	return nil
}

// read returns at least one byte or an error that is final.
func (s *stream) read(p []byte) (int, error) {
	for {
		if err := s.done(); err != nil {
			return 0, err
		}
		n, err := s.part.Read(p)
		if n > 0 {
			return n, nil
		}
		if err == nil {
			continue
		}
		if err := s.done(); err != nil {
			return 0, err
		}
		if err := s.resume(err); err != nil {
			return 0, err
		}
	}
}

// resume asks for the rest of the range, when cause has ended the answer before.
func (s *stream) resume(cause error) error {
	s.closePart()
	if errors.Is(cause, io.EOF) {
		cause = io.ErrUnexpectedEOF
	}
	// What was cut for its lag has spent its resume already.
	if s.resumed == s.resumes || !errors.Is(cause, errLags) && !s.budget.take() {
		return &faultError{
			kind:  ufs.ErrUnavailable,
			cause: fmt.Sprintf("stream broke %d bytes early, after %d resumes: %v", s.left, s.resumed, cause),
		}
	}
	s.note(s.at, cause)
	if err := s.wait(s.resumed); err != nil {
		return err
	}
	s.resumed++
	part, err := s.get(s.at, s.left, s.hurries())
	if err != nil {
		if fault := faultOf(err); errors.Is(fault, fs.ErrNotExist) || errors.Is(fault, errRange) {
			return &faultError{ufs.ErrVersion, "file is gone or cut: " + fault.cause, ""}
		}
		return err
	}
	s.part = part
	return nil
}

// hurries reports whether the next answer is cut when it lags: half of the resumes are for what breaks.
func (s *stream) hurries() bool { return s.resumed < s.resumes/2 }

func (s *stream) closePart() {
	if s.part != nil {
		_ = s.part.Close() // only read: nothing can be lost
		s.part = nil
	}
}

// watched is an answer whose reads are watched.
type watched struct {
	body  io.ReadCloser
	watch watch
}

// Read implements io.Reader.
func (w *watched) Read(p []byte) (int, error) {
	begun := time.Now()
	w.watch.begin()
	n, err := w.body.Read(p)
	why := w.watch.end()
	if n > 0 {
		w.watch.pulse.beat()
	}
	if why != nil && err != nil {
		err = fmt.Errorf("no bytes for %v: %w", time.Since(begun).Round(time.Millisecond), why)
	}
	return n, err
}

// Close implements io.Closer.
func (w *watched) Close() error {
	err := w.body.Close()
	w.watch.cancel(nil)
	return err
}

// budget limits the resumes of all streams together, so that an FS that breaks every
// stream is not asked many times as much as one that breaks none: ten streams that end
// well earn one resume.
type budget struct {
	mu     sync.Mutex // guards the fields below
	tenths int
	max    int
}

func newBudget(resumes int) *budget { return &budget{tenths: 10 * resumes, max: 10 * resumes} }

// take spends one resume, if there is one.
func (b *budget) take() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tenths < 10 {
		return false
	}
	b.tenths -= 10
	return true
}

// spare spends one resume if more than half of them are left: the others are for what breaks.
func (b *budget) spare() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tenths-10 < b.max/2 {
		return false
	}
	b.tenths -= 10
	return true
}

// give earns a tenth of a resume.
func (b *budget) give() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tenths = min(b.tenths+1, b.max)
}
