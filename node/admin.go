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
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal/node/config"
	"github.com/shoal-mesh/shoal/ufs"
)

// admin serves the admin API: on a unix socket to the user who runs the agent, and on TCP
// health and metrics to scrapers and, with the token, everything.
type admin struct {
	token     string
	listeners []net.Listener
	servers   []*http.Server
	wg        sync.WaitGroup
}

// bindAdmin takes the addresses, so that a busy one is found out before the agent joins.
func (a *Agent) bindAdmin(ctx context.Context) error {
	token, err := a.cfg.AdminToken()
	if err != nil {
		return err
	}
	a.admin = &admin{token: token}
	a.onClose("admin", a.admin.close)
	socket, err := listenUnix(ctx, a.cfg.Admin.Socket)
	if err != nil {
		return fmt.Errorf("admin.socket: %w", err)
	}
	a.admin.listeners = append(a.admin.listeners, socket)
	if a.cfg.Listen.Admin == config.AdminOff {
		return nil
	}
	tcp, err := net.Listen("tcp", a.cfg.Listen.Admin)
	if err != nil {
		return fmt.Errorf("listen.admin: %w: free the port or choose another", err)
	}
	a.admin.listeners = append(a.admin.listeners, tcp)
	return nil
}

// serveAdmin begins to answer, once the agent serves: who asks before that waits.
func (a *Agent) serveAdmin(context.Context) error {
	mux := a.routes()
	for _, l := range a.admin.listeners {
		if l.Addr().Network() == "unix" {
			a.admin.serve(l, mux, a.log)
			continue
		}
		a.admin.serve(l, guard(mux, a.admin.token), a.log)
	}
	return nil
}

// listenUnix listens at path for this user alone. The socket that a dead agent left there
// is removed; anything else there is left alone.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode()&fs.ModeSocket == 0:
		return nil, fmt.Errorf("%s is not a socket: choose another path", path)
	default:
		c, err := net.DialTimeout("unix", path, time.Second)
		if err == nil {
			_ = c.Close() // only to see that somebody answers
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("an agent is already serving at %s: stop it, or choose another socket", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	// The socket has its mode before it has its name, so that nobody slips in between.
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }), err)
	}}
	return lc.Listen(ctx, "unix", path)
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

// close ends the servers, requests that run first, and gives the addresses back.
func (s *admin) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for _, srv := range s.servers {
		if srv.Shutdown(ctx) != nil {
			_ = srv.Close() // takes the connections from those that would not end
		}
	}
	s.wg.Wait()
	for _, l := range s.listeners {
		_ = l.Close() // those that were served are closed already
	}
	return nil
}

// guard asks for the token before anything under /v1, which nobody gets where there is no
// token: any user of the machine could read every file. Health and metrics are open.
func guard(h http.Handler, token string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if strings.HasPrefix(r.URL.Path, "/v1/") && (token == "" || subtle.ConstantTimeCompare([]byte(given), []byte(token)) != 1) {
			http.Error(w, "the admin token is missing or wrong; without admin.token_file use the unix socket", http.StatusUnauthorized)
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
		limit := maxList
		if text := r.FormValue("limit"); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 || n > maxList {
				reply(w, nil, fmt.Errorf("limit %q is not 1 to %d: %w", text, maxList, fs.ErrInvalid))
				return
			}
			limit = n
		}
		l, err := a.List(r.Context(), r.FormValue("path"), r.FormValue("after"), limit)
		reply(w, l, err)
	})
	mux.HandleFunc("GET /v1/file", a.serveFile)
	mux.HandleFunc("GET /v1/drain", func(w http.ResponseWriter, _ *http.Request) { reply(w, a.DrainStatus(), nil) })
	mux.HandleFunc("POST /v1/drain", func(w http.ResponseWriter, _ *http.Request) {
		s, err := a.Drain()
		reply(w, s, err)
	})
	mux.HandleFunc("DELETE /v1/drain", func(w http.ResponseWriter, _ *http.Request) {
		s, err := a.Undrain()
		reply(w, s, err)
	})
	mux.HandleFunc("POST /v1/free", func(w http.ResponseWriter, r *http.Request) {
		s, err := a.Free(r.Context(), r.FormValue("path"))
		reply(w, s, err)
	})
	mux.HandleFunc("POST /v1/sync", func(w http.ResponseWriter, r *http.Request) {
		s, err := a.Sync(r.Context(), r.FormValue("path"))
		reply(w, s, err)
	})
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
	case errors.Is(err, fs.ErrInvalid), errors.Is(err, syscall.ENOTDIR), errors.Is(err, errNotDraining):
		return http.StatusBadRequest
	case errors.Is(err, ufs.ErrUnavailable):
		return http.StatusServiceUnavailable
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}
