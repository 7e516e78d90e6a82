package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
)

func TestFetchSizes(t *testing.T) {
	a, b := startPair(t, Config{})
	for i, size := range []int{1, shoal.ChunkSize - 1, shoal.ChunkSize, 100 << 10, shoal.BlockSize - 1, shoal.BlockSize} {
		key, data := testKey(uint32(i)), testData(uint64(i), size)
		b.store.put(key, data)
		sink := newBuffer(key, size)
		if err := a.Fetch(t.Context(), b.id(), key, Part{Length: size}, sink); err != nil {
			t.Errorf("Fetch of %d bytes = %v, want nil", size, err)
		}
		if !bytes.Equal(sink.data, data) || sink.count != shoal.Chunks(size) {
			t.Errorf("Fetch of %d bytes brought other bytes, or %d chunks, want %d", size, sink.count, shoal.Chunks(size))
		}
	}
}

// Chunks reach the reader before the filler has the next one.
func TestFetchWhileFilling(t *testing.T) {
	a, b := startPair(t, Config{})
	data := testData(1, 5*shoal.ChunkSize+1)
	filling := b.store.fill(testKey(0), data)
	sink := newBuffer(testKey(0), len(data))
	arrived := make(chan int)
	sink.arrived = func(i int) { arrived <- i }
	done := make(chan error, 1)
	go func() { done <- a.Fetch(context.Background(), b.id(), testKey(0), Part{Length: len(data)}, sink) }()
	for i := range shoal.Chunks(len(data)) {
		filling.landed <- struct{}{}
		if got := <-arrived; got != i {
			t.Fatalf("chunk %d arrived, want %d", got, i)
		}
	}
	if err := <-done; err != nil || !bytes.Equal(sink.data, data) {
		t.Errorf("Fetch = %v, want nil and the same bytes", err)
	}
}

// A filler that waits for its UFS for longer than StallTimeout is not taken for dead. How
// long it waited is told by the frames another member counts on the same block.
func TestFetchSlowFillerIsNotDead(t *testing.T) {
	a, b := startPair(t, Config{StallTimeout: stallForTest})
	raw := dialRaw(t, b, a)
	data := testData(1, 100)
	filling := b.store.fill(testKey(0), data)
	sink := newBuffer(testKey(0), len(data))
	done := make(chan error, 1)
	go func() { done <- a.Fetch(context.Background(), b.id(), testKey(0), Part{Length: len(data)}, sink) }()

	s := raw.open(t, blockProtocol)
	s.write(t, blockRequest{testKey(0), Part{len(data), 0, shoal.Chunks(len(data))}}.appendTo(nil))
	for range 2 * pulses {
		if got := s.read(t, 1); got[0] != frameAlive {
			t.Fatalf("frame %d while filling, want %d", got[0], frameAlive)
		}
	}
	close(filling.landed)
	if err := <-done; err != nil || !bytes.Equal(sink.data, data) {
		t.Errorf("Fetch = %v, want nil and the same bytes", err)
	}
}

func TestFetchResumes(t *testing.T) {
	a, b := startPair(t, Config{})
	data := testData(1, 4*shoal.ChunkSize+10)
	b.store.put(testKey(0), data)
	sink := newBuffer(testKey(0), len(data))
	var arrived []int
	sink.arrived = func(i int) { arrived = append(arrived, i) }
	if err := a.Fetch(t.Context(), b.id(), testKey(0), Part{Length: len(data), First: 3}, sink); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(arrived); got != "[3 4]" {
		t.Errorf("chunks %s arrived, want [3 4]", got)
	}
	if from := 3 * shoal.ChunkSize; !bytes.Equal(sink.data[from:], data[from:]) {
		t.Error("Fetch from chunk 3 brought other bytes")
	}
}

