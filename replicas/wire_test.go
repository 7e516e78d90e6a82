package replicas

import (
	"bytes"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
)

func TestWireRoundTrip(t *testing.T) {
	for _, m := range wireSamples() {
		b := encode(&m)
		got, err := decode(b)
		if err != nil {
			t.Errorf("decode(%v) = %v", m.Type, err)
			continue
		}
		if !reflect.DeepEqual(got, m) {
			t.Errorf("decode(encode(%+v)) = %+v", m, got)
		}
	}
}

func TestWireRefusesWhatIsCut(t *testing.T) {
	for _, m := range wireSamples() {
		b := encode(&m)
		for n := range len(b) {
			if _, err := decode(b[:n]); err == nil {
				t.Errorf("decode of the first %d of %d bytes of %v = nil error", n, len(b), m.Type)
			}
		}
		if _, err := decode(append(b, 0)); err == nil {
			t.Errorf("decode(%v and a byte more) = nil error", m.Type)
		}
	}
}

// A length that promises more than there is must not be believed.
func TestWireDoesNotAllocateWhatIsNotThere(t *testing.T) {
	for _, typ := range []MessageType{MsgLookup, MsgAnswers, MsgBatch, MsgCheck, MsgRenew} {
		b := encode(&Message{Type: typ})[:27]
		b = append(b, 0xff, 0xff, 0x03) // 65,535 of something
		got := testing.AllocsPerRun(10, func() {
			if _, err := decode(b); err == nil {
				t.Errorf("decode(%v) = nil error", typ)
			}
		})
		if got > 10 {
			t.Errorf("decode(%v with a false length) makes %v allocations", typ, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, m := range wireSamples() {
		f.Add(encode(&m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decode(b)
		if err != nil {
			return
		}
		again, err := decode(encode(&m))
		if err != nil {
			t.Fatalf("decode(encode(%+v)) = %v", m, err)
		}
		if !bytes.Equal(encode(&m), encode(&again)) {
			t.Errorf("two encodings of %+v differ", m)
		}
		// Whatever it says, a Core must take it.
		c := NewCore("a", Rules{})
		c.SetTable(0, NewTable([]shoal.Member{{ID: "a"}, {ID: "b"}}))
		m.From, m.To, m.ToBoot = "b", "a", 0
		c.Step(1, m)
		c.Tick(math.MaxInt32)
	})
}

func wireSamples() []Message {
	few, many := new(ShardSet), new(ShardSet)
	few.Add(0)
	few.Add(65535)
	for s := range uint16(9000) {
		many.Add(s * 3)
	}
	keys := []shoal.Key{{Index: 1}, {File: shoal.FileID{1, 2, 3}, Index: math.MaxUint32}}
	changes := []Change{{Key: keys[0], Sum: 7, Held: true}, {Key: keys[1]}}
	return []Message{
		{Type: MsgLookup, View: 1 << 63, Boot: 2, Keys: keys, Avoid: []Avoid{{"n1", NotFound}, {"n2", Unreachable}}},
		{Type: MsgLookup, Keys: keys, Last: true},
		{Type: MsgPeek, Keys: keys},
		{Type: MsgAnswers, Seq: math.MaxUint64, Answers: []Answer{
			{Kind: Held, Nodes: []shoal.NodeID{"n1", "n2"}, Sum: 9},
			{Kind: Held, Nodes: []shoal.NodeID{"n2"}},
			{Kind: Filling, Nodes: []shoal.NodeID{"n3"}, Lease: time.Second},
			{Kind: Fill, Lease: 30 * time.Second},
			{Kind: Unknown},
			{Kind: NotOwner},
			{Kind: Nowhere},
		}},
		{Type: MsgBatch, Boot: 1, ToBoot: 2, Seq: 3, Shards: few, Changes: changes, End: true},
		{Type: MsgBatch, Shards: many},
		{Type: MsgBatch, Changes: changes},
		{Type: MsgAck, Seq: 1},
		{Type: MsgRefused, Seq: 2},
		{Type: MsgIntent, Keys: keys, Filler: "n1", Lease: 30_000},
		{Type: MsgRenew, Keys: keys},
		{Type: MsgRelease, Keys: keys},
		{Type: MsgWant, Shards: few},
		{Type: MsgCheck, Changes: changes},
		{Type: MsgDone},
	}
}
