package replicas

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-mesh/shoal"
)

// Caller is what a Runner needs of the network.
type Caller interface {
	// Call sends request to a node's HandleCall and returns its answer. The callee owns
	// request, the caller the answer.
	Call(ctx context.Context, to shoal.NodeID, request []byte) ([]byte, error)
}

// Holdings is what a Runner needs of the block store.
type Holdings interface {
	// Keys yields every visible block with its BlockSum. Puts and evictions may go on
	// meanwhile: a block that is visible all the time must be yielded.
	Keys() iter.Seq2[shoal.Key, shoal.Sum]
	// Has reports whether the block is visible.
	Has(key shoal.Key) bool
	// Stand takes in what the node's replica of the block is worth, and whether the node is
	// its keeper; and, unless credit is zero, that a replica elsewhere has gone which had not
	// been read for that long. It reports false when the block is not here. A block the node
	// has resigned from may go when it is told that it is no keeper; but if it is worth more
	// than at any time since it resigned, as the other replicas have gone, that is to be
	// decided anew: else two nodes that evict the same block at once would both drop it. Of a
	// replica that survived a restart nothing is known: it is Untold. Stand may call Drop and
	// Resign, but not Add.
	Stand(key shoal.Key, s shoal.Standing, credit time.Duration) bool
}

// Fronts is what a Runner needs to tell other nodes what this one would give up next.
type Fronts interface {
	// Frontier returns it. It is asked for about once a second.
	Frontier() shoal.Frontier
}

// A Runner drives the Core of one node: it has the clock, the lock, the network and the
// goroutines, and takes no decision. All its methods may be called concurrently.
type Runner struct {
	self     shoal.NodeID
	caller   Caller
	holdings Holdings
	cfg      Config
	start    time.Time
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	wake  chan struct{} // an outbox has messages, or the core wants a scan or has checks
	moved chan struct{} // a batch was acknowledged: a scan that waits for room may go on
	table atomic.Pointer[Table]

	frontedAt time.Time // when the node's frontier was taken in; used by run alone

	suspects suspects
	counts   counters

	orders sync.Mutex // held while orders are carried out; taken before mu

	mu     sync.Mutex // guards the fields below; never held over a call
	core   *Core
	outbox map[shoal.NodeID]*outbox
	closed bool
}

// New returns a running Runner for node self. It knows nobody until SetMembers. The
// caller must Close it.
func New(self shoal.NodeID, caller Caller, holdings Holdings, cfg Config) (*Runner, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("replicas: config: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &Runner{
		self: self, caller: caller, holdings: holdings, cfg: cfg, start: time.Now(), cancel: cancel,
		wake: make(chan struct{}, 1), moved: make(chan struct{}, 1),
		core: NewCore(self, cfg.rules()), outbox: make(map[shoal.NodeID]*outbox),
	}
	r.table.Store(r.core.Table())
	r.wg.Go(func() { r.run(ctx) })
	return r, nil
}

// SetMembers makes members, in any order, the membership r acts under. It must include
// the node itself. A call that brings the view r has is cheap.
func (r *Runner) SetMembers(members []shoal.Member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.core.SetMembers(r.now(), members)
	r.follow()
	r.post(out)
}

// follow takes in the table of the core if it is another than it was. The lock is held.
func (r *Runner) follow() {
	t := r.core.Table()
	if t == r.table.Load() {
		return
	}
	r.cfg.Logger.Debug("view changed", "view", fmt.Sprintf("%016x", uint64(t.View())), "members", len(t.Members()))
	for id, box := range r.outbox {
		if _, ok := t.Member(id); !ok {
			box.queue = nil
			if !box.busy {
				delete(r.outbox, id)
			}
		}
	}
	r.table.Store(t)
	r.suspects.reset()
	r.signal(r.wake)
}

// lookAhead takes in the node's frontier about once a second.
func (r *Runner) lookAhead() {
	if r.cfg.Frontier == nil || time.Since(r.frontedAt) < time.Second {
		return
	}
	r.frontedAt = time.Now()
	f := r.cfg.Frontier.Frontier() // may take the locks of those who call this Runner
	r.mu.Lock()
	defer r.mu.Unlock()
	r.core.SetFrontier(r.now(), f)
}

// Add announces that the node holds key, as a keeper, and how many replicas its dataset
// wants; class is what the replica counts as until its home has said what it is worth, and
// leased says that the node had the lease to fill it. Call it after the block has become
// visible.
func (r *Runner) Add(key shoal.Key, sum shoal.Sum, limits Limits, class shoal.Class, leased bool) {
	r.orders.Lock()
	defer r.orders.Unlock()
	r.mu.Lock()
	r.post(r.core.Add(r.now(), key, sum, limits, leased))
	r.mu.Unlock()
	// An order meant for a replica that has gone may have found this one, before it was known.
	r.holdings.Stand(key, shoal.Standing{Class: class, Keeper: true}, 0)
}

// Drop announces that the node holds key no more, and how long it had not been read; zero is
// not known. Call it after the block has become invisible.
func (r *Runner) Drop(key shoal.Key, idle time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.post(r.core.Drop(r.now(), key, idle))
}

// Resign asks that other nodes become the keepers of keys, which the node would drop. What
// comes of it is told to Holdings.Stand; until then, or until Drop, it is asked again and
// again. It does not wait and may be called with locks of the block store held.
func (r *Runner) Resign(keys ...shoal.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.core.Resign(r.now(), keys...)
}

// Explain returns the replicas of key, if the node is a home of it: see Directory.Explain.
func (r *Runner) Explain(key shoal.Key) []Holder {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.core.Directory.Explain(key)
}

