package replicas

import (
	"cmp"
	"slices"

	"github.com/shoal-mesh/shoal"
)

// Standings is what a node does as a holder that may have to keep its replicas: it takes
// the orders of homes, and resigns from blocks it would drop. It is pure, like Directory,
// and not safe for concurrent use. Whether a replica is a keeper's is not kept here but
// with the block, by whoever drives it; a replica starts as a keeper's.
//
// The version counts the blocks the node has gained and the orders to keep one that it has
// taken, since its boot. What it tells a home carries the version as of which that home has
// been told all; an order to be keeper no more names the version it is based on, and is
// refused (Stale) if the node has gained that block or been told to keep it since. So
// however late an order comes, it takes the word of keeper only from the very replica it
// was meant for, of which the home knows, and never after a newer order to keep it.
type Standings struct {
	self      shoal.NodeID
	rules     Rules
	table     *Table
	boot      uint64
	announcer *Announcer // has the version

	kept  map[shoal.Key]happened
	log   []keptAt // the same in order, with what has been superseded
	floor uint64   // what kept has forgotten happened at this version or before

	served map[shoal.NodeID]*served // by home
	inbox  []Message                // Stands not yet carried out
	taken  []taking                 // between TakeOrders and EndOrders
	busy   bool                     // the same

	resigned map[shoal.Key]Tick // outstanding: when to say it again
	said     []shoal.Key        // the latest that were said, outstanding or not
	saidFrom uint64             // how many before those of said
	fresh    []shoal.Key        // not yet said
	early    []shoal.Key        // would be refused if said now: see Tick
	repeats  []repeat           // said; soonest first

	moved [Shards]uint32 // index into moves: when the shard got its home; 0: the node is alone from the start
	moves []Tick
}

// happened is what the node remembers of one block.
type happened struct {
	last   event
	gained uint64 // version as of which the node has gained it; 0: not since its boot
}

// event is what happened as of a version, and to what that has brought it: a drop is no step.
type event uint64

const (
	evDropped event = iota
	evGained
	evKept
)

func (e event) version() uint64 { return uint64(e >> 2) }

func (e event) kind() event { return e & 3 }

// keptAt is an event and the block to which it happened.
type keptAt struct {
	key shoal.Key
	event
}

// served is the last Stand of a home, and the answer to it once it is carried out.
type served struct {
	boot, seq uint64
	reply     *Message
}

// taking is a Stand that is being carried out.
type taking struct {
	reply *Message
	open  []int // per order that was taken: index into reply.Results
}

type repeat struct {
	key shoal.Key
	at  Tick
}

// NewStandings returns the Standings of node self, which announces its blocks by a. It
// resigns nothing until SetTable.
func NewStandings(self shoal.NodeID, rules Rules, a *Announcer) *Standings {
	return &Standings{
		self: self, rules: rules.withDefaults(), table: NewTable(nil), announcer: a,
		kept: make(map[shoal.Key]happened), served: make(map[shoal.NodeID]*served),
		resigned: make(map[shoal.Key]Tick), moves: make([]Tick, 1),
	}
}

// SetTable makes t the membership s acts under, and notes which shards get another home.
func (s *Standings) SetTable(now Tick, t *Table) {
	before := s.table
	if t.view == before.view {
		return
	}
	s.table = t
	if m, ok := t.Member(s.self); ok {
		s.boot = m.Boot
	}
	for id, v := range s.served {
		if m, ok := t.Member(id); !ok || m.Boot != v.boot {
			delete(s.served, id)
		}
	}
	if len(before.members) == 0 && len(t.members) == 1 {
		s.moves[0] = now
		return
	}
	s.moves = append(s.moves, now)
	was := numbersBefore(before, t)
	for i, h := range t.homes {
		if len(before.members) <= 1 || h[0] == 0 || was[h[0]] == 0 || was[h[0]] != before.homes[i][0] {
			s.moved[i] = uint32(len(s.moves) - 1)
		}
	}
}

// gained takes in that the node holds key from now on, as a keeper, and has announced it.
func (s *Standings) gained(key shoal.Key) { s.note(key, evGained) }

// dropped takes in that the node holds key no more: a resignation from it is withdrawn.
func (s *Standings) dropped(key shoal.Key) {
	delete(s.resigned, key)
	s.note(key, evDropped)
}

// note remembers that what happened as of this version was of that kind, and to key.
func (s *Standings) note(key shoal.Key, kind event) {
	e := event(s.announcer.version<<2) | kind
	h := s.kept[key]
	switch kind {
	case evGained:
		h = happened{last: e, gained: e.version()}
	case evKept:
		h.last = e
	case evDropped:
		h = happened{last: e}
	}
	s.kept[key] = h
	s.log = append(s.log, keptAt{key, e})
	if len(s.log) <= 2*s.rules.MaxKept {
		return
	}
	half := s.log[:s.rules.MaxKept]
	for _, e := range half {
		if s.kept[e.key].last == e.event {
			delete(s.kept, e.key)
			s.floor = e.version()
		}
	}
	s.log = slices.Clone(s.log[len(half):])
}

