package replicas

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/shoal-mesh/shoal"
)

// TestEntriesAgainstMap compares entries with a plain map, through several splits of the
// buckets and with more holders than fit into an entry.
func TestEntriesAgainstMap(t *testing.T) {
	const keys = 3 * Shards
	rng := rand.New(rand.NewPCG(1, 1))
	table, model := newEntries(), make(map[shoal.Key][]uint16)
	for step := range 800_000 {
		key := shoal.Key{Index: rng.Uint32N(keys)}
		n := uint16(1 + rng.IntN(6))
		slot := table.find(key, HashKey(key))
		if (slot != 0) != (model[key] != nil) {
			t.Fatalf("step %d: find(%v) = %d, but the model has %v", step, key, slot, model[key])
		}
		at := slices.Index(model[key], n)
		if rng.IntN(10) < 7 {
			slot = table.put(key, HashKey(key))
			if got := table.addHolder(slot, n); got != (at < 0) {
				t.Fatalf("step %d: addHolder(%v, %d) = %v, model %v", step, key, n, got, model[key])
			}
			if at < 0 {
				model[key] = append(model[key], n)
			}
			continue
		}
		if slot == 0 {
			continue
		}
		if got := table.dropHolder(slot, n); got != (at >= 0) {
			t.Fatalf("step %d: dropHolder(%v, %d) = %v, model %v", step, key, n, got, model[key])
		}
		if at >= 0 {
			model[key] = slices.Delete(model[key], at, at+1)
		}
		if len(model[key]) == 0 {
			table.remove(slot)
			delete(model, key)
		}
	}
	if table.n != len(model) || len(table.heads) == Shards {
		t.Errorf("%d entries in %d buckets, want %d in more than %d", table.n, len(table.heads), len(model), Shards)
	}
	seen := 0
	for s := range Shards {
		table.shard(uint16(s), func(slot uint32) bool {
			seen++
			key := table.at(slot).key
			got, want := table.holders(slot, nil), model[key]
			slices.Sort(got)
			slices.Sort(want)
			if ShardOf(key) != uint16(s) || !slices.Equal(got, want) {
				t.Errorf("entry of %v in shard %d has %v, want %v in shard %d", key, s, got, want, ShardOf(key))
			}
			return true
		})
	}
	if seen != len(model) {
		t.Errorf("shards have %d entries, want %d", seen, len(model))
	}
}
