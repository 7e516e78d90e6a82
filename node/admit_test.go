package node

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/node/peer"
	"github.com/shoal-mesh/shoal/replicas"
)

// readAt reads n bytes at off of e through a file of its own.
func (b *bench) readAt(t *testing.T, e shoal.Entry, off, n int) []byte {
	t.Helper()
	f, err := NewFiles(b.Fetcher, b.store, 8<<20).Open(e)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	p := make([]byte, n)
	if got, err := f.ReadAt(t.Context(), p, int64(off)); err != nil || got != n {
		t.Fatalf("ReadAt(%d, %d) = %d, %v", off, n, got, err)
	}
	return p
}

// TestBypass checks that of a block which nobody will keep only what is read is fetched, and
// that its home is told at once that nobody fills it.
func TestBypass(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	b.full.Store(true)
	e, want := b.put(t, 2*shoal.BlockSize)
	for _, off := range []int{shoal.BlockSize + 100, 10*shoal.ChunkSize + 7, 20 * shoal.ChunkSize} {
		if got := b.readAt(t, e, off, shoal.ChunkSize/2); !bytes.Equal(got, want[off:off+shoal.ChunkSize/2]) {
			t.Errorf("wrong bytes at %d", off)
		}
	}
	b.Close()
	if got := b.ufs.Counts().Bytes; got != 3*shoal.ChunkSize {
		t.Errorf("the UFS sent %d bytes, want the 3 chunks that were read", got)
	}
	if s := b.Stats(); s.Bypassed != 3 || len(b.dir.released) != 3 || len(b.dir.added) != 0 {
		t.Errorf("bypassed %d, released %d leases, announced %d blocks; want 3, 3, 0", s.Bypassed, len(b.dir.released), len(b.dir.added))
	}
	if got := b.Stats().InFlightBytes; got != 0 {
		t.Errorf("%d bytes in flight when all is done, want 0", got)
	}
}

// TestBypassOfTwo checks that two readers of the same block, of which nobody knows yet that it is
// not kept, both get what they asked for.
func TestBypassOfTwo(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	b.full.Store(true)
	e, want := b.put(t, shoal.BlockSize)
	b.dir.mu.Lock() // nothing is answered yet
	chunks := []int{5, 2}
	var fetches []*fetch
	for _, c := range chunks {
		fetches = append(fetches, b.want(e, false, part{0, span{c, c + 1}})...)
	}
	b.dir.mu.Unlock()
	for i, chunk := range chunks {
		off := chunk * shoal.ChunkSize
		if got, _, err := fetches[i].view(t.Context(), off, shoal.ChunkSize); err != nil || !bytes.Equal(got, want[off:off+shoal.ChunkSize]) {
			t.Errorf("view of chunk %d: %d bytes, %v, want it", chunk, len(got), err)
		}
	}
	for _, ft := range fetches {
		ft.release()
	}
	b.wg.Wait()
	if got := b.ufs.Counts().Bytes; got != 4*shoal.ChunkSize {
		t.Errorf("the UFS sent %d bytes, want the 4 chunks from the first to the last", got)
	}
}

// TestBypassFromPeer checks the same of a block that a peer holds.
func TestBypassFromPeer(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	b.full.Store(true)
	e, want := b.put(t, shoal.BlockSize)
	b.dir.answers = []replicas.Answer{held("n1")}
	b.peers.fetch = func(_ context.Context, _ shoal.NodeID, key shoal.Key, first int, sink peer.Sink) error {
		return send(sink, key, want, first, first+2)
	}
	off := 30*shoal.ChunkSize + 5
	if got := b.readAt(t, e, off, shoal.ChunkSize); !bytes.Equal(got, want[off:off+shoal.ChunkSize]) {
		t.Error("wrong bytes")
	}
	b.Close() // what the reader has is counted by then
	if s := b.Stats(); s.PeerBytes != 2*shoal.ChunkSize || s.UFSBytes != 0 {
		t.Errorf("%d bytes from the peer, %d from the UFS, want 2 chunks and 0", s.PeerBytes, s.UFSBytes)
	}
}

