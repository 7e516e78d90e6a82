package gossip

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/netip"
	"time"
	"unicode/utf8"

	"github.com/hashicorp/memberlist"

	"github.com/shoal-mesh/shoal"
)

const (
	// minSecret is the length in bytes below which a secret could be guessed.
	minSecret = 16
	// maxID bounds a node's ID, so that all of a member fits one packet.
	maxID = 128
)

// Config holds the settings of a Gossip. Cluster, Secret and Self.ID are required; of
// the others a zero field means its default, which suits a local network.
type Config struct {
	// Cluster is the cluster's name. Nodes of another cluster are refused.
	Cluster string
	// Secret is what the nodes of the cluster share: 16 random bytes or more.
	Secret []byte
	// Self is what this node says of itself. An empty or unspecified host in PeerAddr
	// stands for the host this node gossips from. All of it must fit 512 bytes.
	Self shoal.Member
	// Bind is the "host:port" to listen on, TCP and UDP. Default ":7946"; port 0 picks
	// a free one.
	Bind string
	// Advertise is the IP address, with or without a port, that others reach Bind at.
	// Default: Bind, and for an unspecified host the address packets leave from.
	Advertise string
	// Join lists seeds, "host" or "host:port" (default port: Bind's). Names are resolved
	// at every attempt, to all their addresses; this node's own are ignored.
	Join []string
	// OnChange receives the sorted list of live members, this node included, first at
	// the start and then after each change. Calls do not overlap, and changes that come
	// while one runs are told in one call. It may be nil.
	OnChange func([]shoal.Member)
	// Logger receives real trouble, each kind at a bounded rate. Its handler must not
	// call into the Gossip. Default: discard.
	Logger *slog.Logger

	// ProbeInterval is the time between two checks that some member is alive. Default
	// 1s. With ProbeTimeout and SuspicionMult it makes a dead node of a small cluster
	// known as dead in 5 to 10 s.
	ProbeInterval time.Duration
	// ProbeTimeout is how long a probed member may take to answer before others are
	// asked to try. Default 500ms; less than ProbeInterval.
	ProbeTimeout time.Duration
	// SuspicionMult times ProbeInterval (times log10 of the cluster's size, if above 1)
	// is how long a suspected member has to prove that it lives. Default 4.
	SuspicionMult int
	// GossipInterval is the time between two rounds of spreading news. Default 200ms.
	GossipInterval time.Duration
	// PushPullInterval is the time between two whole exchanges with a random member,
	// which make good what gossip has lost; longer in clusters of more than 32 nodes.
	// Default 10s.
	PushPullInterval time.Duration
	// StreamTimeout bounds one whole exchange. Default 10s.
	StreamTimeout time.Duration
	// HandshakeTimeout bounds the admission handshake of a stream. Default 2s.
	HandshakeTimeout time.Duration
	// JoinBackoff is the wait after the first failed attempt to join; it doubles up to
	// RejoinInterval. Default 500ms.
	JoinBackoff time.Duration
	// RejoinInterval is the time between two looks for seeds that are not members, which
	// heals a cluster that was cut in two. Default 15s.
	RejoinInterval time.Duration
	// LeaveTimeout bounds Leave. Default 5s.
	LeaveTimeout time.Duration

	resolve    resolver    // nil: the system's; tests have their own
	afterRound func(error) // called after each attempt to join; tests count them
}

