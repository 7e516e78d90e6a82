package replicas

import (
	"testing"

	"github.com/shoal-mesh/shoal"
)

func TestStalenessQuantile(t *testing.T) {
	tests := []struct {
		name     string
		ages     []Tick
		p50, p99 float64
	}{
		{"none", nil, 0, 0},
		{"at once", []Tick{0, 0}, 0.5, 0.99},
		{"one", []Tick{50}, 48, 63.68},
		{"far apart", []Tick{10, 10, 10, 1000}, 8 + 8*2.0/3, 512 + 512*0.96},
		{"clock went back", []Tick{-5}, 0.5, 0.99},
		{"for ever", []Tick{1 << 40}, 1.5 * (1 << 30), 1.99 * (1 << 30)},
	}
	for _, tt := range tests {
		var s staleness
		var happened []Tick
		for _, age := range tt.ages {
			happened = append(happened, 100-age)
		}
		s.heard(100, happened)
		for share, want := range map[float64]float64{0.5: tt.p50, 0.99: tt.p99} {
			if got := s.quantile(share); got < want*0.999 || got > want*1.001 {
				t.Errorf("%s: quantile(%v) = %v, want %v", tt.name, share, got, want)
			}
		}
	}
}

// TestStalenessForgets has many slow changes, and an hour later some fast ones.
func TestStalenessForgets(t *testing.T) {
	var s staleness
	s.heard(10_000, make([]Tick, 4000))
	later := Tick(3_600_000)
	s.heard(later, []Tick{later - 1, later - 1})
	if got := s.quantile(0.99); got > 2 {
		t.Errorf("quantile(0.99) after an hour = %v, want at most 2", got)
	}
}

// TestAnnouncerStaleness adds a block, whose home acknowledges it late, and pushes an old one:
// only the first is news.
func TestAnnouncerStaleness(t *testing.T) {
	a := NewAnnouncer("n1", Rules{})
	a.SetTable(0, NewTable([]shoal.Member{{ID: "n1"}, {ID: "n2"}}))
	a.Add(0, shoal.Key{Index: 1}, 7, Limits{}, false)
	for _, m := range a.Tick(50) {
		if m.To == "n1" { // it tells itself at once
			a.Step(50, Message{Type: MsgAck, From: "n1", Seq: m.Seq})
		}
	}
	if got := a.Staleness(0.99); got != 0 {
		t.Fatalf("Staleness before another node has heard = %v, want 0", got)
	}
	m := toN2(t, a.Tick(2000))
	a.Step(3000, Message{Type: MsgAck, From: "n2", Seq: m.Seq})
	if got := a.Staleness(0.5); got < 2048 || got > 4096 {
		t.Errorf("Staleness(0.5) after an Ack 3 s later = %v, want 2048 to 4096", got)
	}
	all := new(ShardSet)
	all.Add(ShardOf(shoal.Key{Index: 2}))
	a.Step(3000, Message{Type: MsgWant, From: "n2", Shards: all})
	a.BeginScan(3000)
	a.Feed(3000, shoal.Key{Index: 2}, 1, Limits{})
	a.EndScan(3000)
	m = toN2(t, a.Tick(3100))
	if len(m.Changes) != 1 {
		t.Fatalf("push tells %d changes, want 1", len(m.Changes))
	}
	a.Step(3100, Message{Type: MsgAck, From: "n2", Seq: m.Seq})
	if got := a.Staleness(0.01); got < 2048 {
		t.Errorf("Staleness(0.01) after a push = %v, want at least 2048: it is no news", got)
	}
}
