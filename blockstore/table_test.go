package blockstore

import (
	"math/rand/v2"
	"testing"

	"github.com/shoal-mesh/shoal"
)

// TestTableRandom compares table and slots with a map.
func TestTableRandom(t *testing.T) {
	const seed = 3
	rnd := rand.New(rand.NewPCG(seed, 0))
	var (
		all   slots
		tab   = table{slots: &all}
		model = make(map[shoal.Key]uint32)
	)
	for step := range 200_000 {
		// 3,000 keys of few files, so that parts fill, wrap around and empty again.
		key := shoal.Key{File: shoal.FileID{byte(rnd.IntN(3))}, Index: rnd.Uint32N(1000)}
		slot, ok := tab.get(key)
		want, wantOK := model[key]
		if ok != wantOK || ok && slot != want {
			t.Fatalf("seed %d step %d: get(%v) = %d, %v, want %d, %v", seed, step, key, slot, ok, want, wantOK)
		}
		switch {
		case !ok && rnd.IntN(10) < 6:
			i := all.add(slotOf(key))
			tab.add(key, i)
			model[key] = i
		case ok && rnd.IntN(10) < 4:
			tab.remove(key)
			all.remove(slot)
			delete(model, key)
		}
		tab.remove(shoal.Key{Index: 5000}) // not there
	}
	if all.used != len(model) {
		t.Errorf("slots in use = %d, want %d", all.used, len(model))
	}
	if int(all.next) > 3000 {
		t.Errorf("slots ever used = %d, want at most 3000, as free ones are used again", all.next)
	}
}

func slotOf(key shoal.Key) slot {
	return makeSlot(key, Location{Container: uint64(key.Index), Length: 1}, 0)
}

func TestIndexEntryRoundTrip(t *testing.T) {
	for _, loc := range []Location{
		{Container: 1 << bootShift, Length: 1},
		{Container: 1<<63 + 5, Offset: 7 * pageSize, Length: shoal.BlockSize},
	} {
		want := makeSlot(testKey(9), loc, 0xfeedface)
		got, ok := parseEntry(indexKey(nil, want.key), indexValue(nil, want))
		if !ok || got != want || got.location() != loc {
			t.Errorf("parseEntry of %+v = %+v, %v", want, got, ok)
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	s := makeSlot(testKey(9), Location{Container: 7, Length: 100}, 5)
	f.Add(indexKey(nil, s.key), indexValue(nil, s))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		s, ok := parseEntry(key, value)
		if ok && (s.length == 0 || s.length > shoal.BlockSize) {
			t.Errorf("parseEntry(%x, %x) = %+v, want a possible length", key, value, s)
		}
	})
}
