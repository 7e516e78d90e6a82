package replicas

import (
	"slices"
	"strings"

	"github.com/shoal-mesh/shoal"
	"github.com/zeebo/xxh3"
)

// Shards is how many parts the directory is cut into. It is fixed for all time: two
// nodes that disagreed on it would disagree on every block's homes.
const Shards = 65536

// ShardOf returns the shard key belongs to.
func ShardOf(key shoal.Key) uint16 { return uint16(HashKey(key)) }

// A Table says, for the members of one view, which two nodes are the homes of each
// shard. It never changes once it is made, so many goroutines may read it.
type Table struct {
	view    shoal.View
	members []shoal.Member // sorted by ID, those that are away included
	away    []bool         // by index into members; nil when nobody is
	live    []shoal.Member // members that are not away
	ranks   [][2]uint16    // per shard: 1 + index into members, 0 for none, as if nobody were away
	homes   [][2]uint16    // the same without those that are away; ranks itself when nobody is
}

// NewTable returns the Table of members, which may come in any order. The homes of a
// shard are the two members with the highest rendezvous score for it, so a member that
// comes or goes moves only the shards it gains or loses. Members that drain are homes
// only when all of them do.
func NewTable(members []shoal.Member) *Table {
	t := tableOf(members, nil)
	t.rankAll()
	t.passOver()
	return t
}

// View returns the hash of the membership t was made of: identity, boot and state of
// every member, and whether it is away.
func (t *Table) View() shoal.View { return t.view }

// Members returns the members of t that are not away, sorted by ID. The caller must not
// change them.
func (t *Table) Members() []shoal.Member { return t.live }

// Homes returns the home and the backup home of shard; a name is empty where there
// are not that many members. While one of the two is away there is only the other; while
// both are, the next in rank stand in for them.
func (t *Table) Homes(shard uint16) (home, backup shoal.NodeID) {
	h := t.homes[shard]
	return t.name(h[0]), t.name(h[1])
}

// Member returns the member with this id, unless it is away.
func (t *Table) Member(id shoal.NodeID) (m shoal.Member, ok bool) {
	i, ok := t.find(id)
	if !ok || t.isAway(i) {
		return shoal.Member{}, false
	}
	return t.members[i], true
}

func (t *Table) find(id shoal.NodeID) (int, bool) {
	return slices.BinarySearchFunc(t.members, id, func(m shoal.Member, id shoal.NodeID) int {
		return strings.Compare(string(m.ID), string(id))
	})
}

func (t *Table) name(index uint16) shoal.NodeID {
	if index == 0 {
		return ""
	}
	return t.members[index-1].ID
}

// numberOf returns the 1-based index by which homes knows id, 0 when it is no member.
func (t *Table) numberOf(id shoal.NodeID) uint16 {
	if i, ok := t.find(id); ok {
		return uint16(i + 1)
	}
	return 0
}

// isAway reports whether the member at this index of t.members is away.
func (t *Table) isAway(i int) bool { return t.away != nil && t.away[i] }

func viewOf(members []shoal.Member, away []bool) shoal.View {
	var b []byte
	for i, m := range members {
		state := byte(m.State)
		if away != nil && away[i] {
			state |= 1 << 7
		}
		b = append(b, m.ID...)
		b = append(b, 0, state)
		for shift := 0; shift < 64; shift += 8 {
			b = append(b, byte(m.Boot>>shift))
		}
	}
	return shoal.View(xxh3.Hash(b))
}

// HashKey returns the hash by which the directory knows a block: its lower 16 bits are the
// block's shard. It is the same on every node, so traces name blocks by it.
func HashKey(key shoal.Key) uint64 {
	var b [shoal.KeyLen]byte
	return xxh3.Hash(key.AppendTo(b[:0]))
}

// mix scatters x over 64 bits (the finalizer of MurmurHash3).
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
