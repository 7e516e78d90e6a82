package meshtest

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"
)

// proxyEnv makes the test binary run as the counting proxy: its value is a proxySpec.
const proxyEnv = "SHOAL_TEST_PROXY"

// A proxySpec says where the proxy listens and what stands behind it.
type proxySpec struct {
	Listen  string
	Target  string // URL of the S3 server
	Control string // unix socket that answers with the counts, and takes faults
}

// A tally is what the S3 server has sent.
type tally struct {
	Requests map[string]int // by kind: GET, HEAD, LIST, other
	Bytes    int64          // of objects, the bodies of GET
}

// A countingProxy stands before an S3 server and counts at its side.
type countingProxy struct {
	mu       sync.Mutex // guards the fields below
	tally    tally
	faults   []fault
	released chan struct{} // closed when the faults change: what they hold up goes on
}

// proxyMain serves until it is killed; it returns why it cannot.
func proxyMain(text string) error {
	var spec proxySpec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		return err
	}
	target, err := url.Parse(spec.Target)
	if err != nil {
		return err
	}
	p := &countingProxy{tally: tally{Requests: map[string]int{}}, released: make(chan struct{})}
	control, err := net.Listen("unix", spec.Control)
	if err != nil {
		return err
	}
	go func() { log.Print(http.Serve(control, http.HandlerFunc(p.control))) }()
	l, err := net.Listen("tcp", spec.Listen)
	if err != nil {
		return err
	}
	rp := &httputil.ReverseProxy{
		// The Host header stays: it is part of what the client signed.
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		ModifyResponse: p.count,
		BufferPool:     &buffers{},
		Transport:      &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true, ReadBufferSize: 256 << 10},
	}
	return http.Serve(l, p.hanging(rp))
}

// count counts a request by its kind and wraps the body to count what is sent.
func (p *countingProxy) count(resp *http.Response) error {
	kind := resp.Request.Method
	query := resp.Request.URL.Query()
	if kind == http.MethodGet && query.Has("list-type") {
		kind = "LIST"
	}
	p.mu.Lock()
	p.tally.Requests[kind]++
	p.mu.Unlock()
	if kind == http.MethodGet {
		resp.Body = p.stalling(&countedBody{resp.Body, p}, resp.Request)
	}
	return nil
}

// A countedBody counts the bytes of an object that went out.
type countedBody struct {
	io.ReadCloser
	proxy *countingProxy
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.proxy.mu.Lock()
	b.proxy.tally.Bytes += int64(n)
	b.proxy.mu.Unlock()
	return n, err
}

// control takes the faults it is sent, and answers with the counts.
func (p *countingProxy) control(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		p.misbehave(w, r)
		return
	}
	p.mu.Lock()
	t := tally{Requests: maps.Clone(p.tally.Requests), Bytes: p.tally.Bytes}
	p.mu.Unlock()
	_ = json.NewEncoder(w).Encode(t) // the test sees it when it cannot read the answer
}

// buffers lends the proxy's copy loop large buffers.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if buf, ok := b.pool.Get().(*[]byte); ok {
		return *buf
	}
	return make([]byte, 256<<10)
}

func (b *buffers) Put(buf []byte) { b.pool.Put(&buf) }

// counts returns what the proxy has counted so far.
func (l *lab) counts(t testing.TB) tally {
	t.Helper()
	resp, err := l.proxy().Get("http://proxy/")
	if err != nil {
		t.Fatalf("ask the proxy: %v", err)
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	var out tally
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		t.Fatalf("ask the proxy: %v", err)
	}
	return out
}

// proxy returns a client of the proxy's control socket.
func (l *lab) proxy() *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", l.control)
		},
	}}
}

// since returns what was sent after before was taken.
func (a tally) since(before tally) tally {
	d := tally{Requests: map[string]int{}, Bytes: a.Bytes - before.Bytes}
	for kind, n := range a.Requests {
		if n -= before.Requests[kind]; n != 0 {
			d.Requests[kind] = n
		}
	}
	return d
}

// startProxy runs the proxy in a namespace.
func (l *lab) startProxy(t testing.TB, listen, target string) {
	t.Helper()
	spec, err := json.Marshal(proxySpec{Listen: listen, Target: target, Control: l.control})
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := l.launch(t, "proxy", l.hub, []string{proxyEnv + "=" + string(spec)}, self)
	l.until(t, "the proxy answers", func() bool {
		if p.ended() {
			t.Fatalf("proxy ended:\n%s", p.log)
		}
		c, err := net.Dial("unix", l.control)
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
}
