package peer

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/transport"

	"github.com/shoal-mesh/shoal"
)

// maxIdle is how many idle streams of each protocol a connection keeps.
const maxIdle = 16

// A conn is one connection with a peer, whoever dialed it.
type conn struct {
	mux    transport.CapableConn
	tcp    *tcpConn // under mux
	peer   *remote
	proved atomic.Bool  // an answer came over it, or the peer dialed it
	heard  atomic.Int64 // nanoseconds of the host's clock: the last byte of any answer

	mu     sync.Mutex // guards the fields below
	idle   [pools][]*stream
	closed bool
}

// begin says that so many bytes of a block are going to be sent over c. The sender is told to end.
func (c *conn) begin(key shoal.Key, bytes int) *sender {
	if c.tcp == nil {
		return new(backlog).begin(key, bytes) // in which nothing waits
	}
	return c.tcp.backlog.begin(key, bytes)
}

// take returns the stream of proto that was used last, nil if none is idle: those that
// are needed only at peaks grow old and are closed.
func (c *conn) take(proto int) *stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	idle := c.idle[proto]
	if len(idle) == 0 {
		return nil
	}
	s := idle[len(idle)-1]
	idle[len(idle)-1] = nil
	c.idle[proto] = idle[:len(idle)-1]
	return s
}

// give puts s back for the next request.
func (c *conn) give(s *stream, now time.Duration) {
	s.idle = now
	c.mu.Lock()
	keep := !c.closed && len(c.idle[s.proto]) < maxIdle
	if keep {
		c.idle[s.proto] = append(c.idle[s.proto], s)
	}
	c.mu.Unlock()
	if !keep {
		_ = s.raw.Close()
	}
}

// tidy closes the streams idle since before.
func (c *conn) tidy(before time.Duration) {
	var old []*stream
	c.mu.Lock()
	for proto, idle := range c.idle {
		n := 0
		for n < len(idle) && idle[n].idle < before {
			n++
		}
		old = append(old, idle[:n]...)
		c.idle[proto] = append([]*stream(nil), idle[n:]...)
	}
	c.mu.Unlock()
	for _, s := range old {
		_ = s.raw.Close()
	}
}

// close ends the connection and everything on it.
func (c *conn) close() {
	c.mu.Lock()
	c.closed = true
	c.idle = [pools][]*stream{}
	c.mu.Unlock()
	_ = c.mux.Close()
}

// open returns a stream to r for one request: an idle one, or a new one.
func (h *Host) open(ctx context.Context, r *remote, proto int) (*stream, error) {
	for again := true; ; again = false {
		c, err := h.connect(ctx, r)
		if err != nil {
			return nil, err
		}
		if s := c.take(proto); s != nil {
			return s, nil
		}
		raw, err := c.mux.OpenStream(ctx)
		switch {
		case err == nil:
			return newStream(raw, c, proto, h.start, h.cfg.StallTimeout), nil
		case ctx.Err() != nil:
			h.givenUp(c)
			return nil, context.Cause(ctx)
		case !again || !c.mux.IsClosed() || !c.proved.Load():
			return nil, fmt.Errorf("%w: open a stream: %w", ErrUnreachable, err)
		}
	}
}
