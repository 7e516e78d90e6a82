package blockstore

import (
	"errors"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
)

// TestUnusableSlots checks that what held a bad block is not given to another until the store
// is opened anew.
func TestUnusableSlots(t *testing.T) {
	const slabs, bad = 2, 5
	dir := fastDir(t)
	s := &smallStore{t: t, told: make(map[shoal.Key]int), data: make(map[shoal.Key][]byte)}
	cfg := pageStore(dir, slabs)
	cfg.Quotas = map[string]int64{"": slabs * pageSlots * pageSize}
	s.Store = openTest(t, cfg)
	places := make(map[Location]bool)
	for i := range uint32(slabs * pageSlots) {
		put(t, s.Store, pageKey(i), randomBytes(uint64(i), 1000))
	}
	for i := range uint32(bad) {
		_, b, _ := s.find(pageKey(3 * i))
		places[b.loc] = true
		s.zero(s.bytesOf(pageKey(3 * i)))
		if err := s.Check(pageKey(3 * i)); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("Check(damaged block) = %v, want %v", err, ErrCorrupt)
		}
	}
	for i := range uint32(500) { // many times over
		put(t, s.Store, pageKey(100+i), randomBytes(uint64(i), 1000))
		if _, b, _ := s.find(pageKey(100 + i)); places[b.loc] {
			t.Fatalf("a block was put where a bad one was, at %+v", b.loc)
		}
	}
	st := s.Stats()
	const good = slabs*pageSlots - bad
	if st.Blocks != good || st.Disks[0].UnusableBytes != bad*pageSize || st.Bytes != slabs*pageSlots*pageSize || st.Datasets[0].Blocks != good {
		t.Errorf("Stats() = %+v, want %d blocks and %d unusable slots", st, good, bad)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s.Store = openTest(t, cfg)
	for i := range uint32(bad) {
		put(t, s.Store, pageKey(1000+i), randomBytes(uint64(i), 1000))
	}
	if st := s.Stats(); st.Blocks != slabs*pageSlots || st.Disks[0].UnusableBytes != 0 {
		t.Errorf("Stats() = %+v after a restart, want all slots in use", st)
	}
}

// TestScrub plants bad blocks, before the scrub begins and while it goes on, and waits for it
// to find them.
func TestScrub(t *testing.T) {
	const blocks, rate = 40, 1 << 40
	dir := fastDir(t)
	told := make(chan shoal.Key, blocks)
	cfg := smallConfig(dir)
	cfg.OnEvict = func(went []Gone) {
		keys := keysOf(went)
		for _, k := range keys {
			told <- k
		}
	}
	key := func(i uint32) shoal.Key {
		if i%4 == 0 {
			return sparseKey(i)
		}
		return pageKey(i)
	}
	s := openTest(t, cfg)
	for i := range uint32(blocks) {
		put(t, s, key(i), randomBytes(uint64(i), 3000))
	}
	plant := func(keys ...uint32) map[shoal.Key]bool {
		planted := make(map[shoal.Key]bool)
		for _, i := range keys {
			planted[key(i)] = true
			d, b, _ := s.find(key(i))
			flip(t, openFlip(t, b.file().path(d.path)), b.loc.Offset+int64(i), 3)
		}
		return planted
	}
	found := func(planted map[shoal.Key]bool) {
		t.Helper()
		for range planted {
			if k := <-told; !planted[k] {
				t.Errorf("told of %v, which is not bad", k)
			}
		}
	}
	// One pass finds all.
	planted := plant(3, 8, 20, 39)
	if !s.disks[0].scrubPass(nil, rate) {
		t.Error("scrubPass() = false, want it to come to its end")
	}
	found(planted)
	st := s.Stats().Disks[0].Scrub
	if st.Bad != 4 || st.Blocks != blocks || st.Bytes != blocks*3000 || st.Total != blocks-4 || st.LastPass.IsZero() {
		t.Errorf("Stats().Disks[0].Scrub = %+v, want a pass over %d blocks, 4 of them bad", st, blocks)
	}
	planted = plant(5, 12)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// It goes on pass after pass, and Close ends it, though it would wait for long.
	cfg.ScrubBytesPerSec, cfg.ScrubPause = rate, time.Nanosecond
	s = openTest(t, cfg)
	found(planted)
	found(plant(7, 16))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.ScrubPause = time.Hour
	s = openTest(t, cfg)
	if got := checkAll(t, s); got != blocks-8 || s.Stats().Corrupt != 0 {
		t.Errorf("blocks = %d, %d corrupt, want %d and none", got, s.Stats().Corrupt, blocks-8)
	}
}
