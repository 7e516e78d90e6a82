package peer

import (
	"bufio"
	"net"
	"sync"

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
	in    *bufio.Reader // nil before swell
	spare *sync.Pool    // of *[]byte, for out

	mu  sync.Mutex // guards the fields below, also while they are written to the connection
	out *[]byte    // what Write collects; nil unless held
}

// swell gives the connection its buffers. Nothing may be reading or writing meanwhile.
func (c *tcpConn) swell(spare *sync.Pool) {
	c.in = bufio.NewReaderSize(c.Conn, tcpPiece)
	c.spare = spare
}

// Read is of net.Conn.
func (c *tcpConn) Read(p []byte) (int, error) {
	if c.in == nil {
		return c.Conn.Read(p)
	}
	return c.in.Read(p)
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
	return &tcpConn{Conn: c}, nil
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
	if tls, ok := c.(interface{ NetConn() net.Conn }); ok {
		if tcp, ok := tls.NetConn().(*tcpConn); ok {
			tcp.swell(m.spare)
			c = secured{c, tcp}
		}
	}
	return m.Multiplexer.NewConn(c, server, scope)
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
	return n, err
}
