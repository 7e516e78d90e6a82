package peer

import (
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// graceOfStrangers is how long a host may be refused before the log says so. A new member
// hears of the others before they hear of it, and dials at once.
const graceOfStrangers = 5 * time.Second

// maxHosts bounds the table of remote hosts a gate remembers.
const maxHosts = 4096

// A gate decides who may connect: at most so many connections per second from one host,
// and, once TLS has shown who it is, members only. It is libp2p's connection gater.
type gate struct {
	perSecond, burst float64
	log              *slog.Logger
	start            time.Time // times in the table count from here

	mu      sync.Mutex // guards the fields below
	members map[peer.ID]bool
	hosts   map[netip.Addr]*visitor
	forgot  time.Duration // when hosts was last searched for entries to forget
	refused int64
}

// A visitor is what a gate remembers of one remote host.
type visitor struct {
	tokens   float64
	seen     time.Duration // since start, when tokens was right
	stranger bool          // came as a stranger, first
	since    time.Duration // then
	logged   bool          // a refusal of the host is in the log
}

var _ connmgr.ConnectionGater = (*gate)(nil)

func newGate(limits Limits, log *slog.Logger) *gate {
	return &gate{
		perSecond: float64(limits.AcceptPerSecond),
		burst:     float64(limits.AcceptBurst),
		log:       log,
		start:     time.Now(),
		hosts:     make(map[netip.Addr]*visitor),
	}
}

// admit replaces the members.
func (g *gate) admit(members map[peer.ID]bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.members = members
}

// refusals returns how many connections were refused.
func (g *gate) refusals() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refused
}

// InterceptAccept bounds the rate of connections of one host, before anything is
// allocated for one.
func (g *gate) InterceptAccept(addrs network.ConnMultiaddrs) bool {
	host := hostOf(addrs)
	g.mu.Lock()
	v := g.visitor(host)
	ok := v.tokens >= 1
	if ok {
		v.tokens--
	}
	first := !ok && g.refuse(v, true)
	g.mu.Unlock()
	if first {
		g.log.Warn("connections refused: too many per second", "host", host)
	}
	return ok
}

// InterceptSecured lets members pass, now that the other end has proved its ID.
func (g *gate) InterceptSecured(dir network.Direction, id peer.ID, addrs network.ConnMultiaddrs) bool {
	host := hostOf(addrs)
	g.mu.Lock()
	ok := g.members[id]
	first := false
	if !ok {
		v := g.visitor(host)
		first = g.refuse(v, g.strange(v))
	} else if v := g.hosts[host]; v != nil {
		v.stranger, v.logged = false, false // but its tokens stay as they are
	}
	g.mu.Unlock()
	if first {
		g.log.Warn("connection refused: not a member", "host", host, "node", id.String(), "direction", dir.String())
	}
	return ok
}

// InterceptPeerDial reports whether id is a member.
func (g *gate) InterceptPeerDial(id peer.ID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.members[id]
}

// InterceptAddrDial allows every address of a member.
func (g *gate) InterceptAddrDial(peer.ID, ma.Multiaddr) bool { return true }

// InterceptUpgraded allows what InterceptSecured let pass.
func (g *gate) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }

// strange notes that a stranger came from v's host and reports whether the first one came
// so long ago that this is no new member. g.mu is held.
func (g *gate) strange(v *visitor) bool {
	if !v.stranger {
		v.stranger, v.since = true, v.seen
		return false
	}
	return v.seen-v.since >= graceOfStrangers
}

// refuse counts a refusal and reports whether it is the first of v's host that is worth a
// line. g.mu is held.
func (g *gate) refuse(v *visitor, worth bool) (first bool) {
	g.refused++
	first = worth && !v.logged
	v.logged = v.logged || worth
	return first
}

// visitor returns the entry of host with its tokens up to date. When the table is full,
// all hosts that have not used up their tokens are forgotten, at most once per second, and
// if that frees no place the new hosts share one entry. g.mu is held.
func (g *gate) visitor(host netip.Addr) *visitor {
	now := time.Since(g.start)
	v := g.hosts[host]
	if v == nil && len(g.hosts) >= maxHosts {
		g.forget(now)
		if len(g.hosts) >= maxHosts {
			host = netip.Addr{}
			v = g.hosts[host]
		}
	}
	if v == nil {
		v = &visitor{tokens: g.burst, seen: now}
		g.hosts[host] = v
	}
	v.tokens = min(g.burst, v.tokens+g.perSecond*(now-v.seen).Seconds())
	v.seen = now
	return v
}

// forget drops the hosts whose tokens are full again. g.mu is held.
func (g *gate) forget(now time.Duration) {
	if now-g.forgot < time.Second {
		return
	}
	g.forgot = now
	for host, v := range g.hosts {
		if v.tokens+g.perSecond*(now-v.seen).Seconds() >= g.burst {
			delete(g.hosts, host)
		}
	}
}

// hostOf returns the IP address of the other end, without its port.
func hostOf(addrs network.ConnMultiaddrs) netip.Addr {
	ip, err := manet.ToIP(addrs.RemoteMultiaddr())
	if err != nil {
		return netip.Addr{}
	}
	host, _ := netip.AddrFromSlice(ip)
	return host.Unmap()
}
