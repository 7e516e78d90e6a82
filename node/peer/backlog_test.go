package peer

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-mesh/shoal"
)

// message is what yamux hands down for n bytes of a stream.
func message(n int) []byte { return make([]byte, messageHeader+n) }

// Chunks wait while more is under way than a connection needs, and go on in the order they came.
func TestBacklogTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b backlog
		var order []int
		wait := func(i int) {
			go func() {
				if err := b.begin(testKey(0), 1).turn(t.Context()); err != nil {
					t.Errorf("turn %d: %v", i, err)
				}
				order = append(order, i)
			}()
			synctest.Wait()
		}
		wait(0)
		b.wrote(mostWaiting)
		wait(1)
		wait(2)
		wait(3)
		if want := []int{0}; !slices.Equal(order, want) {
			t.Fatalf("had their turn: %v, want %v", order, want)
		}
		control := message(8)
		control[1] = 1 // a window's update: no stream wrote it
		b.sent(control)
		b.sent(message(0))
		synctest.Wait()
		if len(order) != 1 {
			t.Fatalf("had their turn after messages without data: %v", order)
		}
		for range 3 {
			b.sent(message(mostWaiting / 4))
			synctest.Wait()
		}
		if want := []int{0, 1, 2, 3}; !slices.Equal(order, want) {
			t.Errorf("had their turn: %v, want %v", order, want)
		}
	})
}

// Of the blocks of a file those go first that its reader comes to first, also when they were asked
// for last; short requests go before all, and readers of other places and files take turns.
func TestBacklogNearestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b backlog
		b.wrote(mostWaiting)
		names := map[*sender]string{}
		sends := func(name string, file byte, index uint32, bytes int) *sender {
			to := b.begin(shoal.Key{File: shoal.FileID{file}, Index: index}, bytes)
			names[to] = name
			return to
		}
		third, second := sends("third", 1, 7, shoal.BlockSize), sends("second", 1, 6, shoal.BlockSize)
		far, other := sends("far", 1, 500, shoal.BlockSize), sends("other", 2, 9, shoal.BlockSize)
		first, little := sends("first", 1, 5, shoal.BlockSize), sends("little", 3, 0, short)
		var order []string
		turn := func(s *sender) {
			go func() {
				if err := s.turn(t.Context()); err != nil {
					t.Errorf("turn of %s: %v", names[s], err)
				}
				order = append(order, names[s])
			}()
			synctest.Wait()
		}
		for _, s := range []*sender{third, second, far, other, first, far, little} {
			turn(s)
		}
		for range 7 {
			b.sent(message(0x4000))
			synctest.Wait()
		}
		if want := []string{"little", "far", "other", "first", "far", "second", "third"}; !slices.Equal(order, want) {
			t.Errorf("had their turn: %q, want %q", order, want)
		}
		for _, s := range []*sender{first, second} {
			s.end()
		}
		b.wrote(mostWaiting)
		order = nil
		turn(other)
		turn(third) // none is before it any more
		for range 9 {
			b.sent(message(0x4000))
			synctest.Wait()
		}
		if want := []string{"other", "third"}; !slices.Equal(order, want) {
			t.Errorf("had their turn: %q, want %q", order, want)
		}
		for s := range names {
			if s != first && s != second {
				s.end()
			}
		}
		if len(b.served) != 0 {
			t.Errorf("%d requests are still served, want none", len(b.served))
		}
	})
}

// Who gives up leaves the line to the others, also when its turn comes at the same instant.
func TestBacklogGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b backlog
		b.wrote(mostWaiting)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 2)
		go func() { done <- b.begin(testKey(0), 1).turn(ctx) }()
		synctest.Wait()
		go func() { done <- b.begin(testKey(0), 1).turn(t.Context()) }()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("turn of one who gave up: %v, want it canceled", err)
		}
		b.sent(message(1))
		if err := <-done; err != nil {
			t.Errorf("turn of the next: %v", err)
		}

		mine, other := make(chan struct{}), make(chan struct{})
		b.line = []waiter{{turn: mine}, {turn: other}}
		b.next()
		b.leave(mine)
		select {
		case <-other:
		default:
			t.Error("a turn that was not taken is lost")
		}
	})
}

// A line behind one who cannot send does not wait for ever.
func TestBacklogStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b backlog
		b.wrote(mostWaiting)
		begun := time.Now()
		if err := b.begin(testKey(0), 1).turn(t.Context()); err != nil || time.Since(begun) != turnWithin {
			t.Errorf("turn: %v after %v, want one after %v", err, time.Since(begun), turnWithin)
		}
		if len(b.line) != 0 {
			t.Errorf("%d are still in line", len(b.line))
		}
	})
}

// What streams write and what goes out to TCP is the same in the end.
func TestBacklogIsEven(t *testing.T) {
	x, y := startPair(t, Config{})
	y.store.put(testKey(0), testData(1, 3_000_000))
	for range 3 {
		if err := x.Fetch(t.Context(), y.id(), testKey(0), Part{Length: 3_000_000}, newSized(3_000_000)); err != nil {
			t.Fatal(err)
		}
		if _, err := x.Call(t.Context(), y.id(), []byte("hello")); err != nil {
			t.Fatal(err)
		}
	}
	var backlogs []*backlog
	for _, ends := range [][2]*node{{x, y}, {y, x}} {
		r := ends[0].peers[ends[1].id()]
		r.mu.Lock()
		backlogs = append(backlogs, &r.newest().tcp.backlog)
		r.mu.Unlock()
	}
	for _, n := range []*node{x, y} { // who has got a message may know before its sender has counted it
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range backlogs {
		if b.bytes != 0 || len(b.line) != 0 {
			t.Errorf("%d bytes and %d in line are left, want none", b.bytes, len(b.line))
		}
	}
}
