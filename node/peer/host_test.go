package peer

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"go.uber.org/goleak"

	"github.com/shoal-mesh/shoal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	lineStranger = "connection refused: not a member"
	lineGarbage  = "peer breaks the protocol"
)

func TestHostRefusesStrangers(t *testing.T) {
	host := startNode(t, Config{})
	for range 3 {
		stranger := startNode(t, Config{})
		stranger.SetMembers([]shoal.Member{host.member()})
		if _, err := stranger.Call(t.Context(), host.id(), nil); !errors.Is(err, ErrUnreachable) {
			t.Errorf("Call by a stranger = %v, want %v", err, ErrUnreachable)
		}
		if _, err := host.Call(t.Context(), stranger.id(), nil); !errors.Is(err, ErrNotMember) {
			t.Errorf("Call to a stranger = %v, want %v", err, ErrNotMember)
		}
	}
	if got := host.Stats().Refused; got != 3 {
		t.Errorf("refused %d connections, want 3", got)
	}
	if got := host.log.count(lineStranger); got != 0 {
		t.Errorf("%d log lines on what may be a new member, want 0", got)
	}
	if got := host.echo.count.Load(); got != 0 {
		t.Errorf("%d calls of strangers were handled", got)
	}
}

func TestHostRefusesImpostor(t *testing.T) {
	a, b, c := startNode(t, Config{}), startNode(t, Config{}), startNode(t, Config{})
	introduce(a, b, c)
	lie := b.member()
	lie.PeerAddr = c.Addr() // c cannot prove to be b
	a.SetMembers([]shoal.Member{lie})
	if _, err := a.Call(t.Context(), b.id(), nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("Call to an impostor = %v, want %v", err, ErrUnreachable)
	}
}

func TestHostCutsOffRemovedMember(t *testing.T) {
	a, b := startPair(t, Config{})
	data := testData(1, 2*shoal.ChunkSize)
	filling := b.store.fill(testKey(0), data)
	sink := newBuffer(testKey(0), len(data))
	sink.arrived = func(int) { b.SetMembers(nil) }
	done := make(chan error, 1)
	go func() { done <- a.Fetch(context.Background(), b.id(), testKey(0), Part{Length: len(data)}, sink) }()
	filling.landed <- struct{}{}
	if err := <-done; !errors.Is(err, ErrUnreachable) {
		t.Errorf("Fetch across the removal = %v, want %v", err, ErrUnreachable)
	}
	if _, err := a.Call(t.Context(), b.id(), nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("Call after the removal = %v, want %v", err, ErrUnreachable)
	}
	if got := b.echo.count.Load(); got != 0 {
		t.Errorf("%d calls of the removed member were handled", got)
	}
}

func TestHostAdmitsNobodyAtFirst(t *testing.T) {
	a, b := startNode(t, Config{}), startNode(t, Config{})
	a.SetMembers([]shoal.Member{b.member()})
	if _, err := a.Call(t.Context(), b.id(), nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("Call before SetMembers there = %v, want %v", err, ErrUnreachable)
	}
	// Being refused is a failed dial: it backs off, and ends when the other end connects.
	introduce(a, b)
	if _, err := b.Call(t.Context(), a.id(), nil); err != nil {
		t.Errorf("Call in the other direction = %v, want nil", err)
	}
	if _, err := a.Call(t.Context(), b.id(), nil); err != nil {
		t.Errorf("Call after the peer connected = %v, want nil", err)
	}
}

