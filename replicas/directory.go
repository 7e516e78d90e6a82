package replicas

import (
	"slices"

	"github.com/shoal-mesh/shoal"
	"github.com/zeebo/xxh3"
)

// A Directory is what a node knows as a home: for each key of its shards the holders,
// and who is filling it. It is pure: messages and ticks in, messages out, and the same
// messages in the same order give the same state. It is not safe for concurrent use.
//
// What holders tell comes as numbered Batches, one in flight per holder, so a replayed
// or late one is known by its number. What the Directory knows of a holder in a shard is
// either complete (but for the Batch in flight) or missing; while it is missing, the
// holder is asked for it, and the home, if it has just become one, answers Unknown
// instead of Fill.
type Directory struct {
	self   shoal.NodeID
	rules  Rules
	table  *Table
	before *Table // of the last view
	boot   uint64 // this node's own

	members []*member // sorted by ID
	byID    map[shoal.NodeID]*member
	numbers []*member       // by member.number; nil for one that has left
	retired []uint16        // numbers to be swept out of the entries
	left    map[uint16]Tick // by number of one that has left, until that is swept out: when
	sweep   sweep

	owned    ShardSet
	dirty    ShardSet       // lost, with entries not yet removed
	gained   [Shards]uint32 // index into gains: when the shard became this home's
	gains    []Tick         // when each change of ownership happened
	unsynced [Shards]uint16 // how many members have the shard missing

	entries entries
	leases  leases
	counts  Counts

	now      Tick                // of the step in progress
	first    ShardSet            // owned shards of which this is the home, not the backup home
	ranked   [Shards]uint32      // index into gains: since when
	retells  ShardSet            // of first: not settled, or their holders not yet told what they are
	retellAt Tick                // nothing of retells settles before
	moves    map[shoal.Key]*move // blocks whose keepers change
	laters   []later             // blocks to look at again, soonest first
	touched  []uint16            // members that have changed, so that entries naming them must be looked at
	orderSeq uint64              // of the last Stand, to whomever

	dense     [Shards]uint16 // index into member.digests of the shards owned or dirty
	spare     []uint16       // indexes that are free
	denseTop  int            // indexes ever used
	snapshots snapshots
	pulling   ShardSet // shards of which a snapshot is awaited
	whole     ShardSet // shards of which everything was known to this home at some time since it got them
	lostAt    Tick     // when it last lost some
	frontiers frontiers
	hints     *Hints
	receivers *receivers
}

// member is what the Directory keeps of a node of its view.
type member struct {
	id     shoal.NodeID
	boot   uint64
	zone   string
	seed   uint64 // hash of id
	number uint16 // what entries call it; a node that returns gets another

	seq     uint64    // last Batch applied
	bits    int       // entries that name it as a holder
	most    int       // what bits may come to
	leases  int       // that it has as a filler
	away    bool      // gossip says it is dead, and there is hope
	digests []Digest  // of the blocks it is named a holder of, by Directory.dense
	missing *ShardSet // owned shards of which it has not yet told everything; nil for none
	pushing *ShardSet // shards of the push that is arriving
	begun   uint32    // index of the last gain when that push began
	beganAt Tick      // when it began
	stale   *ShardSet // shards a push tells anew, with entries that name it from before
	wanted  *ShardSet // of missing: shards whose digests differ, so it is to push them
	unheard *ShardSet // shards whose digests it was asked for in the last round; nil when all came
	heard   Tick      // when its last Batch came
	wantAt  Tick      // when to ask for wanted
	auditAt Tick      // when to ask for the digests of the rest of missing

	state shoal.State
	front front
	load  Load

	refreshAt Tick // when to ask for all digests
	confirmed Tick // when all it holds was last confirmed

	checks  []asking // blocks it is asked about, until it answers in a Batch
	checkAt Tick

	leftAt   Tick        // when it went away
	untold   *ShardSet   // what was missing then
	missedAt Tick        // when something of it was missing last that had not been
	version  uint64      // the last one it told: see Standings
	orders   orderStream // what it has still to be told
}

// asking is a block of which it is in doubt whether a member holds it.
type asking struct {
	key  shoal.Key
	hash uint64
	sum  shoal.Sum
}

