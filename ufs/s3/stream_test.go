package s3

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// slowBody gives a byte after each wait, and nothing once its context ends.
type slowBody struct {
	wait time.Duration
	gone <-chan struct{}
}

func (b slowBody) Read([]byte) (int, error) {
	select {
	case <-time.After(b.wait):
		return 1, nil
	case <-b.gone:
		return 0, context.Canceled
	}
}

func (b slowBody) Close() error { return nil }

// TestWatched limits the wait for bytes, not the time between the reads.
func TestWatched(t *testing.T) {
	tests := []struct {
		name   string
		wait   time.Duration
		lag    time.Duration
		others bool // are brought bytes meanwhile
		spare  int  // resumes
		want   error
	}{
		{"slow", 9 * time.Second, 0, true, 1, nil},
		{"stalled", 11 * time.Second, 0, true, 1, errStalled},
		{"slow as all", 9 * time.Second, 2 * time.Second, false, 1, nil},
		{"stalled as all", 11 * time.Second, 2 * time.Second, false, 1, errStalled},
		{"hardly slower than others", 1900 * time.Millisecond, 2 * time.Second, true, 1, nil},
		{"much slower than others", 2100 * time.Millisecond, 2 * time.Second, true, 1, errLags},
		{"nothing to spare", 9 * time.Second, 2 * time.Second, true, 0, nil},
		{"nothing to spare, stalled", 11 * time.Second, 2 * time.Second, true, 0, errStalled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				var p pulse
				p.beat() // in time for nobody
				time.Sleep(time.Second)
				if tt.others {
					go func() {
						for {
							select {
							case <-time.After(100 * time.Millisecond):
								p.beat()
							case <-ctx.Done():
								return
							}
						}
					}()
				}
				b := newBudget(4)
				for range 2 - tt.spare {
					b.take()
				}
				w := &watched{
					body:  slowBody{tt.wait, ctx.Done()},
					watch: watch{limit: 10 * time.Second, lag: tt.lag, pulse: &p, budget: b, cancel: cancel},
				}
				defer func() { _ = w.Close() }()
				for range 3 {
					time.Sleep(time.Minute) // the reader is slow: no fault of the server's
					if _, err := w.Read(make([]byte, 1)); !errors.Is(err, tt.want) {
						t.Errorf("Read of a byte that takes %v: %v, want %v", tt.wait, err, tt.want)
					}
					if tt.want != nil {
						return
					}
				}
			})
		})
	}
}

// TestRefusalIsNoPulse takes an answer with bytes for a sign that others are served, and no other.
func TestRefusalIsNoPulse(t *testing.T) {
	for status, want := range map[int]bool{http.StatusPartialContent: true, http.StatusForbidden: false, http.StatusServiceUnavailable: false} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		defer server.Close()
		var p pulse
		h := &hurried{Transport: new(http.Transport), lag: time.Hour, pulse: &p, budget: newBudget(4), log: slog.New(slog.DiscardHandler)}
		defer h.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Range", "bytes=0-1")
		req.Header.Set("Amz-Sdk-Request", "attempt=1; max=4")
		resp, err := h.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if got := p.within(time.Hour); got != want {
			t.Errorf("status %d: others count as served: %v, want %v", status, got, want)
		}
	}
}

// TestStreamHurries cuts answers that lag for the first half of the resumes, and takes none of the
// budget for what a watch has cut, which took one.
func TestStreamHurries(t *testing.T) {
	for _, tt := range []struct {
		cause error
		left  int // resumes of the budget, of 5
	}{{io.ErrClosedPipe, 1}, {errLags, 5}} {
		var got []bool
		s := &stream{
			part: io.NopCloser(brokenReader{tt.cause}), left: 10, resumes: 4, budget: newBudget(5),
			get: func(_, _ int64, hurry bool) (io.ReadCloser, error) {
				got = append(got, hurry)
				return io.NopCloser(brokenReader{tt.cause}), nil
			},
			done: func() error { return nil },
			wrap: func(err error) error { return err },
			wait: func(int) error { return nil },
			note: func(int64, error) {},
		}
		if !s.hurries() {
			t.Error("the first answer may lag")
		}
		_, err := s.Read(make([]byte, 1))
		if want := []bool{true, false, false, false}; err == nil || !slices.Equal(got, want) {
			t.Errorf("a stream that breaks each time (%v): %v, and in a hurry: %v, want an error and %v", tt.cause, err, got, want)
		}
		left := 0
		for s.budget.take() {
			left++
		}
		if left != tt.left {
			t.Errorf("a stream that breaks each time (%v) leaves %d resumes, want %d", tt.cause, left, tt.left)
		}
	}
}

func TestBudget(t *testing.T) {
	b := newBudget(2)
	got := []bool{b.take(), b.take(), b.take()}
	if !got[0] || !got[1] || got[2] {
		t.Errorf("three takes of a budget of 2 = %v, want the third refused", got)
	}
	for range 9 {
		b.give()
	}
	if b.take() {
		t.Errorf("take after nine gives = true, want false")
	}
	b.give()
	if got = []bool{b.take(), b.take()}; !got[0] || got[1] {
		t.Errorf("two takes after ten gives = %v, want the second refused", got)
	}
	for range 1000 {
		b.give()
	}
	got = []bool{b.spare(), b.spare(), b.take(), b.take()}
	if !got[0] || got[1] || !got[2] || got[3] {
		t.Errorf("two spares and two takes after many gives = %v, want the second of each refused", got)
	}
}

// TestStreamBudget spends the budget all streams share.
func TestStreamBudget(t *testing.T) {
	s := &stream{
		part: io.NopCloser(brokenReader{io.ErrClosedPipe}), left: 10, resumes: 5, budget: newBudget(1),
		get: func(int64, int64, bool) (io.ReadCloser, error) {
			return io.NopCloser(brokenReader{io.ErrClosedPipe}), nil
		},
		done: func() error { return nil },
		wrap: func(err error) error { return err },
		wait: func(int) error { return nil },
		note: func(int64, error) {},
	}
	if _, err := s.Read(make([]byte, 1)); err == nil || s.resumed != 1 {
		t.Errorf("Read with a budget for one resume: %v after %d, want an error after 1", err, s.resumed)
	}
}

type brokenReader struct{ why error }

func (r brokenReader) Read([]byte) (int, error) { return 0, r.why }

func TestStartAfter(t *testing.T) {
	tests := []struct{ after, want string }{
		{"", ""}, {"abc", "abc"}, {"é", "é"}, {"caf\xe9x", "caf"}, {"a\uFFFDb", "a\uFFFDb"}, {"\xff", ""},
	}
	for _, tt := range tests {
		if got := startAfter(tt.after); got != tt.want {
			t.Errorf("startAfter(%q) = %q, want %q", tt.after, got, tt.want)
		}
	}
}
