package replicas

import (
	"fmt"
	"testing"

	"github.com/shoal-mesh/shoal"
)

func TestTableSpreadsShards(t *testing.T) {
	const nodes = 10
	table := NewTable(serving(nodes))
	count := make(map[shoal.NodeID]int)
	for s := range Shards {
		home, backup := table.Homes(uint16(s))
		if home == backup || home == "" || backup == "" {
			t.Fatalf("Homes(%d) = %q, %q, want two nodes", s, home, backup)
		}
		count[home]++
	}
	for id, n := range count {
		if n < Shards/nodes*9/10 || n > Shards/nodes*11/10 {
			t.Errorf("%s is the home of %d shards, want %d within 10 %%", id, n, Shards/nodes)
		}
	}
}

func TestTableMovesOnlyWhatItMust(t *testing.T) {
	before, after := NewTable(serving(10)), NewTable(serving(11))
	for s := range Shards {
		h1, b1 := before.Homes(uint16(s))
		h2, b2 := after.Homes(uint16(s))
		for _, id := range []shoal.NodeID{h2, b2} {
			if id != h1 && id != b1 && id != "n10" {
				t.Fatalf("shard %d went from %s, %s to %s, %s when n10 joined", s, h1, b1, h2, b2)
			}
		}
	}
}

func TestTableView(t *testing.T) {
	members := serving(3)
	view := NewTable(members).View()
	members[0], members[2] = members[2], members[0]
	if got := NewTable(members).View(); got != view {
		t.Errorf("View() of the same members in another order = %x, want %x", got, view)
	}
	members[1].Zone = "elsewhere"
	if got := NewTable(members).View(); got != view {
		t.Errorf("View() after a change of zone = %x, want %x", got, view)
	}
	for _, change := range []func(*shoal.Member){
		func(m *shoal.Member) { m.Boot++ },
		func(m *shoal.Member) { m.State = shoal.Draining },
		func(m *shoal.Member) { m.ID = "other" },
	} {
		changed := serving(3)
		change(&changed[1])
		if got := NewTable(changed).View(); got == view {
			t.Errorf("View() of %+v is that of %+v", changed[1], members[1])
		}
	}
}

func TestTableDraining(t *testing.T) {
	members := serving(3)
	members[0].State, members[1].State, members[2].State = shoal.Draining, shoal.Draining, shoal.Warming
	if home, backup := NewTable(members).Homes(1); home != "n2" || backup != "" {
		t.Errorf("Homes with one node that does not drain = %q, %q, want n2 alone", home, backup)
	}
	members[2].State = shoal.Draining
	if home, backup := NewTable(members).Homes(1); home == "" || backup == "" {
		t.Errorf("Homes when all drain = %q, %q, want two nodes", home, backup)
	}
	if home, backup := NewTable(nil).Homes(1); home != "" || backup != "" {
		t.Errorf("Homes without members = %q, %q, want none", home, backup)
	}
}

func serving(n int) []shoal.Member {
	var members []shoal.Member
	for i := range n {
		members = append(members, shoal.Member{ID: shoal.NodeID(fmt.Sprintf("n%d", i)), State: shoal.Serving})
	}
	return members
}
