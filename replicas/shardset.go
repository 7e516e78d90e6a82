package replicas

import "math/bits"

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

// And calls yield for each shard that is in both s and t, in ascending order. yield may
// remove that shard.
func (s *ShardSet) And(t *ShardSet) func(yield func(uint16) bool) {
	return func(yield func(uint16) bool) {
		if s.Len() == 0 || t.Len() == 0 {
			return
		}
		for i := range s.words {
			for w := s.words[i] & t.words[i]; w != 0; w &= w - 1 {
				if !yield(uint16(i*64 + bits.TrailingZeros64(w))) {
					return
				}
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