// A part of a block comes alone, and the stream carries the next request after it.
func TestFetchPart(t *testing.T) {
	a, b := startPair(t, Config{})
	data := testData(1, 8*shoal.ChunkSize)
	b.store.put(testKey(0), data)
	for range 2 {
		sink := newBuffer(testKey(0), len(data))
		var arrived []int
		sink.arrived = func(i int) { arrived = append(arrived, i) }
		if err := a.Fetch(t.Context(), b.id(), testKey(0), Part{Length: len(data), First: 2, End: 4}, sink); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(arrived); got != "[2 3]" {
			t.Errorf("chunks %s arrived, want [2 3]", got)
		}
		if from, to := 2*shoal.ChunkSize, 4*shoal.ChunkSize; !bytes.Equal(sink.data[from:to], data[from:to]) {
			t.Error("Fetch of chunks 2 and 3 brought other bytes")
		}
	}
	if err := a.Fetch(t.Context(), b.id(), testKey(0), Part{Length: len(data), First: 4, End: 9}, newBuffer(testKey(0), len(data))); err == nil {
		t.Error("Fetch of chunks 4 to 9 of 8 = nil, want an error")
	}
}

// Answers that are no block leave the stream in order: it carries the next request.
func TestFetchErrors(t *testing.T) {
	a, b := startPair(t, Config{})
	data := testData(1, 3*shoal.ChunkSize)
	b.store.put(testKey(0), data)
	for i := range uint32(3) {
		b.store.put(testKey(10+i), data)
	}
	b.store.Fault = func(key shoal.Key, i int) error {
		switch {
		case key == testKey(10) && i == 2:
			return errors.New("ufs is on fire")
		case key == testKey(11) && i == 1:
			return fmt.Errorf("fill given up: %w", fs.ErrNotExist)
		}
		return nil
	}
	tests := []struct {
		name    string
		key     shoal.Key
		length  int
		want    error
		text    string // of a RemoteError
		arrived int
	}{
		{"not held", testKey(9), 5, fs.ErrNotExist, "", 0},
		{"other length", testKey(0), len(data) - 1, ErrLength, "", 0},
		{"filler fails", testKey(10), len(data), nil, "ufs is on fire", 2},
		{"filler gives up", testKey(11), len(data), fs.ErrNotExist, "", 1},
		{"none", testKey(0), len(data), nil, "", 3},
	}
	var first *stream
	for _, tt := range tests {
		sink := newBuffer(tt.key, tt.length)
		err := a.Fetch(t.Context(), b.id(), tt.key, Part{Length: tt.length}, sink)
		var remote *RemoteError
		switch {
		case errors.As(err, &remote):
			if remote.Text != tt.text || remote.Node != b.id() {
				t.Errorf("%s: Fetch = %v, want %q", tt.name, err, tt.text)
			}
		case !errors.Is(err, tt.want) || tt.text != "":
			t.Errorf("%s: Fetch = %v, want %v%s", tt.name, err, tt.want, tt.text)
		}
		if errors.Is(err, ErrUnreachable) || sink.count != tt.arrived {
			t.Errorf("%s: %d chunks arrived, want %d; error %v", tt.name, sink.count, tt.arrived, err)
		}
		s := a.idle(b, blocks)
		if s == nil || first != nil && s != first {
			t.Errorf("%s: the stream was not kept", tt.name)
		}
		first = s
	}
	for _, n := range []*node{a, b} { // who has got a block's end may know before its sender has closed it
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.store.opened(); got != 0 {
		t.Errorf("%d blocks are still open", got)
	}
}

func TestFetchRefusesNonsense(t *testing.T) {
	a, b := startPair(t, Config{})
	for _, tt := range []struct{ length, first int }{{0, 0}, {-1, 0}, {shoal.BlockSize + 1, 0}, {5, 1}, {5, -1}} {
		if err := a.Fetch(t.Context(), b.id(), testKey(0), Part{Length: tt.length, First: tt.first}, newBuffer(testKey(0), 5)); err == nil {
			t.Errorf("Fetch(length %d, first %d) = nil, want an error", tt.length, tt.first)
		}
	}
	b.store.put(testKey(0), testData(1, 5))
	if err := a.Fetch(t.Context(), b.id(), testKey(0), Part{Length: 5}, newSized(9)); err == nil {
		t.Error("Fetch into a sink of another size = nil, want an error")
	}
}

// A chunk that does not match its sum is the sink's to refuse; the rest of the answer is
// unwanted, and the stream with it.
func TestFetchCorrupt(t *testing.T) {
	a, b := startPair(t, Config{})
	data := testData(1, shoal.BlockSize)
	bad := b.store.put(testKey(0), data)
	bad.sums[1]++
	b.store.put(testKey(1), data)
	sink := newBuffer(testKey(0), len(data))
	err := a.Fetch(t.Context(), b.id(), testKey(0), Part{Length: len(data)}, sink)
	if !errors.Is(err, errCorrupt) || errors.Is(err, ErrUnreachable) || sink.count != 1 {
		t.Errorf("Fetch of a corrupt chunk = %v after %d chunks, want %v after 1", err, sink.count, errCorrupt)
	}
	if s := a.idle(b, blocks); s != nil {
		t.Error("the stream of a fetch that was given up was kept")
	}
	if err := a.Fetch(t.Context(), b.id(), testKey(1), Part{Length: len(data)}, newBuffer(testKey(1), len(data))); err != nil {
		t.Errorf("the next Fetch = %v, want nil", err)
	}
}

func TestFetchCanceled(t *testing.T) {
	a, b := startPair(t, Config{StallTimeout: stallForTest})
	data := testData(1, 2*shoal.ChunkSize)
	filling := b.store.fill(testKey(0), data)
	ctx, cancel := context.WithCancel(context.Background())
	sink := newBuffer(testKey(0), len(data))
	sink.arrived = func(int) { cancel() }
	released := make(chan struct{})
	b.store.onClose = func() { close(released) }
	done := make(chan error, 1)
	go func() { done <- a.Fetch(ctx, b.id(), testKey(0), Part{Length: len(data)}, sink) }()
	filling.landed <- struct{}{}
	if err := <-done; !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnreachable) {
		t.Errorf("canceled Fetch = %v, want %v", err, context.Canceled)
	}
	<-released // the other end notices, though its filler never goes on
	if err := a.Fetch(ctx, b.id(), testKey(0), Part{Length: len(data)}, sink); !errors.Is(err, context.Canceled) {
		t.Errorf("Fetch with a canceled context = %v, want %v", err, context.Canceled)
	}
}

