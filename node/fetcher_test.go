package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore"
	"github.com/shoal-mesh/shoal/node/peer"
	"github.com/shoal-mesh/shoal/replicas"
	"github.com/shoal-mesh/shoal/ufs"
	"github.com/shoal-mesh/shoal/ufs/ufstest"
)

// A bench is a Fetcher over a real store, a UFS in memory, and a directory and peers that
// the test scripts.
type bench struct {
	*Fetcher
	ufs   *ufstest.FS
	store *blockstore.Store
	dir   *scriptedDirectory
	peers peersFunc
	gone  chan uint64 // ids expired
	full  atomic.Bool // the store admits nothing
}

// A testStore can be full.
type testStore struct {
	*blockstore.Store
	full *atomic.Bool
}

func (s testStore) Miss(key shoal.Key, file blockstore.File) (float32, bool) {
	weight, ok := s.Store.Miss(key, file)
	return weight, ok && !s.full.Load()
}

func (s testStore) Admits(key shoal.Key, file blockstore.File) bool {
	return s.Store.Admits(key, file) && !s.full.Load()
}

func newBench(t *testing.T, cfg FetcherConfig) *bench {
	t.Helper()
	store, err := blockstore.Open(blockstore.Config{Disks: []blockstore.Disk{{Path: t.TempDir(), SizeBytes: 1 << 30}}})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{ufs: &ufstest.FS{}, store: store, dir: &scriptedDirectory{}, gone: make(chan uint64, 8)}
	b.Fetcher = NewFetcher(b.dir, &b.peers, testStore{store, &b.full}, b, cfg)
	t.Cleanup(func() {
		b.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bench) FS(shoal.Entry) ufs.FS { return b.ufs }
func (b *bench) Expire(id uint64)      { b.gone <- id }

// put makes the file f in the UFS and returns its entry and contents.
func (b *bench) put(t *testing.T, size int) (shoal.Entry, []byte) {
	t.Helper()
	const name = "f"
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(size)}).Read(data) // never fails
	b.ufs.Put(name, data)
	info, err := b.ufs.Stat(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return shoal.Entry{
		ID: 42, Path: "/m/" + name, Mount: "/m", Source: name, Info: info,
		File: shoal.NewFileID(b.ufs.Address(), name, info.Version),
	}, data
}

// A scriptedDirectory answers lookups from a queue; an empty queue answers Fill.
type scriptedDirectory struct {
	mu       sync.Mutex // guards the fields below
	answers  []replicas.Answer
	avoided  []replicas.Avoid
	added    []shoal.Key
	released []shoal.Key
}

func (d *scriptedDirectory) Locate(_ context.Context, keys []shoal.Key, avoid []replicas.Avoid, _ *replicas.Offer) []replicas.Answer {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.avoided = append(d.avoided, avoid...)
	out := make([]replicas.Answer, len(keys))
	for i := range out {
		out[i] = replicas.Answer{Kind: replicas.Fill, Lease: time.Minute}
		if len(d.answers) > 0 {
			out[i], d.answers = d.answers[0], d.answers[1:]
		}
	}
	return out
}

func (d *scriptedDirectory) Add(key shoal.Key, _ shoal.Sum, _ replicas.Limits, _ shoal.Class, _ bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.added = append(d.added, key)
}

func (d *scriptedDirectory) Release(key shoal.Key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.released = append(d.released, key)
}

func (d *scriptedDirectory) Renew(...shoal.Key)            {}
func (d *scriptedDirectory) Drop(shoal.Key, time.Duration) {}

func held(nodes ...shoal.NodeID) replicas.Answer {
	return replicas.Answer{Kind: replicas.Held, Nodes: nodes}
}

// peersFunc is transfers by a function that the test sets.
type peersFunc struct {
	fetch func(ctx context.Context, from shoal.NodeID, key shoal.Key, first int, sink peer.Sink) error
	call  func(ctx context.Context, to shoal.NodeID, request []byte) ([]byte, error)
}

func (p *peersFunc) Fetch(ctx context.Context, from shoal.NodeID, key shoal.Key, part peer.Part, sink peer.Sink) error {
	sink.Begin()
	return p.fetch(ctx, from, key, part.First, sink)
}

func (p *peersFunc) Call(ctx context.Context, to shoal.NodeID, request []byte) ([]byte, error) {
	return p.call(ctx, to, request)
}

// send lands chunks [first, end) of a block in a sink.
func send(sink peer.Sink, key shoal.Key, block []byte, first, end int) error {
	for i := first; i < end; i++ {
		copy(sink.Chunk(i), block[i*shoal.ChunkSize:])
		if err := sink.Arrived(i, shoal.ChunkSum(key, i, sink.Chunk(i))); err != nil {
			return err
		}
	}
	return nil
}

// readAll reads a file through Files and closes it.
func (b *bench) readAll(t *testing.T, e shoal.Entry) ([]byte, error) {
	t.Helper()
	f, err := NewFiles(b.Fetcher, b.store, 0).Open(e)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	p := make([]byte, e.Info.Size+10)
	n, err := f.ReadAt(t.Context(), p, 0)
	return p[:n], err
}

func TestFetcherReadsTheUFSOnceForAll(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	e, want := b.put(t, 2*shoal.BlockSize+100)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got, err := b.readAll(t, e); err != nil || !bytes.Equal(got, want) {
				t.Errorf("read %d bytes, %v, want the file's %d", len(got), err, len(want))
			}
		})
	}
	wg.Wait()
	if got := b.ufs.Counts().Bytes; got != int64(len(want)) {
		t.Errorf("the UFS sent %d bytes, want %d", got, len(want))
	}
	b.Close() // waits until the blocks are stored
	if got := len(b.dir.added); got != 3 {
		t.Errorf("announced %d blocks, want 3", got)
	}
	if got := b.Stats().InFlightBytes; got != 0 {
		t.Errorf("%d bytes in flight when all is done, want 0", got)
	}
}

