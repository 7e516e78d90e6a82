package replicas

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/shoal-mesh/shoal"
)

// The wire form of a Message: its head, and what its type has. From and To are not in it:
// the connection knows them better. Numbers are big endian or unsigned varints. A list is
// preceded by its length, which is checked against the bytes that are left before
// anything is allocated.

const (
	wireVersion = 3

	// maxKeys and maxChanges are how many a Message has at most.
	maxKeys    = 4096
	maxChanges = 8192
	// maxName is how long a node's name may be, and maxNames how many differ in Answers.
	maxName  = 255
	maxNames = 65536
	// explained, in the kind of an Answer, says that its Holders follow.
	explained = 0x80
	// maxMessage is how long a Message may be.
	maxMessage = 1 << 20

	shardsBitmap = 1 // a ShardSet as its words
	shardsList   = 2 // a ShardSet as its members
	shardsRuns   = 3 // a ShardSet as lengths: not in it, in it, not in it...
)

var errWire = errors.New("replicas: malformed message")

// encode returns the wire form of m.
func encode(m *Message) []byte {
	size := 64 + len(m.Keys)*shoal.KeyLen + len(m.Changes)*(shoal.KeyLen+5) + len(m.Answers)*16
	b := appendHead(make([]byte, 0, size), m)
	switch m.Type {
	case MsgLookup, MsgPeek:
		b = appendKeys(b, m.Keys)
		b = binary.AppendUvarint(b, uint64(len(m.Avoid)))
		for _, v := range m.Avoid {
			b = append(appendName(b, v.Node), byte(v.Reason))
		}
		b = appendOffer(append(b, boolByte(m.Last)), m.Offer)
	case MsgAnswers:
		b = appendAnswers(b, m.Answers)
	case MsgBatch:
		b = appendShards(b, m.Shards)
		b = appendDigests(appendShards(b, m.Audited), m.Digests)
		b = appendChanges(b, m.Changes)
		b = binary.AppendUvarint(append(b, boolByte(m.End)), m.Version)
	case MsgIntent:
		b = appendName(appendKeys(b, m.Keys), m.Filler)
		b = binary.AppendUvarint(b, uint64(max(0, m.Lease)))
	case MsgRenew, MsgRelease:
		b = appendKeys(b, m.Keys)
	case MsgWant, MsgAudit:
		b = appendShards(b, m.Shards)
	case MsgPull:
		b = appendCursor(appendShards(b, m.Shards), m.Cursor)
	case MsgPage:
		b = appendRecords(appendCursor(appendShards(b, m.Shards), m.Cursor), m.Records)
	case MsgMeet, MsgMet:
		b = appendReports(b, m.Frontiers)
	case MsgCheck:
		b = appendChanges(b, m.Changes)
	case MsgResign:
		b = binary.AppendUvarint(appendResigned(b, m.Resigned), m.Version)
	case MsgStand:
		b = appendOrders(b, m.Orders)
	case MsgStood:
		b = binary.AppendUvarint(appendResults(b, m.Results), m.Version)
	}
	return b
}

// decode returns the Message whose wire form is exactly b, as it is understood at this point.
// It keeps nothing of b.
func decode(b []byte, at point) (Message, error) {
	if len(b) > maxMessage {
		return Message{}, fmt.Errorf("%w: %d bytes", errWire, len(b))
	}
	r := reader{b: b}
	if v := r.byte(); !r.bad && v != wireVersion {
		return Message{}, fmt.Errorf("%w: version %d, want %d", errWire, v, wireVersion)
	}
	m := Message{Type: MessageType(r.byte())}
	r.head(&m, at)
	switch m.Type {
	case MsgLookup, MsgPeek:
		m.Keys = r.keys()
		m.Avoid = r.avoid()
		m.Last = r.bool()
		m.Offer = r.offer()
	case MsgAnswers:
		m.Answers = r.answers()
	case MsgBatch:
		m.Shards = r.shards()
		m.Audited, m.Digests = r.shards(), r.digests()
		m.Changes = r.changes()
		m.End, m.Version = r.bool(), r.uvarint(math.MaxUint64)
	case MsgIntent:
		m.Keys, m.Filler = r.keys(), r.name()
		m.Lease = Tick(r.uvarint(math.MaxInt32))
	case MsgRenew, MsgRelease:
		m.Keys = r.keys()
	case MsgWant, MsgAudit:
		m.Shards = r.shards()
	case MsgPull, MsgPage, MsgMeet, MsgMet:
		r.exchange(&m)
	case MsgCheck:
		m.Changes = r.changes()
	case MsgResign:
		m.Resigned, m.Version = r.resigned(), r.uvarint(math.MaxUint64)
	case MsgStand:
		m.Orders = r.orders()
	case MsgStood:
		m.Results, m.Version = r.results(), r.uvarint(math.MaxUint64)
	case MsgAck, MsgRefused, MsgDone:
	default:
		return Message{}, fmt.Errorf("%w: type %d", errWire, m.Type)
	}
	if r.bad || len(r.b) > 0 {
		return Message{}, fmt.Errorf("%w: %v", errWire, m.Type)
	}
	return m, nil
}

func appendKeys(b []byte, keys []shoal.Key) []byte {
	b = binary.AppendUvarint(b, uint64(len(keys)))
	for _, k := range keys {
		b = k.AppendTo(b)
	}
	return b
}

