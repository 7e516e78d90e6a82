package s3_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/ufs"
	"github.com/shoal-mesh/shoal/ufs/s3"
)

// isGet reports a request for a key's bytes.
func isGet(r *http.Request) bool {
	return r.Method == http.MethodGet && r.URL.Query().Get("list-type") == ""
}

// partly answers a GET as the fake does, but breaks the connection after n bytes.
func partly(f *fake, n int, w http.ResponseWriter, r *http.Request) {
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	f.mu.Lock()
	o := f.objects[key]
	f.mu.Unlock()
	serve(&cutWriter{ResponseWriter: w, left: n}, r, o)
}

// cutWriter ends the request when it has written its bytes.
type cutWriter struct {
	http.ResponseWriter
	left int
}

func (c *cutWriter) Write(p []byte) (int, error) {
	_, _ = c.ResponseWriter.Write(p[:min(c.left, len(p))])
	_ = http.NewResponseController(c.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}

// readAll reads bytes [off, off+length) of the current version of name.
func readAll(t *testing.T, f *s3.FS, name string, off, length int64) ([]byte, error) {
	t.Helper()
	info, err := f.Stat(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return readRange(t.Context(), f, name, info.Version, off, length)
}

func readRange(ctx context.Context, f *s3.FS, name string, v shoal.Version, off, length int64) ([]byte, error) {
	body, err := f.Open(ctx, name, v, off, length)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	return io.ReadAll(body)
}

func testData() []byte { return bytes.Repeat([]byte("0123456789abcdef"), 1<<16) } // 1 MiB

func TestStreamResumes(t *testing.T) {
	fake, cfg := startFake(t)
	f := newFS(t, cfg)
	data := testData()
	fake.put("a", data)
	var ranges []string
	fake.intercept = func(w http.ResponseWriter, r *http.Request) bool {
		if !isGet(r) {
			return false
		}
		ranges = append(ranges, r.Header.Get("Range"))
		if len(ranges) <= 3 {
			partly(fake, 100_000, w, r)
		}
		return false
	}
	got, err := readAll(t, f, "a", 7, 900_000)
	if err != nil || !bytes.Equal(got, data[7:900_007]) {
		t.Errorf("stream cut three times: %d bytes, %v, want 900000 right bytes", len(got), err)
	}
	if len(ranges) != 4 || ranges[0] != "bytes=7-900006" {
		t.Errorf("ranges asked = %q, want four, the first of them all", ranges)
	}
	for i, last := 1, int64(7); i < len(ranges); i++ {
		from, end, _ := strings.Cut(strings.TrimPrefix(ranges[i], "bytes="), "-")
		at, err := strconv.ParseInt(from, 10, 64)
		if err != nil || at <= last || end != "900006" {
			t.Errorf("range %d = %q, want the rest, from after %d", i, ranges[i], last)
		}
		last = at
	}
}

func TestStreamGivesUp(t *testing.T) {
	fake, cfg := startFake(t)
	cfg.Resumes = 2
	f := newFS(t, cfg)
	fake.put("a", testData())
	gets := 0
	fake.intercept = func(w http.ResponseWriter, r *http.Request) bool {
		if isGet(r) {
			gets++
			partly(fake, 1000, w, r)
		}
		return false
	}
	got, err := readAll(t, f, "a", 0, 1<<20)
	if !errors.Is(err, ufs.ErrUnavailable) || gets != 3 {
		t.Errorf("stream that always breaks: %d bytes after %d requests, %v, want ufs.ErrUnavailable after 3", len(got), gets, err)
	}
}

func TestStreamDoesNotMixVersions(t *testing.T) {
	tests := []struct {
		name   string
		change func(f *fake)
	}{
		{"replaced", func(f *fake) { f.put("a", bytes.ToUpper(testData())) }},
		{"replaced by a shorter one", func(f *fake) { f.put("a", []byte("short")) }},
		{"removed", func(f *fake) { f.remove("a") }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fake, cfg := startFake(t)
			f := newFS(t, cfg)
			data := testData()
			fake.put("a", data)
			first := true
			fake.intercept = func(w http.ResponseWriter, r *http.Request) bool {
				if isGet(r) && first {
					first = false
					defer tt.change(fake)
					partly(fake, 1000, w, r)
				}
				return false
			}
			got, err := readAll(t, f, "a", 0, 1<<20)
			if !errors.Is(err, ufs.ErrVersion) || !bytes.HasPrefix(data, got) {
				t.Errorf("stream: %d bytes, %v, want a beginning of the old ones and ufs.ErrVersion", len(got), err)
			}
		})
	}
}

// TestAnswerIsChecked has servers that ignore what they are asked.
func TestAnswerIsChecked(t *testing.T) {
	tests := []struct {
		name   string
		header map[string]string // set in the answer
		drop   string            // header of the request the server does not know
		want   error
	}{
		{"no If-Match", map[string]string{"ETag": `"other"`}, "If-Match", ufs.ErrVersion},
		{"no Range", nil, "Range", ufs.ErrUnavailable},
		{"another range", map[string]string{"Content-Range": "bytes 5-14/1048576"}, "", ufs.ErrUnavailable},
		{"nonsense range", map[string]string{"Content-Range": "lines 5-14"}, "", ufs.ErrUnavailable},
		{"another size", map[string]string{"Content-Range": "bytes 10-19/15"}, "", fs.ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fake, cfg := startFake(t)
			f := newFS(t, cfg)
			fake.put("a", testData())
			fake.intercept = func(w http.ResponseWriter, r *http.Request) bool {
				if !isGet(r) {
					return false
				}
				r.Header.Del(tt.drop)
				serve(headerWriter{w, tt.header}, r, fake.objects["a"])
				return true
			}
			if got, err := readAll(t, f, "a", 10, 10); !errors.Is(err, tt.want) || len(got) != 0 {
				t.Errorf("Open: %d bytes, %v, want %v", len(got), err, tt.want)
			}
		})
	}
}

