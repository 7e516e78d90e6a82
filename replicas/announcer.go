package replicas

import (
	"math"
	"slices"
	"strings"

	"github.com/shoal-mesh/shoal"
)

// An Announcer is what a node does as a holder: it tells the homes of its blocks what
// it holds, each home by a stream of numbered Batches of which one is in flight at a
// time. It is pure, like Directory, and not safe for concurrent use.
//
// A home that is new to some shards, or new altogether, is told the Digests of these
// shards (an audit), and then, of those it asks for because it knows better or nothing,
// all that the node holds (a push). The Announcer keeps no list of the node's blocks:
// whoever drives it starts a scan when WantsScan says so, feeds it every block the node
// holds, and ends it.
type Announcer struct {
	self    shoal.NodeID
	rules   Rules
	table   *Table
	boot    uint64
	seq     uint64
	streams []*stream // sorted by home
	version uint64    // see Standings
	byHome  map[shoal.NodeID]*stream

	digests  digests            // of what the node holds
	rescanAt Tick               // when to look whether digests are true
	restTo   Tick               // no scan before: the last push took long
	scanAt   Tick               // when the last scan began
	scanning []*stream          // that the scan in progress feeds; a stream may have dropped out
	inScan   bool               // a scan is in progress
	news     map[shoal.Key]bool // added or dropped since a scan or a check began; nil outside
	asked    []Change           // of Checks, until TakeChecks
	checking bool               // between TakeChecks and EndChecks

	staleness staleness
}

// stream is what one home has still to be told.
type stream struct {
	home  shoal.NodeID
	boot  uint64
	queue []item
	first int  // queue[:first] has been sent
	due   Tick // when what waits goes at the latest

	inflight *Message
	news     []Tick // when those changes of inflight happened that no push tells
	before   uint64 // version as of which all had been told but for inflight
	sentAt   Tick   // last time
	began    Tick   // first time inflight was sent
	retry    Tick   // how long to wait for its Ack

	owed    *ShardSet // whose digests are to be told once the queue is empty
	payFrom Tick      // not before: the home acted under another view
	base    uint64    // version as of which all has been told but for what only owed will tell
	pending *ShardSet // to be pushed by the next scan
	active  *ShardSet // being pushed
	ending  bool      // inflight is the end of the active push
	fails   int       // calls with inflight that failed in a row
	fedUp   Tick      // no push before: the home did not keep up with the last one
}

// item is one line of a stream: a Change, or a mark where the active push begins or ends.
type item struct {
	Change
	mark   mark
	news   bool   // it has just happened: no push tells it
	at     Tick   // when it happened
	before uint64 // version before it happened
}

type mark uint8

const (
	noMark mark = iota
	pushBegins
	pushEnds
)

// stalled is how many times RetryAfter a home may leave a Batch unanswered before a
// push to it is given up, so that it does not hold up the pushes to others.
const stalled = 5

// NewAnnouncer returns the Announcer of node self. It tells nobody until SetTable.
func NewAnnouncer(self shoal.NodeID, rules Rules) *Announcer {
	return &Announcer{
		self: self, rules: rules.withDefaults(), table: NewTable(nil),
		byHome: make(map[shoal.NodeID]*stream), digests: newDigests(),
	}
}

// SetTable makes t the membership a acts under. What waited for a node that is gone or
// away is forgotten; each home that gained shards is told their digests.
func (a *Announcer) SetTable(now Tick, t *Table) {
	before := a.table
	if t.view == before.view {
		return
	}
	a.table = t
	if m, ok := t.Member(a.self); ok {
		a.boot = m.Boot
	}
	a.streams = slices.DeleteFunc(a.streams, func(s *stream) bool {
		m, ok := t.Member(s.home)
		if ok && m.Boot == s.boot {
			return false
		}
		delete(a.byHome, s.home)
		s.active = nil
		return true
	})
	for _, s := range a.streams {
		s.payFrom = 0
	}
	for _, m := range t.live {
		if a.byHome[m.ID] == nil {
			s := &stream{home: m.ID, boot: m.Boot, base: math.MaxUint64}
			if a.version > 0 {
				s.base = 0 // it may have been away, and missed something
			}
			a.byHome[m.ID] = s
			a.streams = append(a.streams, s)
		}
	}
	slices.SortFunc(a.streams, func(x, y *stream) int { return strings.Compare(string(x.home), string(y.home)) })
	a.gain(now, before)
}

