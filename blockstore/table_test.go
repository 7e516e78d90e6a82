package blockstore

import (
	"math/rand/v2"
	"testing"

	"github.com/shoal-mesh/shoal"
)

// TestTableRandom compares table and entries with a map.
func TestTableRandom(t *testing.T) {
	const seed, places = 3, 3000
	rnd := rand.New(rand.NewPCG(seed, 0))
	var all entries
	all.grow(places)
	tab := table{entries: &all}
	model := make(map[shoal.Key]uint32)
	free := rnd.Perm(places)
	for step := range 200_000 {
		// 3,000 keys of few files, so that parts fill, wrap around and empty again.
		key := shoal.Key{File: shoal.FileID{byte(rnd.IntN(3))}, Index: rnd.Uint32N(1000)}
		got, ok := tab.get(key)
		want, wantOK := model[key]
		if ok != wantOK || ok && got != want {
			t.Fatalf("seed %d step %d: get(%v) = %d, %v, want %d, %v", seed, step, key, got, ok, want, wantOK)
		}
		switch {
		case !ok && rnd.IntN(10) < 6:
			n := uint32(free[0])
			free = free[1:]
			*all.at(n) = entry{key: key, length: 1}
			tab.add(key, n)
			model[key] = n
		case ok && rnd.IntN(10) < 4:
			tab.remove(key)
			*all.at(got) = entry{}
			free = append(free, int(got))
			delete(model, key)
		}
		tab.remove(shoal.Key{Index: 5000}) // not there
	}
}

func TestIndexEntryRoundTrip(t *testing.T) {
	for _, want := range []indexed{
		{place: place{1 << bootShift, 7}, key: testKey(9), length: 1},
		{place: place{1<<63 + 5, 1<<32 - 1}, key: testKey(8), length: shoal.BlockSize, dataset: 1<<16 - 1, stamp: 1<<32 - 1, sum: 0xfeedface},
	} {
		got, ok := parseIndexed(blockKey(nil, want.place), want.appendValue(nil))
		if !ok || got != want {
			t.Errorf("parseIndexed of %+v = %+v, %v", want, got, ok)
		}
	}
}

func FuzzParseIndexed(f *testing.F) {
	e := indexed{place: place{7, 3}, key: testKey(9), length: 100, sum: 5}
	f.Add(blockKey(nil, e.place), e.appendValue(nil))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		e, ok := parseIndexed(key, value)
		if ok && (e.length == 0 || e.length > shoal.BlockSize) {
			t.Errorf("parseIndexed(%x, %x) = %+v, want a possible length", key, value, e)
		}
	})
}
