package node

import (
	"cmp"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/node/trace"
	"github.com/shoal-mesh/shoal/replicas"
)

const (
	recorderQueues = 8
	queuedPieces   = 1024 // of each queue
	drainEvery     = 100 * time.Millisecond
	flushEvery     = 10 * time.Second // what a crash loses of a trace, at most

	visitIdle    = time.Second      // without a read, a visit is over
	visitLongest = 10 * time.Second // and after this in any case
	maxPending   = 1 << 16          // visits that are not written yet: 5 MiB
)

// A recorder records what readers are given, in traces for the simulator (policy.md §4.2,
// point 6): a record for each visit of an open file to a sampled block.
//
// A reader pays for a hash, and when its block is sampled for two looks at the clock and a
// place in a queue. When the one goroutine that writes does not keep up, what was read is
// dropped and counted: no reader waits for it. A nil recorder records nothing.
type recorder struct {
	share  float64
	costs  func() (near, far float64)
	began  time.Time
	log    *slog.Logger
	queues [recorderQueues]pieceQueue
	wake   chan struct{} // a queue is half full
	stop   chan struct{}
	close  func() // ends the goroutine, once
	ended  sync.WaitGroup

	off     atomic.Bool // nothing can be written any more
	failure atomic.Pointer[error]
	records atomic.Int64
	dropped atomic.Int64 // pieces

	// The rest belongs to the goroutine.
	out     *traceFiles
	batch   []piece
	pending []*visit // in the order they began to be known
	flushed time.Duration
	near    float64 // what costs returned when that was recorded last
}

// A piece is one read within one block.
type piece struct {
	by           *visitor
	block        uint64        // hash of the key
	begun, ended time.Duration // since the recorder began
	size, bytes  uint32        // of the block, and of these those read
	tier         shoal.Tier
}

// A pieceQueue holds pieces until the goroutine takes them.
type pieceQueue struct {
	mu     sync.Mutex // guards pieces
	pieces []piece
	spare  []piece  // empty; the goroutine's
	_      [72]byte // keeps the locks of two queues on different cache lines
}

// maxVisits is how many blocks one open file reads at once, as far as the recorder can tell.
const maxVisits = 4

// A visitor is what the recorder keeps of an open file.
type visitor struct {
	dataset string
	recent  [maxVisits]*visit // of the blocks it read last, the latest first; the goroutine's
}

// A visit is the reads of one block by one open file that make one record: the kernel cuts the
// reads of a sequential reader into up to a thousand pieces a block, in any order.
type visit struct {
	dataset string
	piece                 // the first one, with the bytes of all and the slowest tier; ended is the last one's
	known   time.Duration // when the first one ended
	latency time.Duration
	over    bool
}

// A sighting is a block about to be read; its zero value is one that is not recorded.
type sighting struct {
	block   uint64
	begun   time.Duration
	sampled bool
}

// newRecorder returns a recorder of this share of blocks that writes to out, and besides what
// reads cost by costs, whenever that changes. The caller must close it.
func newRecorder(out *traceFiles, share float64, costs func() (near, far float64), log *slog.Logger) *recorder {
	r := &recorder{share: share, costs: costs, began: time.Now(), log: log, wake: make(chan struct{}, 1), stop: make(chan struct{}), out: out}
	for i := range r.queues {
		r.queues[i].pieces, r.queues[i].spare = make([]piece, 0, queuedPieces), make([]piece, 0, queuedPieces)
	}
	r.close = sync.OnceFunc(func() { close(r.stop); r.ended.Wait() })
	r.ended.Go(r.run)
	return r
}

// see is called before a read of a block.
func (r *recorder) see(key shoal.Key) sighting {
	if r == nil {
		return sighting{}
	}
	block := replicas.HashKey(key)
	if !trace.Sampled(block, r.share) || r.off.Load() {
		return sighting{}
	}
	return sighting{block, time.Since(r.began), true}
}

// gave is called when a reader has been given bytes of a block of this size.
func (r *recorder) gave(s sighting, by *visitor, bytes, size int, tier shoal.Tier) {
	if !s.sampled {
		return
	}
	q := &r.queues[s.block%recorderQueues]
	p := piece{by, s.block, s.begun, time.Since(r.began), uint32(size), uint32(bytes), tier}
	q.mu.Lock()
	queued := len(q.pieces)
	if queued < cap(q.pieces) {
		q.pieces = append(q.pieces, p)
	}
	q.mu.Unlock()
	switch queued {
	case queuedPieces:
		r.dropped.Add(1)
	case queuedPieces / 2:
		select {
		case r.wake <- struct{}{}:
		default: // it is on its way
		}
	}
}