func TestHostClose(t *testing.T) {
	a, b := startPair(t, Config{})
	entered := make(chan struct{})
	b.echo.Handle = func(ctx context.Context, _ shoal.NodeID, _ []byte) ([]byte, error) {
		close(entered)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	done := make(chan error, 1)
	go func() {
		_, err := a.Call(context.Background(), b.id(), nil)
		done <- err
	}()
	<-entered
	if err := b.Close(); err != nil {
		t.Errorf("Close() = %v, want nil", err)
	}
	if err := <-done; !errors.Is(err, ErrUnreachable) {
		t.Errorf("Call across Close = %v, want %v", err, ErrUnreachable)
	}
	if err := b.Close(); err != nil {
		t.Errorf("second Close() = %v, want nil", err)
	}
	if _, err := b.Call(t.Context(), a.id(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Call after Close = %v, want %v", err, ErrClosed)
	}
	b.SetMembers([]shoal.Member{a.member()}) // harmless
}

func TestHostIgnoresSelfAndNonsense(t *testing.T) {
	a := startNode(t, Config{})
	a.SetMembers([]shoal.Member{a.member(), {ID: "not a peer ID", PeerAddr: "127.0.0.1:1"}})
	for _, id := range []shoal.NodeID{a.id(), "not a peer ID"} {
		if _, err := a.Call(t.Context(), id, nil); !errors.Is(err, ErrNotMember) {
			t.Errorf("Call(%s) = %v, want %v", id, err, ErrNotMember)
		}
	}
}

func TestNewRefusesBadConfig(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	id := testIdentity(t)
	tests := []struct {
		name string
		cfg  Config
		want string
	}{
		{"no identity", Config{}, "identity: missing"},
		{"no port", Config{Identity: id, Listen: "127.0.0.1"}, "missing port"},
		{"negative", Config{Identity: id, DialTimeout: -1}, "dial timeout"},
		{"back-off", Config{Identity: id, BackoffMin: time.Minute}, "largest back-off"},
		{"window", Config{Identity: id, Limits: Limits{WindowBytes: 1}}, "window"},
		{"memory", Config{Identity: id, Limits: Limits{MemoryPerPeerBytes: 1}}, "memory per peer"},
		{"negative limit", Config{Identity: id, Limits: Limits{Blocks: -1}}, "blocks: -1"},
		{"busy port", Config{Identity: id, Listen: busy.Addr().String()}, "address already in use"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, err := New(&store{}, &echo{}, tt.cfg)
			if err == nil {
				_ = h.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New(%s) = %v, want an error with %q", tt.name, err, tt.want)
			}
		})
	}
}

// Many goroutines on three nodes, everyone fetching from and calling everyone.
func TestHostManyAtOnce(t *testing.T) {
	nodes := []*node{startNode(t, Config{}), startNode(t, Config{}), startNode(t, Config{})}
	introduce(nodes...)
	const size = 3*shoal.ChunkSize + 77
	data := testData(1, size)
	for _, n := range nodes {
		n.store.put(testKey(0), data)
	}
	var wg sync.WaitGroup
	for i, n := range nodes {
		for _, to := range []*node{nodes[(i+1)%3], nodes[(i+2)%3]} {
			for range 8 {
				wg.Go(func() {
					for range 10 {
						sink := newBuffer(testKey(0), size)
						if err := n.Fetch(t.Context(), to.id(), testKey(0), Part{Length: size}, sink); err != nil {
							t.Error(err)
						}
						if answer, err := n.Call(t.Context(), to.id(), data[:999]); err != nil || string(answer) != string(data[:999]) {
							t.Errorf("Call() = %d bytes, %v, want %d bytes, nil", len(answer), err, 999)
						}
					}
				})
			}
		}
	}
	wg.Wait()
	want := Stats{
		BytesIn: 2 * 80 * (size + 2*999), BytesOut: 2 * 80 * (size + 2*999), BlocksFetched: 160, BlocksServed: 160,
		CallsMade: 160, CallsServed: 160,
	}
	for _, n := range nodes { // who was sent the last byte may know before its sender has counted it
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, n := range nodes {
		got := n.Stats()
		got.Connections, got.Dials = 0, 0
		if got != want {
			t.Errorf("Stats() = %+v, want %+v", got, want)
		}
	}
}

// fakeAddrs is a connection as the gate sees it.
type fakeAddrs struct{ remote string }

func (f fakeAddrs) LocalMultiaddr() ma.Multiaddr  { return ma.StringCast("/ip4/127.0.0.1/tcp/1") }
func (f fakeAddrs) RemoteMultiaddr() ma.Multiaddr { return ma.StringCast(f.remote) }

func TestGateBoundsRatePerHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book := &logBook{}
		g := newGate(Limits{AcceptPerSecond: 2, AcceptBurst: 3}, newTestLogger(book))
		one, two := fakeAddrs{"/ip4/10.0.0.1/tcp/5"}, fakeAddrs{"/ip6/fd00::1/tcp/5"}
		accepted := func(from fakeAddrs, n int) (ok int) {
			for range n {
				if g.InterceptAccept(from) {
					ok++
				}
			}
			return ok
		}
		if got := accepted(one, 10); got != 3 {
			t.Errorf("first burst: %d of 10 accepted, want 3", got)
		}
		if got := accepted(two, 2); got != 2 {
			t.Errorf("another host: %d of 2 accepted, want 2", got)
		}
		time.Sleep(time.Second) // fake time
		if got := accepted(one, 10); got != 2 {
			t.Errorf("a second later: %d of 10 accepted, want 2", got)
		}
		if got := g.refusals(); got != 15 {
			t.Errorf("refusals() = %d, want 15", got)
		}
		if got := book.count("connections refused: too many per second"); got != 1 {
			t.Errorf("%d log lines, want 1", got)
		}
	})
}

