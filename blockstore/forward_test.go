package blockstore

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore/policy"
)

func TestFarewell(t *testing.T) {
	last := shoal.Standing{Class: shoal.Last}
	for _, c := range []struct {
		name string
		departure
		want farewell
	}{
		{"the last one", departure{last, true, 0, 10, 10, false}, forward},
		{"handed over once", departure{last, true, 1, 10, 10, false}, forward},
		{"handed over twice", departure{last, true, 2, 10, 10, false}, passedOn},
		{"one byte too many", departure{last, true, 0, 10, 9, false}, crowded},
		{"a put waits", departure{last, true, 0, 10, 10, true}, hurried},
		{"a keeper's", departure{shoal.Untold(), true, 0, 10, 10, false}, plainly},
		{"the last of its zone", departure{shoal.Standing{Class: shoal.LastInZone}, true, 0, 10, 10, false}, plainly},
		{"surplus", departure{shoal.Standing{Class: shoal.Surplus}, true, 0, 10, 10, false}, plainly},
		{"of a dataset without classes", departure{last, false, 0, 10, 10, false}, plainly},
		{"all reasons at once", departure{last, true, 2, 10, 0, true}, passedOn},
	} {
		if got := c.farewell(); got != c.want {
			t.Errorf("%s: farewell() = %d, want %d", c.name, got, c.want)
		}
	}
}

// A leavingStore is a consentStore of 8 slabs that begins to make room when 51 pages are left,
// for 102; what it would hand over comes on a channel, unless wanted is nil: then nothing is.
type leavingStore struct {
	consentStore
	left   chan leftBlock
	filled []shoal.Key // in the order of their puts
}

type leftBlock struct {
	key shoal.Key
	Replica
}

const leavingSlots = 8 * standingSlots

func newLeavingStore(t *testing.T, wanted func(shoal.Key) bool) *leavingStore {
	t.Helper()
	c := &leavingStore{
		consentStore: consentStore{asked: make(chan []shoal.Key, 1000), gone: make(chan []shoal.Key, 1000)},
		left:         make(chan leftBlock, 1000),
	}
	cfg := oneDisk(fastDir(t), 8*64*pageSize)
	cfg.SlabBytes, cfg.High, cfg.Low = 64*pageSize, 0.9, 0.8
	cfg.Rules = func(string) policy.Rules { return policy.Rules{Base: policy.BaseLRU, Classes: true} }
	cfg.Resign = func(keys []shoal.Key) { c.asked <- slices.Clone(keys) }
	cfg.OnEvict = func(went []Gone) { c.gone <- keysOf(went) }
	if wanted != nil {
		cfg.Forward = func(key shoal.Key, r Replica) bool {
			c.left <- leftBlock{key, r}
			return wanted(key)
		}
	}
	c.Store = openTest(t, cfg)
	return c
}

// fill puts blocks that were handed over so often, until their homes are asked about some, and
// returns those.
func (c *leavingStore) fill(t *testing.T, passes uint8) (asked []shoal.Key) {
	t.Helper()
	for len(asked) == 0 {
		c.add(t, passes)
		select {
		case asked = <-c.asked:
		default:
		}
		if len(c.filled) == leavingSlots {
			return <-c.asked
		}
	}
	return asked
}

// add puts one block more.
func (c *leavingStore) add(t *testing.T, passes uint8) {
	t.Helper()
	i := len(c.filled)
	key := shoal.Key{File: shoal.FileID{byte(i), byte(i >> 8), 7}}
	data := randomBytes(uint64(i), 1000)
	if err := c.Put(key, File{SizeBytes: 1000, Passes: passes}, data, shoal.ChunkSums(key, data)); err != nil {
		t.Fatal(err)
	}
	c.filled = append(c.filled, key)
}

// agree has homes say that these replicas are the last of their blocks, and may go.
func (c *leavingStore) agree(keys ...shoal.Key) {
	for _, key := range keys {
		c.SetStanding(key, shoal.Standing{Class: shoal.Last})
	}
}

func wantAll(shoal.Key) bool { return true }

// wentFirst fails the test unless key, and no other, is what goes first.
func (c *leavingStore) wentFirst(t *testing.T, key shoal.Key) {
	t.Helper()
	if gone := <-c.gone; len(gone) != 1 || gone[0] != key {
		t.Errorf("OnEvict(%v), want %v", gone, key)
	}
	if c.Has(key) {
		t.Error("Has of a block that went = true")
	}
}

