package protocol

import (
	"testing"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/replicas"
)

// TestMembershipChangeAnnouncesNothing counts announcements: after a change of membership
// homes pull what is new to them from one another, and confirm it by digests. Holders
// announce nothing, but for a node that comes back when it has been given up: its own.
func TestMembershipChangeAnnouncesNothing(t *testing.T) {
	const blocks = 2000
	var all []shoal.Key
	for i := range blocks {
		all = append(all, shoal.Key{Index: uint32(i)})
	}
	m := New(Config{Seed: 1, ViewDelay: 200, Faults: Faults{Delay: 5}})
	for i := range 5 {
		m.Join(name(i), "")
	}
	m.Run(1_000)
	for i, key := range all {
		m.Store(name(i%5), key)
	}
	m.Run(5_000)

	for _, change := range []struct {
		name string
		do   func()
		rest replicas.Tick
		most int
	}{
		{"join", func() { m.Join(name(5), "") }, 20_000, 0},
		{"restart", func() { m.Crash(name(0)); m.Run(20_000); m.Join(name(0), "") }, 20_000, 0},
		{"crash", func() { m.Crash(name(1)) }, 90_000, 0},
		{"return", func() { m.Join(name(1), "") }, 20_000, 2 * blocks / 5},
		{"drain", func() { m.Drain(name(2)) }, 20_000, 0},
	} {
		announced := m.Stats().Announced
		change.do()
		m.Run(change.rest)
		if got := m.Stats().Announced - announced; got > change.most {
			t.Errorf("%s: %d blocks announced, want at most %d", change.name, got, change.most)
		}
		if err := m.Check(all); err != nil {
			t.Errorf("after %s: %v", change.name, err)
		}
	}
}
