package namespace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/shoal-mesh/shoal/ufs"
)

// maxAbandoned is how many calls of one mount's driver may be left behind because they
// returned neither in time nor when cancelled (a dead NFS server does that). While so
// many are still out, the mount is not asked: each holds a thread.
const maxAbandoned = 64

// A mount is a Mount at work: it knows whether its UFS answers, and decides which
// requests may be sent to one that does not.
type mount struct {
	Mount
	address string
	tag     uint64 // hash of path and address: records made for another mount do not count

	mu        sync.Mutex // guards the fields below
	down      bool       // the last answer was an outage
	probing   bool       // down, and one request is out to see whether it still is
	retryAt   time.Time  // down: no request before
	slow      bool       // who had something stale to serve waited in vain, and no answer came since
	asking    int        // requests that are out and not abandoned
	lastErr   error      // of the last request, nil if it succeeded
	lastOK    time.Time  // when a request last succeeded
	abandoned int
}

func newMount(m Mount) *mount {
	address := m.FS.Address()
	return &mount{Mount: m, address: address, tag: xxh3.HashString(m.Path + "\x00" + address)}
}

// source returns the UFS's name for path p, which belongs to m.
func (m *mount) source(p string) string {
	return strings.TrimPrefix(strings.TrimPrefix(p, m.Path), "/")
}

// admit returns nil if the UFS may be asked at now, and otherwise the outage to report
// at once. joining tells that the caller would wait for a request that is already out.
// After a nil for a caller that is not joining, report must follow.
func (m *mount) admit(now time.Time, joining bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.down {
		return nil
	}
	if joining || m.probing || now.Before(m.retryAt) || m.abandoned >= maxAbandoned {
		return m.lastErr
	}
	m.probing = true
	return nil
}

// report takes the outcome of a request, and returns whether the mount went down or
// came up by it.
func (m *mount) report(now time.Time, err error, retryAfter time.Duration) (changed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.probing = false
	if errors.Is(err, context.Canceled) {
		return false // nothing was learned
	}
	m.slow = false
	was := m.down
	m.down = errors.Is(err, ufs.ErrUnavailable)
	switch {
	case m.down:
		m.lastErr, m.retryAt = err, now.Add(retryAfter)
	case err == nil || errors.Is(err, fs.ErrNotExist):
		m.lastErr, m.lastOK = nil, now
	default:
		m.lastErr = err
	}
	return was != m.down
}

// isDown reports whether the last answer was an outage.
func (m *mount) isDown() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.down
}

// patience returns how long to wait for an answer of the UFS before something stale is
// served: not at all if it is down, or slow and not known to be better by now.
func (m *mount) patience(wait time.Duration) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down || m.slow {
		return 0
	}
	return wait
}

// lag notes that no answer came in patience.
func (m *mount) lag() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.slow = true
}

// crowded reports whether so many requests are out that those nobody waits for had
// better not be sent.
func (m *mount) crowded() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asking >= maxAbandoned
}

func (m *mount) ask(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asking += n
}

func (m *mount) leave(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.abandoned += n
}

// A MountStatus is what a Namespace tells of one mount.
type MountStatus struct {
	Path     string
	Address  string
	TTL      time.Duration
	MaxStale time.Duration
	// Down reports that the UFS did not answer the last request.
	Down bool
	// LastError is why the last request failed, empty if it succeeded.
	LastError string
	// LastSuccess is when a request last succeeded, zero if none did in this process;
	// SuccessAge is how long ago that was.
	LastSuccess time.Time
	SuccessAge  time.Duration
}

func (m *mount) status(now time.Time) MountStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := MountStatus{Path: m.Path, Address: m.address, TTL: m.TTL, MaxStale: m.MaxStale, Down: m.down, LastSuccess: m.lastOK}
	if m.lastErr != nil {
		s.LastError = m.lastErr.Error()
	}
	if !m.lastOK.IsZero() {
		s.SuccessAge = max(0, now.Sub(m.lastOK))
	}
	return s
}

// ask calls fn, which asks the UFS of m, and reports the outcome to m. It returns when fn
// does or after timeout, whichever comes first, whether or not the driver heeds its
// context; no answer in time is an outage.
func ask[T any](n *Namespace, m *mount, timeout time.Duration, fn func(context.Context) (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	ctx, cancel := n.request(timeout)
	defer cancel()
	m.ask(1)
	defer m.ask(-1)
	done := make(chan outcome, 1)
	var over atomic.Bool // set by whoever is first: the driver that returns, or ask that leaves
	go func() {
		v, err := fn(ctx)
		done <- outcome{v, err}
		if !over.CompareAndSwap(false, true) {
			m.leave(-1)
		}
	}()
	var o outcome
	select {
	case o = <-done:
	case <-ctx.Done():
		if over.CompareAndSwap(false, true) {
			m.leave(1)
			o.err = ctx.Err()
		} else {
			o = <-done
		}
	}
	if errors.Is(o.err, context.DeadlineExceeded) || (o.err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded)) {
		o.err = fmt.Errorf("no answer within %v: %w", timeout, ufs.ErrUnavailable)
	}
	if o.err != nil && errors.Is(ctx.Err(), context.Canceled) {
		o.err = fmt.Errorf("namespace closed: %w", context.Canceled)
	}
	n.report(m, o.err)
	return o.value, o.err
}

func (n *Namespace) report(m *mount, err error) {
	if !m.report(n.cfg.Now(), err, n.cfg.RetryAfter) {
		return
	}
	if m.isDown() {
		n.cfg.Logger.Warn("under file system does not answer", slog.String("mount", m.Path), slog.String("address", m.address), slog.Any("error", err))
		return
	}
	n.cfg.Logger.Info("under file system answers again", slog.String("mount", m.Path), slog.String("address", m.address))
}
