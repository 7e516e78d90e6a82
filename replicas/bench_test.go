package replicas

import (
	"context"
	"fmt"
	"testing"

	"github.com/shoal-mesh/shoal"
)

func BenchmarkDirectoryLookup(b *testing.B) {
	const batch = 16
	for _, held := range []bool{true, false} {
		b.Run(map[bool]string{true: "held", false: "fill"}[held], func(b *testing.B) {
			d, keys := fullDirectory(100_000)
			if !held {
				for i := range keys {
					keys[i].File[15] = 1
				}
			}
			var answers []Answer
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				answers = d.Lookup(Tick(i), "n1", keys[i:i+batch], nil, false, answers[:0])
				if i += batch; i+batch > len(keys) {
					i = 0
				}
			}
			b.ReportMetric(float64(b.N)*batch/b.Elapsed().Seconds(), "keys/s")
		})
	}
}

func BenchmarkDirectoryDelta(b *testing.B) {
	const batch = 1024
	for _, holders := range []string{"backup", "one", "two"} { // home of blocks with so many
		b.Run(holders, func(b *testing.B) {
			d, keys := fullDirectory(1 << 17)
			start := Tick(0)
			if holders != "backup" {
				start = d.rules.Settle
				for d.retells.Len() > 0 {
					start++
					d.Tick(start)
				}
			}
			if holders == "two" {
				other := Message{Type: MsgBatch, From: "n1", Seq: 1, Changes: make([]Change, len(keys))}
				for i, key := range keys {
					other.Changes[i] = Change{Key: key, Sum: 1, Held: true, Gained: uint64(i + 1), Filled: true}
				}
				d.Step(start, other)
			}
			m := Message{Type: MsgBatch, From: "n2", Changes: make([]Change, batch)}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				m.Seq = d.byID["n2"].seq + 1
				for i := range m.Changes {
					m.Changes[i] = drop(keys[(n*batch+i)%len(keys)], 0)
					if n/(len(keys)/batch)%2 == 1 {
						m.Changes[i] = Change{Key: keys[(n*batch+i)%len(keys)], Sum: 1, Held: true, Gained: uint64(n*batch + i + 1), Filled: true}
					}
				}
				d.Step(start, m)
				n++
			}
			b.ReportMetric(float64(b.N)*batch/b.Elapsed().Seconds(), "changes/s")
		})
	}
}

func BenchmarkNewTable(b *testing.B) {
	for _, n := range []int{3, 100} {
		b.Run(fmt.Sprintf("members=%d", n), func(b *testing.B) {
			var members []shoal.Member
			for i := range n {
				members = append(members, shoal.Member{ID: shoal.NodeID(fmt.Sprintf("n%d", i)), State: shoal.Serving})
			}
			b.ReportAllocs()
			for b.Loop() {
				NewTable(members)
			}
		})
	}
}

// BenchmarkRunnerLocate looks 16 keys up: by the node that is a home of all of them, and
// by one of three nodes in memory.
func BenchmarkRunnerLocate(b *testing.B) {
	for _, n := range []int{1, 3} {
		b.Run(fmt.Sprintf("nodes=%d", n), func(b *testing.B) {
			net := &network{run: map[shoal.NodeID]*Runner{}, stores: map[shoal.NodeID]*store{}}
			for i := range n {
				net.join(shoal.NodeID(fmt.Sprintf("n%d", i+1)))
			}
			defer func() {
				for _, r := range net.run {
					_ = r.Close()
				}
			}()
			keys := someKeys(16)
			for _, key := range keys {
				net.hold(shoal.NodeID(fmt.Sprintf("n%d", n)), key)
			}
			b.ReportAllocs()
			for b.Loop() {
				net.run["n1"].Locate(context.Background(), keys, nil, nil)
			}
			b.ReportMetric(float64(b.N)*float64(len(keys))/b.Elapsed().Seconds(), "keys/s")
		})
	}
}

// fullDirectory returns the Directory of one of two nodes, with n keys that the other holds.
func fullDirectory(n int) (*Directory, []shoal.Key) {
	d := NewDirectory("n1", Rules{Warm: 1})
	d.SetTable(0, NewTable([]shoal.Member{{ID: "n1"}, {ID: "n2"}}))
	keys := make([]shoal.Key, n)
	m := Message{Type: MsgBatch, From: "n2", Seq: 1}
	for i := range keys {
		keys[i] = shoal.Key{File: shoal.FileID{byte(i >> 16), byte(i >> 8), byte(i)}, Index: uint32(i)}
		m.Changes = append(m.Changes, Change{Key: keys[i], Sum: 1, Held: true})
	}
	d.Step(1, m)
	return d, keys
}
