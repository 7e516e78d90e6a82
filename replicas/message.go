package replicas

import (
	"time"

	"github.com/shoal-mesh/shoal"
)

// A Tick is a moment in milliseconds since some start that only its node knows. Ticks
// of two nodes are never compared: what travels is a length of time.
type Tick int64

// A Kind says what an Answer is.
type Kind uint8

// The kinds of answers. NotOwner and Unknown as well as Nowhere never come out of
// Locate: it goes on to the backup home and, in the end, fails open with Fill.
const (
	Unknown  Kind = iota // the home cannot tell yet, or no home answered (Peek)
	Held                 // Nodes hold the block, best first
	Filling              // Nodes[0] is receiving it, from the UFS or from a node: stream from there
	Fill                 // nobody: the asker is the filler
	Nowhere              // nobody else holds or fills it; only Peek is told so
	NotOwner             // the node asked is not a home of the block under its own view
)

// String returns the word for k.
func (k Kind) String() string {
	words := [...]string{"unknown", "held", "filling", "fill", "nowhere", "not-owner"}
	if int(k) < len(words) {
		return words[k]
	}
	return "invalid"
}

// An Answer is what a home knows of one key. It is a hint: the reader must be ready
// for it to be false, and a false one costs one extra hop.
type Answer struct {
	Kind  Kind
	Nodes []shoal.NodeID // Held: at most MaxNodes holders; Filling: the filler, or who follows it or a holder
	Sum   shoal.Sum      // Held, Filling: the BlockSum the first holder announced; 0 when not known
	// Lease is how long the filler may take before it must Renew. Zero with Fill means
	// that no home answered, or that the asker has too many leases: it fills on its own
	// account (fail open).
	Lease time.Duration
	// Place is the node that is to keep the block which the asker fills but does not keep;
	// empty when it keeps it, or when nobody wants it.
	Place shoal.NodeID
	// Holders are what a Peek is told of the replicas, whatever its Kind: that of the asker is
	// among them. At most MaxHolders; there are More than that.
	Holders []Holder
	More    int
}

// MaxNodes is how many Nodes an Answer names at most, and MaxHolders how many Holders.
const (
	MaxNodes   = 8
	MaxHolders = 64
)

// A Reason says why a reader does not want to be sent to a node again.
type Reason uint8

// The reasons to avoid a node.
const (
	Unreachable Reason = iota // it did not answer: it may well hold the block
	NotFound                  // it answered that it does not have the block
)

// An Avoid names a node that just failed a reader.
type Avoid struct {
	Node   shoal.NodeID
	Reason Reason
}

// A Change is one line of a Batch: what its sender has from now on, or has no more.
type Change struct {
	Held bool // "+key" or "-key"

	// Of a block that is held.
	Key    shoal.Key
	Sum    shoal.Sum
	Limits Limits
	Gained uint64 // the number of this gain, if it is news: by it an order may name the block
	Filled bool   // it is news of what the sender filled under a lease: it takes it for the last replica

	// Of a block that is dropped.
	Hash uint64 // of its key: the home knows which it is among those the sender holds
	Idle Idle
}

// hash returns the hash of the key of the block.
func (c Change) hash() uint64 {
	if c.Held {
		return HashKey(c.Key)
	}
	return c.Hash
}

// drop returns the "-key" of key.
func drop(key shoal.Key, idle Idle) Change { return Change{Hash: HashKey(key), Idle: idle} }

// A Resignation says that a holder would drop its replica of a block.
type Resignation struct {
	Hash   uint64 // of the key of the block
	Number uint64 // by it an order may name the block
}

// A MessageType says what a Message is.
type MessageType uint8

// The types of messages. Lookup, Peek and Batch are answered (by Answers, and by Ack
// or Refused); the others are told and forgotten: losing one costs time, never truth. What a
// home orders whoever calls it with a Resign or a Stood is the answer to that, if it is due.
const (
	MsgLookup  MessageType = iota + 1 // reader to home: who has Keys? I intend to fill them
	MsgPeek                           // anyone to home: who has Keys? no intent
	MsgAnswers                        // home to asker: one Answer per key
	MsgBatch                          // holder to home: number Seq of its stream of Changes
	MsgAck                            // home to holder: Batch Seq is applied
	MsgRefused                        // home to holder: I do not know this boot of you, or am not that boot
	MsgIntent                         // home to the other home: Filler has a lease on Keys
	MsgRenew                          // filler to home: I am still filling Keys
	MsgRelease                        // filler to home: I no longer fill Keys
	MsgWant                           // home to holder: announce what you hold of Shards
	MsgCheck                          // home to holder: say again whether you hold the Changes' keys
	MsgDone                           // the empty answer of a call that has none
	MsgResign                         // holder to home: I would drop Resigned; let somebody else be keeper
	MsgStand                          // home to holder: number Seq of its stream of Orders
	MsgStood                          // holder to home: the Orders of Stand Seq are carried out
)

