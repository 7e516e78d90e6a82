package replicas

import (
	"testing"

	"github.com/shoal-mesh/shoal"
)

// Lines of one file in order cost little beyond their sums; those of small files a FileID.
func TestLinesAreShort(t *testing.T) {
	const n = 1000
	large := func(i int) shoal.Key { return shoal.Key{File: shoal.FileID{1}, Index: uint32(i)} }
	small := func(i int) shoal.Key { return shoal.Key{File: shoal.FileID{byte(i), byte(i >> 8), 1}} }
	add := func(key shoal.Key) Change {
		return Change{Key: key, Sum: 1 << 31, Limits: Limits{Min: 1, Max: 3}, Held: true, Fresh: true}
	}
	drop := func(key shoal.Key) Change { return Change{Key: key, Idle: 100} }
	for _, tt := range []struct {
		name string
		key  func(int) shoal.Key
		line func(shoal.Key) Change
		most int // bytes per line
	}{
		{"blocks of a large file that come", large, add, 5},
		{"blocks of a large file that go", large, drop, 2},
		{"small files that come", small, add, 22},
		{"small files that go", small, drop, 19},
	} {
		m := Message{Type: MsgBatch}
		for i := range n {
			m.Changes = append(m.Changes, tt.line(tt.key(i)))
		}
		if got := len(encode(&m)) - len(encode(&Message{Type: MsgBatch})); got > n*tt.most+40 {
			t.Errorf("%d %s take %d bytes, want at most %d each", n, tt.name, got, tt.most)
		}
	}
	for name, key := range map[string]func(int) shoal.Key{"large": large, "small": small} {
		m := Message{Type: MsgStand}
		for i := range n {
			m.Orders = append(m.Orders, Order{Key: key(i), Basis: uint64(1<<40 + i), Standing: shoal.Standing{Class: shoal.Surplus}})
		}
		most := map[string]int{"large": 2, "small": 19}[name]
		if got := len(encode(&m)); got > n*most+80 {
			t.Errorf("%d orders for blocks of %s files take %d bytes, want at most %d each", n, name, got, most)
		}
	}
}
