package peer

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	mss "github.com/multiformats/go-multistream"

	"github.com/shoal-mesh/shoal"
)

// A Host is a node's end of all its connections with peers.
//
// Locks: Host.mu before remote.mu before conn.mu; none is held over I/O.
type Host struct {
	cfg       Config
	blocks    Blocks
	calls     Calls
	gate      *gate
	wire      *wire
	listener  transport.Listener
	protocols *mss.MultistreamMuxer[string]
	start     time.Time // the host's clock counts from here, deaf to changes of the wall clock
	buffers   sync.Pool // of *[]byte, sendBuffer long
	counts    counters
	serving   [pools]atomic.Int32 // requests of all peers being served
	cancel    context.CancelFunc
	wg        sync.WaitGroup // requests in progress and every goroutine of the host

	mu     sync.RWMutex // guards the fields below, and wg.Add against Close
	peers  map[shoal.NodeID]*remote
	closed bool
}

// New returns a running Host that admits nobody yet: call SetMembers. The caller must
// Close it.
func New(blocks Blocks, calls Calls, cfg Config) (*Host, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("peer: config: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h := &Host{
		cfg:       cfg,
		blocks:    blocks,
		calls:     calls,
		gate:      newGate(cfg.Limits, cfg.Logger),
		protocols: mss.NewMultistreamMuxer[string](),
		start:     time.Now(),
		cancel:    cancel,
		peers:     make(map[shoal.NodeID]*remote),
	}
	h.buffers.New = func() any {
		b := make([]byte, sendBuffer)
		return &b
	}
	h.protocols.AddHandler(callProtocol, nil)
	h.protocols.AddHandler(blockProtocol, nil)
	if h.wire, err = newWire(cfg, h.gate); err != nil {
		cancel()
		return nil, fmt.Errorf("peer: %w", err)
	}
	if h.listener, err = h.wire.listen(ctx, cfg.Listen); err != nil {
		cancel()
		_ = h.wire.limits.Close()
		return nil, fmt.Errorf("peer: accept peers on %s: %w", cfg.Listen, err)
	}
	h.wg.Go(h.accept)
	h.wg.Go(func() { h.tidy(ctx) })
	return h, nil
}

// Addr returns the "host:port" the host accepts peers on.
func (h *Host) Addr() string { return h.listener.Addr().String() }

// SetMembers replaces the nodes that may connect and that may be called and fetched from.
// Those that are no longer among them are cut off. A member with a new address or a new
// Boot is dialed at once when it is needed, even if dials to it failed before. The host
// itself may be among the members.
func (h *Host) SetMembers(members []shoal.Member) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	ids := make(map[peer.ID]bool, len(members))
	next := make(map[shoal.NodeID]*remote, len(members))
	for _, m := range members {
		if m.ID == h.cfg.Identity.ID() {
			continue
		}
		id, err := peer.Decode(string(m.ID))
		if err != nil {
			h.cfg.Logger.Warn("member ignored: its ID is not a peer ID", "node", m.ID, "error", err)
			continue
		}
		r := h.peers[m.ID]
		if r == nil {
			r = newRemote(m.ID, id, h.cfg.Limits)
		}
		r.update(m)
		ids[id], next[m.ID] = true, r
	}
	h.gate.admit(ids)
	for id, r := range h.peers {
		if next[id] == nil {
			h.wg.Go(r.leave) // closing a connection may block for some seconds
		}
	}
	h.peers = next
}

// Close cuts all connections, fails the requests in progress, and waits for every handler
// to return. It may be called more than once.
func (h *Host) Close() error {
	h.mu.Lock()
	first := !h.closed
	if first {
		h.closed = true
		h.gate.admit(nil)
		for _, r := range h.peers {
			h.wg.Go(r.leave)
		}
		h.peers = nil
	}
	h.mu.Unlock()
	h.cancel()
	_ = h.listener.Close() // its error is that of an accept that Close itself ended
	h.wg.Wait()
	if !first {
		return nil
	}
	return h.wire.limits.Close()
}

// enter begins a request to the node to. The caller must call h.wg.Done at its end.
func (h *Host) enter(to shoal.NodeID) (*remote, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.closed {
		return nil, ErrClosed
	}
	r := h.peers[to]
	if r == nil {
		return nil, ErrNotMember
	}
	h.wg.Add(1)
	return r, nil
}

// clock returns the time since the host's start.
func (h *Host) clock() time.Duration { return time.Since(h.start) }

// accept takes in the connections of members until the host closes.
func (h *Host) accept() {
	for {
		mux, err := h.listener.Accept()
		if err != nil {
			return // the listener retries what passes; this is its end
		}
		_, _ = h.join(mux, network.DirInbound) // its error says that the peer has just left
	}
}

// join adds a connection that passed the gate and serves it. It fails when the peer is no
// longer a member.
func (h *Host) join(mux transport.CapableConn, dir network.Direction) (*conn, error) {
	c := &conn{mux: mux}
	c.heard.Store(int64(h.clock()))
	mux.As(&c.tcp)
	h.mu.RLock()
	c.peer = h.peers[shoal.NodeID(mux.RemotePeer().String())]
	ok := c.peer != nil && c.peer.connected(c, dir)
	h.mu.RUnlock()
	if !ok {
		_ = mux.Close()
		return nil, ErrNotMember
	}
	h.counts.connections.Add(1)
	h.wg.Go(func() { h.attend(c) }) // the caller is counted in wg itself
	return c, nil
}

// attend serves the streams the peer opens on c until c ends.
func (h *Host) attend(c *conn) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for {
		raw, err := c.mux.AcceptStream()
		if err != nil {
			c.peer.disconnected(c, h.clock(), h.cfg, err)
			c.close()
			h.counts.connections.Add(-1)
			return
		}
		h.wg.Go(func() { h.serve(ctx, c, raw) })
	}
}

// tidy closes streams that nobody needs any more.
func (h *Host) tidy(ctx context.Context) {
	tick := time.NewTicker(h.cfg.IdleTimeout / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		h.mu.RLock()
		peers := make([]*remote, 0, len(h.peers))
		for _, r := range h.peers {
			peers = append(peers, r)
		}
		h.mu.RUnlock()
		for _, r := range peers {
			r.tidy(h.clock() - h.cfg.IdleTimeout)
		}
	}
}

var _ io.Closer = (*Host)(nil)
