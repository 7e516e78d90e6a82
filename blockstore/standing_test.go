package blockstore

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore/policy"
)

// A consentStore has room for standingSlots blocks of a page in a slab, and homes that the test plays.
type consentStore struct {
	*Store
	asked chan []shoal.Key
	gone  chan []shoal.Key
}

const standingSlots = 63

func newConsentStore(t *testing.T, rules policy.Rules) consentStore {
	t.Helper()
	return newConsentStoreOf(t, rules, 1)
}

// newConsentStoreOf returns a consentStore of so many slabs.
func newConsentStoreOf(t *testing.T, rules policy.Rules, slabs int64) consentStore {
	t.Helper()
	c := consentStore{asked: make(chan []shoal.Key, 1000), gone: make(chan []shoal.Key, 1000)}
	cfg := oneDisk(fastDir(t), slabs*64*pageSize)
	cfg.SlabBytes = 64 * pageSize
	cfg.Rules = func(string) policy.Rules { return rules }
	cfg.Resign = func(keys []shoal.Key) { c.asked <- slices.Clone(keys) }
	cfg.OnEvict = func(went []Gone) { keys := keysOf(went); c.gone <- slices.Clone(keys) }
	c.Store = openTest(t, cfg)
	return c
}

// fill puts as many blocks as fit in a slab.
func (c consentStore) fill(t *testing.T) []shoal.Key {
	t.Helper()
	var keys []shoal.Key
	for i := range uint32(standingSlots) {
		keys = append(keys, shoal.Key{File: shoal.FileID{byte(i), 1}})
		if err := c.put(keys[i]); err != nil {
			t.Fatal(err)
		}
	}
	return keys
}

func (c consentStore) put(key shoal.Key) error {
	data := randomBytes(uint64(key.File[0]), 1000)
	return c.Put(key, File{SizeBytes: 1000}, data, shoal.ChunkSums(key, data))
}

// TestKeeperAsksConsent checks that no keeper's replica goes before its home has agreed, and
// that others go alone.
func TestKeeperAsksConsent(t *testing.T) {
	c := newConsentStore(t, policy.Rules{Base: policy.BaseLRU, Classes: true})
	keys := c.fill(t)
	put := make(chan error)
	next := shoal.Key{File: shoal.FileID{0xee}}
	go func() { put <- c.put(next) }()
	asked := <-c.asked
	if len(asked) != 1 || asked[0] != keys[0] {
		t.Fatalf("Resign(%v), want the oldest, %v", asked, keys[0])
	}
	if !c.Has(keys[0]) {
		t.Error("the block went before its home agreed")
	}
	if !c.SetStanding(keys[0], shoal.Standing{Class: shoal.Last}) {
		t.Error("SetStanding of a block that is there = false")
	}
	if err := <-put; err != nil {
		t.Errorf("Put = %v, want nil once the home agreed", err)
	}
	if gone := <-c.gone; len(gone) != 1 || gone[0] != keys[0] {
		t.Errorf("OnEvict(%v), want %v", gone, keys[0])
	}
	if c.SetStanding(keys[0], shoal.Standing{}) {
		t.Error("SetStanding of a block that is gone = true")
	}
}

// TestKeeperStays checks that a replica its home wants kept stays, and another is asked for.
func TestKeeperStays(t *testing.T) {
	c := newConsentStore(t, policy.Rules{Base: policy.BaseLRU, Classes: true})
	keys := c.fill(t)
	put := make(chan error)
	go func() { put <- c.put(shoal.Key{File: shoal.FileID{0xee}}) }()
	<-c.asked
	c.SetStanding(keys[1], shoal.Standing{Class: shoal.Surplus})
	if err := <-put; err != nil {
		t.Errorf("Put = %v, want nil as a surplus replica may go", err)
	}
	if !c.Has(keys[0]) || c.Has(keys[1]) {
		t.Errorf("the keeper's replica is there %v, the surplus one %v; want true, false", c.Has(keys[0]), c.Has(keys[1]))
	}
}