func appendShards(b []byte, s *ShardSet) []byte {
	switch {
	case s == nil:
		return append(b, 0)
	case s.runs() < min(s.n, Shards/32):
		return appendRuns(b, s)
	case s.n >= Shards/16:
		b = append(b, shardsBitmap)
		for _, w := range s.words {
			b = binary.BigEndian.AppendUint64(b, w)
		}
		return b
	}
	b = binary.AppendUvarint(append(b, shardsList), uint64(s.n))
	for shard := range s.All {
		b = binary.BigEndian.AppendUint16(b, shard)
	}
	return b
}

func appendName(b []byte, id shoal.NodeID) []byte {
	id = id[:min(len(id), maxName)]
	return append(append(b, byte(len(id))), id...)
}

// appendAnswers writes the nodes' names once, and numbers into that list after it.
func appendAnswers(b []byte, answers []Answer) []byte {
	var names names
	for _, a := range answers {
		for _, id := range a.Nodes {
			names.add(id)
		}
		if a.Place != "" {
			names.add(a.Place)
		}
		for _, h := range a.Holders {
			names.add(h.Node)
		}
	}
	b = names.appendTo(b)
	b = binary.AppendUvarint(b, uint64(len(answers)))
	for _, a := range answers {
		kind := byte(a.Kind)
		if len(a.Holders) > 0 {
			kind |= explained
		}
		b = append(b, kind, byte(len(a.Nodes)))
		for _, id := range a.Nodes {
			b = binary.AppendUvarint(b, uint64(names.index[id]))
		}
		if a.Kind == Held || a.Kind == Filling {
			b = binary.BigEndian.AppendUint32(b, uint32(a.Sum))
		}
		if a.Kind == Filling || a.Kind == Fill {
			b = binary.AppendUvarint(b, uint64(max(0, a.Lease/time.Millisecond)))
		}
		if a.Kind == Fill {
			place := 0
			if a.Place != "" {
				place = 1 + names.index[a.Place]
			}
			b = binary.AppendUvarint(b, uint64(place))
		}
		if len(a.Holders) > 0 {
			b = appendHolders(b, a, &names)
		}
	}
	return b
}

func boolByte(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// reader takes values off the front of b. After the first that is not there or out of
// its range, it is bad and all further values are zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || len(r.b) < n {
		r.bad, r.b = true, nil
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) byte() byte {
	if p := r.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (r *reader) bool() bool {
	v := r.byte()
	r.bad = r.bad || v > 1
	return v == 1
}

func (r *reader) uint16() uint16 {
	if p := r.take(2); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if p := r.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if p := r.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

func (r *reader) uvarint(limit uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	if r.bad || n <= 0 || v > limit {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// list returns the length of a list of at most limit items of at least size bytes.
func (r *reader) list(limit, size int) int {
	n := int(r.uvarint(uint64(limit)))
	if n*size > len(r.b) {
		r.bad, r.b = true, nil
		return 0
	}
	return n
}

func (r *reader) key() shoal.Key {
	k, _ := shoal.KeyFrom(r.take(shoal.KeyLen))
	return k
}

func (r *reader) keys() []shoal.Key {
	n := r.list(maxKeys, shoal.KeyLen)
	if n == 0 {
		return nil
	}
	keys := make([]shoal.Key, n)
	for i := range keys {
		keys[i] = r.key()
	}
	return keys
}

func (r *reader) shards() *ShardSet {
	kind := r.byte()
	if kind == 0 {
		return nil
	}
	s := new(ShardSet)
	switch kind {
	case shardsBitmap:
		for i := range Shards {
			if i%64 == 0 {
				s.words[i/64] = r.uint64()
			}
			if s.words[i/64]&(1<<(i%64)) != 0 {
				s.n++
			}
		}
	case shardsList:
		for range r.list(Shards, 2) {
			r.bad = !s.Add(r.uint16()) || r.bad
		}
	case shardsRuns:
		r.runs(s)
	default:
		r.bad = true
	}
	return s
}

func (r *reader) name() shoal.NodeID { return shoal.NodeID(r.take(int(r.byte()))) }

func (r *reader) avoid() []Avoid {
	n := r.list(maxKeys, 2)
	if n == 0 {
		return nil
	}
	avoid := make([]Avoid, n)
	for i := range avoid {
		avoid[i] = Avoid{Node: r.name(), Reason: Reason(r.byte())}
		r.bad = r.bad || avoid[i].Reason > NotFound
	}
	return avoid
}

func (r *reader) answers() []Answer {
	names := r.names()
	answers := make([]Answer, r.list(maxKeys, 2))
	var arena []shoal.NodeID
	for i := range answers {
		a := &answers[i]
		kind := r.byte()
		a.Kind = Kind(kind &^ explained)
		count := int(r.byte())
		if a.Kind > NotOwner || count > MaxNodes || (count == 0) == (a.Kind == Held || a.Kind == Filling) {
			r.bad = true
			return nil
		}
		start := len(arena)
		if arena = r.named(arena, names, count); r.bad {
			return nil
		}
		if count > 0 {
			a.Nodes = arena[start:len(arena):len(arena)]
		}
		if a.Kind == Held || a.Kind == Filling {
			a.Sum = shoal.Sum(r.uint32())
		}
		if a.Kind == Filling || a.Kind == Fill {
			a.Lease = time.Duration(r.uvarint(math.MaxInt32)) * time.Millisecond
		}
		if a.Kind == Fill {
			if n := int(r.uvarint(uint64(len(names)))); n > 0 {
				a.Place = names[n-1]
			}
		}
		if kind&explained != 0 {
			r.holders(a, names)
		}
	}
	return answers
}
