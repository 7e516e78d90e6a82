package replicas

import (
	"math/bits"
	"slices"

	"github.com/shoal-mesh/shoal"
)

// entries is the directory's table: a hash table of entries in slabs without pointers,
// so that the garbage collector does not look at them, at 36 bytes per entry plus 2 to 3
// for its bucket. It grows one bucket at a time (linear hashing), so no put ever waits
// for a rehash; and as there are never fewer buckets than Shards, the entries of a shard
// are those of every Shards-th bucket.
type entries struct {
	slabs [][]entry
	heads []uint32 // per bucket: slot of its first entry, 0 for none
	more  More     // by slot
	free  uint32   // first of the freed slots, chained by next
	top   uint32   // slots ever used
	n     int
}

type entry struct {
	key     shoal.Key
	sum     shoal.Sum
	Holders        // by the numbers of members
	next    uint32 // slot of the next entry of the bucket
}

const (
	slabBits = 12
	perHead  = 2 // entries per bucket
)

func newEntries() entries {
	return entries{heads: make([]uint32, Shards), more: make(More)}
}

func (t *entries) at(slot uint32) *entry {
	slot--
	return &t.slabs[slot>>slabBits][slot&(1<<slabBits-1)]
}

// find returns the slot of key, 0 when it has none.
func (t *entries) find(key shoal.Key, hash uint64) uint32 {
	slot := t.heads[t.bucket(hash)]
	for slot != 0 {
		e := t.at(slot)
		if e.key == key {
			return slot
		}
		slot = e.next
	}
	return 0
}

// findHeld returns the slot of a key with this hash of which member number n is a holder, 0
// when there is none, and whether there are more.
func (t *entries) findHeld(hash uint64, n uint16) (slot uint32, more bool) {
	var few [16]uint16
	for at := t.heads[t.bucket(hash)]; at != 0; at = t.at(at).next {
		if HashKey(t.at(at).key) == hash && slices.Contains(t.holders(at, few[:0]), n) {
			if slot != 0 {
				return slot, true
			}
			slot = at
		}
	}
	return slot, false
}

// put returns the slot of key, which is made when there is none.
func (t *entries) put(key shoal.Key, hash uint64) uint32 {
	if slot := t.find(key, hash); slot != 0 {
		return slot
	}
	slot := t.free
	if slot != 0 {
		t.free = t.at(slot).next
	} else {
		t.top++
		slot = t.top
		if int(slot-1)>>slabBits == len(t.slabs) {
			t.slabs = append(t.slabs, make([]entry, 1<<slabBits))
		}
	}
	b := t.bucket(hash)
	*t.at(slot) = entry{key: key, Holders: Holders{flags: flagUsed}, next: t.heads[b]}
	t.heads[b] = slot
	if t.n++; t.n > perHead*len(t.heads) {
		t.split()
	}
	return slot
}

// remove frees slot.
func (t *entries) remove(slot uint32) {
	e := t.at(slot)
	link := &t.heads[t.bucket(HashKey(e.key))]
	for *link != slot {
		link = &t.at(*link).next
	}
	*link = e.next
	e.forget(slot, t.more)
	*e = entry{next: t.free}
	t.free = slot
	t.n--
}

// addHolder is Holders.Add.
func (t *entries) addHolder(slot uint32, n uint16) bool { return t.at(slot).Add(slot, t.more, n) }

// place is Holders.Place.
func (t *entries) place(slot uint32, n uint16, at int) { t.at(slot).Place(slot, t.more, n, at) }

// hint notes that member number n, a holder, is said to be a keeper.
func (t *entries) hint(slot uint32, n uint16) {
	h := &t.at(slot).Holders
	var few [16]uint16
	if k := h.Keepers(); k < MostKeepers && slices.Index(t.holders(slot, few[:0]), n) >= k {
		t.place(slot, n, k)
		h.SetKeepers(k + 1)
	}
}

// dropHolder is Holders.Drop.
func (t *entries) dropHolder(slot uint32, n uint16) bool {
	return t.at(slot).Drop(slot, t.more, n)
}

// holders is Holders.All.
func (t *entries) holders(slot uint32, dst []uint16) []uint16 {
	return t.at(slot).All(slot, t.more, dst)
}

// shard calls yield for the slot of each entry of shard; yield may remove it.
func (t *entries) shard(shard uint16, yield func(slot uint32) bool) {
	for b := int(shard); b < len(t.heads); b += Shards {
		for slot := t.heads[b]; slot != 0; {
			next := t.at(slot).next
			if !yield(slot) {
				return
			}
			slot = next
		}
	}
}

// bucket returns the bucket of hash among the len(t.heads) there are now.
func (t *entries) bucket(hash uint64) int {
	n := len(t.heads)
	level := 1 << (bits.Len(uint(n)) - 1)
	if b := int(hash & uint64(2*level-1)); b < n {
		return b
	}
	return int(hash & uint64(level-1))
}

// split adds one bucket and moves those entries to it that now belong there.
func (t *entries) split() {
	n := len(t.heads)
	level := 1 << (bits.Len(uint(n)) - 1)
	link := &t.heads[n-level]
	var moved uint32
	for *link != 0 {
		slot := *link
		e := t.at(slot)
		if HashKey(e.key)&uint64(2*level-1) == uint64(n) {
			*link, e.next, moved = e.next, moved, slot
		} else {
			link = &e.next
		}
	}
	t.heads = append(t.heads, moved)
}
