package meshtest

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal/node"
)

// TestDirectoryTraffic prints what nodes send for the directory, at rest and while blocks come
// and go, beside what policy.md §2.2 reckons with for the same rates: it must be within twice
// that, lookups apart.
func TestDirectoryTraffic(t *testing.T) {
	const files, size = 3000, 40_000
	const rest, churn = 10 * time.Second, 20 * time.Second
	l := newLab(t, 3)
	sizes := make([]int, files)
	for i := range sizes {
		sizes[i] = size
	}
	objects := l.upload(t, 1, func(i int) string { return fmt.Sprintf("small/%04d", i) }, sizes...)
	whole := occupied(t, 0.3, objects)

	// One node has all, the others have full caches from which nothing goes: all they say is
	// for their lookups.
	for i, n := range l.nodes {
		cache := int64(16 * mib)
		if i == 0 {
			cache = 2 * whole
		}
		n.setCache("first", cache, map[string]any{"policy": "uniform"})
	}
	l.startAll(t, "small", files)
	for _, n := range l.nodes {
		n.readAll(objects, 1, func() {}).mustBe(t, files)
	}
	dropCaches(t)
	l.until(t, "the homes know all", func() bool {
		s, err := l.nodes[0].tryStatus()
		return err == nil && s.Directory.Waiting == 0
	})
	idle := l.rates(t, func() { <-time.After(rest) })
	t.Logf("at rest: %.0f bytes/s per node", idle.bytes)
	asking := l.rates(t, func() {
		for _, p := range readTogether(l.nodes[1:], objects, 2) {
			p.mustBe(t, files)
		}
	})
	t.Logf("lookups alone: %.0f/s per node, %.0f bytes each", asking.misses, asking.lookups()/asking.misses)
	for _, n := range l.nodes {
		n.stop(t)
	}

	for i, n := range l.nodes {
		n.setCache("second", int64(0.3*float64(whole)), map[string]any{"policy": "lru"})
		n.start(t, i+1)
		if _, err := os.ReadDir(n.path("small")); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range readTogether(l.nodes, objects, 3) { // the caches are full from here on
		p.mustBe(t, files)
	}
	busy := l.rates(t, func() {
		var wg sync.WaitGroup
		for i, n := range l.nodes {
			wg.Go(func() {
				for begun, seed := time.Now(), uint64(10*i); time.Since(begun) < churn; seed++ {
					dropCaches(t)
					n.readAll(objects[:files/3], seed, func() {}).mustBe(t, files/3)
					n.readAll(objects[files/3:], seed, func() {}).mustBe(t, files-files/3)
				}
			})
		}
		wg.Wait()
	})
	reckoned := busy.reckoned(len(l.nodes))
	own := busy.bytes - busy.lookups()
	t.Logf("under churn, per node: %.0f inserts/s, %.0f evictions/s, %.0f lookups/s: %.0f bytes/s, of these %.0f bytes/s not for lookups",
		busy.inserts, busy.evictions, busy.misses, busy.bytes, own)
	for _, kind := range slices.Sorted(maps.Keys(busy.sent)) {
		if s := busy.sent[kind]; s.bytes >= 1 {
			t.Logf("  %-8s %7.1f/s %8.0f bytes/s", kind, s.messages, s.bytes)
		}
	}
	t.Logf("policy.md §2.2 reckons with %.0f bytes/s: %.2f x that, %.2f x without lookups", reckoned, busy.bytes/reckoned, own/reckoned)
	if own > 2*reckoned {
		t.Errorf("%.0f bytes/s, want at most twice the %.0f that policy.md §2.2 reckons with", own, reckoned)
	}
}

// rates are what happened on a node per second, on average over the nodes.
type rates struct {
	bytes     float64 // sent for the directory
	sent      map[string]sent
	inserts   float64
	evictions float64
	misses    float64 // of the store, each of which is a lookup
}

// sent is what was sent in messages of one type, per second.
type sent struct{ messages, bytes float64 }

// lookups returns the bytes/s for lookups and their answers.
func (r rates) lookups() float64 { return r.sent["lookup"].bytes + r.sent["answers"].bytes }

// rates returns what happens while during runs.
func (l *lab) rates(t *testing.T, during func()) (r rates) {
	t.Helper()
	before := l.statuses(t)
	begun := time.Now()
	during()
	r.sent = make(map[string]sent)
	share := 1 / time.Since(begun).Seconds() / float64(len(l.nodes))
	for i, now := range l.statuses(t) {
		was := before[i]
		gone := float64(now.Cache.Evictions - was.Cache.Evictions)
		for kind, n := range now.Directory.Sent {
			had := was.Directory.Sent[kind]
			bytes := share * float64(n.Bytes-had.Bytes)
			r.sent[kind] = sent{r.sent[kind].messages + share*float64(n.Messages-had.Messages), r.sent[kind].bytes + bytes}
			r.bytes += bytes
		}
		r.evictions += share * gone
		r.inserts += share * (gone + float64(now.Cache.Blocks-was.Cache.Blocks))
		r.misses += share * float64(now.Cache.Misses-was.Cache.Misses)
	}
	return r
}

func (l *lab) statuses(t *testing.T) (all []node.Status) {
	t.Helper()
	for _, n := range l.nodes {
		all = append(all, n.status(t))
	}
	return all
}

// reckoned returns the bytes/s of policy.md §2.2 for so many nodes: 12 bytes for each block that
// comes or goes, to two homes, and for each as much to push a class to a holder, at most; 66 bytes
// for each datagram, one a second to each other node both ways. What a node tells itself is free.
func (r rates) reckoned(nodes int) float64 {
	const delta, datagram, homes, pushes = 12, 66, 2, 1
	others := float64(nodes-1) / float64(nodes)
	return (r.inserts+r.evictions)*delta*(homes+pushes)*others + 2*datagram*float64(nodes-1)
}