func TestFetcherResumesWhereAPeerFailed(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	e, want := b.put(t, 10*shoal.ChunkSize)
	b.dir.answers = []replicas.Answer{held("n1")}
	b.peers.fetch = func(_ context.Context, _ shoal.NodeID, key shoal.Key, first int, sink peer.Sink) error {
		return errors.Join(send(sink, key, want, first, 3), peer.ErrUnreachable)
	}
	if got, err := b.readAll(t, e); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read %d bytes, %v, want the file", len(got), err)
	}
	if got := b.ufs.Counts().Bytes; got != 7*shoal.ChunkSize {
		t.Errorf("the UFS sent %d bytes, want the 7 chunks the peer had not", got)
	}
	if want := (replicas.Avoid{Node: "n1", Reason: replicas.Unreachable}); len(b.dir.avoided) != 1 || b.dir.avoided[0] != want {
		t.Errorf("told the home %v, want %v", b.dir.avoided, want)
	}
}

func TestFetcherRefusesBadChunks(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	e, want := b.put(t, 4*shoal.ChunkSize)
	b.dir.answers = []replicas.Answer{held("liar", "n2")}
	b.peers.fetch = func(_ context.Context, from shoal.NodeID, key shoal.Key, first int, sink peer.Sink) error {
		if from != "liar" {
			return send(sink, key, want, first, 4)
		}
		// The sum fits the bytes' old place: a chunk of another offset is a bad one too.
		copy(sink.Chunk(first), want[shoal.ChunkSize:])
		return sink.Arrived(first, shoal.ChunkSum(key, first+1, sink.Chunk(first)))
	}
	if got, err := b.readAll(t, e); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read %d bytes, %v, want the file", len(got), err)
	}
	if s := b.Stats(); s.BadChunks != 1 || s.UFSBytes != 0 {
		t.Errorf("bad chunks %d, UFS bytes %d, want 1 and 0", s.BadChunks, s.UFSBytes)
	}
}

func TestFetcherRefusesABlockThatWasNotAnnounced(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	e, want := b.put(t, 100)
	answer := held("liar")
	answer.Sum = 12345
	b.dir.answers = []replicas.Answer{answer}
	b.peers.fetch = func(_ context.Context, _ shoal.NodeID, key shoal.Key, first int, sink peer.Sink) error {
		return send(sink, key, make([]byte, 100), first, 1)
	}
	if got, err := b.readAll(t, e); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d bytes, %v, want the file's", len(got), err)
	}
	if got := b.Stats().BadBlocks; got != 1 {
		t.Errorf("%d bad blocks, want 1", got)
	}
	if want := (replicas.Avoid{Node: "liar", Reason: replicas.NotFound}); len(b.dir.avoided) != 1 || b.dir.avoided[0] != want {
		t.Errorf("told the home %v, want %v", b.dir.avoided, want)
	}
}

func TestFetcherAsksASlowPeerWhenTheUFSIsGone(t *testing.T) {
	b := newBench(t, FetcherConfig{SlowPeer: 20 * time.Millisecond})
	e, want := b.put(t, 100)
	b.ufs.Fault = func(string, string) error { return ufs.ErrUnavailable }
	b.dir.answers = []replicas.Answer{held("slow")}
	tries := 0
	b.peers.fetch = func(ctx context.Context, _ shoal.NodeID, key shoal.Key, first int, sink peer.Sink) error {
		if tries++; tries == 1 {
			<-ctx.Done()
			return ctx.Err()
		}
		return send(sink, key, want, first, 1)
	}
	if got, err := b.readAll(t, e); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d bytes, %v, want the file's", len(got), err)
	}
}

