package peer

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// pulses is how many times per StallTimeout a node that works on an answer says so.
const pulses = 5

// A line is this node's end of a stream that the peer opened. While an answer takes time
// it sends frameAlive, so that the peer does not take this node for dead.
type line struct {
	raw     network.MuxedStream
	conn    *conn
	in      *bufio.Reader
	out     []byte // scratch: the answer being sent, if it is a short one
	scratch [blockRequestLen]byte
	hurried bool // the read deadline is set
	stall   time.Duration
	cancel  context.CancelFunc // ends the work on the answer
	start   time.Time
	moved   atomic.Int64 // nanoseconds from start to the begin or the end of the last write
	writing sync.Mutex   // held while a frame is written, so that frames do not mix

	mu    sync.Mutex // guards the fields below
	timer *time.Timer
	busy  bool // an answer is being made or sent
}

func newLine(raw network.MuxedStream, c *conn, stall time.Duration, cancel context.CancelFunc) *line {
	return &line{raw: raw, conn: c, in: bufio.NewReaderSize(raw, 1<<10), stall: stall, cancel: cancel, start: time.Now()}
}

// negotiate lets the peer choose a protocol.
func (l *line) negotiate(h *Host) (proto string, err error) {
	l.hurry(true)
	proto, _, err = h.protocols.Negotiate(handshake{l.in, l.raw, l.raw})
	l.hurry(false)
	return proto, err
}

// A handshake is what multistream-select wants to see of a line.
type handshake struct {
	io.Reader
	io.Writer
	io.Closer
}

// hurry sets a deadline for reading the rest of a request, or takes it away. Most requests
// come in one piece and need none.
func (l *line) hurry(yes bool) {
	if yes == l.hurried {
		return
	}
	l.hurried = yes
	var at time.Time
	if yes {
		at = time.Now().Add(l.stall)
	}
	_ = l.raw.SetReadDeadline(at) // an error means that the stream is lost, as the next read will say
}

// begin starts the pulse: an answer is being made.
func (l *line) begin() {
	l.hurry(false)
	l.touch()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy = true
	if l.timer == nil {
		l.timer = time.AfterFunc(l.stall/pulses, l.tick)
	} else {
		l.timer.Reset(l.stall / pulses)
	}
}

// end stops the pulse.
func (l *line) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy = false
	l.timer.Stop()
}

// write sends whole frames.
func (l *line) write(frames []byte) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.touch()
	_, err := l.raw.Write(frames)
	l.touch()
	return err
}

// refuse sends the frame that stands for err.
func (l *line) refuse(err error) error {
	l.out = refusalOf(l.out[:0], err)
	return l.write(l.out)
}

// discard reads a call that will not be handled.
func (l *line) discard(n uint32, limit int) error {
	if int64(n) > int64(limit) {
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", errGarbage, n, limit)
	}
	_, err := io.CopyN(io.Discard, l.in, int64(n))
	return err
}

// whole reports whether the next call has been read into the buffer to its end.
func (l *line) whole() bool {
	have := l.in.Buffered()
	if have < 4 {
		return false
	}
	head, err := l.in.Peek(4)
	return err == nil && uint64(have) >= 4+uint64(binary.BigEndian.Uint32(head))
}

func (l *line) touch() { l.moved.Store(int64(time.Since(l.start))) }

// tick keeps the line alive while the answer is being made, and gives up when the peer
// does not take it.
func (l *line) tick() {
	quiet := time.Since(l.start) - time.Duration(l.moved.Load())
	lost := false
	switch {
	case !l.writing.TryLock():
		lost = quiet >= l.stall
	case quiet >= l.stall/pulses/2:
		lost = !l.pulse()
		l.writing.Unlock()
	default:
		l.writing.Unlock()
	}
	if lost {
		l.cancel()
		_ = l.raw.SetDeadline(time.Unix(1, 0)) // wakes a writer even while the connection is stuck
		_ = l.raw.Reset()
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy {
		l.timer.Reset(l.stall / pulses)
	}
}

// pulse sends frameAlive if the answer is still being made. l.writing is held.
func (l *line) pulse() (ok bool) {
	l.mu.Lock()
	busy := l.busy
	l.mu.Unlock()
	if !busy {
		return true
	}
	_ = l.raw.SetWriteDeadline(time.Now().Add(l.stall))
	_, err := l.raw.Write([]byte{frameAlive})
	_ = l.raw.SetWriteDeadline(time.Time{})
	l.touch()
	return err == nil
}
