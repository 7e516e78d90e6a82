package flow

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestQueueOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var q Queue
	var want []Event // sorted by At and Seq
	for seq := range uint64(20_000) {
		if rng.IntN(5) < 2 && len(want) > 0 || len(want) > 300 {
			peeked, _ := q.Peek()
			got, ok := q.Pop()
			if !ok || got != want[0] || peeked != got {
				t.Fatalf("step %d: Pop() = %+v, %v after Peek() = %+v, want %+v", seq, got, ok, peeked, want[0])
			}
			want = want[1:]
		}
		e := Event{At: rng.Int64N(100), Seq: seq, Kind: uint16(rng.Uint32()), A: rng.Uint32(), B: rng.Uint32(), C: rng.Uint32()}
		q.Push(e.At, e.Kind, e.A, e.B, e.C)
		at, _ := slices.BinarySearchFunc(want, e, func(a, b Event) int { // e is after all of its moment
			if a.At <= b.At {
				return -1
			}
			return 1
		})
		want = slices.Insert(want, at, e)
		if q.Len() != len(want) {
			t.Fatalf("Len() = %d, want %d", q.Len(), len(want))
		}
	}
	for _, e := range want {
		if got, _ := q.Pop(); got != e {
			t.Fatalf("Pop() = %+v, want %+v", got, e)
		}
	}
	if e, ok := q.Pop(); ok {
		t.Errorf("Pop() of an empty queue = %+v, true", e)
	}
	if e, ok := q.Peek(); ok {
		t.Errorf("Peek() of an empty queue = %+v, true", e)
	}
}

func TestQueueDoesNotAllocate(t *testing.T) {
	var q Queue
	for i := range int64(1000) {
		q.Push(i, 0, 0, 0, 0)
	}
	if got := testing.AllocsPerRun(1000, func() {
		e, _ := q.Pop()
		q.Push(e.At+1000, 0, 0, 0, 0)
	}); got != 0 {
		t.Errorf("Pop and Push allocate %v times, want 0", got)
	}
}