func (c Config) withDefaults() (Config, error) {
	c.Secret = bytes.Clone(c.Secret)
	if c.Bind == "" {
		c.Bind = ":7946"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.SuspicionMult == 0 {
		c.SuspicionMult = 4
	}
	var errs []error
	for _, d := range []struct {
		name    string
		field   *time.Duration
		instead time.Duration
	}{
		{"probe interval", &c.ProbeInterval, time.Second},
		{"probe timeout", &c.ProbeTimeout, 500 * time.Millisecond},
		{"gossip interval", &c.GossipInterval, 200 * time.Millisecond},
		{"push-pull interval", &c.PushPullInterval, 10 * time.Second},
		{"stream timeout", &c.StreamTimeout, 10 * time.Second},
		{"handshake timeout", &c.HandshakeTimeout, 2 * time.Second},
		{"join backoff", &c.JoinBackoff, 500 * time.Millisecond},
		{"rejoin interval", &c.RejoinInterval, 15 * time.Second},
		{"leave timeout", &c.LeaveTimeout, 5 * time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.instead
		}
		if *d.field < 0 {
			errs = append(errs, fmt.Errorf("%s: %v is negative", d.name, *d.field))
		}
	}
	if c.ProbeTimeout >= c.ProbeInterval {
		errs = append(errs, fmt.Errorf("probe timeout: %v is not less than the probe interval %v", c.ProbeTimeout, c.ProbeInterval))
	}
	if c.SuspicionMult < 1 {
		errs = append(errs, fmt.Errorf("suspicion mult: %d is not positive", c.SuspicionMult))
	}
	return c, errors.Join(append(errs, c.check())...)
}

// check returns what is wrong with the fields that say who this node is.
func (c Config) check() error {
	var errs []error
	if c.Cluster == "" {
		errs = append(errs, errors.New("cluster: the name is empty; give every node of the cluster the same name"))
	}
	if len(c.Secret) < minSecret {
		errs = append(errs, fmt.Errorf("secret: %d bytes are too few, use at least %d random bytes, the same on every node",
			len(c.Secret), minSecret))
	}
	if n := len(c.Self.ID); n == 0 || n > maxID {
		errs = append(errs, fmt.Errorf("self: an ID of %d bytes is not between 1 and %d", n, maxID))
	}
	if !utf8.ValidString(c.Self.Name) || !utf8.ValidString(c.Self.Zone) || !utf8.ValidString(c.Self.PeerAddr) {
		errs = append(errs, errors.New("self: name, zone and peer address must be valid UTF-8"))
	}
	if n := len(encodeMember(c.Self)); n > memberlist.MetaMaxSize {
		errs = append(errs, fmt.Errorf("self: %d bytes of metadata do not fit %d; shorten the name (%d), zone (%d) or peer address (%d)",
			n, memberlist.MetaMaxSize, len(c.Self.Name), len(c.Self.Zone), len(c.Self.PeerAddr)))
	}
	return errors.Join(errs...)
}

// memberlist returns the library's configuration.
func (c Config) memberlist(k keys, addr netip.AddrPort, wire *transport, r *roster, logger *log.Logger) *memberlist.Config {
	m := memberlist.DefaultLANConfig()
	m.Name = string(c.Self.ID)
	m.Transport = wire
	m.Label = label(c.Cluster)
	m.BindPort = int(addr.Port())
	m.AdvertiseAddr, m.AdvertisePort = addr.Addr().String(), int(addr.Port())
	m.SecretKey = k.packet
	m.GossipVerifyIncoming, m.GossipVerifyOutgoing = true, true
	m.EnableCompression = false // members are small, the network local; less to decode
	m.Delegate, m.Events, m.Conflict, m.Merge = r, r, r, r
	m.Logger = logger
	m.TCPTimeout = c.StreamTimeout
	m.ProbeInterval, m.ProbeTimeout = c.ProbeInterval, c.ProbeTimeout
	m.SuspicionMult = c.SuspicionMult
	m.GossipInterval = c.GossipInterval
	m.PushPullInterval = c.PushPullInterval
	// A restarted node may come back at another address as soon as its old self is
	// dead: the news of both may come in one packet, and is not told again.
	m.DeadNodeReclaimTime = time.Nanosecond
	return m
}

// label returns what every packet of the cluster begins with: a hash, so that the
// cluster's name is not told to the network.
func label(cluster string) string {
	sum := sha256.Sum256([]byte("shoal gossip label v1 " + cluster))
	return hex.EncodeToString(sum[:8])
}
