package node

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-mesh/shoal"
)

// A watch gives up on a peer that brings nothing of a block: after limit if it is silent, after
// most if it goes on sending other blocks. What comes slowly for all is slow on its way, and a
// second request would only add to what is under way.
type watch struct {
	limit, most time.Duration
	peer        *pulse
	giveUp      func()

	mu    sync.Mutex // guards the fields below
	timer *time.Timer
	heard time.Time // when the last chunk of the block came, or the request went out
}

// begin says that the request has gone out.
func (w *watch) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard = time.Now()
	w.timer = time.AfterFunc(w.limit, w.look)
}

// chunk says that a chunk of the block has come.
func (w *watch) chunk() {
	now := time.Now()
	w.peer.beat(now)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard = now
	w.timer.Reset(w.limit)
}

// look gives up, or looks again when it may be time to.
func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	silent := min(now.Sub(w.heard), now.Sub(w.peer.last()))
	if rest := min(w.limit-silent, w.most-now.Sub(w.heard)); rest > 0 {
		w.timer.Reset(rest)
		return
	}
	w.giveUp()
}

// end ends the watch.
func (w *watch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
}

// A pulse is when a peer sent a chunk last, of any block.
type pulse struct {
	began time.Time
	at    atomic.Int64 // ns since it began
}

func (p *pulse) beat(now time.Time) { p.at.Store(int64(now.Sub(p.began))) }
func (p *pulse) last() time.Time    { return p.began.Add(time.Duration(p.at.Load())) }

// pulses are those of all peers. The zero value is ready.
type pulses struct {
	mu sync.Mutex // guards the field below
	of map[shoal.NodeID]*pulse
}

// peer returns the pulse of a peer.
func (p *pulses) peer(id shoal.NodeID) *pulse {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = make(map[shoal.NodeID]*pulse)
	}
	if p.of[id] == nil {
		p.of[id] = &pulse{began: time.Now()}
	}
	return p.of[id]
}

// patience returns how long a holder may bring nothing: twenty times what holders have
// taken lately for their first chunk, within bounds. Giving up too early sends the read to
// the UFS, which is what the mesh is there to spare.
func (r *Fetcher) patience() time.Duration {
	lately := time.Duration(r.latency.Load())
	if lately == 0 {
		return r.cfg.SlowPeer
	}
	return min(r.cfg.SlowPeer, max(r.cfg.SlowPeer/4, 20*lately))
}

// answered notes that a holder took this long for its first chunk.
func (r *Fetcher) answered(took time.Duration) {
	lately := r.latency.Load()
	r.latency.Store(lately + (int64(took)-lately)/8)
}
