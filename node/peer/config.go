package peer

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"
)

// Config holds the settings of a Host. A zero field means its default; only Identity has none.
type Config struct {
	// Identity is who the node is. Required.
	Identity *Identity
	// Listen is the "host:port" to accept peers on. Default ":7947"; port 0 takes a free one.
	Listen string
	// DialTimeout bounds a dial: name, TCP and TLS. Default 1s.
	DialTimeout time.Duration
	// StallTimeout is how long a request may go without a byte from the other end, or
	// without room to send one. Default 10s. A node that waits for its own UFS keeps the
	// line alive meanwhile, five times per StallTimeout.
	StallTimeout time.Duration
	// BackoffMin is for how long nobody dials a node again after a dial to it failed; it
	// doubles at every further failure, up to BackoffMax. Defaults 200ms and 2s.
	BackoffMin, BackoffMax time.Duration
	// IdleTimeout is after how long an unused stream is closed. Default 1m.
	IdleTimeout time.Duration
	// Limits bound what others can make the Host use.
	Limits Limits
	// Logger receives one line per host that goes on being refused, and one per peer that
	// breaks the protocol. Default: discard.
	Logger *slog.Logger

	keepAlive time.Duration // a connection hears something that often, or is dead
}

// Limits bound what other nodes can make a Host use. A zero field means its default.
type Limits struct {
	// CallBytes is the longest request or answer of a call, in bytes. Default 1 MiB; at most
	// 16 MiB. All nodes of a mesh need the same.
	CallBytes int
	// Connections is the number of connections in total, and ConnectionsPerPeer with one
	// peer. Defaults 4096 and 8.
	Connections, ConnectionsPerPeer int
	// Handshakes is the number of inbound connections that have not yet proved to be a
	// member's. Each costs some 50 KiB and ends after HandshakeTimeout. Defaults 512 and 3s.
	Handshakes       int
	HandshakeTimeout time.Duration
	// AcceptPerSecond is how many inbound connections one remote IP address may open per
	// second, after a first AcceptBurst. Defaults 32 and 64.
	AcceptPerSecond, AcceptBurst int
	// StreamsPerPeer is the number of streams a peer may have open on one connection, most
	// of them idle. Default 256; at least CallsPerPeer + 1.
	StreamsPerPeer int
	// BlocksPerPeer is the number of blocks served to one peer at a time, Blocks to all.
	// Each holds a buffer of one chunk, 64 KiB: by default 4 MiB for a peer and 32 MiB in
	// all. Defaults 64 and 512. More are answered ErrBusy. The host itself fetches half of
	// BlocksPerPeer from one peer at a time and lets the others wait: so the peer, set up
	// alike, has room even before it notices that some were given up.
	BlocksPerPeer, Blocks int
	// CallsPerPeer is the number of calls handled for one peer at a time, Calls for all.
	// Defaults 64 and 1024. More are answered ErrBusy.
	CallsPerPeer, Calls int
	// WindowBytes is how much a stream may have in flight: throughput of a stream is at most
	// WindowBytes per round trip. Windows start at 256 KiB and grow when round trips are
	// long, while the peer's and the total memory allow. Default 4 MiB: one block; a stream
	// never carries more at a time, and larger windows only push bytes out of the CPU's
	// caches (16 MiB costs 10 to 20 % more CPU on loopback).
	WindowBytes int
	// MemoryPerPeerBytes and MemoryBytes bound what the windows of one peer's streams, and
	// of all streams, may add up to. It is room promised to senders, rarely memory in use.
	// Defaults 256 MiB and 8 GiB.
	MemoryPerPeerBytes, MemoryBytes int64
}

// minWindow is the window every yamux stream begins with, in bytes.
const minWindow = 256 << 10