// Renew keeps the leases the node has on keys. A filler calls it at least once in every
// third of the lease.
func (r *Runner) Renew(keys ...shoal.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.post(r.core.Renew(r.now(), keys...))
}

// Release gives back the lease on key: the node has filled the block but does not keep
// it, or could not fill it. A filler that keeps the block calls Add instead.
func (r *Runner) Release(key shoal.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.post(r.core.Release(r.now(), key))
}

// HandleCall answers a request that node from sent by its Call. The answer belongs to
// the caller.
func (r *Runner) HandleCall(_ context.Context, from shoal.NodeID, request []byte) ([]byte, error) {
	m, err := decode(request, r.point(from))
	if err != nil {
		return nil, fmt.Errorf("call from %s: %w", from, err)
	}
	m.From, m.To = from, r.self
	switch m.Type {
	case MsgAnswers, MsgAck, MsgRefused, MsgDone, MsgPage, MsgMet:
		return nil, fmt.Errorf("call from %s: %w: %v is no request", from, errWire, m.Type)
	}
	reply, err := r.handle(m)
	if err != nil {
		return nil, err
	}
	answer := encode(&reply)
	r.counts.traffic.sent(reply.Type, len(answer))
	return answer, nil
}

func (r *Runner) handle(m Message) (Message, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return Message{}, fmt.Errorf("call from %s: %w", m.From, fs.ErrClosed)
	}
	out := r.core.Step(r.now(), m)
	reply := Message{Type: MsgDone}
	if n := len(out) - 1; n >= 0 && out[n].To == m.From && out[n].answers(m.Type) {
		reply, out = out[n], out[:n]
	}
	r.post(out)
	switch m.Type {
	case MsgWant, MsgCheck, MsgAudit, MsgStand, MsgStood, MsgResign:
		r.signal(r.wake)
	}
	return reply, nil
}

// View returns the hash of the membership r acts under.
func (r *Runner) View() shoal.View { return r.table.Load().View() }

// Close stops r and waits for its goroutines; calls in flight are cancelled. What was
// not yet announced is lost to the homes, which will find the node gone anyway. It is
// safe to call more than once and never fails.
func (r *Runner) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.wg.Wait()
	return nil
}

// run ticks the core, starts the goroutines that send, and answers checks.
func (r *Runner) run(ctx context.Context) {
	ticker := time.NewTicker(r.cfg.Tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			r.lookAhead()
			r.mu.Lock()
			out := r.core.Tick(r.now())
			r.follow()
			r.post(out)
			r.mu.Unlock()
		case <-r.wake:
		}
		r.answerChecks()
		r.carryOut()
		r.startScan(ctx)
		r.startSenders(ctx)
	}
}

// answerChecks tells the homes that doubt it whether the node holds a block.
func (r *Runner) answerChecks() {
	r.mu.Lock()
	asked := r.core.Announcer.TakeChecks()
	r.mu.Unlock()
	if asked == nil {
		return
	}
	for i := range asked {
		asked[i].Held, asked[i].Limits = r.holdings.Has(asked[i].Key), r.cfg.Limits(asked[i].Key)
	}
	r.mu.Lock()
	r.post(r.core.EndChecks(r.now(), asked))
	r.mu.Unlock()
}

// carryOut tells the block store what homes have ordered, and them what came of it.
func (r *Runner) carryOut() {
	for {
		if !r.carryOutSome() {
			return
		}
	}
}

func (r *Runner) carryOutSome() bool {
	r.orders.Lock()
	defer r.orders.Unlock()
	r.mu.Lock()
	orders := r.core.TakeOrders()
	r.mu.Unlock()
	if orders == nil {
		return false
	}
	for i, o := range orders {
		orders[i].Held = r.holdings.Stand(o.Key, o.Standing, o.Credit.Duration())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.post(r.core.EndOrders(r.now(), orders))
	return true
}

// startScan starts the goroutine that announces the node's blocks to homes that are new
// to them, if there are such homes and it does not run.
func (r *Runner) startScan(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if !r.core.Announcer.WantsScan(now) {
		return
	}
	r.core.Announcer.BeginScan(now)
	r.counts.scans.Add(1)
	r.wg.Go(func() { r.scan(ctx) })
}

// scan feeds every block the node holds to the core, a few at a time.
func (r *Runner) scan(ctx context.Context) {
	const few = 256
	batch := make([]Change, 0, few)
	ok := true
	for key, sum := range r.holdings.Keys() {
		if batch = append(batch, Change{Key: key, Sum: sum, Limits: r.cfg.Limits(key)}); len(batch) == few {
			if ok = r.feed(ctx, batch); !ok {
				break
			}
			batch = batch[:0]
		}
	}
	ok = ok && r.feed(ctx, batch)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !ok {
		r.core.Announcer.AbortScan(r.now())
		return
	}
	r.post(r.core.EndScan(r.now()))
	r.signal(r.wake)
}

// feed reports false when ctx is done.
func (r *Runner) feed(ctx context.Context, batch []Change) bool {
	for len(batch) > 0 {
		r.mu.Lock()
		fed, out := 0, []Message(nil)
		for ; fed < len(batch); fed++ {
			ok, more := r.core.Feed(r.now(), batch[fed].Key, batch[fed].Sum, batch[fed].Limits)
			out = append(out, more...)
			if !ok {
				break
			}
		}
		r.post(out)
		r.mu.Unlock()
		if batch = batch[fed:]; len(batch) == 0 {
			break
		}
		select {
		case <-ctx.Done():
			return false
		case <-r.moved:
		case <-time.After(r.cfg.Tick):
		}
	}
	return ctx.Err() == nil
}

func (r *Runner) now() Tick { return Tick(time.Since(r.start).Milliseconds()) }

// signal wakes whoever waits on c, if it has not been woken already.
func (r *Runner) signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
