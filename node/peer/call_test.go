package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
)

func TestCall(t *testing.T) {
	a, b := startPair(t, Config{})
	for _, size := range []int{0, 1, 5000, firstRead, firstRead + 1, 1 << 20} {
		request := testData(1, size)
		answer, err := a.Call(t.Context(), b.id(), request)
		if err != nil || !bytes.Equal(answer, request) {
			t.Errorf("Call with %d bytes = %d bytes, %v, want the same bytes, nil", size, len(answer), err)
		}
	}
	if _, err := a.Call(t.Context(), b.id(), make([]byte, 1<<20+1)); err == nil {
		t.Error("Call with a request over the limit = nil, want an error")
	}
	if got := a.Stats().Connections; got != 1 {
		t.Errorf("%d connections, want 1", got)
	}
}

func TestCallHandlerFails(t *testing.T) {
	a, b := startPair(t, Config{})
	long := strings.Repeat("x", 2*maxText)
	for _, tt := range []struct{ text, want string }{{"no such shard", "no such shard"}, {long, long[:maxText]}, {"", ""}} {
		b.echo.Handle = func(_ context.Context, from shoal.NodeID, _ []byte) ([]byte, error) {
			if from != a.id() {
				return nil, fmt.Errorf("call from %s", from)
			}
			return nil, errors.New(tt.text)
		}
		_, err := a.Call(t.Context(), b.id(), nil)
		var remote *RemoteError
		if !errors.As(err, &remote) || remote.Text != tt.want || errors.Is(err, ErrUnreachable) {
			t.Errorf("Call = %v, want a RemoteError %.20q", err, tt.want)
		}
	}
	b.echo.Handle = func(context.Context, shoal.NodeID, []byte) ([]byte, error) { return make([]byte, 1<<20+1), nil }
	if _, err := a.Call(t.Context(), b.id(), nil); err == nil {
		t.Error("Call with an answer over the limit = nil, want an error")
	}
}

func TestCallDeadline(t *testing.T) {
	a, b := startPair(t, Config{})
	release := make(chan struct{})
	b.echo.Handle = func(_ context.Context, _ shoal.NodeID, request []byte) ([]byte, error) {
		if len(request) > 0 {
			<-release
		}
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := a.Call(ctx, b.id(), []byte("wait")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Call past its deadline = %v, want %v", err, context.DeadlineExceeded)
	}
	close(release)
	if _, err := a.Call(t.Context(), b.id(), nil); err != nil {
		t.Errorf("the next Call = %v, want nil", err)
	}
}

// A node that cannot be dialed costs one dial per back-off, whatever the number of calls.
func TestCallDeadPeerFailsFast(t *testing.T) {
	a := startNode(t, Config{BackoffMin: time.Hour, BackoffMax: time.Hour})
	dead := shoal.Member{ID: testIdentity(t).ID(), PeerAddr: closedPort(t), Boot: 1}
	a.SetMembers([]shoal.Member{dead})
	call := func(wantDials int64) {
		t.Helper()
		for range 3 {
			if _, err := a.Call(t.Context(), dead.ID, nil); !errors.Is(err, ErrUnreachable) {
				t.Errorf("Call to a dead peer = %v, want %v", err, ErrUnreachable)
			}
		}
		if got := a.Stats().Dials; got != wantDials {
			t.Errorf("%d dials, want %d", got, wantDials)
		}
	}
	call(1)
	a.SetMembers([]shoal.Member{dead}) // nothing new
	call(1)
	dead.Boot = 2 // it is back
	a.SetMembers([]shoal.Member{dead})
	call(2)
	dead.PeerAddr = closedPort(t)
	a.SetMembers([]shoal.Member{dead})
	call(3)
}

// A node that takes connections and never completes one costs its callers two waits. From
// then on they fail at once, while it is dialed beside them.
func TestCallMutePeerFailsFast(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mute.Close() }()
	a := startNode(t, Config{BackoffMin: 1, BackoffMax: 1, DialTimeout: 50 * time.Millisecond})
	id := testIdentity(t).ID()
	a.SetMembers([]shoal.Member{{ID: id, PeerAddr: mute.Addr().String()}})
	for i, want := range []string{"deadline exceeded", "deadline exceeded", "being dialed again"} {
		if _, err := a.Call(t.Context(), id, nil); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), want) {
			t.Errorf("Call number %d = %v, want %v: %s", i, err, ErrUnreachable, want)
		}
	}
	if got := a.Stats().Dials; got > 3 {
		t.Errorf("%d dials, want at most 3", got)
	}
}

// A name is dialed like an address, and a bad address says so.
func TestCallByName(t *testing.T) {
	a, b := startPair(t, Config{})
	m := b.member()
	_, port, err := net.SplitHostPort(m.PeerAddr)
	if err != nil {
		t.Fatal(err)
	}
	m.PeerAddr = net.JoinHostPort("localhost", port)
	a.SetMembers([]shoal.Member{m})
	if _, err := a.Call(t.Context(), b.id(), nil); err != nil {
		t.Errorf("Call by name = %v, want nil", err)
	}
	for _, addr := range []string{"", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:x", "a/b:1"} {
		other := shoal.Member{ID: testIdentity(t).ID(), PeerAddr: addr}
		a.SetMembers([]shoal.Member{other})
		if _, err := a.Call(t.Context(), other.ID, nil); !errors.Is(err, ErrUnreachable) {
			t.Errorf("Call to %q = %v, want %v", addr, err, ErrUnreachable)
		}
	}
}

// A peer that restarts, with its identity and at its address, is called without an error:
// the streams of the old connection are found broken and the request is sent again.
func TestCallAfterRestart(t *testing.T) {
	a, b := startPair(t, Config{})
	for range 3 {
		if _, err := a.Call(t.Context(), b.id(), nil); err != nil {
			t.Fatal(err)
		}
	}
	addr := b.Addr()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	h, err := New(&store{}, &echo{}, Config{Identity: b.cfg.Identity, Listen: addr})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Close() }()
	h.SetMembers([]shoal.Member{a.member()})
	if _, err := a.Call(t.Context(), b.id(), nil); err != nil {
		t.Errorf("Call after the peer's restart = %v, want nil", err)
	}
}

// More calls than a peer takes at once wait for their turn.
func TestCallQueues(t *testing.T) {
	a, b := startPair(t, Config{Limits: Limits{CallsPerPeer: 2}})
	enter, leave := make(chan struct{}), make(chan struct{})
	b.echo.Handle = func(context.Context, shoal.NodeID, []byte) ([]byte, error) {
		enter <- struct{}{}
		<-leave
		return nil, nil
	}
	const n = 7
	done := make(chan error, n)
	for range n {
		go func() {
			_, err := a.Call(context.Background(), b.id(), nil)
			done <- err
		}()
	}
	<-enter
	<-enter
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Call(ctx, b.id(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled Call in the queue = %v, want %v", err, context.Canceled)
	}
	for range n - 2 {
		leave <- struct{}{}
		<-enter
	}
	leave <- struct{}{}
	leave <- struct{}{}
	for range n {
		if err := <-done; err != nil {
			t.Errorf("queued Call = %v, want nil", err)
		}
	}
}

// closedPort returns an address that nobody listens on.
func closedPort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}
