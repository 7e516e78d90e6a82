package s3_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal/ufs"
	"github.com/shoal-mesh/shoal/ufs/s3"
	"github.com/shoal-mesh/shoal/ufs/ufstest"
)

func TestErrors(t *testing.T) {
	tests := []struct {
		status int
		code   string
		want   error  // of every call
		cure   string // what Check advises
	}{
		{403, "AccessDenied", fs.ErrPermission, "s3:ListBucket"},
		{403, "InvalidAccessKeyId", fs.ErrPermission, "does not know the access key"},
		{403, "SignatureDoesNotMatch", fs.ErrPermission, "secret key"},
		{403, "RequestTimeTooSkewed", fs.ErrPermission, "clock"},
		{400, "ExpiredToken", fs.ErrPermission, "renew"},
		{404, "NoSuchBucket", ufs.ErrUnavailable, "create the bucket"},
		{404, "XAdminUserNotFound", fs.ErrPermission, "does not know the access key"},
		{404, "PageNotFound", ufs.ErrUnavailable, "S3 server"},
		{500, "InternalError", ufs.ErrUnavailable, "try again later"},
		{503, "SlowDown", ufs.ErrUnavailable, "try again later"},
		{502, "", ufs.ErrUnavailable, "try again later"},
		{301, "PermanentRedirect", nil, "region"},
		{400, "AuthorizationHeaderMalformed", nil, "region"},
	}
	kinds := []error{fs.ErrPermission, fs.ErrNotExist, fs.ErrInvalid, ufs.ErrUnavailable, ufs.ErrVersion}
	for _, tt := range tests {
		t.Run(tt.code, func(t *testing.T) {
			fake, cfg := startFake(t)
			cfg.Attempts = 1
			f := newFS(t, cfg)
			fake.intercept = func(w http.ResponseWriter, _ *http.Request) bool {
				fail(w, tt.status, tt.code)
				return true
			}
			_, statErr := f.Stat(t.Context(), "")
			_, listErr := f.List(t.Context(), "a", "", 10)
			_, openErr := f.Open(t.Context(), "a", "v", 0, 10)
			checkErr := f.Check(t.Context())
			for op, err := range map[string]error{"Stat": statErr, "List": listErr, "Open": openErr, "Check": checkErr} {
				for _, kind := range kinds {
					if err == nil || errors.Is(err, kind) != (kind == tt.want) { //nolint:errorlint // which of kinds
						t.Errorf("%s: %v, want only %v", op, err, tt.want)
					}
				}
			}
			if checkErr == nil || !strings.Contains(checkErr.Error(), tt.cure) || !strings.Contains(checkErr.Error(), tt.code) {
				t.Errorf("Check: %v, want %q and the cure %q", checkErr, tt.code, tt.cure)
			}
		})
	}
}

func TestRetries(t *testing.T) {
	for code, status := range map[string]int{"SlowDown": 503, "InternalError": 500} {
		fake, cfg := startFake(t)
		f := newFS(t, cfg)
		fake.put("a", testData())
		n := 0
		fake.intercept = func(w http.ResponseWriter, _ *http.Request) bool {
			if n++; n%2 == 1 {
				fail(w, status, code)
			}
			return n%2 == 1
		}
		if got, err := readAll(t, f, "a", 0, 1000); err != nil || len(got) != 1000 || n != 4 {
			t.Errorf("read with each request refused once (%s): %d bytes after %d requests, %v, want 1000 after 4", code, len(got), n, err)
		}
	}
}

// TestRetriesAfterOutage makes requests again after many have failed for good, and others went well.
func TestRetriesAfterOutage(t *testing.T) {
	fake, cfg := startFake(t)
	f := newFS(t, cfg)
	fake.put("a", testData())
	info, err := f.Stat(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	down, failed := true, 0
	fake.intercept = func(w http.ResponseWriter, _ *http.Request) bool {
		if down {
			failed++
			fail(w, http.StatusInternalServerError, "InternalError")
		}
		return down
	}
	for range 60 {
		if _, err := readRange(t.Context(), f, "a", info.Version, 0, 10); err == nil {
			t.Fatal("read of a server that fails: no error")
		}
	}
	down = false
	for range 200 {
		if _, err := readRange(t.Context(), f, "a", info.Version, 0, 10); err != nil {
			t.Fatal(err)
		}
	}
	once := true
	fake.intercept = func(w http.ResponseWriter, _ *http.Request) bool {
		refuse := once
		if once = false; refuse {
			fail(w, http.StatusInternalServerError, "InternalError")
		}
		return refuse
	}
	if _, err := readRange(t.Context(), f, "a", info.Version, 0, 10); err != nil || once {
		t.Errorf("read with one request refused, after an outage (%d refusals): %v", failed, err)
	}
}

func TestNoAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0") // connects, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	closed := l.Addr().String()
	_ = l.Close()
	for _, endpoint := range []string{"http://" + closed, "http://" + silent.Addr().String(), "https://" + closed} {
		f := newFS(t, s3.Config{
			Bucket: "bkt", Endpoint: endpoint, AccessKey: "k", SecretKey: "s",
			Attempts: 2, MaxBackoff: time.Millisecond, HeaderTimeout: 50 * time.Millisecond, ConnectTimeout: time.Second,
		})
		_, statErr := f.Stat(t.Context(), "a")
		_, openErr := f.Open(t.Context(), "a", "v", 0, 10)
		checkErr := f.Check(t.Context())
		for op, err := range map[string]error{"Stat": statErr, "Open": openErr, "Check": checkErr} {
			if !errors.Is(err, ufs.ErrUnavailable) || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s at %s: %v, want ufs.ErrUnavailable", op, endpoint, err)
			}
		}
		if !strings.Contains(checkErr.Error(), "check the endpoint's address") {
			t.Errorf("Check at %s: %v, want the cure", endpoint, checkErr)
		}
	}
}

