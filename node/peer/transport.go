package peer

import (
	"context"
	"fmt"
	"math"
	"net"
	"strconv"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/core/transport"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/libp2p/go-libp2p/x/rate"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// messageBytes is the longest yamux frame: one chunk, its header and yamux's own. Larger
// frames gain nothing and make other streams of the connection wait.
const messageBytes = 128 << 10

// A wire makes libp2p connections out of TCP ones: TLS 1.3 that proves both ends, then
// yamux, under the resource manager's limits and past the gate. It uses libp2p's upgrader
// without its host, so there is no identify, no discovery, no relay and no peer store.
type wire struct {
	upgrade transport.Upgrader
	limits  network.ResourceManager
	dialer  net.Dialer
}

func newWire(cfg Config, g *gate) (*wire, error) {
	limits, err := newLimits(cfg.Limits)
	if err != nil {
		return nil, err
	}
	mux := *yamux.DefaultTransport
	mux.MaxStreamWindowSize = uint32(cfg.Limits.WindowBytes)
	mux.MaxIncomingStreams = uint32(cfg.Limits.StreamsPerPeer)
	mux.MaxMessageSize = messageBytes
	mux.KeepAliveInterval = cfg.keepAlive
	muxers := []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: newPiecewise(&mux)}}
	tls, err := libp2ptls.New(libp2ptls.ID, cfg.Identity.key, muxers)
	if err != nil {
		return nil, err
	}
	up, err := upgrader.New([]sec.SecureTransport{tls}, muxers, nil, limits, g,
		upgrader.WithAcceptTimeout(cfg.Limits.HandshakeTimeout))
	if err != nil {
		return nil, err
	}
	return &wire{upgrade: up, limits: limits, dialer: net.Dialer{Control: tuneSocket}}, nil
}

// listen accepts connections on "host:port".
func (w *wire) listen(ctx context.Context, addr string) (transport.Listener, error) {
	cfg := net.ListenConfig{Control: tuneSocket}
	ln, err := cfg.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	wrapped, err := manet.WrapNetListener(ln)
	if err != nil {
		_ = ln.Close()
		return nil, err
	}
	return w.upgrade.UpgradeGatedMaListener(nil, w.upgrade.GateMaListener(tcpListener{wrapped})), nil
}

// dial connects to the peer id at "host:port"; host is an address or a name.
func (w *wire) dial(ctx context.Context, addr string, id peer.ID) (transport.CapableConn, error) {
	to, err := multiaddr(addr)
	if err != nil {
		return nil, err
	}
	scope, err := w.limits.OpenConnection(network.DirOutbound, true, to)
	if err != nil {
		return nil, err
	}
	if err := scope.SetPeer(id); err != nil {
		scope.Done()
		return nil, err
	}
	tcp, err := w.dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		scope.Done()
		return nil, err
	}
	wrapped, err := manet.WrapNetConn(tcp)
	if err != nil {
		_ = tcp.Close()
		scope.Done()
		return nil, err
	}
	return w.upgrade.Upgrade(ctx, nil, newTCPConn(wrapped), network.DirOutbound, id, scope)
}

// multiaddr is "host:port" in libp2p's words. The resource manager wants to know.
func multiaddr(addr string) (ma.Multiaddr, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return nil, fmt.Errorf("port %q: not between 1 and 65535", port)
	}
	ip := net.ParseIP(host)
	kind := "dns"
	switch {
	case ip.To4() != nil:
		kind = "ip4"
	case ip != nil:
		kind = "ip6"
	}
	return ma.NewMultiaddr("/" + kind + "/" + host + "/tcp/" + port)
}

// newLimits returns a resource manager with fixed numbers: nothing in it scales with the
// machine, and it reports to no metrics registry.
func newLimits(l Limits) (network.ResourceManager, error) {
	streams := rcmgr.LimitVal(l.StreamsPerPeer)
	perPeer := rcmgr.ResourceLimits{
		Conns:           rcmgr.LimitVal(2 * l.ConnectionsPerPeer),
		ConnsInbound:    rcmgr.LimitVal(l.ConnectionsPerPeer),
		ConnsOutbound:   rcmgr.LimitVal(l.ConnectionsPerPeer),
		FD:              rcmgr.LimitVal(2 * l.ConnectionsPerPeer),
		Streams:         2 * streams,
		StreamsInbound:  streams,
		StreamsOutbound: streams,
		Memory:          rcmgr.LimitVal64(l.MemoryPerPeerBytes),
	}
	// A stranger's connection is transient until the gate has let it pass; it has no
	// streams. A stream is never transient long enough to be counted.
	transient := rcmgr.ResourceLimits{
		Conns:           rcmgr.LimitVal(2 * l.Handshakes),
		ConnsInbound:    rcmgr.LimitVal(l.Handshakes),
		ConnsOutbound:   rcmgr.LimitVal(l.Handshakes),
		FD:              rcmgr.LimitVal(2 * l.Handshakes),
		Streams:         rcmgr.Unlimited,
		StreamsInbound:  rcmgr.Unlimited,
		StreamsOutbound: rcmgr.Unlimited,
		Memory:          rcmgr.BlockAllLimit64,
	}
	total := rcmgr.ResourceLimits{
		Conns:           rcmgr.LimitVal(l.Connections),
		ConnsInbound:    rcmgr.LimitVal(l.Connections),
		ConnsOutbound:   rcmgr.LimitVal(l.Connections),
		FD:              rcmgr.LimitVal(l.Connections),
		Streams:         rcmgr.Unlimited,
		StreamsInbound:  rcmgr.Unlimited,
		StreamsOutbound: rcmgr.Unlimited,
		Memory:          rcmgr.LimitVal64(l.MemoryBytes),
	}
	config := rcmgr.PartialLimitConfig{System: total, Transient: transient, PeerDefault: perPeer, Conn: perPeer}
	perHost := []rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: math.MaxInt}}
	return rcmgr.NewResourceManager(
		rcmgr.NewFixedLimiter(config.Build(rcmgr.InfiniteLimits)),
		rcmgr.WithMetricsDisabled(),
		// Rates are the gate's business. Many nodes may share one address.
		rcmgr.WithConnRateLimiters(&rate.Limiter{}),
		rcmgr.WithLimitPerSubnet(perHost, perHost),
	)
}