// A host that is refused for seconds is logged, once; one that joins meanwhile is not, and
// whoever comes from there later is.
func TestGateLogsStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book := &logBook{}
		g := newGate(Limits{AcceptPerSecond: 9, AcceptBurst: 9}, newTestLogger(book))
		one, two := fakeAddrs{"/ip4/10.0.0.1/tcp/5"}, fakeAddrs{"/ip4/10.0.0.2/tcp/5"}
		come := func(from fakeAddrs, id peer.ID, want bool, lines int) {
			t.Helper()
			if got := g.InterceptSecured(network.DirInbound, id, from); got != want {
				t.Errorf("%s admitted: %v, want %v", id, got, want)
			}
			if got := book.count(lineStranger); got != lines {
				t.Errorf("%d log lines, want %d", got, lines)
			}
		}
		come(one, "new", false, 0)
		come(two, "stranger", false, 0)
		time.Sleep(time.Second) // fake time, as below
		come(one, "new", false, 0)
		g.admit(map[peer.ID]bool{"new": true})
		come(one, "new", true, 0)
		time.Sleep(graceOfStrangers)
		come(two, "stranger", false, 1)
		come(two, "stranger", false, 1)
		come(one, "stranger", false, 1)
		time.Sleep(graceOfStrangers)
		come(one, "stranger", false, 2)
		come(one, "stranger", false, 2)
		if got := g.refusals(); got != 8 {
			t.Errorf("refusals() = %d, want 8", got)
		}
	})
}

func TestGateTableIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(Limits{AcceptPerSecond: 1, AcceptBurst: 1}, newTestLogger(&logBook{}))
		visit := func() {
			for i := range maxHosts + 1000 {
				ip := net.IPv4(10, byte(i>>16), byte(i>>8), byte(i))
				g.InterceptSecured(network.DirInbound, peer.ID("stranger"), fakeAddrs{"/ip4/" + ip.String() + "/tcp/1"})
				g.InterceptAccept(fakeAddrs{"/ip4/" + ip.String() + "/tcp/1"})
			}
		}
		visit()
		time.Sleep(time.Minute) // fake time
		visit()
		if got := len(g.hosts); got > maxHosts+1 {
			t.Errorf("the gate remembers %d hosts, want at most %d", got, maxHosts+1)
		}
	})
}

// A stranger that opens connections and says nothing costs little memory and does not keep
// members out.
func TestHostBoundsSilentStrangers(t *testing.T) {
	host := startNode(t, Config{Limits: Limits{AcceptBurst: 1000, AcceptPerSecond: 1000}})
	member := startNode(t, Config{})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 200 {
		c, err := net.Dial("tcp", host.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
	}
	introduce(host, member)
	if _, err := member.Call(t.Context(), host.id(), nil); err != nil {
		t.Errorf("Call of a member beside silent strangers = %v, want nil", err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc+after.StackInuse) - int64(before.HeapAlloc+before.StackInuse); grown > 32<<20 {
		t.Errorf("200 silent connections cost %d bytes, want at most 32 MiB", grown)
	}
}
