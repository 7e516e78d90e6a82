package policy

import (
	"fmt"
	"testing"
)

// BenchmarkSlabsTake takes slots and gives others back in a store whose slabs have one or two
// free slots each, as those of a full one do.
func BenchmarkSlabsTake(b *testing.B) {
	for _, slabs := range []int{100, 30_000} {
		b.Run(fmt.Sprintf("scattered/%d", slabs), func(b *testing.B) {
			const slots = 640
			s := NewSlabs(slots, 1)
			for number := range uint32(slabs) {
				s.Add(number)
				s.Cut(number, 0)
				for i := range slots - 1 {
					s.Use(number, i)
				}
			}
			next := 0
			for b.Loop() {
				number, slot, _ := s.Take(0, nil)
				next = (next + 7919) % slabs
				if s.Taken(uint32(next), next%slots) {
					s.Give(uint32(next), next%slots)
				} else {
					s.Give(number, slot)
				}
			}
		})
	}
}
