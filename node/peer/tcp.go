package peer

import (
	"bufio"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	manet "github.com/multiformats/go-multiaddr/net"
)

// tcpPiece is how much is read from or written to a TCP connection at a time, in bytes.
// TLS alone would make a system call per record of 16 KiB. The frame of a chunk, with what
// yamux and TLS add to it, fits into a buffer of a piece and an eighth.
const tcpPiece = 64 << 10

// A tcpConn is a TCP connection under TLS. From swell on it reads ahead and collects the
// records of one write above TLS into one below. Until then, while the other end may be a
// stranger, it has no buffers.
type tcpConn struct {
	manet.Conn
	start time.Time
	heard atomic.Int64  // nanoseconds from start to the last byte read, of whatever kind
	in    *bufio.Reader // nil before swell
	spare *sync.Pool    // of *[]byte, for out

	backlog backlog // of the streams above

	mu  sync.Mutex // guards the fields below, also while they are written to the connection
	out *[]byte    // what Write collects; nil unless held
}

func newTCPConn(c manet.Conn) *tcpConn { return &tcpConn{Conn: c, start: time.Now()} }

// silence returns for how long nothing has been read.
func (c *tcpConn) silence() time.Duration {
	return time.Since(c.start) - time.Duration(c.heard.Load())
}

// swell gives the connection its buffers. Nothing may be reading or writing meanwhile.
func (c *tcpConn) swell(spare *sync.Pool) {
	c.in = bufio.NewReaderSize(ear{c}, tcpPiece)
	c.spare = spare
}

// Read is of net.Conn.
func (c *tcpConn) Read(p []byte) (int, error) {
	if c.in == nil {
		return ear{c}.Read(p)
	}
	return c.in.Read(p)
}

// An ear reads from the connection under a tcpConn and notes when something came.
type ear struct{ c *tcpConn }

// Read is of io.Reader.
func (e ear) Read(p []byte) (int, error) {
	n, err := e.c.Conn.Read(p)
	if n > 0 {
		e.c.heard.Store(int64(time.Since(e.c.start)))
	}
	return n, err
}

// Write is of net.Conn.
func (c *tcpConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out != nil && len(*c.out)+len(p) <= cap(*c.out) {
		*c.out = append(*c.out, p...)
		return len(p), nil
	}
	if err := c.flush(); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// hold makes Write collect until the next release.
func (c *tcpConn) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = c.spare.Get().(*[]byte)
	*c.out = (*c.out)[:0]
}

// release writes what was collected.
func (c *tcpConn) release() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.flush()
	c.spare.Put(c.out)
	c.out = nil
	return err
}

// flush writes what was collected. c.mu is held.
func (c *tcpConn) flush() error {
	if c.out == nil || len(*c.out) == 0 {
		return nil
	}
	_, err := c.Conn.Write(*c.out)
	*c.out = (*c.out)[:0]
	return err
}

// A tcpListener accepts tcpConns.
type tcpListener struct{ manet.Listener }

// Accept is of manet.Listener.
func (l tcpListener) Accept() (manet.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newTCPConn(c), nil
}

// A piecewise multiplexer swells the TCP connections under its connections: they have
// passed the gate.
type piecewise struct {
	network.Multiplexer
	spare *sync.Pool
}

func newPiecewise(m network.Multiplexer) piecewise {
	return piecewise{m, &sync.Pool{New: func() any {
		b := make([]byte, 0, tcpPiece+tcpPiece/8)
		return &b
	}}}
}

// NewConn is of network.Multiplexer.
func (m piecewise) NewConn(c net.Conn, server bool, scope network.PeerScope) (network.MuxedConn, error) {
	tls, ok := c.(interface{ NetConn() net.Conn })
	if !ok {
		return m.Multiplexer.NewConn(c, server, scope)
	}
	tcp, ok := tls.NetConn().(*tcpConn)
	if !ok {
		return m.Multiplexer.NewConn(c, server, scope)
	}
	tcp.swell(m.spare)
	mux, err := m.Multiplexer.NewConn(secured{c, tcp}, server, scope)
	if err != nil {
		return nil, err
	}
	return founded{mux, tcp}, nil
}

// founded is a multiplexed connection that tells which TCP connection it is on.
type founded struct {
	network.MuxedConn
	tcp *tcpConn
}

// OpenStream is of network.MuxedConn.
func (f founded) OpenStream(ctx context.Context) (network.MuxedStream, error) {
	return f.queued(f.MuxedConn.OpenStream(ctx))
}

// AcceptStream is of network.MuxedConn.
func (f founded) AcceptStream() (network.MuxedStream, error) {
	return f.queued(f.MuxedConn.AcceptStream())
}

func (f founded) queued(s network.MuxedStream, err error) (network.MuxedStream, error) {
	if err != nil {
		return nil, err
	}
	return queued{s, &f.tcp.backlog}, nil
}

// As is of network.MuxedConn.
func (f founded) As(target any) bool {
	if t, ok := target.(**tcpConn); ok {
		*t = f.tcp
		return true
	}
	return f.MuxedConn.As(target)
}

// secured is a TLS connection whose writes become one write each below. Only one goroutine
// writes at a time: yamux has one that does.
type secured struct {
	net.Conn
	tcp *tcpConn
}

// Write is of net.Conn.
func (s secured) Write(p []byte) (int, error) {
	s.tcp.hold()
	n, err := s.Conn.Write(p)
	if e := s.tcp.release(); err == nil && e != nil {
		return 0, e
	}
	s.tcp.backlog.sent(p)
	return n, err
}
