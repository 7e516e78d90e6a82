package node

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/node/peer"
	"github.com/shoal-mesh/shoal/replicas"
	"github.com/shoal-mesh/shoal/ufs"
)

var (
	errBadChunk = errors.New("chunk does not match its checksum")
	errClosed   = errors.New("the agent is shutting down")
)

// directory is what the read path asks of the replica directory.
type directory interface {
	// Locate says for each key who has it, or that the caller is to fill it, and then who is
	// to keep what the caller offers, as it will not.
	Locate(ctx context.Context, keys []shoal.Key, avoid []replicas.Avoid, offer *replicas.Offer) []replicas.Answer
	Add(key shoal.Key, sum shoal.Sum, limits replicas.Limits, class shoal.Class, leased bool)
	Drop(key shoal.Key, idle time.Duration)
	Renew(keys ...shoal.Key)
	Release(key shoal.Key)
}

// transfers brings blocks from peers, and calls them.
type transfers interface {
	Call(ctx context.Context, to shoal.NodeID, request []byte) ([]byte, error)
	Fetch(ctx context.Context, from shoal.NodeID, key shoal.Key, part peer.Part, sink peer.Sink) error
}

// sources finds the UFS behind an entry, and is told when a version there is gone.
type sources interface {
	FS(e shoal.Entry) ufs.FS
	Expire(id uint64)
}

// FetcherConfig holds the settings of a Fetcher. A zero field means its default.
type FetcherConfig struct {
	// InFlightBytes bounds the memory of blocks on their way that no reader waits for
	// yet (readahead). Default 256 MiB.
	InFlightBytes int64
	// SlowPeer is how long a holder may bring nothing before another source is tried, unless
	// it goes on sending other blocks; shorter when peers have been answering quickly. Default 2s.
	SlowPeer time.Duration
	// SlowFill is how long a filler may bring nothing, though it says that it is alive, or a
	// holder that sends other blocks, before another source is tried. Default 20s.
	SlowFill time.Duration
	// FailAgain is how long the UFS is not asked again for a block whose version it has no more, or
	// that it was asked for longer than that, and did not give for want of an answer. Default 1s.
	FailAgain time.Duration
	// Limits say how many replicas the mesh is to have of a dataset's blocks. Default: none.
	Limits func(dataset string) replicas.Limits
	// Near reports whether a node is of this one's zone. Default: all are.
	Near func(shoal.NodeID) bool
	// Logger receives a line for each block that could not be kept. Default: discard.
	Logger *slog.Logger
}

