package meshtest

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore"
)

const (
	epochFiles  = 6000
	epochs      = 6
	warmEpochs  = 2 // whose reads do not count
	epochMinKB  = 20
	epochMaxKB  = 200
	epochSeed   = 77
	slabsOfDisk = 256 // see blockstore.Config.SlabBytes
)

// An epochCase is one row of the table of the README: caches of so much of the dataset each,
// a policy, and how many of the three nodes read.
type epochCase struct {
	policy      string
	classes     bool
	share       float64 // of the dataset, that each node's cache has room for
	readers     int
	least, most float64 // share of bytes that may come from the UFS in the last epochs
}

func (c epochCase) String() string {
	classes := "classes"
	if !c.classes {
		classes = "no classes"
	}
	return fmt.Sprintf("%s, %s, %d of 3 read, K=%.2f", c.policy, classes, c.readers, 3*c.share)
}

// TestEpochs trains: every epoch is a new shuffle of all files, and each file is read by one
// node. It shows what share of the bytes still comes from the UFS when the fleet's caches
// have room for all of the dataset, or half of it.
func TestEpochs(t *testing.T) {
	l := newLab(t, 3)
	objects := l.upload(t, epochSeed, func(i int) string { return fmt.Sprintf("train/%05d.jpg", i) }, mixed(epochFiles)...)
	var table strings.Builder
	for i, c := range []epochCase{
		{"uniform", true, 0.367, 3, 0, 0.03},
		{"lru", false, 0.367, 3, 0.30, 0.45},
		{"uniform", true, 0.183, 3, 0, 0.50},
		{"lru", false, 0.183, 3, 0.80, 1},
		{"uniform", true, 0.367, 1, 0, 0.03},
		{"uniform", true, 0.183, 1, 0, 0.50},
	} {
		t.Run(c.String(), func(t *testing.T) {
			row := l.train(t, c, i, objects)
			fmt.Fprintln(&table, row)
		})
	}
	t.Logf("share of the bytes read from the UFS\n%s", table.String())
}

// mixed returns the sizes of n files, from 20 to 200 KB.
func mixed(n int) []int {
	rng := rand.New(rand.NewPCG(epochSeed, 0))
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = (epochMinKB + rng.IntN(epochMaxKB-epochMinKB+1)) * 1000
	}
	return sizes
}

// train runs all epochs of a case on agents with empty caches, and returns its row.
func (l *lab) train(t *testing.T, c epochCase, number int, objects []object) string {
	size := int64(c.share * float64(occupied(t, c.share, objects)))
	l.record(fmt.Sprintf("traces%d", number))
	for i, n := range l.nodes {
		n.setCache(fmt.Sprintf("cache%d", number), size, map[string]any{
			"policy": c.policy, "replicas": map[string]any{"classes": c.classes},
		})
		n.setTTL("1h")
		n.start(t, i+1)
	}
	for _, n := range l.nodes {
		n.sees(t, len(l.nodes))
	}
	if c.classes {
		l.settle(t)
	}
	var row strings.Builder
	fmt.Fprintf(&row, "%-40s", c)
	var sent, read int64
	for epoch := range epochs {
		dropCaches(t)
		before := l.counts(t)
		for _, p := range l.epoch(c.readers, epoch, objects) {
			p.mustBe(t, p.want)
		}
		bytes := l.counts(t).since(before).Bytes
		fmt.Fprintf(&row, " %5.1f%%", 100*float64(bytes)/float64(total(objects)))
		if epoch >= warmEpochs {
			sent, read = sent+bytes, read+total(objects)
		}
	}
	got := float64(sent) / float64(read)
	var full, capacity int64
	var cost, stale float64
	for _, n := range l.nodes {
		s := n.status(t)
		stale += s.Directory.StalenessP50S / float64(len(l.nodes))
		full, capacity = full+s.Cache.Bytes, capacity+s.Cache.CapacityBytes
		cost += s.Fetches.PeerCost / float64(c.readers)
	}
	fmt.Fprintf(&row, "  epochs %d to %d: %.1f%%, caches %.0f%% full, a peer's read costs %.2f", warmEpochs+1, epochs, 100*got, 100*float64(full)/float64(capacity), cost)
	t.Log(row.String())
	if got < c.least || got > c.most {
		t.Errorf("%v: %.1f%% of the bytes from the UFS, want %.1f%% to %.1f%%", c, 100*got, 100*c.least, 100*c.most)
	}
	for _, n := range l.nodes {
		n.stop(t)
	}
	l.simulate(t, c, number, int64(c.share*float64(total(objects))), stale)
	return row.String()
}

// settle waits until homes let last replicas go: before, what comes to a full cache is not kept, and
// what is there stays.
func (l *lab) settle(t *testing.T) {
	t.Helper()
	youngest := l.nodes[len(l.nodes)-1]
	l.until(t, "homes have been homes for replicas.Config.Settle", func() bool {
		s, err := youngest.tryStatus()
		return err == nil && s.UptimeS > 12
	})
}

// A sampledPass is one node's part of an epoch.
type sampledPass struct {
	*pass
	want int
}

// epoch reads every object once, on one of the first readers nodes, as PyTorch's
// DistributedSampler deals them: node i gets every readers-th of one global shuffle.
func (l *lab) epoch(readers, epoch int, objects []object) []sampledPass {
	order := rand.New(rand.NewPCG(epochSeed, uint64(epoch)+1)).Perm(len(objects))
	passes := make([]sampledPass, readers)
	var wg sync.WaitGroup
	for i := range readers {
		var mine []object
		for j := i; j < len(order); j += readers {
			mine = append(mine, objects[order[j]])
		}
		wg.Go(func() { passes[i] = sampledPass{l.nodes[i].readAll(mine, uint64(epoch), func() {}), len(mine)} })
	}
	wg.Wait()
	return passes
}

// setCache gives the node one empty cache directory of size bytes, and its mount settings.
func (n *labNode) setCache(name string, size int64, mount map[string]any) {
	n.config["cache"] = []any{map[string]any{"path": filepath.Join(n.home, name), "size": fmt.Sprint(size)}}
	first := n.config["namespace"].([]any)[0].(map[string]any)
	for k, v := range mount {
		first[k] = v
	}
}

// occupied returns what the objects occupy in a store whose slabs are those of a cache with
// room for share of them: the bytes that count against its limit.
func occupied(t *testing.T, share float64, objects []object) int64 {
	t.Helper()
	slab := int64(share*float64(total(objects))) / slabsOfDisk &^ 4095
	store, err := blockstore.Open(blockstore.Config{
		Disks: []blockstore.Disk{{Path: t.TempDir(), SizeBytes: 4 * total(objects)}}, SlabBytes: slab,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	data := make([]byte, epochMaxKB*1000)
	for i, o := range objects {
		key := shoal.Key{File: shoal.FileID{byte(i), byte(i >> 8), 1}}
		sums := make([]shoal.Sum, shoal.Chunks(o.size))
		if err := store.Put(key, blockstore.File{SizeBytes: int64(o.size)}, data[:o.size], sums); err != nil {
			t.Fatal(err)
		}
	}
	return store.Stats().Bytes
}
