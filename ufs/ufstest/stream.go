package ufstest

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/ufs"
)

// place is an offset in a file.
type place struct {
	name string
	off  int64
}

// hold stops streams at a place.
type hold struct {
	reached  chan struct{} // closed when the first stream is there
	released chan struct{} // closed when they may go on
	once     sync.Once     // closes reached
}

// Hold makes every stream of name stop before it gives the byte at off, until release
// is called; reached is closed when the first one is there. A stream that is held ends
// when its context does. Release may be called more than once.
func (f *FS) Hold(name string, off int64) (reached <-chan struct{}, release func()) {
	h := &hold{reached: make(chan struct{}), released: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.holds == nil {
		f.holds = make(map[place]*hold)
	}
	at := place{name, off}
	f.holds[at] = h
	return h.reached, sync.OnceFunc(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.holds[at] == h {
			delete(f.holds, at)
		}
		close(h.released)
	})
}

// stream is what FS.Open returns.
type stream struct {
	piece func(p []byte, at int64) (int, error)
	close func()
	at    int64 // offset in the file of the next byte
	left  int64 // bytes to come
	err   error // what every Read returns from now on
}

func (f *FS) newStream(ctx context.Context, name string, was file, off, length int64) *stream {
	return &stream{
		at: off, left: length,
		piece: func(p []byte, at int64) (int, error) { return f.read(ctx, name, was, p, at) },
		close: sync.OnceFunc(func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.counts.Streams--
		}),
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
	toChunkEnd := shoal.ChunkSize - s.at%shoal.ChunkSize
	p = p[:min(int64(len(p)), s.left, toChunkEnd)]
	n, err := s.piece(p, s.at)
	s.at, s.left, s.err = s.at+int64(n), s.left-int64(n), err
	return n, err
}

// Close implements io.Closer.
func (s *stream) Close() error {
	s.err = fs.ErrClosed
	s.close()
	return nil
}

// read fills p, or less if a hold is in the way, from the file name at offset at, if it
// is still the file it was.
func (f *FS) read(ctx context.Context, name string, was file, p []byte, at int64) (int, error) {
	if err := f.mayRead(ctx, name, at); err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if v := f.files[name].info.Version; v != was.info.Version {
		return 0, fmt.Errorf("read %q: version %q, not %q: %w", name, v, was.info.Version, ufs.ErrVersion)
	}
	for h := range f.holds {
		if h.name == name && h.off > at {
			p = p[:min(int64(len(p)), h.off-at)]
		}
	}
	n := copy(p, was.data[at:])
	f.counts.Bytes += int64(n)
	return n, nil
}

// mayRead waits for the hold at this place and asks the hooks.
func (f *FS) mayRead(ctx context.Context, name string, at int64) error {
	f.mu.Lock()
	h := f.holds[place{name, at}]
	f.mu.Unlock()
	if h != nil {
		h.once.Do(func() { close(h.reached) })
		select {
		case <-h.released:
		case <-ctx.Done():
		}
	}
	if f.Fault != nil {
		if err := f.Fault("read", name); err != nil {
			return err
		}
	}
	if f.OnRead != nil {
		if err := f.OnRead(ctx, name, at); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("read %q: %w", name, err)
	}
	return nil
}