func (c FetcherConfig) withDefaults() FetcherConfig {
	if c.InFlightBytes == 0 {
		c.InFlightBytes = 256 << 20
	}
	if c.SlowPeer == 0 {
		c.SlowPeer = 2 * time.Second
	}
	if c.SlowFill == 0 {
		c.SlowFill = 20 * time.Second
	}
	if c.FailAgain == 0 {
		c.FailAgain = time.Second
	}
	if c.Limits == nil {
		c.Limits = func(string) replicas.Limits { return replicas.Limits{} }
	}
	if c.Near == nil {
		c.Near = func(shoal.NodeID) bool { return true }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// A Fetcher brings blocks to this node, once each however many readers want them: from a
// holder, from the node that is filling the block, or, on a lease of the block's home,
// from the UFS. What arrives is kept in the store and announced.
//
// The mesh is never a reason for a read to fail: when a peer or a home does not answer,
// the next one is asked, and in the end the UFS.
type Fetcher struct {
	where   directory
	peers   transfers
	store   blocks
	sources sources
	cfg     FetcherConfig
	bufs    *buffers
	stats   fetchStats
	costs   costs
	latency atomic.Int64 // of a peer's first chunk: moving average in ns
	pulses  pulses

	draining atomic.Bool // the node is to leave: it stores nothing more

	mu       sync.Mutex // guards the fields below
	flights  map[shoal.Key]*fetch
	failures failures
	takes    map[*fetch]bool // blocks offered by peers, on their way here
	closed   bool
	wg       sync.WaitGroup
}

// NewFetcher returns a Fetcher. The caller must Close it.
func NewFetcher(where directory, peers transfers, store blocks, from sources, cfg FetcherConfig) *Fetcher {
	return &Fetcher{
		where: where, peers: peers, store: store, sources: from, cfg: cfg.withDefaults(),
		bufs: newBuffers(), flights: make(map[shoal.Key]*fetch), takes: make(map[*fetch]bool),
	}
}

// Close gives up all fetches and waits for them to end.
func (r *Fetcher) Close() {
	r.mu.Lock()
	r.closed = true
	for _, ft := range r.flights {
		ft.cancel()
	}
	for ft := range r.takes {
		ft.cancel()
	}
	r.mu.Unlock()
	r.wg.Wait()
	r.bufs.close()
}

// want returns a fetch for each part of the entry's blocks, started where none runs yet; one
// lookup goes out for all that start. The other chunks of a block may not be fetched when nobody
// is to keep it. It is nil for a block that the store has by now, unless force. The caller
// releases each.
func (r *Fetcher) want(e shoal.Entry, force bool, parts ...part) []*fetch {
	if len(parts) == 0 {
		return nil
	}
	out := make([]*fetch, len(parts))
	var started []*fetch
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, p := range parts {
		key := shoal.Key{File: e.File, Index: p.index}
		if ft := r.flights[key]; ft != nil && ft.acquire(ft.clip(p.span)) {
			out[i] = ft
			continue
		}
		// A fetch stores its block before it leaves the table, so this look is exact.
		if !force && r.store.Has(key) {
			continue
		}
		out[i] = r.newFetch(e, key, p.span)
		if err := r.refusal(key); err != nil {
			out[i].finish(err)
			out[i].retire()
			continue
		}
		r.flights[key] = out[i]
		started = append(started, out[i])
	}
	if len(started) > 0 {
		ctx, cancel := context.WithCancel(context.Background())
		r.start(ctx, cancel, started)
	}
	return out
}

// refusal returns why no fetch of a block is to start, nil if one is. The lock is held.
func (r *Fetcher) refusal(key shoal.Key) error {
	if r.closed {
		return errClosed
	}
	return r.failures.of(key, time.Now().Add(-r.cfg.FailAgain))
}

// newFetch returns a fetch with one reader, of some chunks, and, yet, no memory.
func (r *Fetcher) newFetch(e shoal.Entry, key shoal.Key, chunks span) *fetch {
	length := shoal.BlockLen(e.Info.Size, key.Index)
	r.stats.inFlight.Add(int64(length))
	ft := &fetch{
		key: key, entry: e, length: length, sums: make([]shoal.Sum, shoal.Chunks(length)),
		cancel: func() {}, free: func() { r.stats.inFlight.Add(-int64(length)) }, readers: 1, running: true,
	}
	ft.span = ft.whole()
	ft.wish, ft.taken = ft.clip(chunks), make(chan struct{})
	return ft
}

// allocate gives a fetch its memory, and says how to give it back.
func (r *Fetcher) allocate(ft *fetch) {
	if n := ft.bytes(); n <= shoal.BlockSize/4 {
		ft.buf = make([]byte, n)
		return
	}
	b, uncount := r.bufs.get(), ft.free
	ft.buf = b.data[:ft.bytes()]
	ft.free = func() {
		uncount()
		r.bufs.put(b)
	}
}

// start locates the blocks together and then fetches them side by side. The lookup is
// given up only when nobody wants any of them any more.
func (r *Fetcher) start(ctx context.Context, cancel context.CancelFunc, started []*fetch) {
	keys := make([]shoal.Key, len(started))
	runs := make([]func(replicas.Answer), len(started))
	var wanted atomic.Int32
	wanted.Store(int32(len(started)))
	for i, ft := range started {
		keys[i] = ft.key
		runs[i] = r.prepare(ctx, ft, func() {
			if wanted.Add(-1) == 0 {
				cancel()
			}
		})
	}
	r.wg.Go(func() {
		answers := r.where.Locate(ctx, keys, nil, r.weigh(started))
		for i, run := range runs[1:] {
			r.wg.Go(func() { run(answers[i+1]) })
		}
		runs[0](answers[0])
	})
}

// prepare gives a fetch a context of its own, and returns what runs it. ended is called
// once, when the fetch is over or given up.
func (r *Fetcher) prepare(ctx context.Context, ft *fetch, ended func()) func(replicas.Answer) {
	ctx, stop := context.WithCancel(ctx)
	once := sync.OnceFunc(ended)
	ft.cancel = func() {
		stop()
		once()
	}
	return func(first replicas.Answer) { r.run(ctx, ft, first) }
}

// run brings one block here, keeps it and announces it.
func (r *Fetcher) run(ctx context.Context, ft *fetch, first replicas.Answer) {
	began := time.Now()
	r.admit(ctx, ft, first)
	r.allocate(ft)
	err := r.bring(ctx, ft, first)
	if err == nil {
		r.settle(ctx, ft)
	} else {
		r.stats.failed(err)
	}
	r.mu.Lock()
	mine := r.flights[ft.key] == ft
	if mine {
		delete(r.flights, ft.key)
	}
	if ctx.Err() == nil {
		now := time.Now()
		r.failures.add(ft.key, err, began, now, now.Add(-r.cfg.FailAgain))
	}
	r.mu.Unlock()
	if err != nil && ctx.Err() == nil && mine {
		// A fetch that was given up keeps its lease instead: a Release could end that of
		// the fetch that took its place. Whoever is sent here finds out, and asks again.
		r.where.Release(ft.key)
	}
	ft.finish(err)
	ft.cancel()
	ft.retire()
}

// served notes that somebody has read a part of a block. If it is to stay in the mesh, the rest
// comes in, too, when the reader leaves: else it would be fetched in part again and again. Where
// there is no room, it does not.
func (r *Fetcher) served(ft *fetch) {
	if ft.stays.Load() && r.room() > 0 {
		ft.linger()
	}
}

// room returns how many more blocks may be in memory without a reader waiting for them.
func (r *Fetcher) room() uint32 {
	return uint32(max(0, r.cfg.InFlightBytes-r.stats.inFlight.Load()) / shoal.BlockSize)
}