// defaultTo sets *v to def when it is zero.
func defaultTo[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func (c Config) withDefaults() (Config, error) {
	defaultTo(&c.Listen, ":7947")
	defaultTo(&c.DialTimeout, time.Second)
	defaultTo(&c.StallTimeout, 10*time.Second)
	defaultTo(&c.BackoffMin, 200*time.Millisecond)
	defaultTo(&c.BackoffMax, 2*time.Second)
	defaultTo(&c.IdleTimeout, time.Minute)
	defaultTo(&c.keepAlive, 5*time.Second)
	defaultTo(&c.Logger, slog.New(slog.DiscardHandler))

	var errs []error
	if c.Identity == nil {
		errs = append(errs, errors.New("identity: missing"))
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		errs = append(errs, fmt.Errorf("listen: %w", err))
	}
	for name, d := range map[string]time.Duration{
		"dial timeout": c.DialTimeout, "stall timeout": c.StallTimeout, "idle timeout": c.IdleTimeout,
		"smallest back-off": c.BackoffMin, "largest back-off": c.BackoffMax - c.BackoffMin + 1,
	} {
		if d <= 0 {
			errs = append(errs, fmt.Errorf("%s: too small", name))
		}
	}
	var err error
	c.Limits, err = c.Limits.withDefaults()
	return c, errors.Join(append(errs, err)...)
}

func (l Limits) withDefaults() (Limits, error) {
	defaultTo(&l.CallBytes, 1<<20)
	defaultTo(&l.Connections, 4096)
	defaultTo(&l.ConnectionsPerPeer, 8)
	defaultTo(&l.Handshakes, 512)
	defaultTo(&l.HandshakeTimeout, 3*time.Second)
	defaultTo(&l.AcceptPerSecond, 32)
	defaultTo(&l.AcceptBurst, 64)
	defaultTo(&l.StreamsPerPeer, 256)
	defaultTo(&l.BlocksPerPeer, 64)
	defaultTo(&l.Blocks, 512)
	defaultTo(&l.CallsPerPeer, 64)
	defaultTo(&l.Calls, 1024)
	defaultTo(&l.WindowBytes, 4<<20)
	defaultTo(&l.MemoryPerPeerBytes, 256<<20)
	defaultTo(&l.MemoryBytes, 8<<30)

	var errs []error
	for name, n := range map[string]int{
		"call bytes": l.CallBytes, "connections": l.Connections, "connections per peer": l.ConnectionsPerPeer,
		"handshakes": l.Handshakes, "accepts per second": l.AcceptPerSecond, "accept burst": l.AcceptBurst,
		"streams per peer": l.StreamsPerPeer, "blocks per peer": l.BlocksPerPeer, "blocks": l.Blocks,
		"calls per peer": l.CallsPerPeer, "calls": l.Calls, "handshake timeout": int(l.HandshakeTimeout),
	} {
		if n < 0 {
			errs = append(errs, fmt.Errorf("limits: %s: %d is negative", name, n))
		}
	}
	if l.CallBytes > 16<<20 {
		errs = append(errs, fmt.Errorf("limits: call bytes: %d is over 16 MiB", l.CallBytes))
	}
	if l.WindowBytes < minWindow || l.WindowBytes > 16<<20 {
		errs = append(errs, fmt.Errorf("limits: window: %d bytes are not between 256 KiB and 16 MiB", l.WindowBytes))
	}
	if l.StreamsPerPeer <= l.CallsPerPeer {
		errs = append(errs, fmt.Errorf("limits: streams per peer: %d leave none to blocks beside %d calls", l.StreamsPerPeer, l.CallsPerPeer))
	}
	// Yamux ends a connection whose next stream has no room, and window growth takes at
	// most half of it: so the smallest windows of all streams must fit into the other half.
	if need := int64(l.StreamsPerPeer) * 2 * minWindow * 2; l.MemoryPerPeerBytes < need {
		errs = append(errs, fmt.Errorf("limits: memory per peer: %d bytes, %d streams need %d", l.MemoryPerPeerBytes, l.StreamsPerPeer, need))
	}
	if l.MemoryBytes < l.MemoryPerPeerBytes {
		errs = append(errs, fmt.Errorf("limits: memory: %d bytes in total, %d for one peer", l.MemoryBytes, l.MemoryPerPeerBytes))
	}
	return l, errors.Join(errs...)
}

// fetches returns how many blocks the host fetches from one peer at a time.
func (l Limits) fetches() int { return max(1, min(l.StreamsPerPeer-l.CallsPerPeer, l.BlocksPerPeer/2)) }
