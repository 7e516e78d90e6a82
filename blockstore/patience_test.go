package blockstore

import (
	"sync"
	"testing"
)

// TestPatience has a put of a class that has no slab be woken time and again while room is being
// made for it: it waits until that has come to its end.
func TestPatience(t *testing.T) {
	telling, told := make(chan struct{}), make(chan struct{})
	cfg := oneDisk(fastDir(t), 4<<18)
	cfg.SlabBytes = 1 << 18
	first := true
	cfg.OnEvict = func([]Gone) {
		if first {
			first = false
			close(telling)
			<-told
		}
	}
	s := openTest(t, cfg)
	goOn := sync.OnceFunc(func() { close(told) })
	defer goOn() // or Close would wait
	d := s.disks[0]
	for i := range uint32(4 * (1<<18/pageSize - 1)) {
		put(t, s, pageKey(i), randomBytes(uint64(i), 1000))
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		put(t, s, pageKey(1000), randomBytes(1000, 9000))
	}()
	<-telling
	for range 2 * patience {
		d.mu.Lock()
		d.changed.Broadcast()
		d.mu.Unlock()
		select {
		case <-d.kick: // the put has looked, and says that it wants more
		case <-ended:
			t.Fatal("the put has ended while room was being made for it")
		}
	}
	goOn()
	<-ended
	if !s.Has(pageKey(1000)) {
		t.Error("the block is not there")
	}
}
