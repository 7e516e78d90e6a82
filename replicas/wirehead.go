package replicas

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/shoal-mesh/shoal"
)

// The head of a message on the wire: version, type, and what its type needs of View, Boot and
// ToBoot, Seq and Frontier. Whoever gets a message need not be told these values, only whether
// they are those it knows, so what travels of them is a hash. Directory traffic is many small
// messages: see TestDirectoryTraffic.

// A point is what a node knows that the messages from another one must agree with. What does
// not agree is zero in the message, which no view or boot is.
type point struct {
	view     shoal.View
	from, to uint64 // boots of the sender and of the node itself
}

// boots returns 32 bits that tell the boots of a sender and a receiver from others: once in 2^32
// restarts, an old message is taken for a new one. As seldom two views that differ agree.
func boots(from, to uint64) uint32 {
	return uint32(mix(mix(from) ^ bits.RotateLeft64(to, 32)))
}

// tellsBoots reports whether messages of type t are meant for one boot of their receiver.
func (t MessageType) tellsBoots() bool {
	switch t {
	case MsgBatch, MsgAck, MsgWant, MsgCheck, MsgAudit, MsgResign, MsgStand, MsgStood:
		return true
	}
	return false
}

// tellsView reports whether what messages of type t say depends on the sender's view.
func (t MessageType) tellsView() bool {
	switch t {
	case MsgBatch, MsgAck, MsgAudit, MsgResign:
		return true
	}
	return false
}

// tellsFrontier reports whether messages of type t carry the sender's frontier.
func (t MessageType) tellsFrontier() bool {
	switch t {
	case MsgAnswers, MsgBatch, MsgAck, MsgMeet, MsgMet:
		return true
	}
	return false
}

func appendHead(b []byte, m *Message) []byte {
	b = append(b, wireVersion, byte(m.Type))
	if m.Type.tellsView() {
		b = binary.BigEndian.AppendUint32(b, uint32(m.View))
	}
	if m.Type.tellsBoots() {
		b = binary.BigEndian.AppendUint32(b, boots(m.Boot, m.ToBoot))
	}
	b = binary.AppendUvarint(b, m.Seq)
	if m.Type.tellsFrontier() {
		b = appendFrontier(b, m.Frontier)
	}
	return b
}

// head takes the head off, but for version and type, which are in m.
func (r *reader) head(m *Message, at point) {
	if m.Type.tellsView() && r.uint32() == uint32(at.view) {
		m.View = at.view
	}
	if m.Type.tellsBoots() && r.uint32() == boots(at.from, at.to) {
		m.Boot, m.ToBoot = at.from, at.to
	}
	m.Seq = r.uvarint(math.MaxUint64)
	if m.Type.tellsFrontier() {
		m.Frontier = r.frontier()
	}
}
