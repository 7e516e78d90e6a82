package node

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

func TestGuard(t *testing.T) {
	open := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	tests := []struct {
		token, path, header string
		want                int
	}{
		{"", "/healthz", "", 200},
		{"", "/metrics", "", 200},
		{"", "/v1/status", "", 401},
		{"", "/v1/file", "Bearer ", 401},
		{"secret", "/readyz", "", 200},
		{"secret", "/v1/status", "", 401},
		{"secret", "/v1/status", "Bearer wrong", 401},
		{"secret", "/v1/status", "Bearer secret", 200},
	}
	for _, tt := range tests {
		r := httptest.NewRequest(http.MethodGet, tt.path, nil)
		if tt.header != "" {
			r.Header.Set("Authorization", tt.header)
		}
		w := httptest.NewRecorder()
		guard(open, tt.token).ServeHTTP(w, r)
		if w.Code != tt.want {
			t.Errorf("guard(token %q) of %s with %q = %d, want %d", tt.token, tt.path, tt.header, w.Code, tt.want)
		}
	}
}

func TestListenUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "admin.sock")
	l, err := listenUnix(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket has mode %v, %v, want 0600", info.Mode(), err)
	}
	if _, err := listenUnix(t.Context(), path); err == nil {
		t.Error("a live agent's socket was taken over")
	}
	// A dead agent's socket stays behind, and is no obstacle.
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := listenUnix(t.Context(), path)
	if err != nil {
		t.Fatalf("over a dead agent's socket: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
