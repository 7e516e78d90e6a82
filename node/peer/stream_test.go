package peer

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestWatchCutsWhatMakesNoProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		aborted := 0
		w := &watch{limit: time.Second, start: time.Now(), abort: func() { aborted++ }}
		w.begin()
		for range 10 {
			time.Sleep(900 * time.Millisecond) // fake time
			w.touch()
		}
		if err := w.end(); err != nil || aborted != 0 {
			t.Errorf("a turn with progress was cut %d times: %v", aborted, err)
		}
		time.Sleep(time.Minute) // between turns nothing is due
		w.begin()
		time.Sleep(500 * time.Millisecond)
		w.touch()
		time.Sleep(1001 * time.Millisecond)
		synctest.Wait()
		if err := w.end(); !errors.Is(err, errStalled) || aborted != 1 {
			t.Errorf("a turn without progress was cut %d times: %v, want once: %v", aborted, err, errStalled)
		}
	})
}

// A context that ends after its turn must not touch the turn after it.
func TestWatchIgnoresLateCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		aborted := 0
		w := &watch{limit: time.Second, start: time.Now(), abort: func() { aborted++ }}
		first := w.begin()
		_ = w.end()
		second := w.begin()
		w.cut(first, context.Canceled)
		if aborted != 0 {
			t.Error("the end of the first turn's context cut the second")
		}
		w.cut(second, context.Canceled)
		w.cut(second, errStalled)
		if err := w.end(); !errors.Is(err, context.Canceled) || aborted != 1 {
			t.Errorf("cut %d times: %v, want once: %v", aborted, err, context.Canceled)
		}
	})
}

func TestConnKeepsFewStreams(t *testing.T) {
	c := &conn{}
	for i := range time.Duration(maxIdle + 5) {
		s := scripted(nil, calls)
		s.conn = c
		c.give(s, i)
	}
	if got := len(c.idle[calls]); got != maxIdle {
		t.Errorf("%d idle streams, want %d", got, maxIdle)
	}
	if s := c.take(calls); s == nil || s.idle != maxIdle-1 {
		t.Errorf("take() = %v, want the stream that was used last", s)
	}
	c.tidy(10)
	if got := len(c.idle[calls]); got != maxIdle-11 {
		t.Errorf("%d idle streams after tidy, want %d", got, maxIdle-11)
	}
	if s := c.take(blocks); s != nil {
		t.Errorf("take(blocks) = %v, want nil", s)
	}
}

func TestBackoffDoubles(t *testing.T) {
	cfg, _ := Config{}.withDefaults()
	r := newRemote("other", "other", cfg.Limits)
	for _, want := range []time.Duration{200, 400, 800, 1600, 2000, 2000} {
		r.failed(0, cfg, errStalled)
		if got := r.until; got != want*time.Millisecond {
			t.Errorf("back-off %d = %v, want %v", r.failures, got, want*time.Millisecond)
		}
	}
}
