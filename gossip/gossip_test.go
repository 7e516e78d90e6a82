package gossip

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
)

func TestThreeNodesSeeOneAnother(t *testing.T) {
	t.Parallel()
	a := startNode(t, "a", nil)
	b := startNode(t, "b", joining(a))
	c := startNode(t, "c", joining(a))
	for _, n := range []*testNode{a, b, c} {
		n.await(t, "three members", ids("a", "b", "c"))
	}
	want := shoal.Member{ID: "b", Name: "b", Zone: "z1", PeerAddr: "127.0.0.1:7947", Capacity: 1 << 40, Boot: 1, Protocol: 1}
	for _, n := range []*testNode{a, b, c} {
		if got := n.Members()[1]; got != want {
			t.Errorf("Members()[1] = %+v, want %+v", got, want)
		}
	}
	if got := a.Stats(); got.Members != 3 || got.RejectedStreams+got.RejectedPackets+got.BadMetadata != 0 {
		t.Errorf("Stats() = %+v, want 3 members and nothing rejected", got)
	}
	if err := b.JoinError(); err != nil {
		t.Errorf("JoinError() = %v, want nil", err)
	}
}

func TestDeadNodeIsNoticed(t *testing.T) {
	t.Parallel()
	a := startNode(t, "a", nil)
	b := startNode(t, "b", joining(a))
	c := startNode(t, "c", joining(a))
	a.await(t, "three members", ids("a", "b", "c"))
	c.await(t, "three members", ids("a", "b", "c"))
	if err := b.Close(); err != nil {
		t.Fatalf("Close() = %v, want nil", err)
	}
	a.await(t, "b to be dead", ids("a", "c"))
	c.await(t, "b to be dead", ids("a", "c"))
}

func TestSetStateSpreads(t *testing.T) {
	t.Parallel()
	a := startNode(t, "a", nil)
	b := startNode(t, "b", joining(a))
	a.await(t, "two members", ids("a", "b"))
	b.await(t, "two members", ids("a", "b"))
	for _, s := range []shoal.State{shoal.Serving, shoal.Serving, shoal.Draining} {
		if err := b.SetState(s); err != nil {
			t.Fatalf("SetState(%v) = %v, want nil", s, err)
		}
	}
	draining := where("b", func(m shoal.Member) bool { return m.State == shoal.Draining })
	a.await(t, "b to drain", draining)
	b.await(t, "itself to drain", draining)
}

// Suspicion outlasts the test, so only Leave's news can remove the member.
func TestLeaveIsToldAtOnce(t *testing.T) {
	t.Parallel()
	patient := func(c *Config) { c.SuspicionMult = 1000 }
	a := startNode(t, "a", patient)
	b := startNode(t, "b", func(c *Config) { patient(c); joining(a)(c) })
	a.await(t, "two members", ids("a", "b"))
	b.await(t, "two members", ids("a", "b"))
	for range 2 {
		if err := b.Leave(t.Context()); err != nil {
			t.Fatalf("Leave() = %v, want nil", err)
		}
	}
	if err := b.SetState(shoal.Serving); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("SetState after Leave = %v, want %v", err, fs.ErrClosed)
	}
	for range 2 {
		if err := b.Close(); err != nil {
			t.Fatalf("Close() = %v, want nil", err)
		}
	}
	if err := b.Leave(t.Context()); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Leave after Close = %v, want %v", err, fs.ErrClosed)
	}
	a.await(t, "b to have left", ids("a"))
}