// TestForward follows a last replica: it is there, and can be read by peers, until its home says
// that another node holds the block.
func TestForward(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newLeavingStore(t, wantAll)
		key := c.fill(t, 1)[0]
		c.agree(key)
		l := <-c.left
		if l.key != key || !l.Leaving || l.Weight <= 0 || l.Length != 1000 || l.File.Passes != 1 || l.Standing != (shoal.Standing{Class: shoal.Last}) {
			t.Errorf("Forward(%v, %+v), want %v leaving, of 1000 bytes, with its weight, handed over once", l.key, l.Replica, key)
		}
		section, err := c.Serve(key)
		if err != nil {
			t.Fatalf("Serve of a block that leaves: %v", err)
		}
		if r, _ := c.Replica(key); !r.Leaving {
			t.Error("the block stays as another node read it")
		}
		c.agree(key) // said again, which changes nothing
		synctest.Wait()
		if st := c.Stats().Forwards; st.Leaving != 1 || st.LeavingBytes != pageSize {
			t.Errorf("Stats().Forwards = %+v, want a block of a page leaving", st)
		}
		c.SetStanding(key, shoal.Standing{Class: shoal.Surplus})
		c.wentFirst(t, key)
		if err := section.Close(); err != nil {
			t.Error(err)
		}
		st := c.Stats()
		if want := (ForwardStats{HandedOver: 1}); st.Forwards != want || st.Evictions != 1 || st.LastEvictions != 0 {
			t.Errorf("Stats() = %+v, %d evictions, %d of last replicas, want %+v, 1, 0", st.Forwards, st.Evictions, st.LastEvictions, want)
		}
	})
}

// TestForwardDeclined checks that what nobody wants goes as if it had not been offered, whether
// that is said at once or later.
func TestForwardDeclined(t *testing.T) {
	for _, later := range []bool{false, true} {
		c := newLeavingStore(t, func(shoal.Key) bool { return later })
		key := c.fill(t, 0)[0]
		c.agree(key)
		<-c.left
		if later {
			c.Decline(key)
		}
		c.wentFirst(t, key)
		if st := c.Stats(); st.LastEvictions != 1 || st.Forwards != (ForwardStats{}) {
			t.Errorf("later %v: Stats() = %d last evictions, %+v, want 1 and nothing", later, st.LastEvictions, st.Forwards)
		}
		c.Decline(shoal.Key{}) // of no block
	}
}

// TestForwardRead checks that a block which is read while it leaves stays, and that others leave
// in its place.
func TestForwardRead(t *testing.T) {
	c := newLeavingStore(t, wantAll)
	asked := c.fill(t, 1)
	c.agree(asked[0])
	<-c.left
	if _, err := c.ReadAt(asked[0], make([]byte, 10), 0); err != nil {
		t.Fatal(err)
	}
	if r, _ := c.Replica(asked[0]); r.Leaving || r.File.Passes != 0 {
		t.Errorf("Replica of the block that was read = %+v, want it to stay, as one never handed over", r)
	}
	c.Decline(asked[0]) // too late
	c.agree(asked[0], asked[1])
	if l := <-c.left; l.key != asked[1] {
		t.Errorf("Forward(%v), want %v, which was not read", l.key, asked[1])
	}
	if st := c.Stats(); st.Forwards.Kept != 1 || st.Evictions != 0 {
		t.Errorf("kept %d, evicted %d, want 1 and 0", st.Forwards.Kept, st.Evictions)
	}
}

// TestForwardKeptForTheMesh checks that a block stays that its home, or an operator, wants kept
// while it leaves.
func TestForwardKeptForTheMesh(t *testing.T) {
	c := newLeavingStore(t, wantAll)
	asked := c.fill(t, 0)
	c.agree(asked[:2]...)
	<-c.left
	<-c.left
	c.SetStanding(asked[0], shoal.Standing{Class: shoal.Surplus, Keeper: true})
	pins := c.NewPins("test")
	defer func() { _ = pins.Close() }()
	pins.Add(asked[1])
	for _, key := range asked[:2] {
		c.Decline(key)
		if r, ok := c.Replica(key); !ok || r.Leaving {
			t.Errorf("Replica(%v) = %+v, %v, want it to stay", key, r, ok)
		}
	}
	if st := c.Stats(); st.Forwards != (ForwardStats{Kept: 2}) || st.Evictions != 0 {
		t.Errorf("Stats().Forwards = %+v, %d evictions, want 2 kept and none", st.Forwards, st.Evictions)
	}
}