// gain marks, for each home, the shards it is a home of now and was not before.
func (a *Announcer) gain(now Tick, before *Table) {
	was := make([]uint16, len(a.table.members)+1) // number of each member in before
	streams := make([]*stream, len(was))
	for i, m := range a.table.members {
		if old, ok := before.Member(m.ID); ok && old.Boot == m.Boot {
			was[i+1] = before.numberOf(m.ID)
		}
		streams[i+1] = a.byHome[m.ID]
	}
	for i, is := range a.table.homes {
		old := before.homes[i]
		for _, h := range is {
			if h == 0 || was[h] != 0 && (was[h] == old[0] || was[h] == old[1]) {
				continue
			}
			a.owe(now, streams[h], uint16(i))
		}
	}
}

// Add tells the homes of key that the node holds it; leased says that the node had the lease
// to fill it. Call it after the block has become visible.
func (a *Announcer) Add(now Tick, key shoal.Key, sum shoal.Sum, limits Limits, leased bool) {
	a.digests.add(HashKey(key))
	a.tell(now, key, Change{Key: key, Sum: sum, Limits: limits.clip(), Held: true, Gained: gainNumber(a.version + 1), Filled: leased})
	a.version++
}

// Drop tells the homes of key that the node holds it no more. Call it after the block
// has become invisible.
func (a *Announcer) Drop(now Tick, key shoal.Key, idle Idle) {
	_, told := a.news[key]
	a.digests.drop(HashKey(key), told)
	a.tell(now, key, drop(key, idle))
}

func (a *Announcer) tell(now Tick, key shoal.Key, c Change) {
	if a.news != nil {
		a.news[key] = c.Held
	}
	home, backup := a.table.Homes(ShardOf(key))
	for _, id := range [2]shoal.NodeID{home, backup} {
		if s := a.byHome[id]; s != nil {
			a.enqueue(now, s, item{Change: c, news: true, at: now})
		}
	}
}

func (a *Announcer) enqueue(now Tick, s *stream, it item) {
	if len(s.queue)-s.first >= a.rules.QueueChanges && it.mark == noMark {
		a.restart(now, s)
		return
	}
	due := now + a.delay(it)
	if len(s.queue) == s.first || due < s.due {
		s.due = due
	}
	it.before = a.version
	s.queue = append(s.queue, it)
}

// delay returns how long it may wait for company.
func (a *Announcer) delay(it item) Tick {
	switch {
	case it.Filled:
		return a.rules.SlowDelay // its home names the node as the filler until it hears this
	case it.Held || it.mark != noMark:
		return a.rules.AddDelay
	}
	return a.rules.DropDelay
}

// restart gives up what waits for s: it is told the digests of all its shards instead.
func (a *Announcer) restart(now Tick, s *stream) {
	told := a.toldTo(s)
	s.queue, s.first, s.active, s.ending = nil, 0, nil, false
	a.oweAll(now, s, nil)
	s.base = min(s.base, told)
}

func (s *stream) push(shard uint16) {
	if s.pending == nil {
		s.pending = new(ShardSet)
	}
	s.pending.Add(shard)
}

// Step takes one message in and returns those that go out because of it.
func (a *Announcer) Step(now Tick, m Message) []Message {
	s := a.byHome[m.From]
	if s == nil || (m.Type != MsgRefused && (s.boot != m.Boot || m.ToBoot != a.boot)) {
		return nil
	}
	switch m.Type {
	case MsgAck:
		if s.inflight != nil && s.inflight.Seq == m.Seq {
			if s.ending {
				s.active, s.ending = nil, false
			}
			if s.inflight.Audited != nil && m.View != s.inflight.View {
				a.unheard(now, s)
			}
			if s.home != a.self { // who needs no announcement
				a.staleness.heard(now, s.news)
			}
			s.inflight, s.fails = nil, 0
			return a.flush(now, s, nil)
		}
	case MsgRefused:
		// The home is there, but one of us has not yet seen the other's last boot.
		if s.inflight != nil && s.inflight.Seq == m.Seq {
			s.sentAt, s.retry = now, a.rules.RetryAfter/8
		}
	case MsgWant:
		a.want(s, m.Shards)
	case MsgAudit:
		if m.View == a.table.view { // else it is told what it asks for when the views agree
			a.oweAll(now, s, m.Shards)
		}
	case MsgCheck:
		room := maxChecks - len(a.asked)
		a.asked = append(a.asked, m.Changes[:min(room, len(m.Changes))]...)
	}
	return nil
}

