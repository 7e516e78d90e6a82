package node

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/shoal-mesh/shoal/node/config"
)

// admin serves the admin API: on a unix socket to the user who runs the agent, and on TCP
// to scrapers and, with the token, to everybody.
type admin struct {
	servers []*http.Server
	wg      sync.WaitGroup
}

func (a *Agent) openAdmin(context.Context) error {
	token, err := a.cfg.AdminToken()
	if err != nil {
		return err
	}
	mux := a.routes()
	socket, err := listenUnix(a.cfg.Admin.Socket)
	if err != nil {
		return err
	}
	adm := &admin{}
	a.admin = adm
	a.onClose("admin", adm.close)
	adm.serve(socket, mux, a.log)
	if a.cfg.Listen.Admin == config.AdminOff {
		return nil
	}
	tcp, err := net.Listen("tcp", a.cfg.Listen.Admin)
	if err != nil {
		return fmt.Errorf("listen.admin: %w: free the port or choose another", err)
	}
	adm.serve(tcp, guard(mux, token), a.log)
	return nil
}

// listenUnix listens at path for this user alone. What a dead agent left there is removed;
// a live one is left alone.
func listenUnix(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("admin.socket: %w", err)
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = c.Close() // only to see that somebody answers
		return nil, fmt.Errorf("admin.socket: an agent is already serving at %s: stop it, or choose another socket", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("admin.socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("admin.socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (s *admin) serve(l net.Listener, h http.Handler, logger *slog.Logger) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn)}
	s.servers = append(s.servers, srv)
	s.wg.Go(func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("admin API ended", "err", err)
		}
	})
}

func (s *admin) close() error {
	var errs []error
	for _, srv := range s.servers {
		errs = append(errs, srv.Close())
	}
	s.wg.Wait()
	return errors.Join(errs...)
}

// guard asks for the token before anything under /v1; health and metrics are open.
func guard(h http.Handler, token string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if token != "" && strings.HasPrefix(r.URL.Path, "/v1/") && subtle.ConstantTimeCompare([]byte(given), []byte(token)) != 1 {
			http.Error(w, "the admin token is missing or wrong", http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func (a *Agent) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { writeText(w, "alive\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := a.ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		writeText(w, "ready\n")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.metrics(), promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, r *http.Request) { reply(w, a.Status(r.Context()), nil) })
	mux.HandleFunc("GET /v1/stat", func(w http.ResponseWriter, r *http.Request) {
		s, err := a.Stat(r.Context(), r.FormValue("path"))
		reply(w, s, err)
	})
	mux.HandleFunc("GET /v1/ls", func(w http.ResponseWriter, r *http.Request) {
		limit, err := strconv.Atoi(r.FormValue("limit"))
		if err != nil || limit < 1 || limit > maxList {
			limit = maxList
		}
		l, err := a.List(r.Context(), r.FormValue("path"), r.FormValue("after"), limit)
		reply(w, l, err)
	})
	mux.HandleFunc("GET /v1/file", a.serveFile)
	return mux
}

// maxList is how many entries one page of /v1/ls has at most.
const maxList = 10_000

// serveFile streams a file, or the ranges asked for, through the read path.
func (a *Agent) serveFile(w http.ResponseWriter, r *http.Request) {
	e, err := a.names.Resolve(r.Context(), r.FormValue("path"))
	if err != nil {
		reply(w, nil, err)
		return
	}
	f, err := a.files.Open(e)
	if err != nil {
		reply(w, nil, err)
		return
	}
	defer func() { _ = f.Close() }() // a reader's Close loses nothing
	w.Header().Set("Etag", strconv.Quote(e.File.String()))
	w.Header().Set("Content-Type", "application/octet-stream")
	at := readerAt(func(p []byte, off int64) (int, error) { return f.ReadAt(r.Context(), p, off) })
	http.ServeContent(w, r, "", e.Info.ModTime, io.NewSectionReader(at, 0, e.Info.Size))
}

// readerAt makes an io.ReaderAt of a File's ReadAt, which ends without an io.EOF.
type readerAt func(p []byte, off int64) (int, error)

func (f readerAt) ReadAt(p []byte, off int64) (int, error) {
	n, err := f(p, off)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// An APIError is the body of every answer of the admin API that is not a success.
type APIError struct {
	Error string `json:"error"`
}

// reply writes v as JSON, or err with the status that fits it.
func reply(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(httpStatus(err))
		v = APIError{err.Error()}
	}
	// An error here is the caller's hanging up.
	_ = json.NewEncoder(w).Encode(v)
}

func writeText(w io.Writer, s string) { _, _ = io.WriteString(w, s) } // as in reply

// httpStatus maps an error from below to what an HTTP caller is told. It is the only such
// table; unknown errors become 500.
func httpStatus(err error) int {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return http.StatusNotFound
	case errors.Is(err, fs.ErrPermission):
		return http.StatusForbidden
	case errors.Is(err, fs.ErrInvalid):
		return http.StatusBadRequest
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}
