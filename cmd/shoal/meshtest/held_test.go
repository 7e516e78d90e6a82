package meshtest

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/zeebo/xxh3"
)

// A holder is a reader that has a file open, in one of the ways there are.
type holder struct {
	*readerChild
	name  string
	key   string
	how   deed   // reads a piece, but for its offset
	stale string // what it gets when the version is gone from everywhere
}

// TestHeldFile has readers hold files open and mapped while the cache evicts, while the UFS gets
// another version, and while the mount learns of it by `shoal sync`: each piece they read is of the
// version they opened, or there is none (ESTALE, and SIGBUS of a mapping).
func TestHeldFile(t *testing.T) {
	const size, cache = 24 * mib, 96 * mib
	l := newLab(t, 1)
	n := l.nodes[0]
	files := []string{"held/served.bin", "held/passed.bin"}
	old := map[string][]byte{}
	for i, key := range files {
		old[key] = contents(uint64(i+1), size)
		l.s3.Put(t, bucket, key, old[key])
	}
	others := l.upload(t, 50, func(i int) string { return fmt.Sprintf("other/%d.bin", i) }, 40*mib, 40*mib, 40*mib, 40*mib)
	n.setCache("cache", cache, map[string]any{"policy": "lru", "replicas": map[string]any{"classes": false}})
	n.setTTL("1h") // so that nothing but the sync tells of the new version
	n.config["read"] = map[string]any{"readahead": 0}
	n.start(t, 1)

	// The kernel reads one of them by itself: it is whole here before it is opened.
	if got, err := os.ReadFile(n.path(files[1])); err != nil || !bytes.Equal(got, old[files[1]]) {
		t.Fatalf("%s: %d bytes, %v, want its own", files[1], len(got), err)
	}
	l.until(t, "the file is whole", func() bool { return n.status(t).Cache.Blocks == size/(4*mib) })
	var holders []*holder
	for _, key := range files {
		for _, h := range []holder{
			{name: "read", how: deed{Do: "read"}, stale: "ESTALE"},
			{name: "mapped", how: deed{Do: "load"}, stale: "SIGBUS"},
		} {
			h.readerChild, h.key = n.startReader(t), key
			for _, d := range []deed{{Do: "open", Path: key}, {Do: "map", Len: size}, {Do: "read", Len: mib}} {
				if got := h.does(t, d); got.Fault != "" {
					t.Fatalf("%s: %s: %v", key, d.Do, got)
				}
			}
			holders = append(holders, &h)
		}
	}
	passed := n.status(t).Kernel.PassthroughOpens
	if state := n.status(t).Kernel.Passthrough; state == "on" && passed != 2 {
		t.Errorf("%d files are passed through, want 2", passed)
	}

	// press reads so much else that the cache evicts what it can.
	press := func() {
		before := n.status(t).Cache.Evictions
		n.readAll(others, 1, func() {}).mustBe(t, len(others))
		dropCaches(t)
		if evicted := n.status(t).Cache.Evictions - before; evicted == 0 {
			t.Error("nothing was evicted")
		}
	}
	press()
	// What an open file has read of a block may be in memory as long as it is open: the other blocks
	// are for later.
	if stale := l.pieces(t, "under pressure", holders, old, 8*mib); stale != 0 {
		t.Errorf("%d pieces were stale while the version was there", stale)
	}
	next := contents(99, size)
	for _, key := range files {
		l.s3.Put(t, bucket, key, next)
	}
	press()
	stale := l.pieces(t, "replaced", holders, old, size)
	if !n.synced(t, "/data/held") {
		t.Fatal("the sync is not done")
	}
	reopen := func() {
		for _, key := range files {
			if _, sum, err := n.hash(key, make([]byte, mib)); err != nil || sum != xxh3.Hash(next) {
				t.Errorf("%s, opened again: sum %x, %v, want the new version's", key, sum, err)
			}
		}
	}
	reopen()
	press()
	stale += l.pieces(t, "replaced, and known to be", holders, old, size)
	if stale == 0 {
		t.Error("no piece was stale: every block of the old version was here all the time")
	}
	reopen()
}

// pieces has every holder read a piece across each border between two of the blocks that begin
// before end, and returns how many of them were gone. Any others must be of the old version.
func (l *lab) pieces(t *testing.T, when string, holders []*holder, old map[string][]byte, end int64) (stale int) {
	t.Helper()
	const n = 100_000
	for _, h := range holders {
		gone := 0
		for off := 4*mib - int64(n/2); off+n <= end; off += 4 * mib {
			d := h.how
			d.Off, d.Len = off, n
			got := h.does(t, d)
			switch {
			case got.Fault == h.stale:
				gone++
			case !got.is(old[h.key][off : off+n]):
				t.Errorf("%s: %s of %s at %d: %v, want the bytes of the version opened, or %s", when, h.name, h.key, off, got, h.stale)
			}
		}
		t.Logf("%s: %s of %s: %d pieces gone", when, h.name, h.key, gone)
		stale += gone
	}
	return stale
}