// Counts are what a Directory has done and has.
type Counts struct {
	Entries, Leases                                int // now
	Owned, Missing                                 int // shards of this home; pairs of shard and member not yet synced
	Held, Filling, Fill, Unknown, Nowhere, Foreign int // answers given, by kind; Foreign: NotOwner
	Batches, Stale, Changes                        int // batches applied, ignored as old, and the changes in the former
	Corrections                                    int // holders forgotten because a reader did not find the block there
	Mismatches                                     int // announcements whose sum differs from the first holder's
	Refused                                        int // holders and leases not taken on, because the member has too many
	Audits, Differences                            int // batches with digests compared; shards found to differ
	Pulled                                         int // records taken over from other homes
	Orders, GoneOrders, StaleOrders                int // given; those for a block that was not there; those refused as old
	Resigned, Moved, LastResigned                  int // resignations heard; ended by another keeper; ended by none
	Moves                                          int // blocks whose keepers are changing, now
}

// maxChecks is how many keys a member is asked about at a time; it is asked about
// others when a reader stumbles over them again.
const maxChecks = 1024

// NewDirectory returns the Directory of node self. It knows nobody until SetTable.
func NewDirectory(self shoal.NodeID, rules Rules) *Directory {
	return &Directory{
		self: self, rules: rules.withDefaults(), table: NewTable(nil), before: NewTable(nil),
		byID: make(map[shoal.NodeID]*member), numbers: make([]*member, 1),
		entries: newEntries(), leases: newLeases(), hints: new(Hints), receivers: new(receivers), gains: make([]Tick, 1),
		moves: make(map[shoal.Key]*move), left: make(map[uint16]Tick),
	}
}

// Step takes one message in and returns those that go out because of it.
func (d *Directory) Step(now Tick, m Message) []Message {
	d.now = now
	switch m.Type {
	case MsgLookup, MsgPeek:
		reply := d.reply(m, MsgAnswers)
		reply.Answers = d.lookup(now, &m, nil)
		return []Message{reply}
	case MsgBatch:
		return []Message{d.batch(now, m)}
	case MsgResign:
		return d.resign(m)
	case MsgStood:
		return d.stood(m)
	case MsgPull:
		return []Message{d.page(now, m)}
	case MsgPage:
		d.paged(now, m)
	case MsgMeet:
		return []Message{d.met(now, m)}
	case MsgMet:
		d.meet(now, m.Frontiers)
	case MsgIntent:
		d.intent(now, m)
	case MsgRenew:
		d.renew(now, m)
	case MsgRelease:
		d.release(m)
	}
	return nil
}

// Holders returns the members this home knows to hold key, but for those that are away,
// sorted by ID; nil when the node is no home of it.
func (d *Directory) Holders(key shoal.Key) []shoal.NodeID {
	hash := HashKey(key)
	slot := d.entries.find(key, hash)
	if slot == 0 || !d.owned.Has(uint16(hash)) {
		return nil
	}
	var ids []shoal.NodeID
	for _, n := range d.entries.holders(slot, nil) {
		if q := d.numbers[n]; q != nil && !q.away {
			ids = append(ids, q.id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Filler returns the node with a live lease on key, as far as this home knows.
func (d *Directory) Filler(now Tick, key shoal.Key) (id shoal.NodeID, left Tick, ok bool) {
	hash := HashKey(key)
	slot := d.entries.find(key, hash)
	if slot == 0 || !d.owned.Has(uint16(hash)) {
		return "", 0, false
	}
	l, ok := d.lease(now, slot)
	if !ok {
		return "", 0, false
	}
	return l.filler.id, l.until - now, true
}

// Counts returns what d has done and has.
func (d *Directory) Counts() Counts {
	c := d.counts
	c.Entries, c.Leases, c.Owned = d.entries.n, len(d.leases.bySlot), d.owned.Len()
	c.Moves = len(d.moves)
	for _, p := range d.members {
		c.Missing += p.missing.Len()
	}
	return c
}

// reply returns an empty answer of type t to m.
func (d *Directory) reply(m Message, t MessageType) Message {
	return Message{
		Type: t, From: d.self, To: m.From, View: d.table.view,
		Boot: d.boot, ToBoot: m.Boot, Seq: m.Seq,
	}
}

func newMember(m shoal.Member, number uint16) *member {
	return &member{id: m.ID, boot: m.Boot, seed: xxh3.HashString(string(m.ID)), number: number}
}