// TestSilentHome checks that a put does not wait long for homes that say nothing.
func TestSilentHome(t *testing.T) {
	c := newConsentStore(t, policy.Rules{Base: policy.BaseLRU, Classes: true})
	keys := c.fill(t)
	if err := c.put(shoal.Key{File: shoal.FileID{0xee}}); !errors.Is(err, ErrFull) {
		t.Errorf("Put = %v, want ErrFull", err)
	}
	for _, key := range keys {
		if !c.Has(key) {
			t.Errorf("block %v went without its home's consent", key)
		}
	}
	// What was asked for is still to be had.
	asked := <-c.asked
	c.SetStanding(asked[0], shoal.Standing{Class: shoal.Surplus})
	if err := c.put(shoal.Key{File: shoal.FileID{0xef}}); err != nil {
		t.Errorf("Put after a late answer = %v, want nil", err)
	}
}

// TestSurplusGoesFirst checks the order between classes, and that pins outlast both.
func TestSurplusGoesFirst(t *testing.T) {
	c := newConsentStore(t, policy.Rules{Base: policy.BaseLRU, Classes: true})
	keys := c.fill(t)
	pinned, surplus := keys[40], keys[50]
	pins := c.NewPins("test")
	defer func() { _ = pins.Close() }()
	pins.Add(pinned)
	for _, key := range []shoal.Key{pinned, surplus} {
		c.SetStanding(key, shoal.Standing{Class: shoal.Surplus})
	}
	if err := c.put(shoal.Key{File: shoal.FileID{0xee}}); err != nil {
		t.Fatal(err)
	}
	if gone := <-c.gone; len(gone) != 1 || gone[0] != surplus {
		t.Errorf("OnEvict(%v), want the surplus replica %v", gone, surplus)
	}
	if len(c.asked) != 0 {
		t.Errorf("Resign(%v), want nobody asked while a surplus replica is there", <-c.asked)
	}
	page := func(blocks int) Usage { return Usage{blocks, int64(blocks) * pageSize} }
	if got, want := c.Stats().ByClass, [shoal.Classes]Usage{shoal.Last: page(62), shoal.Surplus: page(1)}; got != want {
		t.Errorf("Stats().ByClass = %v, want %v", got, want)
	}
	want := shoal.Standing{Class: shoal.Surplus}
	if r, ok := c.Replica(pinned); !ok || r.Standing != want || r.Length != 1000 || r.File.SizeBytes != 1000 {
		t.Errorf("Replica(%v) = %+v, %v, want 1000 bytes with standing %v", pinned, r, ok, want)
	}
}

// TestAdmits checks who gets room: anybody while it is free; then, where the base is uniform,
// nobody for a block of the same worth, and a new block for a surplus replica.
func TestAdmits(t *testing.T) {
	c := newConsentStore(t, policy.Rules{Base: policy.BaseUniform, Classes: true})
	fresh, file := shoal.Key{File: shoal.FileID{0xee}}, File{SizeBytes: 1000}
	if f := c.Frontier(); f.FreeBytes != 64*pageSize || !math.IsInf(float64(f.Last), 1) {
		t.Errorf("Frontier of an empty store = %+v, want all free and nothing to give up", f)
	}
	if _, ok := c.Miss(fresh, file); !ok {
		t.Error("Miss with free room = false, want true")
	}
	keys := c.fill(t)
	if weight, ok := c.Miss(fresh, file); ok || weight <= 0 {
		t.Errorf("Miss in a full store = %v, %v, want a weight, and false for one of equal worth", weight, ok)
	}
	if c.Admits(fresh, File{SizeBytes: 1000, Class: shoal.Surplus}) {
		t.Error("Admits(surplus) in a full store = true, want false")
	}
	if f := c.Frontier(); f.FreeBytes >= 2*pageSize || f.Last <= 0 || math.IsInf(float64(f.Last), 1) {
		t.Errorf("Frontier of a full store = %+v, want no room, and a last replica's weight", f)
	}
	c.SetStanding(keys[7], shoal.Standing{Class: shoal.Surplus})
	if !c.Admits(fresh, file) {
		t.Error("Admits beside a surplus replica = false, want true")
	}
	if c.Admits(fresh, File{SizeBytes: 1 << 30}) && c.Admits(fresh, File{SizeBytes: shoal.BlockSize}) {
		t.Error("Admits of a block larger than the store = true, want false")
	}
}
