package fleet

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal/blockstore/policy"
	"github.com/shoal-mesh/shoal/replicas"
)

// BenchmarkRead tells what a read takes in the steady state, of shuffled epochs that eight nodes
// share, with room for a share K of the blocks.
func BenchmarkRead(b *testing.B) {
	for _, base := range []policy.Base{policy.BaseUniform, policy.BaseLRU} {
		for _, k := range []float64{0.55, 1.1} {
			b.Run(fmt.Sprintf("%v/K=%v", base, k), func(b *testing.B) {
				b.ReportAllocs()
				read := steady(b, base, k, 1<<17)
				for b.Loop() {
					read()
				}
			})
		}
	}
}

// steady returns what makes the next read of a fleet that has read five epochs.
func steady(t testing.TB, base policy.Base, k float64, blocks uint32) (read func()) {
	const nodes = 8
	f, err := New(Config{
		Nodes: nodes, Capacity: int64(k * float64(blocks) / nodes), Blocks: blocks, Of: func(uint32) Block { return Block{Bytes: 1} },
		Groups: []Group{{Rules: policy.Rules{Base: base, Classes: true}, Limits: replicas.Limits{Min: 1}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	order := rng.Perm(int(blocks))
	at := 0
	read = func() {
		if at%nodes == 0 {
			f.Advance(time.Duration(at) * time.Millisecond)
		}
		i := at % len(order)
		j := i + rng.IntN(len(order)-i)
		order[i], order[j] = order[j], order[i]
		f.Read(at%nodes, uint32(order[i]), 1)
		at++
	}
	for range 5 * len(order) {
		read()
	}
	return read
}

// TestAllocations has reads take no memory in the steady state, but for those that have a keeper
// hand over to another holder: replicas.ChooseKeepers makes lists.
func TestAllocations(t *testing.T) {
	for _, base := range []policy.Base{policy.BaseUniform, policy.BaseLRU} {
		for _, k := range []float64{0.55, 1.1} {
			read := steady(t, base, k, 1<<12)
			n := testing.AllocsPerRun(20_000, read)
			t.Logf("%v, K=%v: %v allocations a read", base, k, n)
			if n != 0 {
				t.Errorf("%v, K=%v: %v allocations a read, want 0", base, k, n)
			}
		}
	}
}
