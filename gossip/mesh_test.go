package gossip

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shoal-mesh/shoal"
)

func TestMain(m *testing.M) {
	// memberlist's Shutdown does not wait for the probe under way; see Gossip.Close.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"))
}

const testSecret = "0123456789abcdef0123456789abcdef"

// A testNode is a Gossip with what it told.
type testNode struct {
	*Gossip
	lists  chan []shoal.Member // what OnChange received
	rounds chan error          // what each attempt to join ended with
	log    *lines
}

// startNode starts a node on a free loopback port with fast timers. edit may be nil.
func startNode(t *testing.T, id string, edit func(*Config)) *testNode {
	t.Helper()
	n := &testNode{lists: make(chan []shoal.Member, 1024), rounds: make(chan error, 1024), log: newLines()}
	var inside atomic.Int32
	cfg := Config{
		Cluster: "fleet-a", Secret: []byte(testSecret), Bind: "127.0.0.1:0",
		Self:          shoal.Member{ID: shoal.NodeID(id), Name: id, Zone: "z1", PeerAddr: ":7947", Capacity: 1 << 40, Boot: 1, Protocol: 1},
		Logger:        slog.New(n.log),
		ProbeInterval: 200 * time.Millisecond, ProbeTimeout: 100 * time.Millisecond, SuspicionMult: 3,
		GossipInterval: 20 * time.Millisecond, PushPullInterval: time.Hour, // nothing may depend on it
		JoinBackoff: 20 * time.Millisecond, RejoinInterval: 200 * time.Millisecond,
	}
	cfg.OnChange = func(list []shoal.Member) {
		if inside.Add(1) != 1 {
			t.Error("OnChange called while another call runs")
		}
		n.lists <- list
		inside.Add(-1)
	}
	cfg.afterRound = func(err error) {
		select {
		case n.rounds <- err:
		default: // nobody counts
		}
	}
	if edit != nil {
		edit(&cfg)
	}
	g, err := Start(cfg)
	if err != nil {
		t.Fatalf("Start(%s) = %v, want nil", id, err)
	}
	n.Gossip = g
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Errorf("Close() of %s = %v, want nil", id, err)
		}
	})
	return n
}

// joining returns an edit that joins the nodes at seeds.
func joining(seeds ...*testNode) func(*Config) {
	return func(c *Config) {
		for _, s := range seeds {
			c.Join = append(c.Join, s.Addr().String())
		}
	}
}

// await reads lists until one satisfies ok, and returns all it has read.
func (n *testNode) await(t *testing.T, what string, ok func([]shoal.Member) bool) [][]shoal.Member {
	t.Helper()
	var seen [][]shoal.Member
	timeout := time.After(15 * time.Second)
	for {
		select {
		case list := <-n.lists:
			seen = append(seen, list)
			if ok(list) {
				return seen
			}
		case <-timeout:
			t.Fatalf("waiting for %s: members = %v; lists told meanwhile: %v", what, n.Members(), seen)
		}
	}
}

// awaitFailures waits for count attempts to join, all of which must fail.
func (n *testNode) awaitFailures(t *testing.T, count int) {
	t.Helper()
	timeout := time.After(15 * time.Second)
	for i := range count {
		select {
		case err := <-n.rounds:
			if err == nil {
				t.Error("an attempt to join = nil, want an error")
			}
		case <-timeout:
			t.Fatalf("waiting for attempts to join: %d, want %d", i, count)
		}
	}
}

// ids returns a condition: the list has exactly these members.
func ids(want ...string) func([]shoal.Member) bool {
	return func(list []shoal.Member) bool { return names(list) == strings.Join(want, " ") }
}

func names(list []shoal.Member) string {
	all := make([]string, len(list))
	for i, m := range list {
		all[i] = string(m.ID)
	}
	return strings.Join(all, " ")
}

// where returns a condition: the member id is listed and satisfies ok.
func where(id string, ok func(shoal.Member) bool) func([]shoal.Member) bool {
	return func(list []shoal.Member) bool {
		for _, m := range list {
			if string(m.ID) == id {
				return ok(m)
			}
		}
		return false
	}
}

// lines is a slog.Handler that keeps what it is given, as text.
type lines struct {
	more chan struct{} // capacity 1: all may have grown

	mu  sync.Mutex // guards all
	all []string
}

func newLines() *lines { return &lines{more: make(chan struct{}, 1)} }

func (l *lines) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	l.mu.Lock()
	l.all = append(l.all, line)
	l.mu.Unlock()
	signal(l.more)
	return nil
}

func (l *lines) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *lines) WithGroup(string) slog.Handler      { return l }

// with returns the lines that contain text.
func (l *lines) with(text string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for _, line := range l.all {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// await waits for a line that contains text.
func (l *lines) await(t *testing.T, text string) {
	t.Helper()
	timeout := time.After(15 * time.Second)
	for len(l.with(text)) == 0 {
		select {
		case <-l.more:
		case <-timeout:
			t.Fatalf("waiting for a log line with %q: got %q", text, l.with(""))
		}
	}
}
