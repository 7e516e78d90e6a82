package replicas

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-mesh/shoal"
)

// Config holds the settings of a Runner. A zero field means its default.
type Config struct {
	// HomeTimeout is how long a home may take to answer a lookup before the backup home
	// is asked. Default 500ms.
	HomeTimeout time.Duration
	// TellTimeout is how long a home may take to answer anything else. Default 5s.
	TellTimeout time.Duration
	// SuspectFor is how long a home that did not answer a lookup is asked after the other
	// one. It doubles, to 10s, with each time that it then still does not answer, until it
	// does or the view changes. Default 2s.
	SuspectFor time.Duration
	// RetryPause is the time between two passes of a lookup over both homes, while a home
	// does not know enough to answer. Default 100ms.
	RetryPause time.Duration
	// Lease is how long a filler has the word. Default 30s, at least 1s.
	Lease time.Duration
	// Warm is how long a home that is new may answer that it does not know yet. Default 10s.
	Warm time.Duration
	// AddDelay and DropDelay are how long the news of a block that is held, or no longer
	// held, waits for company. Defaults 50ms and 1s. Other delays are multiples of AddDelay:
	// see Rules.
	AddDelay, DropDelay time.Duration
	// Grace is how long a node that is gone keeps its place, so that one which restarts or
	// loses its network for a moment moves nothing. Default 60s; negative: not at all.
	Grace time.Duration
	// Settle is how long the view must have named a home before it takes the word of keeper
	// from anybody: longer than gossip takes to agree. Default 10s.
	Settle time.Duration
	// ResignPatience is how long members that do not tell what they hold keep the last
	// replica of a block from being given up. Default 60s.
	ResignPatience time.Duration
	// Limits tells how many replicas the dataset of a block that the node holds wants, when
	// the node has to say again what it holds. It is called with no locks held. Default: the
	// zero Limits, which leave what a home knows as it is.
	Limits func(key shoal.Key) Limits
	// Frontier tells what the node would give up next. Default: nobody, so no block is
	// placed on it.
	Frontier Fronts
	// Tick is the time between two looks at the clock. Default 25ms, at least 1ms.
	Tick time.Duration
	// Outbox is how many messages wait for one node. Default 256.
	Outbox int
	// Logger receives view changes and failed calls. Default: discard.
	Logger *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	var errs []error
	def := func(name string, v *time.Duration, to, least time.Duration) {
		if *v == 0 {
			*v = to
		}
		if *v < least {
			errs = append(errs, fmt.Errorf("%s: %v is less than %v", name, *v, least))
		}
	}
	def("home timeout", &c.HomeTimeout, 500*time.Millisecond, time.Millisecond)
	def("tell timeout", &c.TellTimeout, 5*time.Second, time.Millisecond)
	def("suspect for", &c.SuspectFor, 2*time.Second, time.Millisecond)
	def("retry pause", &c.RetryPause, 100*time.Millisecond, time.Millisecond)
	def("lease", &c.Lease, 30*time.Second, time.Second)
	def("warm", &c.Warm, 10*time.Second, time.Millisecond)
	def("add delay", &c.AddDelay, 50*time.Millisecond, time.Millisecond)
	def("drop delay", &c.DropDelay, time.Second, time.Millisecond)
	def("settle", &c.Settle, 10*time.Second, time.Millisecond)
	def("resign patience", &c.ResignPatience, time.Minute, time.Millisecond)
	if c.Limits == nil {
		c.Limits = func(shoal.Key) Limits { return Limits{} }
	}
	if c.Grace == 0 {
		c.Grace = time.Minute
	}
	def("tick", &c.Tick, 25*time.Millisecond, time.Millisecond)
	if c.Outbox == 0 {
		c.Outbox = 256
	}
	if c.Outbox < 1 {
		errs = append(errs, fmt.Errorf("outbox: %d is not positive", c.Outbox))
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, errors.Join(errs...)
}

func (c Config) rules() Rules {
	return Rules{
		Settle: Tick(c.Settle.Milliseconds()), ResignPatience: Tick(c.ResignPatience.Milliseconds()),
		Lease: Tick(c.Lease.Milliseconds()), Warm: Tick(c.Warm.Milliseconds()),
		Grace:    Tick(c.Grace.Milliseconds()),
		AddDelay: Tick(c.AddDelay.Milliseconds()), DropDelay: Tick(c.DropDelay.Milliseconds()),
	}.withDefaults()
}

// Stats is a snapshot of what a Runner has done and has.
type Stats struct {
	Directory Counts // as a home
	View      shoal.View
	Members   int
	Waiting   int // announcements no home has acknowledged yet
	Resigned  int // blocks the node has resigned from, and no home has answered yet
	// StalenessP50 and StalenessP99 are how old a change lately was when its home had
	// acknowledged it, in seconds: see Announcer.Staleness.
	StalenessP50, StalenessP99 float64

	Lookups     int64 // keys looked up by Locate
	LookupsSelf int64 // of these asks, answered by this node itself
	FailOpen    int64 // keys no home could answer for: filled without a lease
	Calls       int64 // requests sent
	CallsFailed int64
	Sent        []Traffic // of all types of messages
	Lost        int64     // messages dropped because an outbox was full
	Scans       int64     // walks over all blocks for homes that were new to some
}

// Stats returns what r has done and has.
func (r *Runner) Stats() Stats {
	t := r.table.Load()
	s := Stats{
		View: t.View(), Members: len(t.Members()),
		Lookups: r.counts.lookups.Load(), LookupsSelf: r.counts.self.Load(),
		FailOpen: r.counts.failOpen.Load(), Calls: r.counts.calls.Load(),
		CallsFailed: r.counts.failed.Load(), Sent: r.counts.traffic.all(),
		Lost: r.counts.lost.Load(), Scans: r.counts.scans.Load(),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Directory = r.core.Directory.Counts()
	s.Waiting = r.core.Announcer.Waiting()
	s.StalenessP50 = r.core.Announcer.Staleness(0.5) / 1000
	s.StalenessP99 = r.core.Announcer.Staleness(0.99) / 1000
	s.Resigned = r.core.Standings.Resigned()
	return s
}

type counters struct {
	lookups, self, failOpen, calls, failed, lost, scans atomic.Int64

	traffic traffic
}

// suspects are nodes that lately did not answer a lookup. Its zero value is ready.
type suspects struct {
	any atomic.Bool // there are some

	mu sync.Mutex // guards the field below
	of map[shoal.NodeID]suspicion
}

type suspicion struct {
	until time.Time
	long  time.Duration // how long it lasts, or lasted
}

// mostSuspect is how long a suspicion grows, unless it begins longer.
const mostSuspect = 10 * time.Second

// add suspects id, for least when it answered last time. Failures while it is suspected
// are of calls that were under way: they say nothing new.
func (s *suspects) add(id shoal.NodeID, least time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = make(map[shoal.NodeID]suspicion)
	}
	now, was := time.Now(), s.of[id]
	switch {
	case was.long == 0:
		was.long = least
	case now.After(was.until):
		was.long = max(least, min(2*was.long, mostSuspect))
	}
	s.of[id] = suspicion{until: now.Add(was.long), long: was.long}
	s.any.Store(true)
}

// remove forgets id: it has answered.
func (s *suspects) remove(id shoal.NodeID) {
	if !s.any.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of, id)
	s.any.Store(len(s.of) > 0)
}

// reset forgets all: the view has changed.
func (s *suspects) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.of)
	s.any.Store(false)
}

// has reports whether id is suspected now.
func (s *suspects) has(id shoal.NodeID) bool {
	if !s.any.Load() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	was, ok := s.of[id]
	return ok && !time.Now().After(was.until)
}
