package s3

import (
	"context"
	"errors"
	"io"
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
		name string
		wait time.Duration
		want error
	}{
		{"slow", 9 * time.Second, nil},
		{"stalled", 11 * time.Second, errStalled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				w := newWatched(slowBody{tt.wait, ctx.Done()}, 10*time.Second, cancel)
				defer func() { _ = w.Close() }()
				for range 3 {
					time.Sleep(time.Hour) // the reader is slow: no fault of the server's
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
	got = []bool{b.take(), b.take(), b.take()}
	if !got[0] || !got[1] || got[2] {
		t.Errorf("three takes after many gives = %v, want the third refused", got)
	}
}

// TestStreamBudget spends the budget all streams share.
func TestStreamBudget(t *testing.T) {
	s := &stream{
		part: io.NopCloser(brokenReader{}), left: 10, resumes: 5, budget: newBudget(1),
		get:  func(int64, int64) (io.ReadCloser, error) { return io.NopCloser(brokenReader{}), nil },
		done: func() error { return nil },
		wrap: func(err error) error { return err },
		wait: func(int) error { return nil },
		note: func(int64, error) {},
	}
	if _, err := s.Read(make([]byte, 1)); err == nil || s.resumed != 1 {
		t.Errorf("Read with a budget for one resume: %v after %d, want an error after 1", err, s.resumed)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

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