func TestNotS3(t *testing.T) {
	fake, cfg := startFake(t)
	f := newFS(t, cfg)
	fake.intercept = func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = w.Write([]byte("<html><body>Welcome<br></body>"))
		return true
	}
	if err := f.Check(t.Context()); err == nil {
		t.Errorf("Check of a web server: no error")
	}
}

func TestCallTimeout(t *testing.T) {
	fake, cfg := startFake(t)
	cfg.CallTimeout, cfg.Attempts = 50*time.Millisecond, 1
	f := newFS(t, cfg)
	fake.intercept = func(_ http.ResponseWriter, r *http.Request) bool {
		<-r.Context().Done()
		return true
	}
	_, err := f.Stat(t.Context(), "a")
	if !errors.Is(err, ufs.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Stat without an answer: %v, want ufs.ErrUnavailable and not the caller's deadline", err)
	}
}

func TestConfig(t *testing.T) {
	bad := []s3.Config{
		{},
		{Bucket: "a/b"},
		{Bucket: "b", Prefix: "a/../b"},
		{Bucket: "b", Endpoint: "10.0.0.5:9000"},
		{Bucket: "b", Endpoint: "ftp://host"},
		{Bucket: "b", AccessKey: "k"},
		{Bucket: "b", AccessKey: "k", SecretKey: "s", Anonymous: true},
		{Bucket: "b", Attempts: -1},
		{Bucket: "b", StallTimeout: -1},
	}
	for _, cfg := range bad {
		if _, err := s3.New(t.Context(), cfg); err == nil {
			t.Errorf("New(%+v): no error", cfg)
		}
	}
	tests := []struct {
		cfg  s3.Config
		want string
	}{
		{s3.Config{Bucket: "b", Anonymous: true}, "s3://b"},
		{s3.Config{Bucket: "b", Anonymous: true, Prefix: "/x/y/"}, "s3://b/x/y"},
		{s3.Config{Bucket: "b", Anonymous: true, Prefix: "x", Endpoint: "http://host:9000/"}, "s3://b/x@host:9000"},
	}
	for _, tt := range tests {
		if got := newFS(t, tt.cfg).Address(); got != tt.want {
			t.Errorf("Address() = %q, want %q", got, tt.want)
		}
	}
}

// TestServer is what only a real server can show.
func TestServer(t *testing.T) {
	server := ufstest.StartS3(t, ufstest.S3Config{})
	good := serverConfig(server)
	good.MaxBackoff = time.Millisecond
	f := newFS(t, good)
	if err := f.Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
	wrongSecret, wrongKey, wrongBucket := good, good, good
	wrongSecret.SecretKey, wrongKey.AccessKey, wrongBucket.Bucket = "wrong", "wrong", "no-such-bucket"
	tests := []struct {
		name string
		cfg  s3.Config
		want error
		text string
	}{
		{"wrong secret key", wrongSecret, fs.ErrPermission, "secret key"},
		{"wrong access key", wrongKey, fs.ErrPermission, "access key"},
		{"missing bucket", wrongBucket, ufs.ErrUnavailable, "bucket does not exist"},
	}
	for _, tt := range tests {
		if err := newFS(t, tt.cfg).Check(t.Context()); !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("Check with %s: %v, want %v that says %q", tt.name, err, tt.want, tt.text)
		}
	}
	if err := os.WriteFile(filepath.Join(server.Dir, "shoal", "behind"), []byte("its back"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := readAll(t, f, "behind", 4, 4); err != nil || string(got) != "back" {
		t.Errorf("read of a file without an ETag = %q, %v, want %q", got, err, "back")
	}
	server.Stop()
	if _, err := f.Stat(t.Context(), "behind"); !errors.Is(err, ufs.ErrUnavailable) {
		t.Errorf("Stat without the server: %v, want ufs.ErrUnavailable", err)
	}
	server.Start(t)
	if info, err := f.Stat(t.Context(), "behind"); err != nil || info.Size != 8 {
		t.Errorf("Stat when the server is back = %+v, %v, want 8 bytes", info, err)
	}
}
