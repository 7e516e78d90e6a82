package s3

import (
	"context"
	"errors"
	"sync"
	"time"
)

var (
	// errStalled is why an answer that gives no bytes is cut.
	errStalled = errors.New("stream stalled")
	// errLags is why a request is cut that waits while others do not.
	errLags = errors.New("lags behind other requests")
)

// A pulse tells when an answer of an FS brought something last. The zero value is ready.
type pulse struct {
	mu   sync.Mutex // guards the field below
	last time.Time
}

func (p *pulse) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Now()
}

// within reports whether it was less than d ago.
func (p *pulse) within(d time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.last.IsZero() && time.Since(p.last) < d
}

// A watch cuts a request that waits for too long: for limit, if there is one, and for lag, if there
// is one, while others of the FS are brought theirs, and as long as the budget has resumes to spare.
// A server or a link that is slow for all is waited for; one connection that hangs, or one machine of
// many behind an endpoint, is left soon.
type watch struct {
	limit, lag time.Duration // 0: none
	pulse      *pulse
	budget     *budget                 // a cut for lag spends of it
	cancel     context.CancelCauseFunc // cuts the request

	mu    sync.Mutex // guards the fields below
	begun time.Time  // of the wait; zero when there is none
	why   error      // it was cut
	timer *time.Timer
}

// begin begins a wait.
func (w *watch) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun = time.Now()
	if w.timer == nil {
		w.timer = time.AfterFunc(w.next(0), w.look)
		return
	}
	w.timer.Reset(w.next(0))
}

// end ends it, and returns why the request was cut, or nil.
func (w *watch) end() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun = time.Time{}
	w.timer.Stop()
	return w.why
}

// look cuts the request or looks again later.
func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.begun.IsZero() || w.why != nil {
		return
	}
	waited := time.Since(w.begun)
	switch {
	case w.limit > 0 && waited >= w.limit:
		w.why = errStalled
	case w.lag > 0 && waited >= w.lag && w.pulse.within(w.lag/4) && w.budget.spare():
		w.why = errLags // nothing came here, so the pulse is of others
	default:
		w.timer.Reset(w.next(waited))
		return
	}
	w.cancel(w.why)
}

// next returns when to look after having waited.
func (w *watch) next(waited time.Duration) time.Duration {
	next := w.limit - waited
	if w.lag > 0 {
		if soon := max(w.lag-waited, w.lag/4); w.limit == 0 || soon < next {
			next = soon
		}
	}
	return max(next, 0)
}
