package replicas

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/shoal-mesh/shoal"
)

// A Table made from another equals the one made from nothing, whatever came and went.
func TestTableNextEqualsNewTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	members := serving(12)
	table := NewTable(members)
	for step := range 60 {
		switch i := rng.IntN(len(members)); rng.IntN(5) {
		case 0:
			members = append(members, shoal.Member{ID: shoal.NodeID(fmt.Sprintf("new%d", step)), State: shoal.Serving})
		case 1:
			if len(members) > 1 {
				members = slices.Delete(members, i, i+1)
			}
		case 2:
			members[i].State = shoal.Draining
		case 3:
			members[i].State = shoal.Serving
		case 4:
			members[i].Boot++
		}
		rng.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
		table = table.next(members, nil)
		want := NewTable(members)
		if table.View() != want.View() || !slices.Equal(table.members, want.members) || !slices.Equal(table.homes, want.homes) {
			t.Fatalf("step %d: the table of %d members made from the last one differs from that made from nothing", step, len(members))
		}
	}
}

// Whoever is away is no home: the other home is the only one. Where both are, the next in
// rank stand in; all is as before when they are back.
func TestTablePassesOverThoseAway(t *testing.T) {
	all := NewTable(serving(6))
	away, live := all.members[:2], all.members[2:]
	table := all.next(live, away)
	without := NewTable(live)
	if table.View() == all.View() || table.View() == without.View() {
		t.Error("View() with two members away is that with or without them")
	}
	if _, ok := table.Member("n0"); ok || len(table.Members()) != 4 {
		t.Errorf("Members() with 2 of 6 away = %v, want the other 4", table.Members())
	}
	for s := range Shards {
		shard := uint16(s)
		home, backup := all.Homes(shard)
		wantHome, wantBackup := home, backup
		switch homeAway, backupAway := home < "n2", backup < "n2"; {
		case homeAway && backupAway:
			wantHome, wantBackup = without.Homes(shard)
		case homeAway:
			wantHome, wantBackup = backup, ""
		case backupAway:
			wantBackup = ""
		}
		if h, b := table.Homes(shard); h != wantHome || b != wantBackup {
			t.Fatalf("Homes(%d) of %s and %s with n0 and n1 away = %q, %q, want %q, %q", s, home, backup, h, b, wantHome, wantBackup)
		}
	}
	if back := table.next(all.members, nil); back.View() != all.View() || !slices.Equal(back.homes, all.homes) {
		t.Error("the table after all are back differs from the one before")
	}
}

func BenchmarkTableNext(b *testing.B) {
	for _, n := range []int{3, 100, 1000} {
		b.Run(fmt.Sprintf("members=%d", n), func(b *testing.B) {
			table, more := NewTable(serving(n)), NewTable(serving(n+1))
			b.ReportAllocs()
			for b.Loop() {
				table.next(more.members, nil) // one joins
				more.next(table.members, nil) // one goes
			}
		})
	}
}
