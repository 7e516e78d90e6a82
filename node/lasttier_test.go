package node

import (
	"testing"

	"github.com/shoal-mesh/shoal"
)

func TestLastTiers(t *testing.T) {
	var l lastTiers
	a, b := shoal.FileID{1: 1, 6: 7}, shoal.FileID{1: 2, 6: 7} // of one place
	elsewhere := shoal.FileID{1: 1, 6: 8}
	for _, id := range []shoal.FileID{a, {}} {
		if got := l.of(id); got != shoal.Tiers {
			t.Errorf("of(%v) before any read = %v, want none", id, got)
		}
	}
	for tier := range shoal.Tiers {
		l.note(a, tier)
		l.note(elsewhere, shoal.TierPeer)
		if got := l.of(a); got != tier {
			t.Errorf("of(a) = %v, want %v", got, tier)
		}
		if got := l.of(b); got != shoal.Tiers {
			t.Errorf("of(b) = %v after a read of a, want none", got)
		}
	}
	l.note(b, shoal.TierLocal)
	if got := l.of(a); got != shoal.Tiers {
		t.Errorf("of(a) = %v after b took its place, want none", got)
	}
	if got := l.of(elsewhere); got != shoal.TierPeer {
		t.Errorf("of(elsewhere) = %v, want %v", got, shoal.TierPeer)
	}
	if n := testing.AllocsPerRun(100, func() { l.note(a, shoal.TierUFS); l.note(a, shoal.TierPeer) }); n != 0 {
		t.Errorf("note() allocates %v times, want 0", n)
	}
}