// failed takes in that the call with Batch m failed: the home may be back very soon, or
// not see this node as a member yet, so the first retries come quickly.
func (a *Announcer) failed(now Tick, m Message) {
	s := a.byHome[m.To]
	if s == nil || s.boot != m.ToBoot || s.inflight == nil || s.inflight.Seq != m.Seq {
		return
	}
	s.sentAt, s.retry = now, a.rules.RetryAfter>>max(0, 3-s.fails)
	s.fails++
}

// want marks shards for a push, as far as the asker is their home and none is going on.
func (a *Announcer) want(s *stream, shards *ShardSet) {
	me := a.table.numberOf(s.home)
	for shard := range shards.All {
		h := a.table.homes[shard]
		if (h[0] == me || h[1] == me) && !s.active.Has(shard) {
			s.push(shard)
		}
	}
}

// Tick returns the Batches that time makes due: full or old enough ones, and those
// whose Ack did not come.
func (a *Announcer) Tick(now Tick) []Message {
	var out []Message
	for _, s := range a.streams {
		out = a.flush(now, s, out)
	}
	return out
}

// flush appends to out the Batch s should send now, if any.
func (a *Announcer) flush(now Tick, s *stream, out []Message) []Message {
	if s.inflight != nil {
		if now < s.sentAt+s.retry {
			return out
		}
		s.sentAt, s.retry = now, min(2*s.retry, 8*a.rules.RetryAfter)
		return append(out, *s.inflight)
	}
	switch waiting := len(s.queue) - s.first; {
	case waiting == 0 && !a.payable(now, s):
		return out
	case waiting < a.rules.BatchChanges && s.home != a.self && now < s.due:
		return out
	}
	a.seq++
	s.before = a.toldTo(s)
	m := a.cut(now, s)
	s.inflight, s.sentAt, s.began, s.retry = &m, now, now, a.rules.RetryAfter
	s.due = now + a.rules.AddDelay
	return append(out, m)
}

// cut takes the next Batch off the queue of s. A push begins and ends at a Batch's edge.
func (a *Announcer) cut(now Tick, s *stream) Message {
	m := Message{
		Type: MsgBatch, From: a.self, To: s.home, View: a.table.view,
		Boot: a.boot, ToBoot: s.boot, Seq: a.seq,
	}
	s.news = s.news[:0]
	if s.first < len(s.queue) && s.queue[s.first].mark == pushBegins {
		m.Shards = s.active.clone()
		s.first++
	}
	for ; s.first < len(s.queue) && len(m.Changes) < a.rules.BatchChanges; s.first++ {
		it := s.queue[s.first]
		if it.mark == pushBegins {
			break
		}
		if it.mark == pushEnds {
			m.End, s.ending = true, true
			s.first++
			break
		}
		m.Changes = append(m.Changes, it.Change)
		if it.news {
			s.news = append(s.news, it.at)
		}
	}
	if s.first == len(s.queue) && now >= s.payFrom {
		a.pay(s, &m)
	}
	m.Version = a.toldTo(s)
	if s.first > len(s.queue)/2 { // else a push that never lets it run dry would let it grow
		s.queue, s.first = s.queue[:copy(s.queue, s.queue[s.first:])], 0
	}
	return m
}

// Waiting returns how many Changes have not been acknowledged, over all homes.
func (a *Announcer) Waiting() int {
	n := 0
	for _, s := range a.streams {
		n += len(s.queue) - s.first
		if s.inflight != nil {
			n += len(s.inflight.Changes)
		}
	}
	return n
}

// Staleness returns how old a share of the changes were, in milliseconds, when another node
// that is their home had acknowledged them: 0.5 for the median, and 0 when there were none. One
// of five minutes before the latest counts half. A change that was given up, as its home was
// gone or did not keep up, is not among them.
func (a *Announcer) Staleness(share float64) float64 { return a.staleness.quantile(share) }