// The types of messages by which homes come to agree with the truth and with one another.
// Pull and Meet are answered by Page and Met.
const (
	MsgAudit MessageType = iota + 32 // home to holder: tell the Digests of Shards, or of all that are mine
	MsgPull                          // home to home: a page of what you know of Shards
	MsgPage                          // the answer
	MsgMeet                          // anyone to anyone: what I know of the members' frontiers
	MsgMet                           // the answer: what I know
)

// String returns the word for t.
func (t MessageType) String() string {
	if t >= MsgAudit {
		words := [...]string{"audit", "pull", "page", "meet", "met"}
		if int(t-MsgAudit) < len(words) {
			return words[t-MsgAudit]
		}
		return "invalid"
	}
	words := [...]string{
		"invalid", "lookup", "peek", "answers", "batch", "ack", "refused", "intent",
		"renew", "release", "want", "check", "done",
		"resign", "stand", "stood",
	}
	if int(t) < len(words) {
		return words[t]
	}
	return words[0]
}

// A Message is what one node tells another. Which fields are set depends on Type.
// Whoever gets a Message owns its slices.
type Message struct {
	Type     MessageType
	From, To shoal.NodeID
	View     shoal.View // membership the sender acts under; Batch, Ack, Audit, Resign
	Boot     uint64     // the sender's boot; not in questions of readers and fillers
	ToBoot   uint64     // the boot of To that is meant, where Boot is told
	// Seq numbers the batches of one boot of a holder, over all homes, so that a home can
	// tell an old batch from a new one; Answers and Ack repeat that of the request.
	Seq     uint64
	Keys    []shoal.Key  // Lookup, Peek, Intent, Renew, Release
	Avoid   []Avoid      // Lookup: nodes that just failed for all of Keys
	Last    bool         // Lookup: the asker waits no longer, so a home that is warming gives the lease
	Answers []Answer     // Answers
	Filler  shoal.NodeID // Intent
	Lease   Tick         // Intent: how much of the lease is left
	Offer   *Offer       // Lookup: what the asker would have another node keep; nil when it keeps the blocks
	Changes []Change     // Batch, Check
	// Shards, in a Batch, opens a push: the home forgets what it knows of the sender in
	// these shards, and hears all of it again in this Batch and those after it, until End.
	// In a Want it is what the home lacks, in an Audit and a Pull what it asks about; in a
	// Page those asked about of which the sender does not know everything itself.
	Shards *ShardSet
	// Audited, in a Batch, are shards whose Digests the sender tells, of all that it holds
	// after this Batch; those that have none in Digests are empty. Only a home that acts
	// under the same view may make anything of it.
	Audited *ShardSet
	Digests []ShardDigest // by ascending shard
	Cursor  Cursor        // Pull: where the page begins; Page: where the next one does
	Records []Record      // Page
	// Frontier is the sender's own, in Answers, Batch, Ack, Meet and Met; nil when it has none
	// to tell, or has told it before. Frontiers are what it knows of others, in Meet and Met.
	Frontier  *shoal.Frontier
	Frontiers []Report
	End       bool // Batch: the push is complete
	// Version counts what the sender has gained and been told to keep: see Standings. A
	// Batch, a Resign and a Stood have it.
	Version  uint64
	Resigned []Resignation // Resign
	Orders   []Order       // Stand
	Results  []Result      // Stood: one per Order
}

// answers reports whether m can be the answer to a call with a message of type t. A Stand that
// is there when the holder calls about others need not be a call of its own.
func (m *Message) answers(t MessageType) bool {
	switch m.Type {
	case MsgAnswers, MsgAck, MsgRefused, MsgPage, MsgMet:
		return true
	case MsgStand:
		return t == MsgResign || t == MsgStood
	}
	return false
}

