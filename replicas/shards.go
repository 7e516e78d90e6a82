package replicas

import (
	"math/bits"
	"slices"
	"strings"

	"github.com/shoal-mesh/shoal"
	"github.com/zeebo/xxh3"
)

// Shards is how many parts the directory is cut into. It is fixed for all time: two
// nodes that disagreed on it would disagree on every block's homes.
const Shards = 65536

// ShardOf returns the shard key belongs to.
func ShardOf(key shoal.Key) uint16 { return uint16(hashKey(key)) }

// A Table says, for the members of one view, which two nodes are the homes of each
// shard. It never changes once it is made, so many goroutines may read it.
type Table struct {
	view    shoal.View
	members []shoal.Member // sorted by ID
	homes   [][2]uint16    // per shard: 1 + index into members; 0 for none
}

// NewTable returns the Table of members, which may come in any order. The homes of a
// shard are the two members with the highest rendezvous score for it, so a member that
// comes or goes moves only the shards it gains or loses. Members that drain are homes
// only when all of them do.
func NewTable(members []shoal.Member) *Table {
	t := &Table{members: slices.Clone(members), homes: make([][2]uint16, Shards)}
	slices.SortFunc(t.members, func(a, b shoal.Member) int {
		return strings.Compare(string(a.ID), string(b.ID))
	})
	t.members = slices.CompactFunc(t.members, func(a, b shoal.Member) bool { return a.ID == b.ID })
	t.view = viewOf(t.members)

	type runner struct {
		seed  uint64
		index uint16
	}
	runners := make([]runner, 0, len(t.members))
	for _, drain := range []bool{false, true} {
		for i, m := range t.members {
			if drain || m.State != shoal.Draining {
				runners = append(runners, runner{xxh3.HashString(string(m.ID)), uint16(i + 1)})
			}
		}
		if len(runners) > 0 {
			break // somebody stays: those who drain are not asked
		}
	}
	for s := range t.homes {
		var best [2]uint64
		place := mix(uint64(s) + 1)
		for _, r := range runners {
			switch score := mix(place^r.seed) | 1; {
			case score > best[0]:
				best[0], best[1] = score, best[0]
				t.homes[s] = [2]uint16{r.index, t.homes[s][0]}
			case score > best[1]:
				best[1], t.homes[s][1] = score, r.index
			}
		}
	}
	return t
}

// View returns the hash of the membership t was made of: identity, boot and state of
// every member.
func (t *Table) View() shoal.View { return t.view }

// Members returns the members of t, sorted by ID. The caller must not change them.
func (t *Table) Members() []shoal.Member { return t.members }

// Homes returns the home and the backup home of shard; a name is empty where there
// are not that many members.
func (t *Table) Homes(shard uint16) (home, backup shoal.NodeID) {
	h := t.homes[shard]
	return t.name(h[0]), t.name(h[1])
}

// Member returns the member with this id.
func (t *Table) Member(id shoal.NodeID) (m shoal.Member, ok bool) {
	i, ok := t.find(id)
	if !ok {
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

func viewOf(members []shoal.Member) shoal.View {
	var b []byte
	for _, m := range members {
		b = append(b, m.ID...)
		b = append(b, 0, byte(m.State))
		for shift := 0; shift < 64; shift += 8 {
			b = append(b, byte(m.Boot>>shift))
		}
	}
	return shoal.View(xxh3.Hash(b))
}

func hashKey(key shoal.Key) uint64 {
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

// A ShardSet is a set of shards. Its zero value is empty.
type ShardSet struct {
	words [Shards / 64]uint64
	n     int
}

// Len returns how many shards are in s.
func (s *ShardSet) Len() int {
	if s == nil {
		return 0
	}
	return s.n
}

// Has reports whether shard is in s.
func (s *ShardSet) Has(shard uint16) bool {
	return s != nil && s.words[shard/64]&(1<<(shard%64)) != 0
}

// Add puts shard into s and reports whether it was not there before.
func (s *ShardSet) Add(shard uint16) bool {
	if s.Has(shard) {
		return false
	}
	s.words[shard/64] |= 1 << (shard % 64)
	s.n++
	return true
}

// Remove takes shard out of s and reports whether it was there.
func (s *ShardSet) Remove(shard uint16) bool {
	if !s.Has(shard) {
		return false
	}
	s.words[shard/64] &^= 1 << (shard % 64)
	s.n--
	return true
}

// remove is Remove for a set that may be nil.
func (s *ShardSet) remove(shard uint16) {
	if s != nil {
		s.Remove(shard)
	}
}

// All calls yield for each shard of s in ascending order. yield may remove that shard.
func (s *ShardSet) All(yield func(uint16) bool) {
	if s.Len() == 0 {
		return
	}
	for i, w := range s.words {
		for w != 0 {
			bit := bits.TrailingZeros64(w)
			w &= w - 1
			if !yield(uint16(i*64 + bit)) {
				return
			}
		}
	}
}

func (s *ShardSet) clone() *ShardSet {
	if s == nil {
		return nil
	}
	c := *s
	return &c
}
