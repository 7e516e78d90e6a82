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
		got, err := decode(b, point{m.View, m.Boot, m.ToBoot})
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
			if _, err := decode(b[:n], point{}); err == nil {
				t.Errorf("decode of the first %d of %d bytes of %v = nil error", n, len(b), m.Type)
			}
		}
		if _, err := decode(append(b, 0), point{}); err == nil {
			t.Errorf("decode(%v and a byte more) = nil error", m.Type)
		}
	}
}

// A length that promises more than there is must not be believed.
func TestWireDoesNotAllocateWhatIsNotThere(t *testing.T) {
	for _, typ := range []MessageType{MsgLookup, MsgAnswers, MsgBatch, MsgCheck, MsgRenew, MsgPage, MsgMeet} {
		b := appendHead(nil, &Message{Type: typ})
		b = append(b, 0xff, 0xff, 0x03) // 65,535 of something
		got := testing.AllocsPerRun(10, func() {
			if _, err := decode(b, point{}); err == nil {
				t.Errorf("decode(%v) = nil error", typ)
			}
		})
		if got > 10 {
			t.Errorf("decode(%v with a false length) makes %v allocations", typ, got)
		}
	}
}

// A message that was meant for another boot, or under another view, is known by it.
func TestWireDisagrees(t *testing.T) {
	sent := Message{Type: MsgResign, View: 1, Boot: 2, ToBoot: 3, Version: 9}
	for _, tt := range []struct {
		at   point
		want Message
	}{
		{point{1, 2, 3}, sent},
		{point{7, 2, 3}, Message{Type: MsgResign, Boot: 2, ToBoot: 3, Version: 9}},
		{point{1, 7, 3}, Message{Type: MsgResign, View: 1, Version: 9}},
		{point{1, 2, 7}, Message{Type: MsgResign, View: 1, Version: 9}},
		{point{1, 3, 2}, Message{Type: MsgResign, View: 1, Version: 9}},
	} {
		got, err := decode(encode(&sent), tt.at)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("decode at %+v = %+v, %v, want %+v", tt.at, got, err, tt.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, m := range wireSamples() {
		f.Add(encode(&m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		at := point{1, 2, 3}
		m, err := decode(b, at)
		if err != nil {
			return
		}
		again, err := decode(encode(&m), at)
		if err != nil {
			t.Fatalf("decode(encode(%+v)) = %v", m, err)
		}
		if !bytes.Equal(encode(&m), encode(&again)) {
			t.Errorf("two encodings of %+v differ", m)
		}
		// Whatever it says, a Core must take it.
		c := NewCore("a", Rules{})
		c.SetTable(0, NewTable([]shoal.Member{{ID: "a"}, {ID: "b"}}))
		m.From, m.To, m.ToBoot, m.Boot, m.View = "b", "a", 0, 0, c.Table().View()
		c.Tick(0)
		if m.Type == MsgPage {
			m.Seq = 1 // of the Pull that Tick has just sent
		}
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
	every := new(ShardSet)
	for s := range Shards - 7 {
		every.Add(uint16(s + 5))
	}
	front := shoal.Frontier{FreeBytes: -1, Surplus: float32(math.Inf(1)), Last: 0.5}
	keys := []shoal.Key{{Index: 1}, {File: shoal.FileID{1, 2, 3}, Index: math.MaxUint32}}
	changes := []Change{{Key: keys[0], Sum: 7, Held: true}, {Hash: math.MaxUint64}}
	return []Message{
		{Type: MsgLookup, Keys: keys, Avoid: []Avoid{{"n1", NotFound}, {"n2", Unreachable}}},
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
		{Type: MsgBatch, View: 1 << 63, Boot: 1, ToBoot: 2, Seq: 3, Shards: few, Changes: changes, End: true},
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
		{Type: MsgBatch, Version: math.MaxUint64, Changes: append([]Change{
			{Key: keys[0], Sum: 7, Held: true, Gained: 5, Filled: true, Limits: Limits{Min: 1, Max: 3}},
			{Key: shoal.Key{Index: 2}, Sum: 8, Held: true, Limits: Limits{Min: 1, Max: 3}},
			{Key: shoal.Key{Index: 3}, Sum: 8, Held: true, Gained: math.MaxUint64, Limits: Limits{Min: 1, Max: 3}},
			{Hash: 3, Idle: 200},
		}, changes...)},
		{Type: MsgResign, Resigned: []Resignation{{0, 1}, {math.MaxUint64, 7}, {3, math.MaxUint64}}, Version: 5},
		{Type: MsgStand, Boot: 1, ToBoot: 2, Seq: 9, Orders: []Order{
			{Key: keys[0], Standing: shoal.Standing{Class: shoal.Surplus, Keeper: true}, Credit: 77},
			{Key: keys[1], Standing: shoal.Standing{Class: shoal.Excess}, Basis: 1 << 60},
			{Key: shoal.Key{Index: 5}, Standing: shoal.Standing{Class: shoal.Last}, Basis: 3},
			{Number: 2, Standing: shoal.Standing{Class: shoal.LastInZone}, Basis: math.MaxUint64, Credit: 1},
			{Key: shoal.Key{Index: 6}, Standing: shoal.Standing{Class: shoal.Last, Keeper: true}},
			{Number: math.MaxUint64, Standing: shoal.Standing{Class: shoal.Last}, Basis: 1},
		}},
		{Type: MsgStood, Seq: 9, Version: 6, Results: []Result{Obeyed, Gone, Stale, Obeyed, Obeyed, NotHome}},
		{Type: MsgStood, Results: []Result{Gone, Obeyed}},
		{Type: MsgLookup, Keys: keys, Offer: &Offer{Weight: 1.5, SizeBytes: 4 << 20}},
		{Type: MsgAnswers, Answers: []Answer{
			{Kind: Fill, Lease: time.Second, Place: "n9"},
			{Kind: Held, Nodes: []shoal.NodeID{"n1", "n9"}, Sum: 1},
		}},
		{Type: MsgAnswers, Answers: []Answer{
			{Kind: Held, Nodes: []shoal.NodeID{"n2"}, Sum: 1, Holders: []Holder{
				{Node: "n1", Keeper: true, Class: shoal.LastInZone}, {Node: "n2", Class: shoal.Excess}, {Node: "n2"},
			}},
			{Kind: Fill, Lease: time.Second, Place: "n9"},
			{Kind: Nowhere, Holders: []Holder{{Node: "n1", Keeper: true, Class: shoal.Surplus}}, More: maxNames},
			{Kind: Unknown, Holders: make([]Holder, MaxHolders)},
			{Kind: Filling, Nodes: []shoal.NodeID{"n2"}, Holders: []Holder{{Node: "n9", Keeper: true}}},
		}},
		{Type: MsgAck, Seq: 7, Frontier: &front},
		{Type: MsgBatch, Audited: every, Digests: []ShardDigest{
			{0, Digest{1, 2, 3}}, {1, Digest{math.MaxUint64, math.MaxUint32, math.MaxUint32}}, {65535, Digest{}},
		}},
		{Type: MsgAudit, View: 7},
		{Type: MsgAudit, Shards: every},
		{Type: MsgPull, Seq: 1, Shards: many, Cursor: Cursor{Shard: 65535, Bucket: 65535}},
		{Type: MsgPage, Seq: 1, Shards: few, Cursor: Cursor{Shard: Shards}, Records: []Record{
			{Key: keys[0], Sum: 7, Limits: Limits{Min: 3, Max: 6}, Keepers: 2, Holders: []shoal.NodeID{"n1", "n2", "n3"}},
			{Key: keys[1], Holders: []shoal.NodeID{"n2"}},
		}},
		{Type: MsgPage},
		{Type: MsgMeet, Frontier: &front, Frontiers: []Report{{Seed: 1, Age: 100}, {Seed: math.MaxUint64, Frontier: front}}},
		{Type: MsgMet},
	}
}