// A peer that gives a block up is noticed although nothing is due to it: the pulse would
// come minutes later.
func TestFetchCanceledIsNoticedAtOnce(t *testing.T) {
	a, b := startPair(t, Config{StallTimeout: time.Hour})
	data := testData(1, 100)
	b.store.fill(testKey(0), data) // and nothing ever lands
	b.store.put(testKey(1), data)
	reading, released := make(chan struct{}), make(chan struct{}, 5)
	b.store.onClose = func() { released <- struct{}{} }
	b.store.Fault = func(key shoal.Key, _ int) error {
		if key == testKey(0) {
			close(reading)
		}
		return nil
	}
	fetch := func(ctx context.Context, i uint32) error {
		return a.Fetch(ctx, b.id(), testKey(i), Part{Length: len(data)}, newBuffer(testKey(i), len(data)))
	}
	for range 3 { // on a stream that has carried requests before, too
		if err := fetch(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		<-released
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- fetch(ctx, 0) }()
	<-reading
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("canceled Fetch = %v, want %v", err, context.Canceled)
	}
	select {
	case <-released:
	case <-time.After(10 * time.Second):
		t.Fatal("the other end still reads for nobody")
	}
	if err := fetch(t.Context(), 1); err != nil {
		t.Errorf("the next Fetch = %v, want nil", err)
	}
}