// TestStreamOfUnkeptBlocks checks that a sequential reader has each block fetched once, though
// none is kept.
func TestStreamOfUnkeptBlocks(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	b.full.Store(true)
	e, want := b.put(t, 3*shoal.BlockSize)
	b.readInPieces(t, e, want)
}

// TestPlaced checks that a block which is not kept here is offered to the node its home names,
// which can stream it from here.
func TestPlaced(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	b.full.Store(true)
	e, want := b.put(t, 5*shoal.ChunkSize)
	b.dir.answers = []replicas.Answer{{Kind: replicas.Fill, Lease: time.Minute, Place: "n2"}}
	streamed := make(chan []byte, 1)
	b.peers.call = func(_ context.Context, to shoal.NodeID, request []byte) ([]byte, error) {
		o, err := decodeOffer(request[1:])
		if to != "n2" || request[0] != callOffer || err != nil || o.size != e.Info.Size || o.dataset != "/m" {
			t.Errorf("Call(%s, %v) = %+v, %v, want an offer to n2", to, request, o, err)
		}
		go func() {
			s, err := b.OpenBlock(context.Background(), o.key)
			if err != nil {
				t.Errorf("OpenBlock(%v) = %v while it is placed", o.key, err)
				close(streamed)
				return
			}
			var got []byte
			for i := range shoal.Chunks(s.Length()) {
				data, _, err := s.Chunk(context.Background(), i, make([]byte, shoal.ChunkSize))
				if err != nil {
					t.Error(err)
				}
				got = append(got, data...)
			}
			_ = s.Close() // before the count of what is in flight
			streamed <- got
		}()
		return []byte{1}, nil
	}
	if got, err := b.readAll(t, e); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d bytes, %v, want the file", len(got), err)
	}
	if got := <-streamed; !bytes.Equal(got, want) {
		t.Errorf("the node it is placed on streamed %d bytes, want the file's", len(got))
	}
	b.Close()
	if b.store.Has(shoal.Key{File: e.File}) || len(b.dir.added) != 0 {
		t.Error("the block is kept here, too")
	}
	if s := b.Stats(); s.Placed != 1 || s.UFSBytes != int64(len(want)) || s.InFlightBytes != 0 {
		t.Errorf("placed %d, %d bytes from the UFS, %d in flight; want 1, %d, 0", s.Placed, s.UFSBytes, s.InFlightBytes, len(want))
	}
}

// TestNotPlaced checks that a reader does not notice when the node that was named refuses.
func TestNotPlaced(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	b.full.Store(true)
	e, want := b.put(t, 1000)
	b.dir.answers = []replicas.Answer{{Kind: replicas.Fill, Lease: time.Minute, Place: "n2"}}
	b.peers.call = func(context.Context, shoal.NodeID, []byte) ([]byte, error) { return nil, peer.ErrUnreachable }
	if got, err := b.readAll(t, e); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d bytes, %v, want the file", len(got), err)
	}
	b.Close()
	if s := b.Stats(); s.NotPlaced != 1 || len(b.dir.released) != 1 {
		t.Errorf("not placed %d, released %d leases, want 1 and 1", s.NotPlaced, len(b.dir.released))
	}
}

// TestTake checks that an offered block is streamed from who offers it, kept and announced, and
// that one for which there is no room is refused.
func TestTake(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	e, want := b.put(t, 3*shoal.ChunkSize)
	o := offer{shoal.Key{File: e.File}, e.Info.Size, "/m", 0}
	b.peers.fetch = func(_ context.Context, from shoal.NodeID, key shoal.Key, first int, sink peer.Sink) error {
		if from != "n1" || key != o.key {
			t.Errorf("Fetch(%v) from %s, want %v from n1", key, from, o.key)
		}
		return send(sink, key, want, first, 3)
	}
	b.full.Store(true)
	if b.Take("n1", o) {
		t.Error("Take in a full store = true, want false")
	}
	b.full.Store(false)
	if !b.Take("n1", o) {
		t.Error("Take = false, want true")
	}
	b.Close()
	got := make([]byte, len(want))
	if _, err := b.store.ReadAt(o.key, got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("ReadAt of the block that was taken: %v, want its bytes", err)
	}
	if len(b.dir.added) != 1 || b.ufs.Counts().Bytes != 0 {
		t.Errorf("announced %d blocks, the UFS sent %d bytes; want 1 and 0", len(b.dir.added), b.ufs.Counts().Bytes)
	}
}