// TestForwardTwice checks that what was handed over twice, and not read since, is dropped, and
// that a read makes it one that never was.
func TestForwardTwice(t *testing.T) {
	c := newLeavingStore(t, wantAll)
	asked := c.fill(t, MaxPasses)
	c.agree(asked[0])
	c.wentFirst(t, asked[0])
	if st := c.Stats().Forwards; st != (ForwardStats{Passed: 1}) {
		t.Errorf("Stats().Forwards = %+v, want one passed on too often", st)
	}
	if _, err := c.ReadAt(asked[1], make([]byte, 10), 0); err != nil {
		t.Fatal(err)
	}
	if r, _ := c.Replica(asked[1]); r.File.Passes != 0 {
		t.Errorf("Replica of a block that was read = %+v, want no passes", r)
	}
	if len(c.left) != 0 {
		t.Errorf("Forward(%v), want no call", (<-c.left).key)
	}
}

// TestForwardHurry checks that a put waits for nothing that leaves.
func TestForwardHurry(t *testing.T) {
	c := newLeavingStore(t, wantAll)
	asked := c.fill(t, 0)
	leaving := asked[:min(5, len(asked))]
	c.agree(leaving...)
	for range leaving {
		<-c.left
	}
	// The homes of the others say nothing, so the puts come to where there is no room.
	for len(c.filled) < leavingSlots+len(leaving) {
		c.add(t, 0)
	}
	for _, key := range leaving {
		if c.Has(key) {
			t.Errorf("block %v is there, though a put waited for room", key)
		}
	}
	if st := c.Stats().Forwards; st != (ForwardStats{Hurried: uint64(len(leaving))}) {
		t.Errorf("Stats().Forwards = %+v, want %d hurried", st, len(leaving))
	}
}

// TestForwardLate checks that a block which waits for too long to be handed over goes.
func TestForwardLate(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newLeavingStore(t, wantAll)
		key := c.fill(t, 0)[0]
		c.agree(key)
		<-c.left
		time.Sleep(leaveWithin - time.Millisecond)
		synctest.Wait()
		if !c.Has(key) {
			t.Errorf("the block went before %v", leaveWithin)
		}
		time.Sleep(time.Millisecond)
		c.wentFirst(t, key)
		if st := c.Stats().Forwards; st != (ForwardStats{Late: 1}) {
			t.Errorf("Stats().Forwards = %+v, want one late", st)
		}
	})
}

// TestForwardBound checks that no more leaves at once than eviction makes room for, and that the
// others are dropped.
func TestForwardBound(t *testing.T) {
	c := newLeavingStore(t, wantAll)
	c.agree(c.fill(t, 0)...)
	for dropped := 0; dropped == 0; { // as what leaves makes no room, more are asked for
		select {
		case asked := <-c.asked:
			c.agree(asked...)
		case gone := <-c.gone:
			dropped += len(gone)
		}
	}
	const most = 102
	if st := c.Stats().Forwards; st.Leaving != most || st.LeavingBytes != most*pageSize || st.Full == 0 || len(c.left) != most {
		t.Errorf("Stats().Forwards = %+v, %d calls, want %d blocks of a page leaving, and others dropped as that is enough", st, len(c.left), most)
	}
}

// TestForwardOff checks that without Forward last replicas go as they did.
func TestForwardOff(t *testing.T) {
	c := newLeavingStore(t, nil)
	key := c.fill(t, 0)[0]
	c.agree(key)
	c.wentFirst(t, key)
	if st := c.Stats().Forwards; st != (ForwardStats{}) || len(c.left) != 0 {
		t.Errorf("Stats().Forwards = %+v, %d calls, want none", st, len(c.left))
	}
}

// TestForwardMoved checks that a block keeps its passes when it is moved to another slot.
func TestForwardMoved(t *testing.T) {
	c := newConsentStoreOf(t, policy.Rules{Base: policy.BaseLRU, Classes: true}, 2)
	keys := c.fill(t)
	data := randomBytes(5, 1000)
	moved := shoal.Key{File: shoal.FileID{0xee}}
	if err := c.Put(moved, File{SizeBytes: 1000, Passes: 1}, data, shoal.ChunkSums(moved, data)); err != nil {
		t.Fatal(err)
	}
	if err := c.Remove(keys[3]); err != nil {
		t.Fatal(err)
	}
	if !c.disks[0].emptySlab(1) {
		t.Fatal("emptySlab(1) = false, want the block moved to the slot that is free")
	}
	if r, ok := c.Replica(moved); !ok || r.File.Passes != 1 {
		t.Errorf("Replica after the move = %+v, %v, want one pass", r, ok)
	}
	if r, ok := c.Replica(keys[4]); !ok || r.File.Passes != 0 {
		t.Errorf("Replica of another block = %+v, %v, want no pass", r, ok)
	}
}
