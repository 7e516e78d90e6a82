package meshtest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// A fault makes the proxy hold up answers about some keys, until it is given other faults.
type fault struct {
	Keys  string // their prefix; of listings too
	After int64  // how much of an object is sent first; 0: not even the header of the answer
	Times int    // of how many answers; 0: of all

	struck int // answers it has held up
}

// misbehave has the proxy do as it is told from now on, and lets go on what was held up.
func (l *lab) misbehave(t testing.TB, faults ...fault) {
	t.Helper()
	text, err := json.Marshal(faults)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := l.proxy().Post("http://proxy/", "application/json", bytes.NewReader(text))
	if err != nil {
		t.Fatalf("tell the proxy: %v", err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("tell the proxy: %s, %v", resp.Status, err)
	}
}

// misbehave takes the faults of a request.
func (p *countingProxy) misbehave(w http.ResponseWriter, r *http.Request) {
	var faults []fault
	if err := json.NewDecoder(r.Body).Decode(&faults); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = faults
	close(p.released)
	p.released = make(chan struct{})
}

// hanging is next behind the faults that send nothing at all.
func (p *countingProxy) hanging(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, released := p.strike(r, false); released != nil {
			select {
			case <-released:
			case <-r.Context().Done():
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// stalling is body, behind the faults that send a part of it.
func (p *countingProxy) stalling(body io.ReadCloser, r *http.Request) io.ReadCloser {
	after, released := p.strike(r, true)
	if released == nil {
		return body
	}
	return &stallingBody{ReadCloser: body, left: after, released: released, gone: r.Context().Done()}
}

// strike returns what is to happen to a request: released is nil for nothing.
func (p *countingProxy) strike(r *http.Request, amid bool) (after int64, released <-chan struct{}) {
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if prefix := r.URL.Query().Get("prefix"); prefix != "" {
		key = prefix
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.faults {
		f := &p.faults[i]
		if !strings.HasPrefix(key, f.Keys) || amid != (f.After > 0) || f.Times > 0 && f.struck == f.Times {
			continue
		}
		f.struck++
		return f.After, p.released
	}
	return 0, nil
}

// A stallingBody stops for a while when so much of it has been read.
type stallingBody struct {
	io.ReadCloser
	left     int64
	released <-chan struct{}
	gone     <-chan struct{}
}

func (b *stallingBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		select {
		case <-b.released:
		case <-b.gone:
		}
		return b.ReadCloser.Read(p)
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