// run is the goroutine that writes.
func (r *recorder) run() {
	tick := time.NewTicker(drainEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.wake:
		case <-tick.C:
		case <-r.stop:
			r.collect()
			for _, v := range r.pending {
				v.over = true
			}
			r.settle(time.Since(r.began))
			r.check(r.out.close())
			return
		}
		r.collect()
		r.settle(time.Since(r.began))
		r.price(time.Now())
	}
}

// price records what reads cost, if that is another by a fiftieth.
func (r *recorder) price(now time.Time) {
	near, far := r.costs()
	if r.off.Load() || math.Abs(near-r.near) <= r.near/50 {
		return
	}
	r.near = near
	r.check(r.out.append(now, "", trace.Record{Op: trace.Costs, Bytes: uint32(near * 1e6), Size: uint32(far * 1e6)}))
}

// collect takes what is queued and adds it to the visits.
func (r *recorder) collect() {
	r.batch = r.batch[:0]
	for i := range r.queues {
		q := &r.queues[i]
		q.mu.Lock()
		q.pieces, q.spare = q.spare, q.pieces
		q.mu.Unlock()
		r.batch = append(r.batch, q.spare...)
		clear(q.spare) // it refers to files that may be closed by now
		q.spare = q.spare[:0]
	}
	slices.SortFunc(r.batch, func(a, b piece) int { return cmp.Compare(a.ended, b.ended) })
	for i := range r.batch {
		r.add(&r.batch[i])
	}
	clear(r.batch)
}

// add makes p part of a visit. An open file is within the last few blocks it read from; a visit
// ends when it has read elsewhere, has read as much as the block has, or has paused.
func (r *recorder) add(p *piece) {
	recent := &p.by.recent
	for i, v := range recent {
		if v != nil && v.block == p.block && v.takes(p) {
			v.extend(p)
			copy(recent[1:i+1], recent[:i])
			recent[0] = v
			return
		}
	}
	v := &visit{dataset: p.by.dataset, piece: *p, known: p.ended, latency: p.ended - p.begun, over: p.bytes >= p.size}
	v.by = nil // the file may be collected before the visit is
	r.pending = append(r.pending, v)
	if v.over {
		return
	}
	if left := recent[len(recent)-1]; left != nil {
		left.over = true
	}
	copy(recent[1:], recent[:])
	recent[0] = v
}

// takes reports whether p, of the same block and file, is still part of the visit.
func (v *visit) takes(p *piece) bool {
	return !v.over && v.bytes+p.bytes <= v.size && !v.paused(p.ended)
}

// paused reports whether no read after now is part of the visit.
func (v *visit) paused(now time.Duration) bool {
	return now-v.ended > visitIdle || now-v.known > visitLongest
}

func (v *visit) extend(p *piece) {
	v.bytes += p.bytes
	v.latency += p.ended - p.begun
	v.ended = p.ended
	v.tier = max(v.tier, p.tier)
	v.over = v.bytes >= v.size
}

// settle writes the visits that are over, up to the first one that is not: so records are in
// the order in which their first reads ended.
func (r *recorder) settle(now time.Duration) {
	done := 0
	for _, v := range r.pending {
		if !v.over && !v.paused(now) && len(r.pending)-done <= maxPending {
			break
		}
		v.over = true
		r.write(v)
		done++
	}
	r.pending = slices.Delete(r.pending, 0, done)
	if now-r.flushed >= flushEvery {
		r.flushed = now
		r.check(r.out.flush())
	}
}

// write writes the record of a visit.
func (r *recorder) write(v *visit) {
	if r.off.Load() {
		r.dropped.Add(1)
		return
	}
	r.records.Add(1)
	r.check(r.out.append(r.began.Add(v.begun), v.dataset, trace.Record{
		Block: v.block, Size: v.size, Bytes: v.bytes, Tier: v.tier,
		Latency: uint32(min(v.latency.Microseconds(), math.MaxUint32)),
	}))
}

// check ends the recording, for good and with one line in the log, if err is not nil.
func (r *recorder) check(err error) {
	if err == nil || !r.off.CompareAndSwap(false, true) {
		return
	}
	r.failure.Store(&err)
	r.log.Error("reads are not recorded any more, until a restart", "err", err)
}