// TestTakeFails checks that a stream which breaks leaves nothing behind.
func TestTakeFails(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	e, want := b.put(t, 3*shoal.ChunkSize)
	b.peers.fetch = func(_ context.Context, _ shoal.NodeID, key shoal.Key, first int, sink peer.Sink) error {
		return errors.Join(send(sink, key, want, first, 1), fs.ErrNotExist)
	}
	b.Take("n1", offer{shoal.Key{File: e.File}, e.Info.Size, "/m", 0})
	b.Close()
	if s := b.Stats(); s.Taken != 0 || s.InFlightBytes != 0 || len(b.dir.added) != 0 {
		t.Errorf("taken %d, %d bytes in flight, announced %d; want none", s.Taken, s.InFlightBytes, len(b.dir.added))
	}
}

func TestOfferOnTheWire(t *testing.T) {
	o := offer{shoal.Key{File: shoal.FileID{1, 2}, Index: 3}, 4*shoal.BlockSize + 5, "/data", 0}
	if got, err := decodeOffer(o.encode()); err != nil || got != o {
		t.Errorf("decodeOffer(encode(%+v)) = %+v, %v", o, got, err)
	}
	whole := o.encode()
	for n := range len(whole) - len(o.dataset) {
		if got, err := decodeOffer(whole[:n]); err == nil {
			t.Errorf("decodeOffer(%d bytes) = %+v, want an error", n, got)
		}
	}
	beyond := offer{shoal.Key{Index: 9}, shoal.BlockSize, "", 0}
	if got, err := decodeOffer(beyond.encode()); err == nil {
		t.Errorf("decodeOffer of a block beyond its file = %+v, want an error", got)
	}
}

// TestClassBesideHolders checks what a block that others hold counts as when it comes in: less,
// if one of them is of this zone.
func TestClassBesideHolders(t *testing.T) {
	near := func(id shoal.NodeID) bool { return id == "near" }
	tests := []struct {
		answer replicas.Answer
		want   shoal.Class
	}{
		{held("near"), shoal.Surplus},
		{held("far", "near"), shoal.Surplus},
		{held("far"), shoal.LastInZone},
		{replicas.Answer{Kind: replicas.Fill, Lease: time.Second}, shoal.Last},
		{replicas.Answer{Kind: replicas.Fill}, shoal.Surplus},
	}
	for _, tt := range tests {
		b := newBench(t, FetcherConfig{Near: near})
		e, want := b.put(t, shoal.ChunkSize)
		b.dir.answers = []replicas.Answer{tt.answer}
		b.peers.fetch = func(_ context.Context, _ shoal.NodeID, key shoal.Key, first int, sink peer.Sink) error {
			return send(sink, key, want, first, 1)
		}
		_ = b.readAt(t, e, 0, 100)
		b.Close()
		r, ok := b.store.Replica(shoal.Key{File: e.File})
		if !ok || r.File.Class != tt.want {
			t.Errorf("a block of which the directory says %v is here: %v as %v, want %v", tt.answer, ok, r.File.Class, tt.want)
		}
	}
}

// TestKeptWhole checks that a block which is to be kept comes in as a whole though its only
// reader wants little of it and leaves, but not where there is no room.
func TestKeptWhole(t *testing.T) {
	tests := []struct {
		name string
		room int64
		want int
	}{
		{"room", 64 << 20, 1},
		{"no room", 1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, FetcherConfig{InFlightBytes: tt.room})
			left := make(chan struct{})
			b.ufs.OnRead = func(ctx context.Context, _ string, off int64) error {
				if off >= shoal.BlockSize/2 {
					<-left
				}
				return ctx.Err()
			}
			e, _ := b.put(t, shoal.BlockSize)
			_ = b.readAt(t, e, 3*shoal.ChunkSize, 100)
			close(left)
			b.wg.Wait()
			if s := b.Stats(); len(b.dir.added) != tt.want || s.InFlightBytes != 0 {
				t.Errorf("kept %d blocks, %d bytes in flight; want %d and 0", len(b.dir.added), s.InFlightBytes, tt.want)
			}
		})
	}
}