// allows reports whether nothing that happened to key since basis forbids to let it go.
func (s *Standings) allows(key shoal.Key, basis uint64) bool {
	if h, ok := s.kept[key]; ok {
		return h.last.version() <= basis
	}
	return basis >= s.floor
}

// gainNumber returns the number of the gain by which the node came to this version. Those of
// resignations are odd.
func gainNumber(version uint64) uint64 { return version << 1 }

// ofResignation reports whether a number is that of a resignation.
func ofResignation(number uint64) bool { return number&1 != 0 }

// say returns the number of the resignation from key that is said now.
func (s *Standings) say(key shoal.Key) uint64 {
	if len(s.said) >= 2*s.rules.MaxKept {
		s.said = slices.Clone(s.said[s.rules.MaxKept:])
		s.saidFrom += uint64(s.rules.MaxKept)
	}
	s.said = append(s.said, key)
	return (s.saidFrom+uint64(len(s.said))-1)<<1 | 1
}

// named returns the block of the gain or resignation with this number, unless that is forgotten.
func (s *Standings) named(number uint64) (key shoal.Key, ok bool) {
	n := number >> 1
	if ofResignation(number) {
		if n < s.saidFrom || n-s.saidFrom >= uint64(len(s.said)) {
			return shoal.Key{}, false
		}
		return s.said[n-s.saidFrom], true
	}
	at, _ := slices.BinarySearchFunc(s.log, n, func(e keptAt, n uint64) int { return cmp.Compare(e.version(), n) })
	for ; at < len(s.log) && s.log[at].version() == n; at++ {
		if s.log[at].kind() == evGained {
			return s.log[at].key, true
		}
	}
	return shoal.Key{}, false
}

// Resign asks the homes of keys, with the next Tick, to let the node drop them. They are asked
// again until the node is told that it is keeper no more, or drops the block: see TakeOrders.
func (s *Standings) Resign(now Tick, keys ...shoal.Key) {
	for _, key := range keys {
		if _, ok := s.resigned[key]; !ok {
			s.resigned[key] = now
			s.fresh = append(s.fresh, key)
		}
	}
}

// Resigned returns how many resignations are outstanding.
func (s *Standings) Resigned() int { return len(s.resigned) }

// Tick returns the resignations that are due. One is early while its home has not been told
// all that was before the block was gained or last kept: the home's answer would be based on an
// older version, so the node would refuse it, and the home would give a keeper's order again.
func (s *Standings) Tick(now Tick) []Message {
	var due []shoal.Key
	n := 0
	for ; n < len(s.repeats) && s.repeats[n].at <= now; n++ {
		if r := s.repeats[n]; s.resigned[r.key] == r.at {
			due = append(due, r.key)
		}
	}
	s.repeats = s.repeats[n:]
	said := len(s.resigned) - len(s.fresh) - len(s.early) - len(due) // and not answered, nor due
	due = append(append(due, s.early...), s.fresh...)
	s.fresh, s.early = nil, nil
	var out []Message
	at := make(map[shoal.NodeID]int)
	for _, key := range due {
		if at, ok := s.resigned[key]; !ok || at > now {
			continue
		}
		if said >= s.rules.MaxKept { // their numbers must not be forgotten before they are answered
			s.fresh = append(s.fresh, key)
			continue
		}
		shard := ShardOf(key)
		home, _ := s.table.Homes(shard)
		if !s.allows(key, s.announcer.toldTo(s.announcer.byHome[home])) {
			s.early = append(s.early, key)
			continue
		}
		said++
		s.resigned[key] = now + s.rules.RetryAfter
		s.repeats = append(s.repeats, repeat{key, s.resigned[key]})
		if home == "" || !s.settled(now, shard, key) {
			continue
		}
		i, ok := at[home]
		if !ok || len(out[i].Resigned) == maxKeys {
			i = len(out)
			at[home] = i
			out = append(out, s.message(MsgResign, home))
		}
		out[i].Resigned = append(out[i].Resigned, Resignation{Hash: HashKey(key), Number: s.say(key)})
	}
	return out
}

// settled reports whether shard has had its home for long enough that whoever named
// another node will have found out. A node that is alone from the start need not wait for
// that with a block it has gained since: if there are others that it does not see yet, none
// of them was ever let go because of this replica. It might have been because of one that
// the node had before it started.
func (s *Standings) settled(now Tick, shard uint16, key shoal.Key) bool {
	if s.moved[shard] == 0 && s.kept[key].gained != 0 {
		return true
	}
	return now >= s.moves[s.moved[shard]]+s.rules.Settle
}