// headerWriter changes the headers of an answer.
type headerWriter struct {
	http.ResponseWriter
	header map[string]string
}

func (h headerWriter) WriteHeader(status int) {
	for key, value := range h.header {
		h.Header().Set(key, value)
	}
	h.ResponseWriter.WriteHeader(status)
}

func TestStallIsCut(t *testing.T) {
	fake, cfg := startFake(t)
	cfg.StallTimeout = 50 * time.Millisecond
	f := newFS(t, cfg)
	data := testData()
	fake.put("a", data)
	first := true
	fake.intercept = func(w http.ResponseWriter, r *http.Request) bool {
		if !isGet(r) || !first {
			return false
		}
		first = false
		serve(&stallWriter{ResponseWriter: w, gone: r.Context()}, r, fake.objects["a"])
		return true
	}
	got, err := readAll(t, f, "a", 0, 1<<20)
	if err != nil || !bytes.Equal(got, data) || first {
		t.Errorf("stream that stalled: %d bytes, %v, want %d right bytes", len(got), err, len(data))
	}
}

// TestLagIsCut has one request get no answer, or no further bytes, while others are brought theirs.
func TestLagIsCut(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request, object)
	}{
		{"no answer", func(_ http.ResponseWriter, r *http.Request, _ object) { <-r.Context().Done() }},
		{"no bytes", func(w http.ResponseWriter, r *http.Request, o object) {
			serve(&stallWriter{ResponseWriter: w, gone: r.Context()}, r, o)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fake, cfg := startFake(t)
			cfg.LagTimeout = 50 * time.Millisecond
			cfg.HeaderTimeout, cfg.StallTimeout, cfg.CallTimeout = time.Hour, time.Hour, time.Hour
			f := newFS(t, cfg)
			data := testData()
			fake.put("a", data)
			fake.put("other", data[:100])
			other, err := f.Stat(t.Context(), "other")
			if err != nil {
				t.Fatal(err)
			}
			var asked atomic.Int32
			fake.intercept = func(w http.ResponseWriter, r *http.Request) bool {
				if !isGet(r) || !strings.HasSuffix(r.URL.Path, "/a") || asked.Add(1) > 1 {
					return false
				}
				tt.answer(w, r, fake.objects["a"])
				return true
			}
			ctx, cancel := context.WithCancel(t.Context())
			var others sync.WaitGroup
			others.Go(func() {
				for ctx.Err() == nil {
					if _, err := readRange(ctx, f, "other", other.Version, 0, 100); err != nil && ctx.Err() == nil {
						t.Errorf("another stream: %v", err)
						return
					}
				}
			})
			got, err := readAll(t, f, "a", 0, 1<<20)
			cancel()
			others.Wait()
			if err != nil || !bytes.Equal(got, data) || asked.Load() < 2 {
				t.Errorf("stream that lagged: %d bytes, %v, %d requests; want %d right bytes and more than one", len(got), err, asked.Load(), len(data))
			}
		})
	}
}

