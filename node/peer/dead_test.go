package peer

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
)

// A cable lies between two hosts. Once it is cut, what is sent into it is lost, and neither
// end hears of it.
type cable struct {
	ln  net.Listener
	cut atomic.Bool
}

// layCable returns a cable to the host at to.
func layCable(t *testing.T, to string) *cable {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{ln: ln}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			open = append(open, near, far)
			mu.Unlock()
			wg.Go(func() { c.carry(near, far) })
			wg.Go(func() { c.carry(far, near) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return c
}

func (c *cable) carry(to, from net.Conn) {
	_, _ = io.Copy(end{c, to}, from)
	if !c.cut.Load() {
		_ = to.Close()
	}
}

// An end loses what is written to it while the cable is cut.
type end struct {
	*cable
	net.Conn
}

func (e end) Write(p []byte) (int, error) {
	if e.cut.Load() {
		return len(p), nil
	}
	return e.Conn.Write(p)
}

// A host that lost its power is found out by requests that were given up, before yamux says
// so: the next one dials.
func TestGivenUpRequestsFindADeadHost(t *testing.T) {
	cfg := Config{keepAlive: 50 * time.Millisecond, DialTimeout: 50 * time.Millisecond, StallTimeout: time.Hour}
	a, b := startPair(t, cfg)
	line := layCable(t, b.Addr())
	m := b.member()
	m.PeerAddr = line.ln.Addr().String()
	a.SetMembers([]shoal.Member{m})
	if _, err := a.Call(t.Context(), b.id(), nil); err != nil {
		t.Fatal(err)
	}
	line.cut.Store(true)
	call := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 40*time.Millisecond)
		defer cancel()
		_, err := a.Call(ctx, b.id(), nil)
		return err
	}
	err := call()
	for begin := time.Now(); !errors.Is(err, ErrUnreachable) && time.Since(begin) < 5*time.Second; {
		err = call()
	}
	if !errors.Is(err, ErrUnreachable) {
		t.Errorf("Call to a host without power = %v, want %v", err, ErrUnreachable)
	}
}

// A request that is given up says nothing about a host that answers keep-alives.
func TestGivenUpRequestsSpareAQuietHost(t *testing.T) {
	a, b := startPair(t, Config{keepAlive: 400 * time.Millisecond, StallTimeout: time.Hour})
	b.echo.Handle = func(ctx context.Context, _ shoal.NodeID, request []byte) ([]byte, error) {
		if len(request) > 0 {
			<-ctx.Done()
		}
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 1200*time.Millisecond)
	defer cancel()
	if _, err := a.Call(ctx, b.id(), []byte("wait")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Call past its deadline = %v, want %v", err, context.DeadlineExceeded)
	}
	if _, err := a.Call(t.Context(), b.id(), nil); err != nil {
		t.Errorf("the next Call = %v, want nil", err)
	}
	if got := a.Stats().Dials; got != 1 {
		t.Errorf("%d dials, want 1", got)
	}
}
