package replicas

import (
	"testing"

	"github.com/shoal-mesh/shoal"
)

// Lines of one file in order cost little beyond their sums; those of small files a FileID.
func TestLinesAreShort(t *testing.T) {
	const lines = 1000
	var n uint64
	large := func(i int) shoal.Key { return shoal.Key{File: shoal.FileID{1}, Index: uint32(i)} }
	small := func(i int) shoal.Key { return shoal.Key{File: shoal.FileID{byte(i), byte(i >> 8), 1}} }
	add := func(key shoal.Key) Change {
		n++
		return Change{Key: key, Sum: 1 << 31, Limits: Limits{Min: 1, Max: 3}, Held: true, Gained: 1<<50 + 9*n}
	}
	drop := func(key shoal.Key) Change { return drop(key, 100) }
	for _, tt := range []struct {
		name string
		key  func(int) shoal.Key
		line func(shoal.Key) Change
		most int // bytes per line
	}{
		{"blocks of a large file that come", large, add, 6},
		{"blocks of a large file that go", large, drop, 10},
		{"small files that come", small, add, 22},
		{"small files that go", small, drop, 10},
	} {
		m := Message{Type: MsgBatch}
		for i := range lines {
			m.Changes = append(m.Changes, tt.line(tt.key(i)))
		}
		if got := len(encode(&m)) - len(encode(&Message{Type: MsgBatch})); got > lines*tt.most+50 {
			t.Errorf("%d %s take %d bytes, want at most %d each", lines, tt.name, got, tt.most)
		}
	}
	m := Message{Type: MsgStand}
	for i := range uint64(lines) {
		m.Orders = append(m.Orders, Order{Number: 1<<50 + 9*i - i%2, Basis: 1<<40 + 9*i, Standing: shoal.Standing{Class: shoal.Last}})
	}
	if got := len(encode(&m)); got > lines*3+80 {
		t.Errorf("%d orders that name numbers take %d bytes, want at most 3 each", lines, got)
	}
	for name, key := range map[string]func(int) shoal.Key{"large": large, "small": small} {
		m := Message{Type: MsgStand}
		for i := range lines {
			m.Orders = append(m.Orders, Order{Key: key(i), Basis: uint64(1<<40 + i), Standing: shoal.Standing{Class: shoal.Surplus}})
		}
		most := map[string]int{"large": 2, "small": 18}[name]
		if got := len(encode(&m)); got > lines*most+80 {
			t.Errorf("%d orders for blocks of %s files take %d bytes, want at most %d each", lines, name, got, most)
		}
	}
}
