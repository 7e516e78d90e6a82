package blockstore

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
)

// checkIndex compares the index of a disk at rest with what is in memory.
func checkIndex(t *testing.T, d *disk) {
	t.Helper()
	want := make(map[place]shoal.Key)
	for blocks, next := d.batch(0); ; blocks, next = d.batch(next) {
		for _, b := range blocks {
			want[b.place] = b.key
		}
		if next == 0 {
			break
		}
	}
	err := d.index.load(blockPrefix, func(key, value []byte) {
		e, ok := parseIndexed(key, value)
		if !ok || want[e.place] != e.key {
			t.Errorf("the index has %v at %v, memory has %v", e.key, e.place, want[e.place])
		}
		delete(want, e.place)
	})
	if err != nil {
		t.Fatal(err)
	}
	for at, key := range want {
		t.Errorf("the index has nothing at %v, want %v", at, key)
	}
	heads := make(map[header]bool)
	all, _ := d.headers(0, len(d.places.containers))
	for _, h := range all {
		heads[h] = true
	}
	err = d.index.load(containerPrefix, func(_, value []byte) {
		h, _ := parseHeader(value)
		if !heads[h] {
			t.Errorf("the index has container %+v, memory has not", h)
		}
		delete(heads, h)
	})
	if err != nil {
		t.Fatal(err)
	}
	for h := range heads {
		t.Errorf("the index lacks container %+v", h)
	}
}

// A meeting has another goroutine do something at a moment of restore or of what it meets: until
// it is done, or waits for who began it.
type meeting struct {
	waits, done chan struct{}
}

// meet begins do, and returns when it has ended or waits at the gate.
func meet(d *disk, do func()) meeting {
	m := meeting{make(chan struct{}, 1), make(chan struct{})}
	d.index.gate.wait = func() {
		select {
		case m.waits <- struct{}{}:
		default: // that it waits is known
		}
	}
	go func() {
		defer close(m.done)
		do()
	}()
	select {
	case <-m.waits:
	case <-m.done:
	}
	return m
}

// restorable returns a store none of whose goroutines writes to the index on its own, with blocks
// in slots of two slabs and in a sparse container, and another sparse container without.
func restorable(t *testing.T, files fileSystem) *Store {
	t.Helper()
	cfg := pageStore(fastDir(t), 64)
	cfg.RetryInterval, cfg.FlushInterval = time.Hour, time.Hour
	cfg.files = files
	s := openTest(t, cfg)
	for i := range uint32(pageSlots + 3) {
		put(t, s, pageKey(i), randomBytes(uint64(i), 1000))
	}
	put(t, s, sparseKey(1), randomBytes(1, 1000))
	put(t, s, sparseKey(3), randomBytes(3, 1000))
	if err := s.Remove(sparseKey(3)); err != nil {
		t.Fatal(err)
	}
	return s
}

// onWrite has do be called at the nth write to the index from now on, by one of its hooks, until
// stop; but not at those that say which Sync has ended: others wait for them.
func onWrite(d *disk, hook *func(), nth int64, do func()) (stop func()) {
	var left atomic.Int64
	left.Store(nth)
	*hook = func() {
		if !d.marking.TryLock() {
			return
		}
		d.marking.Unlock()
		if left.Add(-1) == 0 {
			do()
		}
	}
	return func() { left.Store(-1) }
}

// restoreMeets is what goes on while the index is made to hold what is in memory.
func restoreMeets() map[string]func(t *testing.T, s *Store) {
	return map[string]func(t *testing.T, s *Store){
		"remove": func(t *testing.T, s *Store) {
			if err := s.Remove(pageKey(1)); err != nil {
				t.Error(err)
			}
		},
		"move": func(t *testing.T, s *Store) {
			_, b, _ := s.find(pageKey(pageSlots + 1))
			for i := range uint32(8) {
				_ = s.Remove(pageKey(i + 2))
			}
			if !s.disks[0].emptySlab(uint32(b.loc.Container)) {
				t.Error("emptySlab() = false")
			}
		},
		"put": func(t *testing.T, s *Store) { put(t, s, pageKey(1000), randomBytes(7, 1000)) },
		"cut": func(t *testing.T, s *Store) {
			d := s.disks[0]
			d.mu.Lock()
			defer d.mu.Unlock()
			if err := d.makeSlab(none, 0); err != nil {
				t.Error(err)
			}
		},
		"sparse": func(t *testing.T, s *Store) { put(t, s, sparseKey(2), randomBytes(7, 1000)) },
		"uncontain": func(t *testing.T, s *Store) {
			if err := s.disks[0].giveAllRoom(); err != nil {
				t.Error(err)
			}
		},
	}
}

