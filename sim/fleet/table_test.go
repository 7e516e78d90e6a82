package fleet

import (
	"math/rand/v2"
	"testing"
)

// TestTable runs random histories of puts, updates and removals, on tables so small that blocks
// wrap around the end and tables grow, against a map.
func TestTable(t *testing.T) {
	type value struct {
		slot uint32
		mark mark
	}
	grown, wrapped := 0, 0
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		blocks := uint32(8 + rng.IntN(150))
		table := newTable(rng.IntN(40))
		first := len(table.cells)
		want := make(map[uint32]value)
		for step := range 3000 {
			block := rng.Uint32N(blocks) * 0x9e3779b1 // from all over the numbers, the largest but one among them
			if rng.IntN(50) == 0 {
				block = 1<<32 - 2
			}
			v, there := want[block]
			c := table.get(block)
			switch {
			case (c != nil) != there || there && (c.slot() != v.slot || c.mark() != v.mark):
				t.Fatalf("seed %d, step %d: get(%d) = %v, want %v: %v", seed, step, block, c, there, v)
			case !there:
				v = value{rng.Uint32N(maxSlots), mark(rng.IntN(1 << markBits))}
				table.put(block, v.slot, v.mark)
				want[block] = v
			case rng.IntN(3) == 0:
				v.mark = mark(rng.IntN(1 << markBits))
				c.setMark(v.mark)
				want[block] = v
			default:
				table.remove(block)
				delete(want, block)
			}
			for i, c := range table.cells {
				if c.block != 0 && table.home(c.block-1) > i {
					wrapped++
				}
			}
			if table.n != len(want) {
				t.Fatalf("seed %d, step %d: n = %d, want %d", seed, step, table.n, len(want))
			}
		}
		for block, v := range want {
			if c := table.get(block); c == nil || c.slot() != v.slot || c.mark() != v.mark {
				t.Fatalf("seed %d: get(%d) = %v, want %v", seed, block, c, v)
			}
		}
		cells := 0
		for _, c := range table.cells {
			if c.block != 0 {
				cells++
			}
		}
		if cells != len(want) {
			t.Fatalf("seed %d: %d cells in use, want %d", seed, cells, len(want))
		}
		if len(table.cells) > first {
			grown++
		}
	}
	if grown == 0 || wrapped == 0 {
		t.Errorf("%d tables grew, blocks lay beyond the end %d times: want both", grown, wrapped)
	}
}

// TestTableOfOneHome has all blocks of one home, which is the last cell: every removal moves those
// behind it around the end.
func TestTableOfOneHome(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 2))
		table := newTable(12)
		var same []uint32
		for block := uint32(0); len(same) < 12; block++ {
			if home := table.home(block); home == len(table.cells)-1 || home == len(table.cells)-2 {
				same = append(same, block)
			}
		}
		for i, block := range same {
			table.put(block, uint32(i), 0)
		}
		for _, gone := range rng.Perm(len(same)) {
			table.remove(same[gone])
			same[gone] = 1<<32 - 1 // no block
			for i, block := range same {
				if c := table.get(block); block != 1<<32-1 && (c == nil || c.slot() != uint32(i)) {
					t.Fatalf("seed %d: get(%d) = %v after the removal of slot %d, want slot %d", seed, block, c, gone, i)
				}
			}
		}
		if table.n != 0 {
			t.Errorf("seed %d: n = %d, want 0", seed, table.n)
		}
	}
}
