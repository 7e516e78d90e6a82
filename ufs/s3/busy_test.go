package s3_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal/ufs"
	"github.com/shoal-mesh/shoal/ufs/s3"
)

// openMany opens a file so many times at once and returns the errors, which are all to
// be the server's and not ctx's.
func openMany(ctx context.Context, t *testing.T, f *s3.FS, times int) []error {
	t.Helper()
	errs := make([]error, times)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { _, errs[i] = f.Open(ctx, "a", "v", 0, 10) })
	}
	wg.Wait()
	for _, err := range errs {
		if !errors.Is(err, ufs.ErrUnavailable) || ctx.Err() != nil {
			t.Fatalf("Open: %v, context: %v, want ufs.ErrUnavailable while the context lives", err, ctx.Err())
		}
	}
	return errs
}

// TestUnavailableIsNoThrottle has a load balancer without a server: if its 503 were a
// throttle, these 60 requests would take two minutes.
func TestUnavailableIsNoThrottle(t *testing.T) {
	for _, code := range []string{"ServiceUnavailable", ""} {
		fake, cfg := startFake(t)
		cfg.Attempts, cfg.CallTimeout = 3, time.Hour
		f := newFS(t, cfg)
		var requests atomic.Int64
		fake.intercept = func(w http.ResponseWriter, _ *http.Request) bool {
			requests.Add(1)
			if code == "" {
				http.Error(w, "<html><body>no server", http.StatusServiceUnavailable)
			} else {
				fail(w, http.StatusServiceUnavailable, code)
			}
			return true
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		openMany(ctx, t, f, 20)
		cancel()
		if got := requests.Load(); got != 60 {
			t.Errorf("20 opens, refused with 503 %q, made %d requests, want 60: all attempts", code, got)
		}
		if _, err := f.Stat(t.Context(), "a"); !errors.Is(err, ufs.ErrUnavailable) {
			t.Errorf("Stat, refused with 503 %q: %v, want ufs.ErrUnavailable", code, err)
		}
	}
}

// TestOpenIsBounded has servers whose answer to a GET does not come in time, because
// they say to slow down or because they say nothing.
func TestOpenIsBounded(t *testing.T) {
	for _, how := range []string{"throttled", "silent"} {
		t.Run(how, func(t *testing.T) {
			fake, cfg := startFake(t)
			cfg.CallTimeout, cfg.HeaderTimeout = 500*time.Millisecond, time.Hour
			f := newFS(t, cfg)
			fake.intercept = func(w http.ResponseWriter, r *http.Request) bool {
				if how == "throttled" {
					fail(w, http.StatusServiceUnavailable, "SlowDown")
				} else {
					<-r.Context().Done()
				}
				return true
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			late := 0
			for _, err := range openMany(ctx, t, f, 20) {
				if strings.Contains(err.Error(), "no answer within 500ms") {
					late++
				}
			}
			if late == 0 {
				t.Errorf("no open failed for its time, want some of 20")
			}
			if _, err := f.Open(ctx, "a", "v", 0, 10); !errors.Is(err, ufs.ErrUnavailable) {
				t.Errorf("Open after them: %v, want ufs.ErrUnavailable", err)
			}
		})
	}
}

// TestBytesMayTakeLonger reads a stream for longer than its beginning may take.
func TestBytesMayTakeLonger(t *testing.T) {
	fake, cfg := startFake(t)
	cfg.CallTimeout, cfg.Resumes = 200*time.Millisecond, 1
	f := newFS(t, cfg)
	fake.put("a", testData())
	gets := 0
	fake.intercept = func(w http.ResponseWriter, r *http.Request) bool {
		if isGet(r) {
			gets++
			serve(&pauseWriter{ResponseWriter: w, pause: 2 * cfg.CallTimeout}, r, fake.objects["a"])
		}
		return isGet(r)
	}
	got, err := readAll(t, f, "a", 0, 1<<20)
	if err != nil || len(got) != 1<<20 || gets != 1 {
		t.Errorf("stream of 400ms: %d bytes after %d requests, %v, want all after 1", len(got), gets, err)
	}
}

// pauseWriter pauses after the first bytes.
type pauseWriter struct {
	http.ResponseWriter
	pause time.Duration
}

func (w *pauseWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p[:len(p)/2])
	if err != nil {
		return n, err
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush()
	<-time.After(w.pause)
	m, err := w.ResponseWriter.Write(p[n:])
	return n + m, err
}

func TestEndpointHoldsNoSecret(t *testing.T) {
	for _, endpoint := range []string{
		"http://key:s3cr3t@host:9000", "http://s3cr3t@host", "https://host?token=s3cr3t", "http://host/?s3cr3t",
		"http://host#s3cr3t", "key:s3cr3t@host", "http://key:s3cr3t%zz@host", "http://host/path", "http://host/bucket/",
	} {
		_, err := s3.New(t.Context(), s3.Config{Bucket: "b", Anonymous: true, Endpoint: endpoint})
		if err == nil || strings.Contains(fmt.Sprint(err), "s3cr3t") || !strings.Contains(err.Error(), "endpoint") {
			t.Errorf("New(endpoint %q) = %v, want an error without the secret", endpoint, err)
		}
	}
}