// TestRestoreMeetsDrop drops a block, moves some and makes and removes containers at every write by
// which the index is made to hold what is in memory: it holds what there is afterwards.
func TestRestoreMeetsDrop(t *testing.T) {
	for name, other := range restoreMeets() {
		t.Run(name, func(t *testing.T) {
			for nth := int64(1); ; nth++ {
				s := restorable(t, nil)
				d := s.disks[0]
				stale := d.block(0).indexed(0)
				stale.slot += 2 * pageSlots
				if err := d.index.set(stale); err != nil {
					t.Fatal(err)
				}
				if err := d.index.setContainer(header{name: 1 << bootShift, size: 5}); err != nil {
					t.Fatal(err)
				}
				var m meeting
				stop := onWrite(d, &d.index.writes, nth, func() { m = meet(d, func() { other(t, s) }) })
				if err := d.restore(); err != nil {
					t.Fatal(err)
				}
				stop()
				if m.done == nil {
					if nth < 4 {
						t.Fatalf("restore() made %d writes, want more", nth-1)
					}
					return
				}
				<-m.done
				checkIndex(t, d)
				checkAll(t, s)
			}
		})
	}
}

// TestMetByRestore has the index made to hold what is in memory at every moment when it says what
// memory does not yet: that stays.
func TestMetByRestore(t *testing.T) {
	for name, other := range restoreMeets() {
		t.Run(name, func(t *testing.T) {
			for nth := int64(1); ; nth++ {
				s := restorable(t, nil)
				d := s.disks[0]
				var m meeting
				stop := onWrite(d, &d.index.wrote, nth, func() {
					m = meet(d, func() {
						if err := d.restore(); err != nil {
							t.Error(err)
						}
					})
				})
				other(t, s)
				stop()
				if m.done == nil {
					if nth == 1 {
						t.Error("nothing was written to the index")
					}
					return
				}
				<-m.done
				checkIndex(t, d)
			}
		})
	}
}

// TestRestoreMeetsSync has a block be written after the Sync that makes all others durable: the
// index does not take it for durable.
func TestRestoreMeetsSync(t *testing.T) {
	var watched atomic.Bool
	syncing, arrived, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s := restorable(t, &faultyFiles{fault: func(op, name string) error {
		switch {
		case !watched.Load():
		case op == "write" && strings.Contains(name, slabsDir):
			close(arrived)
			<-syncing
		case op == "sync":
			close(syncing)
			<-ended
			watched.Store(false)
		}
		return nil
	}})
	d, key := s.disks[0], pageKey(500)
	watched.Store(true)
	go func() {
		defer close(ended)
		put(t, s, key, randomBytes(500, 1000))
	}()
	<-arrived
	if err := d.restore(); err != nil {
		t.Fatal(err)
	}
	synced, err := d.index.synced()
	if err != nil {
		t.Fatal(err)
	}
	err = d.index.load(blockPrefix, func(k, value []byte) {
		if e, _ := parseIndexed(k, value); (e.key == key) != (e.syncs >= synced) {
			t.Errorf("the index has block %v put at Sync %d, and %d durable, want all durable but %v", e.key, e.syncs, synced, key)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRebuildMeetsDrop drops a block that a rebuild shows before the index has it.
func TestRebuildMeetsDrop(t *testing.T) {
	s := restorable(t, nil)
	d := s.disks[0]
	d.mu.Lock()
	n, _ := d.table.get(pageKey(1))
	e := d.block(n).indexed(0)
	d.mu.Unlock()
	onWrite(d, &d.index.writes, 1, func() {
		if err := s.Remove(pageKey(1)); err != nil {
			t.Error(err)
		}
	})
	if err := d.setShown([]indexed{e}); err != nil {
		t.Fatal(err)
	}
	checkIndex(t, d)
}