func TestLeaveHeedsContext(t *testing.T) {
	t.Parallel()
	a := startNode(t, "a", nil)
	b := startNode(t, "b", func(c *Config) { joining(a)(c); c.GossipInterval = time.Hour; c.LeaveTimeout = time.Second })
	b.await(t, "two members", ids("a", "b"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Leave(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Leave(canceled) = %v, want %v", err, context.Canceled)
	}
}

// A node killed and started again at once is known by its new Boot before anybody
// declares its old self dead, however much news the old one had spread.
func TestQuickRestartIsNoticed(t *testing.T) {
	t.Parallel()
	for _, states := range [][]shoal.State{nil, {shoal.Serving, shoal.Draining, shoal.Serving}} {
		patient := func(c *Config) { c.SuspicionMult = 1000 }
		a := startNode(t, "a", patient)
		b := startNode(t, "b", func(c *Config) { patient(c); joining(a)(c) })
		c := startNode(t, "c", func(c *Config) { patient(c); joining(a)(c) })
		a.await(t, "three members", ids("a", "b", "c"))
		c.await(t, "three members", ids("a", "b", "c"))
		for _, s := range states {
			if err := b.SetState(s); err != nil {
				t.Fatalf("SetState(%v) = %v, want nil", s, err)
			}
			now := where("b", func(m shoal.Member) bool { return m.State == s })
			a.await(t, "b's state", now)
			c.await(t, "b's state", now)
		}
		at := b.Addr().String()
		if err := b.Close(); err != nil {
			t.Fatalf("Close() = %v, want nil", err)
		}
		startNode(t, "b", func(c *Config) { patient(c); joining(a)(c); c.Bind = at; c.Self.Boot = 2 })
		for _, n := range []*testNode{a, c} {
			seen := n.await(t, "b's second boot", where("b", func(m shoal.Member) bool { return m.Boot == 2 && m.State == shoal.Warming }))
			for _, list := range seen {
				if len(list) != 3 {
					t.Errorf("list while b restarts = %s, want a b c throughout", names(list))
				}
			}
		}
	}
}

// The restarted node learns of a and c at once, while they hold on to its old address:
// it must go on telling them where it is, although it is not alone.
func TestRestartAtAnotherAddress(t *testing.T) {
	t.Parallel()
	a := startNode(t, "a", nil)
	b := startNode(t, "b", joining(a))
	c := startNode(t, "c", joining(a))
	a.await(t, "three members", ids("a", "b", "c"))
	c.await(t, "three members", ids("a", "b", "c"))
	if err := b.Close(); err != nil {
		t.Fatalf("Close() = %v, want nil", err)
	}
	again := startNode(t, "b", func(c *Config) {
		joining(a)(c)
		c.Bind, c.Self.Boot = "127.0.0.2:0", 2
	})
	moved := where("b", func(m shoal.Member) bool { return m.Boot == 2 && m.PeerAddr == "127.0.0.2:7947" })
	a.await(t, "b at its new address", moved)
	c.await(t, "b at its new address", moved)
	if got := again.log.with("at another address"); len(got) > 1 {
		t.Errorf("log lines about the old address = %q, want at most one", got)
	}
}

// The seed itself dies and comes back knowing nobody: the others find it again.
func TestSeedComesBack(t *testing.T) {
	t.Parallel()
	a := startNode(t, "a", nil)
	b := startNode(t, "b", joining(a))
	b.await(t, "two members", ids("a", "b"))
	if err := a.Close(); err != nil {
		t.Fatalf("Close() = %v, want nil", err)
	}
	b.await(t, "a to be dead", ids("b"))
	startNode(t, "a", func(c *Config) { c.Bind = a.Addr().String(); c.Self.Boot = 2 })
	b.await(t, "a again", where("a", func(m shoal.Member) bool { return m.Boot == 2 }))
}

func TestStartErrors(t *testing.T) {
	t.Parallel()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tcp.Close() }()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = udp.Close() }()
	tests := []struct {
		name string
		edit func(*Config)
		is   error
		text string
	}{
		{"tcp port busy", func(c *Config) { c.Bind = tcp.Addr().String() }, syscall.EADDRINUSE, tcp.Addr().String()},
		{"udp port busy", func(c *Config) { c.Bind = udp.LocalAddr().String() }, syscall.EADDRINUSE, "stop it, or bind to another port"},
		{"not our address", func(c *Config) { c.Bind = "192.0.2.7:0" }, syscall.EADDRNOTAVAIL, "does not have the address"},
		{"bad bind", func(c *Config) { c.Bind = "7946" }, nil, `bind address "7946" is not host:port`},
		{"bad advertise", func(c *Config) { c.Advertise = "0.0.0.0:7946" }, nil, `advertise address "0.0.0.0:7946"`},
		{"short secret", func(c *Config) { c.Secret = []byte("0123456789abcde") }, nil, "secret: 15 bytes are too few"},
		{"no cluster", func(c *Config) { c.Cluster = "" }, nil, "cluster: the name is empty"},
		{"no id", func(c *Config) { c.Self.ID = "" }, nil, "an ID of 0 bytes"},
		{"long name", func(c *Config) { c.Self.Name = strings.Repeat("n", 500) }, nil, "do not fit 512; shorten the name (500)"},
		{"bad text", func(c *Config) { c.Self.Zone = "\xff" }, nil, "valid UTF-8"},
		{"timers", func(c *Config) { c.ProbeTimeout = time.Second; c.LeaveTimeout = -1 }, nil, "leave timeout: -1ns is negative"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := Config{Cluster: "c", Secret: []byte(testSecret), Bind: "127.0.0.1:0", Self: shoal.Member{ID: "a"}}
			tt.edit(&cfg)
			g, err := Start(cfg)
			if err == nil {
				_ = g.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.text) || (tt.is != nil && !errors.Is(err, tt.is)) {
				t.Errorf("Start() = %v, want an error with %q that is %v", err, tt.text, tt.is)
			}
		})
	}
}

func TestAdvertised(t *testing.T) {
	loop := net.IPv4(127, 0, 0, 1)
	tests := []struct {
		configured string
		bound      net.IP
		want       string // "" is an error
	}{
		{"", loop, "127.0.0.1:7946"},
		{"10.1.2.3", loop, "10.1.2.3:7946"},
		{"10.1.2.3:80", nil, "10.1.2.3:80"},
		{"fd00::1", nil, "[fd00::1]:7946"},
		{"[fd00::1]:80", nil, "[fd00::1]:80"},
		{"::", nil, ""},
		{"agent-0", nil, ""},
	}
	for _, tt := range tests {
		got, err := advertised(tt.configured, tt.bound, 7946)
		if (err == nil) != (tt.want != "") || (err == nil && got.String() != tt.want) {
			t.Errorf("advertised(%q, %v) = %v, %v, want %q", tt.configured, tt.bound, got, err, tt.want)
		}
	}
	if got, err := advertised("", nil, 7946); err != nil || got.Addr().IsUnspecified() || got.Port() != 7946 {
		t.Errorf("advertised(\"\", nil) = %v, %v, want an address of this machine", got, err)
	}
}