func TestFetcherLeavesASlowPeer(t *testing.T) {
	b := newBench(t, FetcherConfig{SlowPeer: 20 * time.Millisecond})
	e, want := b.put(t, 100)
	b.dir.answers = []replicas.Answer{held("slow")}
	b.peers.fetch = func(ctx context.Context, _ shoal.NodeID, _ shoal.Key, _ int, _ peer.Sink) error {
		<-ctx.Done()
		return ctx.Err()
	}
	if got, err := b.readAll(t, e); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read %d bytes, %v, want the file", len(got), err)
	}
	if got := b.Stats().Hedged; got != 1 {
		t.Errorf("hedged %d times, want 1", got)
	}
}

func TestFetcherWaitsForABusyPeer(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	e, want := b.put(t, 100)
	b.dir.answers = []replicas.Answer{held("n1")}
	tries := 0
	b.peers.fetch = func(_ context.Context, _ shoal.NodeID, key shoal.Key, first int, sink peer.Sink) error {
		if tries++; tries < 4 {
			return fmt.Errorf("fetch: %w", peer.ErrBusy)
		}
		return send(sink, key, want, first, 1)
	}
	if got, err := b.readAll(t, e); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read %d bytes, %v, want the file", len(got), err)
	}
	if got := b.ufs.Counts().Bytes; got != 0 {
		t.Errorf("the UFS sent %d bytes, want 0: the peer had the block", got)
	}
}

func TestFetcherPassesChunksOnAsTheyLand(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	more := make(chan struct{})
	b.ufs.OnRead = func(ctx context.Context, _ string, off int64) error {
		if off == 0 {
			return nil
		}
		select {
		case <-more:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	e, want := b.put(t, 3*shoal.ChunkSize)
	b.passesOn(t, e, want, func() { close(more) })
}

// TestFetcherPassesOnWhatAPeerSends has a peer follow a block that comes from another one.
func TestFetcherPassesOnWhatAPeerSends(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	e, want := b.put(t, 3*shoal.ChunkSize)
	b.dir.answers = []replicas.Answer{held("n1")}
	more := make(chan struct{})
	b.peers.fetch = func(_ context.Context, _ shoal.NodeID, key shoal.Key, first int, sink peer.Sink) error {
		if err := send(sink, key, want, first, 1); err != nil {
			return err
		}
		<-more
		return send(sink, key, want, 1, 3)
	}
	b.passesOn(t, e, want, func() { close(more) })
}

// passesOn checks that a peer gets the first chunk of a block while the others are held back, and
// the others when they go on.
func (b *bench) passesOn(t *testing.T, e shoal.Entry, want []byte, goOn func()) {
	t.Helper()
	ft := b.want(e, false, whole(0))[0]
	defer ft.release()
	stream, err := b.OpenBlock(t.Context(), ft.key)
	if err != nil {
		t.Fatalf("OpenBlock of a block on its way here: %v", err)
	}
	data, sum, err := stream.Chunk(t.Context(), 0, nil)
	if err != nil || !bytes.Equal(data, want[:shoal.ChunkSize]) || sum != shoal.ChunkSum(ft.key, 0, data) {
		t.Fatalf("first chunk while the second is held back: %d bytes, %v", len(data), err)
	}
	goOn()
	if _, _, err := stream.Chunk(t.Context(), 2, nil); err != nil {
		t.Errorf("last chunk: %v", err)
	}
	if err := stream.Close(); err != nil {
		t.Error(err)
	}
}

func TestFetcherGivesUpWhenNobodyWaits(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	reading, stopped := make(chan struct{}), make(chan struct{})
	b.ufs.OnRead = func(ctx context.Context, _ string, _ int64) error {
		close(reading)
		<-ctx.Done()
		close(stopped)
		return ctx.Err()
	}
	e, _ := b.put(t, 100)
	ft := b.want(e, false, whole(0))[0]
	<-reading
	ft.release()
	<-stopped
	b.Close()
	if len(b.dir.released) != 0 || b.Stats().Failures != 0 {
		t.Errorf("released %v, failures %d, want neither: the next fetch may have the lease", b.dir.released, b.Stats().Failures)
	}
}

func TestFetcherSaysStaleWhenTheVersionIsGone(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	e, _ := b.put(t, 100)
	b.ufs.Put("f", []byte("another version"))
	_, err := b.readAll(t, e)
	if !errors.Is(err, syscall.ESTALE) || !errors.Is(err, ufs.ErrVersion) {
		t.Errorf("read of a replaced file: %v, want ESTALE for a version error", err)
	}
	if id := <-b.gone; id != e.ID {
		t.Errorf("expired id %d, want %d", id, e.ID)
	}
}

func TestFetcherNamesWhatFailed(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	e, _ := b.put(t, 100)
	b.ufs.Fault = func(string, string) error { return ufs.ErrUnavailable }
	_, err := b.readAll(t, e)
	if want := fmt.Sprintf("read %s of mount %s: %v", e.Path, e.Mount, ufs.ErrUnavailable); err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

func TestOpenBlockWithoutTheBlock(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	if _, err := b.OpenBlock(t.Context(), shoal.Key{Index: 7}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("OpenBlock = %v, want not exist", err)
	}
}
