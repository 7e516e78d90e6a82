package blockstore

import (
	"errors"
	"maps"
	"testing"

	"github.com/shoal-mesh/shoal"
)

// pinSlots is how many blocks of a page the stores of these tests have room for.
const pinSlots = 63

// pinStore returns a store with room for pinSlots blocks of a page, and a put that fails the
// test if it cannot.
func pinStore(t *testing.T) (s *Store, putNew func(number uint32) shoal.Key) {
	t.Helper()
	cfg := oneDisk(fastDir(t), 64*pageSize)
	cfg.SlabBytes = 64 * pageSize
	s = openTest(t, cfg)
	return s, func(number uint32) shoal.Key {
		t.Helper()
		key, err := putOf(s, "", number, 1000)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
}

func wantPinned(t *testing.T, s *Store, want map[string]int) {
	t.Helper()
	if got := s.Stats().Pinned; !maps.Equal(got, want) {
		t.Errorf("Stats().Pinned = %v, want %v", got, want)
	}
}

// TestPinsSurvivePressure checks that pinned blocks stay while ten times the store passes by,
// and that a block goes again once its last pin is gone, as the newest first.
func TestPinsSurvivePressure(t *testing.T) {
	s, putNew := pinStore(t)
	handle, operator := s.NewPins("handle"), s.NewPins("operator")
	var keys []shoal.Key
	for i := range uint32(pinSlots) {
		keys = append(keys, putNew(i))
	}
	if got := handle.Add(keys[:10]...); got != 10 {
		t.Errorf("Add(10 blocks that are there) = %d, want 10", got)
	}
	if got := operator.Add(keys[5:15]...); got != 10 {
		t.Errorf("Add(10 blocks that are there) = %d, want 10", got)
	}
	for i := range uint32(10 * pinSlots) {
		putNew(1000 + i)
	}
	for i, key := range keys {
		if got, want := s.Has(key), i < 15; got != want {
			t.Errorf("block %d is there = %v, want %v", i, got, want)
		}
	}
	wantPinned(t, s, map[string]int{"handle": 10, "operator": 10})

	if err := handle.Close(); err != nil {
		t.Error(err)
	}
	wantPinned(t, s, map[string]int{"operator": 10})
	// What was unpinned is the newest, and goes when all others have gone.
	for i := range uint32(pinSlots - 15) {
		putNew(5000 + i)
	}
	for i, key := range keys[:15] {
		if !s.Has(key) {
			t.Errorf("block %d was given up before older ones", i)
		}
	}
	for i := range uint32(5) {
		putNew(6000 + i)
	}
	for i, key := range keys[:15] {
		if got, want := s.Has(key), i >= 5; got != want {
			t.Errorf("block %d is there = %v, want %v", i, got, want)
		}
	}
	operator.Remove(keys[5:15]...)
	for i := range uint32(pinSlots) {
		putNew(7000 + i)
	}
	for i, key := range keys {
		if s.Has(key) {
			t.Errorf("block %d is there without a pin, after a whole store of others", i)
		}
	}
}

// TestPinsOwners checks what the calls of several owners, repeated ones and late ones do.
func TestPinsOwners(t *testing.T) {
	s, putNew := pinStore(t)
	key := putNew(1)
	absent := shoal.Key{File: shoal.FileID{0xee}}
	a, b := s.NewPins("x"), s.NewPins("x")
	if got := a.Add(key, key, absent); got != 2 {
		t.Errorf("Add(there, there, absent) = %d, want 2", got)
	}
	a.Add(key)
	b.Add(key)
	wantPinned(t, s, map[string]int{"x": 3})
	b.Remove(absent) // a's pin, not b's
	a.Remove(key)
	a.Remove(key) // there is nothing to take away; b's stays
	wantPinned(t, s, map[string]int{"x": 2})
	for i := range uint32(2 * pinSlots) {
		putNew(100 + i)
	}
	if !s.Has(key) {
		t.Error("the block is gone, want it kept by the second owner")
	}
	for range 2 {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := b.Add(key); got != 0 {
		t.Errorf("Add after Close = %d, want 0", got)
	}
	b.Remove(key)
	for i := range uint32(2 * pinSlots) {
		putNew(1000 + i)
	}
	if s.Has(key) {
		t.Error("the block is there, want no pin of an owner that is closed")
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	wantPinned(t, s, map[string]int{})
	if n := len(s.pins.counts) + len(s.pins.owners); n != 0 {
		t.Errorf("%d keys and owners are kept after all owners have closed", n)
	}
}

// TestPinBeforePut checks that a pin waits for its block, and for it to come again.
func TestPinBeforePut(t *testing.T) {
	s, putNew := pinStore(t)
	pins := s.NewPins("early")
	key, _ := putOf(s, "", 1, 1000)
	if err := s.Remove(key); err != nil {
		t.Fatal(err)
	}
	if got := pins.Add(key); got != 0 {
		t.Errorf("Add(absent) = %d, want 0", got)
	}
	for round := range uint32(3) {
		if got := putNew(1); got != key {
			t.Fatalf("put %v, want %v", got, key)
		}
		for i := range uint32(2 * pinSlots) {
			putNew(1000*(round+1) + i)
		}
		if !s.Has(key) {
			t.Errorf("round %d: the block is gone, want it pinned since before it was put", round)
		}
		if err := s.Remove(key); err != nil {
			t.Errorf("Remove of a pinned block = %v, want nil", err)
		}
	}
	wantPinned(t, s, map[string]int{"early": 1})
}

// TestPinsFill checks that a store full of pinned blocks refuses others until a pin goes, and
// that a restart ends all pins.
func TestPinsFill(t *testing.T) {
	s, putNew := pinStore(t)
	pins := s.NewPins("all")
	var keys []shoal.Key
	for i := range uint32(pinSlots) {
		keys = append(keys, putNew(i))
	}
	pins.Add(keys...)
	for range 2 {
		if _, err := putOf(s, "", 1000, 1000); !errors.Is(err, ErrFull) {
			t.Errorf("Put with nothing but pinned blocks = %v, want %v", err, ErrFull)
		}
	}
	if _, err := putOf(s, "", 1000, 30_000); !errors.Is(err, ErrFull) {
		t.Errorf("Put of a sparse block with nothing but pinned blocks = %v, want %v", err, ErrFull)
	}
	pins.Remove(keys[7])
	putNew(1000)
	if s.Has(keys[7]) || s.Stats().Evictions != 1 {
		t.Errorf("the unpinned block is there %v after %d evictions, want it gone by 1", s.Has(keys[7]), s.Stats().Evictions)
	}
	cfg := s.cfg
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, cfg)
	wantPinned(t, s, map[string]int{})
	for i := range uint32(pinSlots) {
		if _, err := putOf(s, "", 2000+i, 1000); err != nil {
			t.Fatalf("Put after a restart = %v, want no pins", err)
		}
	}
}

// TestPinsEndWithStore checks that an owner may close after the store has.
func TestPinsEndWithStore(t *testing.T) {
	s, putNew := pinStore(t)
	pins := s.NewPins("late")
	pins.Add(putNew(1), putNew(2))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := pins.Close(); err != nil {
		t.Errorf("Close after the store's = %v", err)
	}
	wantPinned(t, s, map[string]int{})
}

// TestPinnedBadBlock checks that a pin does not keep a block that is bad: it is dropped, told,
// and may be put again, pinned still.
func TestPinnedBadBlock(t *testing.T) {
	var told []shoal.Key
	cfg := oneDisk(fastDir(t), 8*64*pageSize)
	cfg.SlabBytes = 64 * pageSize
	cfg.OnEvict = func(went []Gone) { keys := keysOf(went); told = append(told, keys...) }
	s := openTest(t, cfg)
	pins := s.NewPins("test")
	for i, size := range []int{1000, 30_000} { // packed, sparse
		key, err := putOf(s, "", uint32(i), size)
		if err != nil {
			t.Fatal(err)
		}
		pins.Add(key)
		d := s.disks[0]
		b, _ := d.lookup(key)
		if err := d.writeTo(b.file(), [][]byte{{0xff, 0xfe, 0xfd}}, b.loc.Offset+10); err != nil {
			t.Fatal(err)
		}
		if err := s.Check(key); !errors.Is(err, ErrCorrupt) {
			t.Errorf("Check of a bad block of %d bytes = %v, want %v", size, err, ErrCorrupt)
		}
		if s.Has(key) || len(told) != i+1 || told[i] != key {
			t.Errorf("bad pinned block is there %v, told of %v, want it gone and told", s.Has(key), told)
		}
		if _, err := putOf(s, "", uint32(i), size); err != nil {
			t.Fatal(err)
		}
		if err := s.Check(key); err != nil {
			t.Errorf("Check of the block that was put anew = %v", err)
		}
		if n, ok := d.table.get(key); !ok || !s.pins.pinned(key) {
			t.Errorf("the block is entry %d, %v, pinned %v, want it there and pinned", n, ok, s.pins.pinned(key))
		}
	}
	if _, ok := s.disks[0].policy.Victim(); ok {
		t.Error("Victim() = true, want the policy to know no block: all are pinned")
	}
	if got := s.Stats().Corrupt; got != 2 {
		t.Errorf("Stats().Corrupt = %d, want 2", got)
	}
	wantPinned(t, s, map[string]int{"test": 2})
}
