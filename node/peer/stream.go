package peer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	mss "github.com/multiformats/go-multistream"
)

// errStalled says that no byte moved for Config.StallTimeout.
var errStalled = errors.New("no progress")

// A stream is this node's end of a stream it opened. It carries one request at a time and
// waits in its connection's pool between two.
type stream struct {
	raw     network.MuxedStream
	conn    *conn
	proto   int // index of the pool it belongs to
	in      *bufio.Reader
	out     []byte // scratch: the request being sent
	scratch [4 * maxChunks]byte
	watch   watch
	used    bool          // has carried a request before
	greeted bool          // the other end has agreed to the protocol
	idle    time.Duration // since the host's start, when it came back to the pool
}

// The pools of a connection, by protocol.
const (
	calls  = 0
	blocks = 1
	pools  = 2
)

// protocolOf returns the name of the protocol of a pool.
func protocolOf(proto int) string {
	if proto == blocks {
		return blockProtocol
	}
	return callProtocol
}

// newStream wraps raw. start is where the host's clock begins, stall the patience with it.
func newStream(raw network.MuxedStream, c *conn, proto int, start time.Time, stall time.Duration) *stream {
	// Block streams read headers only through the buffer, and chunks past it.
	size := 4 << 10
	if proto == blocks {
		size = 64
	}
	s := &stream{raw: raw, conn: c, proto: proto, in: bufio.NewReaderSize(raw, size)}
	s.watch.limit = stall
	s.watch.start = start
	s.watch.abort = s.abort
	return s
}

// begin starts the watch over a request; ctx ends it early. end must follow.
func (s *stream) begin(ctx context.Context) (stop func() bool) {
	turn := s.watch.begin()
	if ctx.Done() == nil {
		return func() bool { return true }
	}
	return context.AfterFunc(ctx, func() { s.watch.cut(turn, context.Cause(ctx)) })
}

// end stops the watch and returns why it cut the request, if it did.
func (s *stream) end(stop func() bool) error {
	stop()
	return s.watch.end()
}

// request starts s.out with what must precede the request: on a new stream, the choice of
// the protocol, which is not waited for.
func (s *stream) request() []byte {
	if s.used {
		return s.out[:0]
	}
	return append(s.out[:0], greeting(s.proto)...)
}

// send writes the request in s.out.
func (s *stream) send() error {
	s.used = true
	_, err := s.raw.Write(s.out)
	s.watch.touch()
	return err
}

// frame returns the first byte of the next frame that says something.
func (s *stream) frame() (byte, error) {
	if !s.greeted {
		if err := s.greet(); err != nil {
			return 0, err
		}
	}
	for {
		b, err := s.in.ReadByte()
		if err == nil {
			s.heard()
		}
		if err != nil || b != frameAlive {
			return b, err
		}
	}
}

// heard notes that the other end sent something.
func (s *stream) heard() { s.conn.heard.Store(s.watch.touch()) }

// greet reads the other end's consent to the protocol.
func (s *stream) greet() error {
	want := greeting(s.proto)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(s.in, got); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%w: does not speak %s", errGarbage, protocolOf(s.proto))
	}
	s.greeted = true
	return nil
}

// clean reports whether the next request may use s.
func (s *stream) clean() bool { return s.in.Buffered() == 0 }

// abort ends whatever blocks on s: first writers, which a reset does not wake while the
// connection itself is stuck, then everybody.
func (s *stream) abort() {
	_ = s.raw.SetDeadline(time.Unix(1, 0))
	_ = s.raw.Reset()
}

// greeting is both what multistream-select sends to choose a protocol and the answer of
// an end that agrees: each line preceded by its length.
func greeting(proto int) []byte {
	var b []byte
	for _, line := range []string{mss.ProtocolID, protocolOf(proto)} {
		b = append(b, byte(len(line)+1))
		b = append(b, line...)
		b = append(b, '\n')
	}
	return b
}

// A watch cuts a request that makes no progress, without a timer operation per read.
type watch struct {
	limit time.Duration
	start time.Time
	abort func()
	last  atomic.Int64 // nanoseconds from start to the last byte

	mu    sync.Mutex // guards the fields below
	timer *time.Timer
	turn  int // which request; even between two requests
	cause error
}

// touch notes progress and returns when that was.
func (w *watch) touch() int64 {
	now := int64(time.Since(w.start))
	w.last.Store(now)
	return now
}

// begin starts a turn.
func (w *watch) begin() (turn int) {
	w.touch()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn++
	w.cause = nil
	if w.timer == nil {
		w.timer = time.AfterFunc(w.limit, w.tick)
	} else {
		w.timer.Reset(w.limit)
	}
	return w.turn
}

// end ends the turn and returns why it was cut, if it was.
func (w *watch) end() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn++
	w.timer.Stop()
	return w.cause
}

// tick cuts the turn if it is due, and looks again later otherwise.
func (w *watch) tick() {
	w.mu.Lock()
	turn := w.turn
	silent := time.Since(w.start) - time.Duration(w.last.Load())
	if due := silent >= w.limit; !due {
		if turn%2 == 1 {
			w.timer.Reset(w.limit - silent)
		}
		w.mu.Unlock()
		return
	}
	w.mu.Unlock()
	w.cut(turn, errStalled)
}

// cut aborts the turn, unless it has ended.
func (w *watch) cut(turn int, cause error) {
	w.mu.Lock()
	if w.turn != turn || turn%2 == 0 || w.cause != nil {
		w.mu.Unlock()
		return
	}
	w.cause = cause
	w.mu.Unlock()
	w.abort()
}
