package gossip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// maxHandshakes bounds the handshakes pending at once, each of which is a
	// goroutine, a socket and a few hundred bytes. What comes above is closed unheard.
	maxHandshakes = 64
	// maxHandshakesPerHost leaves room for others when one host stalls on purpose.
	maxHandshakesPerHost = 32
	// dialTimeout bounds the TCP connect: a seed that swallows packets is not worth more.
	dialTimeout = 3 * time.Second
)

// A transport is memberlist's own, with admission (admission.go) before every stream.
// Packets pass unchanged: each is decrypted, or dropped, on its own.
type transport struct {
	*memberlist.NetTransport
	key       []byte
	source    net.IP // streams leave from here, as packets do; nil: as the kernel chooses
	timeout   time.Duration
	strangers *outsiders

	streams chan net.Conn // admitted
	done    chan struct{} // closed when Shutdown begins
	drained chan struct{} // closed when the listeners have ended
	once    sync.Once     // Shutdown
	wg      sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	closing bool
	pending map[string]int    // handshakes under way by remote host
	total   int               // sum of pending
	cancels map[uint64]func() // what ends each open connection or dial
	lastID  uint64            // of cancels
	watched map[string]error  // the latest failed dial of each address from watch to unwatch
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

// newTransport wraps inner, whose listeners already run.
func newTransport(inner *memberlist.NetTransport, key []byte, source net.IP, timeout time.Duration, strangers *outsiders) *transport {
	t := &transport{
		NetTransport: inner, key: key, source: source, timeout: timeout, strangers: strangers,
		streams: make(chan net.Conn), done: make(chan struct{}), drained: make(chan struct{}),
		pending: make(map[string]int), cancels: make(map[uint64]func()), watched: make(map[string]error),
	}
	t.wg.Go(t.accept)
	return t
}

// StreamCh returns the streams that were admitted.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// DialTimeout dials addr and asks for admission.
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout dials addr and asks for admission. The error wraps ErrRefused when
// the other end is of another cluster.
func (t *transport) DialAddressTimeout(addr memberlist.Address, timeout time.Duration) (net.Conn, error) {
	conn, err := t.dial(addr, timeout)
	if err != nil {
		t.keep(addr.Addr, err)
		return nil, err
	}
	return conn, nil
}

func (t *transport) dial(addr memberlist.Address, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), min(timeout, dialTimeout+t.timeout))
	defer cancel()
	release, ok := t.track(cancel)
	if !ok {
		return nil, net.ErrClosed
	}
	defer release()
	conn, err := t.connect(ctx, addr.Addr)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	err = t.handshake(conn, deadline, askAdmission)
	if err == nil {
		return conn, nil
	}
	_ = conn.Close()
	if errors.Is(err, ErrRefused) {
		err = fmt.Errorf("%w from %s's", ErrRefused, addr.Addr)
		t.strangers.refused(addr.Addr)
		return nil, err
	}
	return nil, fmt.Errorf("dial %s: %w", addr.Addr, err)
}

func (t *transport) connect(ctx context.Context, addr string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	if t.source != nil {
		dialer.LocalAddr = &net.TCPAddr{IP: t.source}
	}
	raw, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	conn, ok := t.own(raw)
	if !ok {
		return nil, errors.Join(net.ErrClosed, raw.Close())
	}
	return conn, nil
}

// handshake runs one side of the admission with conn until deadline, at most for the
// handshake timeout. Afterwards conn has no deadline.
func (t *transport) handshake(conn net.Conn, deadline time.Time, side func(io.ReadWriter, []byte) error) error {
	if limit := time.Now().Add(t.timeout); deadline.IsZero() || limit.Before(deadline) {
		deadline = limit
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	if err := side(conn, t.key); err != nil {
		return err
	}
	return conn.SetDeadline(time.Time{})
}

// watch begins to keep why dials to addr fail: memberlist flattens errors into text.
func (t *transport) watch(addr string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watched[addr] = nil
}

// unwatch returns why the latest dial to addr since watch failed, nil if none did.
func (t *transport) unwatch(addr string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.watched[addr]
	delete(t.watched, addr)
	return err
}

func (t *transport) keep(addr string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.watched[addr]; ok {
		t.watched[addr] = err
	}
}

// Shutdown ends the listeners, every handshake, dial and stream, and waits for its
// goroutines. It may be called more than once, and also when memberlist never ran.
func (t *transport) Shutdown() error {
	t.once.Do(func() {
		close(t.done)
		t.mu.Lock()
		t.closing = true
		cancels := t.cancels
		t.cancels = make(map[uint64]func())
		t.mu.Unlock()
		for _, cancel := range cancels {
			cancel()
		}
		t.wg.Go(t.drainPackets)
		_ = t.NetTransport.Shutdown() // always nil; waits for the listeners
		close(t.drained)
	})
	t.wg.Wait()
	return nil
}

// drainPackets unblocks a listener that holds a packet nobody will ask for.
func (t *transport) drainPackets() {
	for {
		select {
		case <-t.PacketCh():
		case <-t.drained:
			return
		}
	}
}

// accept takes connections from the listener until it has ended.
func (t *transport) accept() {
	for {
		select {
		case conn := <-t.NetTransport.StreamCh():
			t.receive(conn)
		case <-t.drained:
			return
		}
	}
}

// receive begins the handshake with conn, or closes it when too many are pending.
func (t *transport) receive(raw net.Conn) {
	host := hostOf(raw.RemoteAddr().String())
	conn, ok := t.own(raw)
	if !ok {
		_ = raw.Close()
		return
	}
	if !t.reserve(host) {
		t.strangers.busy()
		_ = conn.Close()
		return
	}
	t.wg.Go(func() {
		err := t.handshake(conn, time.Time{}, grantAdmission)
		t.unreserve(host)
		if err != nil {
			if !t.isClosing() {
				t.strangers.stream(host, err)
			}
			_ = conn.Close()
			return
		}
		select {
		case t.streams <- conn:
		case <-t.done:
			_ = conn.Close()
		}
	})
}

func (t *transport) reserve(host string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.total >= maxHandshakes || t.pending[host] >= maxHandshakesPerHost {
		return false
	}
	t.total++
	t.pending[host]++
	return true
}

func (t *transport) unreserve(host string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total--
	if t.pending[host]--; t.pending[host] == 0 {
		delete(t.pending, host)
	}
}

func (t *transport) isClosing() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closing
}

// track registers what Shutdown is to call; ok is false when it has begun already.
func (t *transport) track(cancel func()) (release func(), ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closing {
		return nil, false
	}
	t.lastID++
	id := t.lastID
	t.cancels[id] = cancel
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.cancels, id)
	}, true
}

// own returns raw as a connection that Shutdown closes, unless it has begun already.
func (t *transport) own(raw net.Conn) (net.Conn, bool) {
	release, ok := t.track(func() { _ = raw.Close() })
	return &stream{Conn: raw, release: release}, ok
}

// A stream is a connection the transport knows of until it is closed.
type stream struct {
	net.Conn
	release func()
}

// Close closes the connection.
func (s *stream) Close() error {
	s.release()
	return s.Conn.Close()
}