// Step takes a Stand in. One that was carried out before is answered as it was then.
func (s *Standings) Step(m Message) []Message {
	home, ok := s.table.Member(m.From)
	if m.Type != MsgStand || !ok || home.Boot != m.Boot || m.ToBoot != s.boot {
		return nil
	}
	v := s.served[m.From]
	if v == nil {
		v = &served{boot: m.Boot}
		s.served[m.From] = v
	}
	switch {
	case m.Seq > v.seq:
		v.seq, v.reply = m.Seq, nil
		s.inbox = append(s.inbox, m)
	case m.Seq == v.seq && v.reply != nil:
		return []Message{*v.reply}
	}
	return nil
}

// TakeOrders returns the orders that have come and are not refused. The caller carries
// them out, in order, and calls EndOrders with Held set where the block is here. It
// returns nil when there is nothing to do, or while earlier orders are being carried out;
// otherwise EndOrders must be called even when all orders were refused.
func (s *Standings) TakeOrders() []Order {
	if s.busy || len(s.inbox) == 0 {
		return nil
	}
	s.busy = true
	orders := []Order{}
	for _, m := range s.inbox {
		reply := s.message(MsgStood, m.From)
		reply.Seq, reply.ToBoot = m.Seq, m.Boot // as of when it was taken, whatever comes after
		reply.Results = make([]Result, len(m.Orders))
		t := taking{reply: &reply}
		for i, o := range m.Orders {
			if reply.Results[i] = s.take(&o, m.From); reply.Results[i] == Obeyed {
				t.open = append(t.open, i)
				orders = append(orders, o)
			}
		}
		reply.Version = s.announcer.toldTo(s.announcer.byHome[m.From])
		s.taken = append(s.taken, t)
	}
	s.inbox = nil
	return orders
}

// take returns whether o, which home gave, is to be carried out, or why not. It puts in which
// block it is about.
func (s *Standings) take(o *Order, home shoal.NodeID) Result {
	known := true
	if o.Number != 0 {
		o.Key, known = s.named(o.Number)
	}
	if is, _ := s.table.Homes(ShardOf(o.Key)); known && is != home {
		return NotHome
	}
	switch {
	case !known, o.Standing.Keeper && s.kept[o.Key].gained > o.Basis,
		!o.Standing.Keeper && !s.allows(o.Key, o.Basis):
		s.announcer.hurry(home)
		return Stale
	case o.Standing.Keeper:
		s.announcer.version++
		s.note(o.Key, evKept)
	}
	return Obeyed
}

// EndOrders returns the answers to the homes. Resignations that an order to keep the block has
// overtaken go on, under the newer version.
func (s *Standings) EndOrders(now Tick, orders []Order) []Message {
	var out []Message
	for _, t := range s.taken {
		for _, i := range t.open {
			o := orders[0]
			orders = orders[1:]
			if !o.Held {
				t.reply.Results[i] = Gone
			}
			if _, ok := s.resigned[o.Key]; !ok {
				continue
			}
			if o.Held && o.Standing.Keeper {
				s.resigned[o.Key] = now
				s.fresh = append(s.fresh, o.Key)
			} else {
				delete(s.resigned, o.Key)
			}
		}
		if v := s.served[t.reply.To]; v != nil && v.seq == t.reply.Seq && v.boot == t.reply.ToBoot {
			v.reply = t.reply
		}
		out = append(out, *t.reply)
	}
	s.taken, s.busy = nil, false
	return out
}

func (s *Standings) message(t MessageType, to shoal.NodeID) Message {
	m, _ := s.table.Member(to)
	return Message{
		Type: t, From: s.self, To: to, View: s.table.view,
		Boot: s.boot, ToBoot: m.Boot, Version: s.announcer.toldTo(s.announcer.byHome[to]),
	}
}

// numbersBefore returns, by 1-based index into the members of t, the number by which the
// homes of before know the same boot of that member; 0 for none.
func numbersBefore(before, t *Table) []uint16 {
	was := make([]uint16, len(t.members)+1)
	for i, m := range t.members {
		if at, ok := before.find(m.ID); ok && before.members[at].Boot == m.Boot {
			was[i+1] = uint16(at + 1)
		}
	}
	return was
}

// hurry has what waits to be told to a home wait no longer for company: an order based on what
// the home knows now would be refused.
func (a *Announcer) hurry(home shoal.NodeID) {
	if s := a.byHome[home]; s != nil {
		s.due = 0
	}
}

// toldTo returns the version as of which the home of s has acknowledged all it was to be
// told; s may be nil.
func (a *Announcer) toldTo(s *stream) uint64 {
	if s == nil {
		return 0
	}
	v := min(a.version, s.base)
	if s.first < len(s.queue) {
		v = min(v, s.queue[s.first].before)
	}
	if s.inflight != nil {
		v = min(v, s.before)
	}
	return v
}