// Rules are the settings of the pure half. A zero field means its default.
type Rules struct {
	// Lease is how long a filler has the word, in milliseconds. Default 30,000.
	Lease Tick
	// Warm is how long a home may answer Unknown because members have not told it yet
	// what they hold, in milliseconds. Default 10,000.
	Warm Tick
	// WantAfter is how long a home waits for members to announce by themselves before it
	// asks them, and before it asks again, in milliseconds. Default 2,000.
	WantAfter Tick
	// AddDelay and DropDelay are how long a "+key" and a "-key" wait for company, and orders
	// that end a resignation wait AddDelay as well, in milliseconds. Defaults 50 and 1,000. A
	// reader may come for a new block at once, while an old one costs it one extra hop at most.
	AddDelay, DropDelay Tick
	// SlowDelay is how long what nobody waits for waits: other orders, and a "+key" of which
	// the home names the holder already, as it had the lease; in milliseconds. Default five
	// times AddDelay, but no more than DropDelay.
	SlowDelay Tick
	// IntentAfter is how long the other home is not told of a lease, in milliseconds: most
	// blocks are filled before, and told of by their holder. Default ten times AddDelay, but no
	// more than a quarter of Lease.
	IntentAfter Tick
	// RetryAfter is how long a Batch waits for its Ack before it is sent again; it doubles
	// up to eight times that, in milliseconds. Default 1,000.
	RetryAfter Tick
	// BatchChanges is how many Changes a Batch has at most. Default 1,024 (26 KB).
	BatchChanges int
	// QueueChanges is how many Changes wait for one home at most; beyond that they are
	// dropped and the home gets a push of all its shards. Default 16,384, at least BatchChanges.
	QueueChanges int
	// MaxHeld is how many blocks a home believes one member to hold at most, whatever the
	// capacity it advertises; less when that has no room for so many. Default 33,554,432.
	MaxHeld int
	// MaxLeases is how many leases one filler has at a home; beyond that it is told to
	// fill without. Default 65,536.
	MaxLeases int
	// Refresh is how long a home waits, on average, until it asks a member again for the
	// digests of what it holds, in milliseconds; what has not been confirmed for three times
	// as long is forgotten. A holder looks as often whether its digests are true. Default
	// 300,000.
	Refresh Tick
	// Grace is how long a member that is gone keeps its place, in milliseconds. Negative: not
	// at all. Default 60,000.
	Grace Tick
	// PullRecords is how many records of other homes a home that is new takes in, per
	// second. Default 262,144 (about 8 MB/s).
	PullRecords int
	// Meet is how long a node waits until it exchanges what it knows of frontiers with
	// another, in milliseconds. Default 10,000.
	Meet Tick
	// Settle is how long the view must have named a home before it takes the word of keeper
	// from anybody, and before holders ask it to, in milliseconds: until then another node may
	// think that it is the home. Default 10,000.
	Settle Tick
	// ResignPatience is how long members that have not told what they hold keep a home from
	// giving up a last replica, in milliseconds. Default 60,000.
	ResignPatience Tick
	// MaxKept is how many blocks a holder remembers to have gained or been told to keep, so
	// that it can tell a late order; orders based on what it has forgotten are refused, and
	// given again. It resigns from no more blocks at once. Default 65,536 (up to 16 MB).
	MaxKept int
}

func (r Rules) withDefaults() Rules {
	def := func(v *Tick, to Tick) {
		if *v <= 0 {
			*v = to
		}
	}
	def(&r.Lease, 30_000)
	def(&r.Warm, 10_000)
	def(&r.WantAfter, 2_000)
	def(&r.AddDelay, 50)
	def(&r.DropDelay, 1_000)
	def(&r.SlowDelay, min(5*r.AddDelay, max(r.DropDelay, r.AddDelay)))
	def(&r.IntentAfter, min(10*r.AddDelay, r.Lease/4))
	def(&r.RetryAfter, 1_000)
	def(&r.Refresh, 300_000)
	def(&r.Meet, 10_000)
	if r.Grace == 0 {
		r.Grace = 60_000
	}
	def(&r.Settle, 10_000)
	def(&r.ResignPatience, 60_000)
	count := func(v *int, to int) {
		if *v <= 0 {
			*v = to
		}
	}
	count(&r.BatchChanges, 1024)
	count(&r.QueueChanges, 16384)
	count(&r.MaxHeld, 1<<25)
	count(&r.MaxLeases, 1<<16)
	count(&r.PullRecords, 1<<18)
	count(&r.MaxKept, 1<<16)
	r.BatchChanges = min(r.BatchChanges, maxChanges)
	r.QueueChanges = max(r.QueueChanges, r.BatchChanges)
	return r
}
