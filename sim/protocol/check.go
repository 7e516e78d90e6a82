package protocol

import (
	"errors"
	"fmt"
	"slices"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/replicas"
)

// Check returns what is wrong with a mesh at rest: one in which nothing has happened
// for so long that every home must know the truth about keys. It also returns each
// invariant that did not hold at some moment of the run.
func (m *Mesh) Check(keys []shoal.Key) error {
	var errs []error
	for _, text := range m.broken {
		errs = append(errs, errors.New(text))
	}
	if m.stats.ReadsDone != m.stats.Reads {
		errs = append(errs, fmt.Errorf("%d of %d reads ended", m.stats.ReadsDone, m.stats.Reads))
	}
	var view shoal.View
	for _, n := range m.nodes {
		if n.dead {
			continue
		}
		if v := n.core.Table().View(); view == 0 {
			view = v
		} else if v != view {
			errs = append(errs, fmt.Errorf("%s has another view", n.member.ID))
		}
		c := n.core.Directory.Counts()
		if c.Missing > 0 || c.Leases > 0 || c.Mismatches > 0 {
			errs = append(errs, fmt.Errorf("%s: %d shards missing, %d leases, %d mismatches, want none",
				n.member.ID, c.Missing, c.Leases, c.Mismatches))
		}
		if w := n.core.Announcer.Waiting(); w > 0 {
			errs = append(errs, fmt.Errorf("%s: %d announcements wait, want 0", n.member.ID, w))
		}
		errs = append(errs, n.resting(), m.checkHome(n, keys))
	}
	for _, key := range keys {
		errs = append(errs, m.checkKeepers(key))
	}
	return errors.Join(errs...)
}

// checkHome compares what n knows as a home with who really holds each key.
func (m *Mesh) checkHome(n *node, keys []shoal.Key) error {
	var errs []error
	entries := 0
	for _, key := range keys {
		home, backup := n.core.Table().Homes(replicas.ShardOf(key))
		var want []shoal.NodeID
		if n.member.ID == home || n.member.ID == backup {
			want = m.holders(key)
		}
		if len(want) > 0 {
			entries++
		}
		if got := n.core.Directory.Holders(key); !slices.Equal(got, want) {
			errs = append(errs, fmt.Errorf("holders of %d at %s = %v, want %v", key.Index, n.member.ID, got, want))
		}
	}
	if got := n.core.Directory.Counts().Entries; got != entries {
		errs = append(errs, fmt.Errorf("entries at %s = %d, want %d", n.member.ID, got, entries))
	}
	return errors.Join(errs...)
}

// holders returns the live nodes that hold key, sorted by ID.
func (m *Mesh) holders(key shoal.Key) []shoal.NodeID {
	var ids []shoal.NodeID
	for _, n := range m.nodes {
		if _, ok := n.store[key]; ok && !n.dead {
			ids = append(ids, n.member.ID)
		}
	}
	return ids
}