func TestJoinByName(t *testing.T) {
	t.Parallel()
	a := startNode(t, "a", nil)
	lookups := 0
	b := startNode(t, "b", func(c *Config) {
		c.Join = []string{"agents.example:" + portOf(a.Addr())}
		c.resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
			if lookups++; lookups < 3 {
				return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
			}
			return []netip.Addr{netip.MustParseAddr("127.0.0.9"), netip.MustParseAddr("127.0.0.1")}, nil
		}
	})
	b.await(t, "two members", ids("a", "b"))
	if got := b.log.with("WARN no seed answers"); len(got) != 1 {
		t.Errorf("log lines about the failed attempts = %q, want one", got)
	}
}

// The first node of a cluster meets nobody: one line, no warning.
func TestFirstNodeIsNoTrouble(t *testing.T) {
	t.Parallel()
	at := closedPort(t)
	a := startNode(t, "a", func(c *Config) { c.Join = []string{closedPort(t), at} })
	a.awaitFailures(t, 3)
	want := at + ": connect: connection refused"
	if got := a.log.with(""); len(got) != 1 || !strings.HasPrefix(got[0], "INFO no seed answers") ||
		!strings.Contains(got[0], want) || strings.Contains(got[0], "\n") {
		t.Errorf("log of a first node = %q, want one line at level info with %q", got, want)
	}
	if err := a.JoinError(); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("JoinError() = %v, want %v", err, syscall.ECONNREFUSED)
	}
	startNode(t, "b", func(c *Config) { c.Bind = at })
	a.log.await(t, "INFO joined the cluster members=2")
}

// A row of failed rounds is one line, and one more when trouble comes to it.
func TestReportLogsOnce(t *testing.T) {
	starting := errors.Join(fmt.Errorf("s1: %w", syscall.ECONNREFUSED), fmt.Errorf("s2: %w", syscall.ECONNREFUSED))
	trouble := errors.Join(fmt.Errorf("1 error occurred:\n\t* %w", errors.New("no such host")), starting)
	refused := fmt.Errorf("%w from s1's", ErrRefused)
	for _, tt := range []struct {
		name string
		row  []error
		want string
	}{
		{"starting", []error{starting, starting}, "INFO"},
		{"trouble", []error{trouble, starting, trouble}, "WARN"},
		{"trouble after the start", []error{starting, trouble, starting, trouble}, "INFO WARN"},
		{"refused", []error{refused, starting, trouble}, ""},
	} {
		got := newLines()
		j := &joiner{log: slog.New(got)}
		for _, err := range tt.row {
			j.report(err)
		}
		var levels []string
		for _, line := range got.with("") {
			level, _, _ := strings.Cut(line, " ")
			levels = append(levels, level)
			if strings.ContainsAny(line, "\n\t") || len(line) > maxLine+100 {
				t.Errorf("%s: a line reads %q, want a short one", tt.name, line)
			}
		}
		if strings.Join(levels, " ") != tt.want {
			t.Errorf("%s: lines %q, want %q", tt.name, got.with(""), tt.want)
		}
	}
}

// closedPort returns an address that nobody listens on, nor any other test.
func closedPort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.7:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

func TestLookupSeeds(t *testing.T) {
	self := netip.MustParseAddrPort("10.0.0.1:7946")
	j := &joiner{
		self: self, everyIP: true, log: slog.New(slog.DiscardHandler),
		seeds: []string{"agents", "agents:7946", "10.0.0.9:1", "::1", "[fd00::9]:2", "bad:port", "127.0.0.1", "nowhere"},
		resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
			if host == "nowhere" {
				return nil, errors.New("no such host")
			}
			return []netip.Addr{netip.MustParseAddr("::ffff:10.0.0.2"), self.Addr(), netip.MustParseAddr("10.0.0.3")}, nil
		},
	}
	got, err := j.lookupSeeds(t.Context())
	want := "10.0.0.2:7946 10.0.0.3:7946 10.0.0.9:1 [fd00::9]:2"
	text := make([]string, len(got))
	for i, a := range got {
		text[i] = a.String()
	}
	if strings.Join(text, " ") != want {
		t.Errorf("lookupSeeds() = %v, want %s", got, want)
	}
	if err == nil || !strings.Contains(err.Error(), "seed bad:port") || !strings.Contains(err.Error(), "seed nowhere") {
		t.Errorf("lookupSeeds() error = %v, want it to name the bad seeds", err)
	}
}

func portOf(a netip.AddrPort) string {
	_, port, _ := net.SplitHostPort(a.String())
	return port
}
