package peer

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/shoal-mesh/shoal"
)

// A remote is one other member: where it is, the connections with it, and whether it is
// worth dialing.
type remote struct {
	node    shoal.NodeID
	id      peer.ID
	slots   [pools]chan struct{} // requests to it in progress
	serving [pools]atomic.Int32  // its requests being served
	garbled atomic.Bool          // the log has a line on its broken protocol

	mu      sync.Mutex // guards the fields below
	addr    string
	boot    uint64
	gone    bool    // no longer a member
	conns   []*conn // open ones, oldest first
	attempt *attempt
	backoff
}

// A backoff keeps nodes that cannot be dialed from being dialed for every request.
type backoff struct {
	failures int
	until    time.Duration // of the host's clock; no dial before
	last     error
}

// An attempt is a dial in progress. conn or err is set before done is closed, but err only if
// the peer has not connected meanwhile; then needless is closed, and nobody waits any more.
type attempt struct {
	cancel   context.CancelFunc
	needless chan struct{}
	done     chan struct{}
	conn     *conn
	err      error
}

// spare says that the peer has connected. The dial goes on: the peer may have it as an open
// connection already, with requests on it. r.mu is held.
func (a *attempt) spare() {
	select {
	case <-a.needless:
	default:
		close(a.needless)
	}
}

func newRemote(node shoal.NodeID, id peer.ID, l Limits) *remote {
	r := &remote{node: node, id: id}
	r.slots[calls] = make(chan struct{}, l.CallsPerPeer)
	r.slots[blocks] = make(chan struct{}, l.fetches())
	return r
}

// update notes what gossip says of the member.
func (r *remote) update(m shoal.Member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.addr != m.PeerAddr || r.boot != m.Boot {
		r.addr, r.boot, r.backoff = m.PeerAddr, m.Boot, backoff{}
	}
}

// leave cuts all connections, for good: the peer is no longer a member.
func (r *remote) leave() {
	r.mu.Lock()
	r.gone = true
	conns, attempt := r.conns, r.attempt
	r.conns = nil
	r.mu.Unlock()
	if attempt != nil {
		attempt.cancel()
	}
	for _, c := range conns {
		c.close()
	}
}

// connected adds an open connection; false means that the peer is no longer a member.
// Who connects to this node can be dialed no worse than before, so the back-off ends, and
// nobody waits for a dial in progress any more.
func (r *remote) connected(c *conn, dir network.Direction) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return false
	}
	r.conns = append(r.conns, c)
	if dir == network.DirInbound {
		c.proved.Store(true)
		r.backoff = backoff{}
		if r.attempt != nil {
			r.attempt.spare()
		}
	}
	return true
}

// disconnected removes c, which err has ended. A connection this node dialed and that
// ended before it carried a single answer counts as a failed dial: that is what being
// refused by the other end's gate looks like from here.
func (r *remote) disconnected(c *conn, now time.Duration, cfg Config, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.conns {
		if r.conns[i] == c {
			r.conns = append(r.conns[:i:i], r.conns[i+1:]...)
			break
		}
	}
	if !c.proved.Load() && len(r.conns) == 0 {
		r.failed(now, cfg, fmt.Errorf("connection ended before the first answer: %w", err))
	}
}

// failed notes a failed dial. r.mu is held.
func (r *remote) failed(now time.Duration, cfg Config, err error) {
	wait := cfg.BackoffMin << min(r.failures, 20)
	r.failures++
	r.until = now + min(wait, cfg.BackoffMax)
	r.last = err
}

// newest returns the youngest open connection, nil if there is none: when a node comes
// back, its old connections may take a while to break. r.mu is held.
func (r *remote) newest() *conn {
	for i := len(r.conns) - 1; i >= 0; i-- {
		if c := r.conns[i]; !c.mux.IsClosed() {
			return c
		}
	}
	return nil
}

// refused reports whether a dialed connection has ended before its first answer, and
// disconnected is about to say so. r.mu is held.
func (r *remote) refused() bool {
	for _, c := range r.conns {
		if !c.proved.Load() {
			return true
		}
	}
	return false
}

// tidy closes the streams idle since before.
func (r *remote) tidy(before time.Duration) {
	r.mu.Lock()
	conns := append([]*conn(nil), r.conns...)
	r.mu.Unlock()
	for _, c := range conns {
		c.tidy(before)
	}
}

// reserve takes a place among the requests to r, and waits for one in turn: whoever is
// told to ask r has nobody better to ask.
func (r *remote) reserve(ctx context.Context, proto int) error {
	select {
	case r.slots[proto] <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// release gives the place back.
func (r *remote) release(proto int) { <-r.slots[proto] }

// connect returns an open connection with r, dialing at most once for all who wait. When
// two dials in a row have failed nobody waits for the third: it goes on beside the
// requests, which fail at once until it succeeds.
func (h *Host) connect(ctx context.Context, r *remote) (*conn, error) {
	var spared *attempt // known to be needless, but the connection that made it so has ended
	for {
		r.mu.Lock()
		c, a, wait := r.newest(), r.attempt, r.until-h.clock()
		var err error
		switch {
		case c != nil || a != nil:
		case r.gone:
			err = ErrNotMember
		case r.refused():
			err = fmt.Errorf("%w: connection refused by the peer", ErrUnreachable)
		case r.failures > 0 && wait > 0:
			err = fmt.Errorf("%w: not dialed again for %v: %w", ErrUnreachable, wait.Round(time.Millisecond), r.last)
		default:
			a = h.dial(r)
		}
		if c == nil && err == nil && r.failures > 1 {
			err = fmt.Errorf("%w: being dialed again: %w", ErrUnreachable, r.last)
		}
		r.mu.Unlock()
		if c != nil || err != nil {
			return c, err
		}
		needless := a.needless
		if a == spared {
			needless = nil
		}
		select {
		case <-needless:
			spared = a
			continue
		case <-a.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		switch {
		case a.err != nil:
			return nil, fmt.Errorf("%w: %w", ErrUnreachable, a.err)
		case a.conn != nil:
			return a.conn, nil
		}
	}
}

// dial starts a dial to r. r.mu is held.
func (h *Host) dial(r *remote) *attempt {
	ctx, cancel := context.WithTimeout(context.Background(), h.cfg.DialTimeout)
	a := &attempt{cancel: cancel, needless: make(chan struct{}), done: make(chan struct{})}
	r.attempt = a
	addr := r.addr
	h.wg.Go(func() {
		defer cancel()
		h.counts.dials.Add(1)
		mux, err := h.wire.dial(ctx, addr, r.id)
		if err == nil {
			a.conn, err = h.join(mux, network.DirOutbound)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.attempt = nil
		// A peer that connected meanwhile needs no dial.
		if err != nil && r.newest() == nil {
			h.counts.dialErrors.Add(1)
			r.failed(h.clock(), h.cfg, err)
			a.err = err
		}
		close(a.done)
	})
	return a
}
