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
	heads []uint32            // per bucket: slot of its first entry, 0 for none
	more  map[uint32][]uint16 // slot: holders beyond those in the entry
	free  uint32              // first of the freed slots, chained by next
	top   uint32              // slots ever used
	n     int
}

type entry struct {
	key     shoal.Key
	sum     shoal.Sum
	holders [3]uint16 // numbers of members, 0 for none
	flags   uint16
	next    uint32 // slot of the next entry of the bucket
}

const (
	slabBits = 12
	perHead  = 2 // entries per bucket

	flagUsed   = 1 << 0
	flagLeased = 1 << 1
	flagMore   = 1 << 2 // more has further holders

	shiftKeepers = 3 // 2 bits: how many of the holders, which are the first, are keepers
	shiftMin     = 5 // 2 bits: Limits.Min
	shiftMax     = 7 // 3 bits: Limits.Max
)

func newEntries() entries {
	return entries{heads: make([]uint32, Shards), more: make(map[uint32][]uint16)}
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
		if hashKey(t.at(at).key) == hash && slices.Contains(t.holders(at, few[:0]), n) {
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
	*t.at(slot) = entry{key: key, flags: flagUsed, next: t.heads[b]}
	t.heads[b] = slot
	if t.n++; t.n > perHead*len(t.heads) {
		t.split()
	}
	return slot
}

// remove frees slot.
func (t *entries) remove(slot uint32) {
	e := t.at(slot)
	link := &t.heads[t.bucket(hashKey(e.key))]
	for *link != slot {
		link = &t.at(*link).next
	}
	*link = e.next
	if e.flags&flagMore != 0 {
		delete(t.more, slot)
	}
	*e = entry{next: t.free}
	t.free = slot
	t.n--
}

func (e *entry) keepers() int { return int(e.flags >> shiftKeepers & 3) }

func (e *entry) setKeepers(n int) {
	e.flags = e.flags&^(3<<shiftKeepers) | uint16(n)<<shiftKeepers
}

func (e *entry) limits() Limits {
	return Limits{Min: uint8(e.flags >> shiftMin & 3), Max: uint8(e.flags >> shiftMax & 7)}
}

func (e *entry) setLimits(l Limits) {
	l = l.clip()
	e.flags = e.flags&^(3<<shiftMin|7<<shiftMax) | uint16(l.Min)<<shiftMin | uint16(l.Max)<<shiftMax
}

// addHolder records member number n as the last holder and reports whether it was none.
func (t *entries) addHolder(slot uint32, n uint16) bool {
	e := t.at(slot)
	gap := -1
	for i, h := range e.holders {
		if h == n {
			return false
		}
		if h == 0 && gap < 0 {
			gap = i
		}
	}
	if e.flags&flagMore != 0 && slices.Contains(t.more[slot], n) {
		return false
	}
	if gap >= 0 {
		e.holders[gap] = n
		return true
	}
	t.more[slot] = append(t.more[slot], n)
	e.flags |= flagMore
	return true
}

// place makes member number n, if it is a holder, the one at index at.
func (t *entries) place(slot uint32, n uint16, at int) {
	var few [16]uint16
	all := t.holders(slot, few[:0])
	from := slices.Index(all, n)
	if from < 0 || from == at {
		return
	}
	all = slices.Insert(slices.Delete(all, from, from+1), at, n)
	e := t.at(slot)
	copy(e.holders[:], all)
	if len(all) > len(e.holders) {
		copy(t.more[slot], all[len(e.holders):])
	}
}

// hint notes that member number n, a holder, is said to be a keeper.
func (t *entries) hint(slot uint32, n uint16) {
	e := t.at(slot)
	var few [16]uint16
	if k := e.keepers(); k < MostKeepers && slices.Index(t.holders(slot, few[:0]), n) >= k {
		t.place(slot, n, k)
		e.setKeepers(k + 1)
	}
}

// dropHolder forgets member number n as a holder and reports whether it was one. The
// others stay in their order, and what they are.
func (t *entries) dropHolder(slot uint32, n uint16) bool {
	e := t.at(slot)
	var few [16]uint16
	all := t.holders(slot, few[:0])
	at := slices.Index(all, n)
	if at < 0 {
		return false
	}
	if k := e.keepers(); at < k {
		e.setKeepers(k - 1)
	}
	all = slices.Delete(all, at, at+1)
	e.holders = [3]uint16{}
	copy(e.holders[:], all)
	if e.flags&flagMore == 0 {
		return true
	}
	if len(all) <= len(e.holders) {
		delete(t.more, slot)
		e.flags &^= flagMore
	} else {
		t.more[slot] = append(t.more[slot][:0], all[len(e.holders):]...)
	}
	return true
}

// holders appends the numbers of the holders of slot to dst, keepers first.
func (t *entries) holders(slot uint32, dst []uint16) []uint16 {
	e := t.at(slot)
	for _, h := range e.holders {
		if h != 0 {
			dst = append(dst, h)
		}
	}
	if e.flags&flagMore != 0 {
		dst = append(dst, t.more[slot]...)
	}
	return dst
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
		if hashKey(e.key)&uint64(2*level-1) == uint64(n) {
			*link, e.next, moved = e.next, moved, slot
		} else {
			link = &e.next
		}
	}
	t.heads = append(t.heads, moved)
}