// stallWriter writes some bytes and then nothing until the client goes.
type stallWriter struct {
	http.ResponseWriter
	gone context.Context //nolint:containedctx // the request's, as long as it
}

func (s *stallWriter) Write(p []byte) (int, error) {
	_, _ = s.ResponseWriter.Write(p[:1000])
	_ = http.NewResponseController(s.ResponseWriter).Flush()
	<-s.gone.Done()
	return len(p), nil
}

// TestFileWithoutETag is what some servers have for files put behind their back.
func TestFileWithoutETag(t *testing.T) {
	fake, cfg := startFake(t)
	f := newFS(t, cfg)
	at := time.Unix(1_700_000_000, 0).UTC()
	fake.objects["a"] = object{data: []byte("data"), modified: at}
	if got, err := readAll(t, f, "a", 1, 2); err != nil || string(got) != "at" {
		t.Errorf("read = %q, %v, want %q", got, err, "at")
	}
	info, err := f.Stat(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	page, err := f.List(t.Context(), "", "", 10)
	if err != nil || len(page.Entries) != 1 || page.Entries[0] != info {
		t.Errorf("List = %+v, %v, want %+v", page, err, info)
	}
	fake.objects["a"] = object{data: []byte("DATA"), modified: at.Add(time.Second)}
	if _, err := f.Open(t.Context(), "a", info.Version, 0, 4); !errors.Is(err, ufs.ErrVersion) {
		t.Errorf("Open after a change: %v, want ufs.ErrVersion", err)
	}
}

func TestBytesAreNotDecoded(t *testing.T) {
	fake, cfg := startFake(t)
	f := newFS(t, cfg)
	fake.put("a.gz", []byte("\x1f\x8bnot really"))
	fake.intercept = func(w http.ResponseWriter, r *http.Request) bool {
		if isGet(r) {
			w.Header().Set("Content-Encoding", "gzip")
			if got := r.Header.Get("Accept-Encoding"); got != "identity" {
				t.Errorf("Accept-Encoding = %q, want identity", got)
			}
			if got := r.Header.Get("X-Amz-Checksum-Mode"); got != "" {
				t.Errorf("X-Amz-Checksum-Mode = %q, want none", got)
			}
		}
		return false
	}
	if got, err := readAll(t, f, "a.gz", 0, 12); err != nil || string(got) != "\x1f\x8bnot really" {
		t.Errorf("read = %q, %v, want the bytes as they are", got, err)
	}
}

// TestConnectionsAreReused reads many ranges: each must leave its connection usable.
func TestConnectionsAreReused(t *testing.T) {
	fake, cfg := startFake(t)
	f := newFS(t, cfg)
	fake.put("a", testData())
	clients := make(map[string]bool)
	fake.intercept = func(_ http.ResponseWriter, r *http.Request) bool {
		clients[r.RemoteAddr] = true
		return false
	}
	for i := range int64(20) {
		if _, err := readAll(t, f, "a", i*1000, 50_000); err != nil {
			t.Fatal(err)
		}
	}
	if len(clients) != 1 {
		t.Errorf("40 requests in a row took %d connections, want 1", len(clients))
	}
}
