package blockstore

import (
	"slices"
	"testing"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore/policy"
)

// TestFree checks what goes, and when, of replicas that are freed: before says what their home
// had told, after what it tells then.
func TestFree(t *testing.T) {
	stand := func(c shoal.Class, keeper bool) *shoal.Standing { return &shoal.Standing{Class: c, Keeper: keeper} }
	tests := []struct {
		name          string
		before, after *shoal.Standing
		asks, goes    bool
	}{
		{"nobody's", stand(shoal.Surplus, false), nil, false, true},
		{"nobody's, the last of the zone", stand(shoal.LastInZone, false), nil, false, true},
		{"nobody's, the last", stand(shoal.Last, false), nil, false, false},
		{"a keeper's, relieved", stand(shoal.Surplus, true), stand(shoal.Surplus, false), true, true},
		{"a keeper's, relieved as one too many", stand(shoal.Surplus, true), stand(shoal.Excess, false), true, true},
		{"a keeper's, the last meanwhile", stand(shoal.Surplus, true), stand(shoal.Last, false), true, false},
		{"a keeper's, the last of the zone meanwhile", stand(shoal.Surplus, true), stand(shoal.LastInZone, false), true, false},
		{"a keeper's still", stand(shoal.Surplus, true), stand(shoal.Surplus, true), true, false},
		{"untold, relieved", nil, stand(shoal.LastInZone, false), true, true},
		{"untold, the last", nil, stand(shoal.Last, false), true, false},
	}
	for _, base := range []policy.Rules{{Base: policy.BaseLRU, Classes: true}, {Base: policy.BaseLRU}} {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				c := newConsentStore(t, base)
				keys := c.fill(t)
				key := keys[30]
				if tt.before != nil {
					c.SetStanding(key, *tt.before)
				}
				c.Free(key, shoal.Key{File: shoal.FileID{0xee}})
				if tt.asks {
					if asked := <-c.asked; !slices.Equal(asked, []shoal.Key{key}) {
						t.Fatalf("Resign(%v), want %v", asked, key)
					}
					if r, ok := c.Replica(key); !ok || !r.Freed {
						t.Errorf("Replica() before its home agreed = %+v, %v, want one that is to go", r, ok)
					}
					c.SetStanding(key, *tt.after)
				}
				if tt.goes {
					if gone := <-c.gone; !slices.Equal(gone, []shoal.Key{key}) || c.Has(key) {
						t.Errorf("OnEvict(%v), there %v; want %v, false", gone, c.Has(key), key)
					}
				} else if r, ok := c.Replica(key); !ok || r.Freed {
					t.Errorf("Replica() = %+v, %v, want one that stays", r, ok)
				}
				// A later word is for what is still wanted gone, which by now is nothing.
				c.SetStanding(key, shoal.Standing{Class: shoal.Excess})
				if c.Has(key) == tt.goes || len(c.asked) > 0 || len(c.gone) > 0 {
					t.Errorf("then: there %v, %d asked, %d gone; want %v, none", c.Has(key), len(c.asked), len(c.gone), !tt.goes)
				}
				if st := c.Stats(); st.AskedBytes != 0 || st.Evictions != 0 {
					t.Errorf("Stats: %d bytes asked for, %d evictions; want none", st.AskedBytes, st.Evictions)
				}
			})
		}
	}
}

// TestFreedStays checks that a replica that was freed and stays is in its place in the order, and
// that one for which its home is silent is not evicted without its word.
func TestFreedStays(t *testing.T) {
	c := newConsentStore(t, policy.Rules{Base: policy.BaseLRU, Classes: true})
	keys := c.fill(t)
	for _, key := range keys {
		c.SetStanding(key, shoal.Standing{})
	}
	c.SetStanding(keys[0], shoal.Standing{Class: shoal.Surplus, Keeper: true})
	c.Free(keys[0])
	<-c.asked
	if err := c.put(shoal.Key{File: shoal.FileID{0xee}}); err != nil {
		t.Fatal(err)
	}
	if gone := <-c.gone; !slices.Equal(gone, keys[1:2]) {
		t.Errorf("OnEvict(%v), want the oldest of which nobody is asked, %v", gone, keys[1])
	}
	c.SetStanding(keys[0], shoal.Standing{})
	if err := c.put(shoal.Key{File: shoal.FileID{0xef}}); err != nil {
		t.Fatal(err)
	}
	if gone := <-c.gone; !slices.Equal(gone, keys[:1]) {
		t.Errorf("OnEvict(%v), want the oldest, %v", gone, keys[0])
	}
}

// TestFreePinned checks that pins outlast being freed, whichever comes first.
func TestFreePinned(t *testing.T) {
	c := newConsentStore(t, policy.Rules{Base: policy.BaseLRU, Classes: true})
	keys := c.fill(t)
	pins := c.NewPins("test")
	defer func() { _ = pins.Close() }()
	pins.Add(keys[0])
	c.Free(keys[:2]...)
	if asked := <-c.asked; !slices.Equal(asked, keys[1:2]) {
		t.Errorf("Resign(%v), want %v", asked, keys[1])
	}
	pins.Add(keys[1])
	c.SetStanding(keys[1], shoal.Standing{Class: shoal.Surplus})
	if r, ok := c.Replica(keys[1]); !ok || r.Freed {
		t.Errorf("Replica() of a pinned block = %+v, %v, want one that stays", r, ok)
	}
}

// TestMovedStanding checks that a block which is moved to another slot keeps its standing and
// what was asked for: else the last replica of a block went without its home's word.
func TestMovedStanding(t *testing.T) {
	c := newConsentStoreOf(t, policy.Rules{Base: policy.BaseLRU, Classes: true}, 2)
	keys := c.fill(t)
	key := keys[30]
	if err := c.put(shoal.Key{File: shoal.FileID{0xee}}); err != nil { // in another slab
		t.Fatal(err)
	}
	for _, other := range keys {
		if other != key {
			if err := c.Remove(other); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := shoal.Standing{Class: shoal.Surplus, Keeper: true}
	c.SetStanding(key, want)
	c.Free(key)
	<-c.asked
	if !c.disks[0].emptySlab(0) {
		t.Fatal("the slab was not emptied")
	}
	if r, ok := c.Replica(key); !ok || r.Standing != want || !r.Freed {
		t.Errorf("Replica() of a moved block = %+v, %v, want %v, and that it is to go", r, ok, want)
	}
	c.SetStanding(key, shoal.Standing{Class: shoal.Surplus})
	if gone := <-c.gone; !slices.Equal(gone, []shoal.Key{key}) {
		t.Errorf("OnEvict(%v), want %v", gone, key)
	}
	st := c.Stats()
	if st.AskedBytes != 0 || st.ByClass[shoal.Surplus] != (Usage{}) {
		t.Errorf("Stats: %d bytes asked for, %v surplus; want none", st.AskedBytes, st.ByClass[shoal.Surplus])
	}
}