// More blocks than are asked of one peer at a time wait for their turn: they do not fail,
// and the peer never has to refuse one.
func TestFetchQueues(t *testing.T) {
	a, b := startPair(t, Config{Limits: Limits{BlocksPerPeer: 4}})
	data := testData(1, 100)
	const n = 9
	reading := make(chan struct{}, n)
	b.store.Fault = func(shoal.Key, int) error { reading <- struct{}{}; return nil }
	fetch := func(ctx context.Context, i uint32) error {
		return a.Fetch(ctx, b.id(), testKey(i), Part{Length: len(data)}, newBuffer(testKey(i), len(data)))
	}
	filling := make([]*block, n)
	done := make(chan error, n)
	for i := range filling {
		filling[i] = b.store.fill(testKey(uint32(i)), data)
		go func() { done <- fetch(context.Background(), uint32(i)) }()
	}
	for range 2 {
		<-reading
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := fetch(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Fetch in the queue past its deadline = %v, want %v", err, context.DeadlineExceeded)
	}
	if got := b.store.opened(); got != 2 {
		t.Errorf("%d blocks are read at a time, want 2", got)
	}
	for _, f := range filling {
		close(f.landed)
	}
	for range n {
		if err := <-done; err != nil {
			t.Errorf("queued Fetch = %v, want nil", err)
		}
	}
	if got := b.Stats().Busy; got != 0 {
		t.Errorf("busy %d times, want 0", got)
	}
}

func TestLimitsOfFetches(t *testing.T) {
	for _, tt := range []struct {
		limits Limits
		want   int
	}{
		{Limits{}, 32},
		{Limits{BlocksPerPeer: 1}, 1},
		{Limits{BlocksPerPeer: 1000}, 192},
	} {
		l, err := tt.limits.withDefaults()
		if got := l.fetches(); err != nil || got != tt.want {
			t.Errorf("fetches() with BlocksPerPeer %d = %d, %v, want %d", tt.limits.BlocksPerPeer, got, err, tt.want)
		}
	}
}

func TestFetchBusy(t *testing.T) {
	a, b := startPair(t, Config{Limits: Limits{Blocks: 1}})
	data := testData(1, 100)
	filling := b.store.fill(testKey(0), data)
	b.store.put(testKey(1), data)
	done := make(chan error, 1)
	opened := make(chan struct{})
	b.store.Fault = func(key shoal.Key, _ int) error {
		if key == testKey(0) {
			close(opened)
		}
		return nil
	}
	go func() {
		done <- a.Fetch(context.Background(), b.id(), testKey(0), Part{Length: len(data)}, newBuffer(testKey(0), len(data)))
	}()
	<-opened
	if err := a.Fetch(t.Context(), b.id(), testKey(1), Part{Length: len(data)}, newBuffer(testKey(1), len(data))); !errors.Is(err, ErrBusy) {
		t.Errorf("a second Fetch = %v, want %v", err, ErrBusy)
	}
	close(filling.landed)
	if err := <-done; err != nil {
		t.Errorf("the first Fetch = %v, want nil", err)
	}
	if got := b.Stats().Busy; got != 1 {
		t.Errorf("busy %d times, want 1", got)
	}
}

// A peer that takes the request and is never heard again is given up, and its connection
// with it.
func TestFetchStalled(t *testing.T) {
	a := startNode(t, Config{StallTimeout: stallForTest})
	mute := listenRaw(t, a)
	go mute.answer(t, blockProtocol, nil)
	err := a.Fetch(t.Context(), mute.id(), testKey(0), Part{Length: 100}, newBuffer(testKey(0), 100))
	if !errors.Is(err, ErrUnreachable) || !errors.Is(err, errStalled) {
		t.Errorf("Fetch from a mute peer = %v, want %v", err, errStalled)
	}
	<-mute.gone
}
