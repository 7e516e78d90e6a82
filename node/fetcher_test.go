package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
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
}

func newBench(t *testing.T, cfg FetcherConfig) *bench {
	t.Helper()
	store, err := blockstore.Open(blockstore.Config{Disks: []blockstore.Disk{{Path: t.TempDir(), SizeBytes: 1 << 30}}})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{ufs: &ufstest.FS{}, store: store, dir: &scriptedDirectory{}, gone: make(chan uint64, 8)}
	b.Fetcher = NewFetcher(b.dir, &b.peers, store, b, cfg)
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

func (d *scriptedDirectory) Locate(_ context.Context, keys []shoal.Key, avoid []replicas.Avoid) []replicas.Answer {
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

func (d *scriptedDirectory) Add(key shoal.Key, _ shoal.Sum) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.added = append(d.added, key)
}

func (d *scriptedDirectory) Release(key shoal.Key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.released = append(d.released, key)
}

func (d *scriptedDirectory) Renew(...shoal.Key) {}
func (d *scriptedDirectory) Drop(...shoal.Key)  {}

func held(nodes ...shoal.NodeID) replicas.Answer {
	return replicas.Answer{Kind: replicas.Held, Nodes: nodes}
}

// peersFunc is transfers by a function that the test sets.
type peersFunc struct {
	fetch func(ctx context.Context, from shoal.NodeID, key shoal.Key, first int, sink peer.Sink) error
}

func (p *peersFunc) Fetch(ctx context.Context, from shoal.NodeID, key shoal.Key, _, first int, sink peer.Sink) error {
	sink.Begin()
	return p.fetch(ctx, from, key, first, sink)
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

// TestFileWithoutRoom reads a block in pieces while there is no room for readahead, from a
// UFS that is slower than the reader.
func TestFileWithoutRoom(t *testing.T) {
	b := newBench(t, FetcherConfig{InFlightBytes: 1})
	e, want := b.put(t, 2*shoal.BlockSize)
	f, err := NewFiles(b.Fetcher, b.store, 8<<20).Open(e)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 2*shoal.ChunkSize)
	for off := 0; off < len(want); off += len(p) {
		if n, err := f.ReadAt(t.Context(), p, int64(off)); err != nil || !bytes.Equal(p[:n], want[off:off+len(p)]) {
			t.Fatalf("ReadAt(%d) = %d, %v, want right bytes", off, n, err)
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if got := b.ufs.Counts().Bytes; got != int64(len(want)) {
		t.Errorf("the UFS sent %d bytes, want %d", got, len(want))
	}
}

// TestFileForgetsFailures reads on after the UFS failed during readahead.
func TestFileForgetsFailures(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	e, want := b.put(t, 2*shoal.BlockSize)
	failed := make(chan struct{})
	var once sync.Once
	b.ufs.OnRead = func(_ context.Context, _ string, off int64) error {
		select {
		case <-failed:
			return nil
		default:
		}
		if off >= shoal.BlockSize {
			defer once.Do(func() { close(failed) })
			return ufs.ErrUnavailable
		}
		return nil
	}
	f, err := NewFiles(b.Fetcher, b.store, 8<<20).Open(e)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, shoal.BlockSize)
	if _, err := f.ReadAt(t.Context(), p, 0); err != nil {
		t.Fatal(err)
	}
	<-failed
	f.r.mu.Lock()
	h := f.held[1]
	f.r.mu.Unlock()
	if h != nil { // the readahead's failure, once it is over
		_ = h.wait(t.Context(), len(h.sums))
	}
	if n, err := f.ReadAt(t.Context(), p, shoal.BlockSize); err != nil || !bytes.Equal(p[:n], want[shoal.BlockSize:]) {
		t.Errorf("read after a failed readahead = %d, %v, want the bytes", n, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestFilesLetGoOfIdleBlocks holds many files open after one read of each.
func TestFilesLetGoOfIdleBlocks(t *testing.T) {
	b := newBench(t, FetcherConfig{InFlightBytes: 4 * shoal.BlockSize})
	e, _ := b.put(t, 4*shoal.BlockSize)
	files := NewFiles(b.Fetcher, b.store, 8<<20)
	p := make([]byte, 100)
	for i := range 20 {
		one := e
		one.File[0] = byte(i) // a file of its own, with the same bytes behind it
		f, err := files.Open(one)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.ReadAt(t.Context(), p, 0); err != nil {
			t.Fatal(err)
		}
		for _, h := range f.held {
			if err := h.wait(t.Context(), len(h.sums)); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.Close() // every fetch has ended
	files.mu.Lock()
	files.relieve()
	files.mu.Unlock()
	if got := b.Stats().InFlightBytes; got > 4*shoal.BlockSize {
		t.Errorf("20 idle files hold %d bytes, want at most the bound of %d", got, 4*shoal.BlockSize)
	}
}

func TestOpenBlockRefusesToWaitForAPeer(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	e, want := b.put(t, 100)
	b.dir.answers = []replicas.Answer{held("n1")}
	asked, goOn := make(chan struct{}), make(chan struct{})
	b.peers.fetch = func(_ context.Context, _ shoal.NodeID, key shoal.Key, first int, sink peer.Sink) error {
		close(asked)
		<-goOn
		return send(sink, key, want, first, 1)
	}
	ft := b.want(e, false, 0)[0]
	<-asked
	if _, err := b.OpenBlock(t.Context(), ft.key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("OpenBlock of a block that comes from a peer = %v, want not exist", err)
	}
	close(goOn)
	ft.release()
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
	ft := b.want(e, false, 0)[0]
	defer ft.release()
	stream, err := b.OpenBlock(t.Context(), ft.key)
	if err != nil {
		t.Fatalf("OpenBlock of a block being filled: %v", err)
	}
	data, sum, err := stream.Chunk(t.Context(), 0, nil)
	if err != nil || !bytes.Equal(data, want[:shoal.ChunkSize]) || sum != shoal.ChunkSum(ft.key, 0, data) {
		t.Fatalf("first chunk while the second is held back: %d bytes, %v", len(data), err)
	}
	close(more)
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
	ft := b.want(e, false, 0)[0]
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

func TestFileReadAt(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	const size = 3*shoal.BlockSize + 12345
	e, want := b.put(t, size)
	f, err := NewFiles(b.Fetcher, b.store, 8<<20).Open(e)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		off    int64
		length int
	}{
		{0, 1},
		{0, 1 << 20},
		{shoal.BlockSize - 1, 2},
		{shoal.BlockSize, shoal.BlockSize},
		{shoal.ChunkSize - 1, 2 * shoal.BlockSize},
		{size - 1, 1},
		{size - 1, 100},
		{size, 10},
		{size + 5, 10},
	}
	for _, tt := range tests {
		p := make([]byte, tt.length)
		n, err := f.ReadAt(t.Context(), p, tt.off)
		from := min(tt.off, size)
		to := min(tt.off+int64(tt.length), size)
		if err != nil || !bytes.Equal(p[:n], want[from:max(from, to)]) {
			t.Errorf("ReadAt(%d bytes, %d) = %d, %v, want %d right bytes", tt.length, tt.off, n, err, max(0, to-from))
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	b.Close()
	if got := b.Stats().InFlightBytes; got != 0 {
		t.Errorf("%d bytes in flight after Close, want 0", got)
	}
	if got := b.ufs.Counts().Bytes; got != size {
		t.Errorf("the UFS sent %d bytes, want %d", got, size)
	}
}

func TestReadahead(t *testing.T) {
	const (
		mib  = 1 << 20
		size = 100 * shoal.BlockSize
	)
	type read struct{ off, n int64 }
	tests := []struct {
		name  string
		reads []read
		want  uint32 // blocks below have been asked for ahead
	}{
		{"the beginning of a file", []read{{0, mib}}, 3},
		{"one read in the middle", []read{{40 * mib, mib}}, 0},
		{"going on from the middle", []read{{40 * mib, mib}, {41 * mib, mib}}, 12},
		{"in order", []read{{0, 4 * mib}, {4 * mib, 4 * mib}, {8 * mib, 4 * mib}, {12 * mib, 4 * mib}}, 11},
		{"pieces out of order", []read{{0, mib}, {2 * mib, mib}, {mib, mib}, {3 * mib, mib}}, 3},
		{"up to the end of the file", []read{{size - 20*mib, 4 * mib}, {size - 16*mib, 4 * mib}, {size - 12*mib, 4 * mib}}, 100},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := readahead{max: 8}
			var reached uint32
			for _, rd := range tt.reads {
				if from, to := r.next(rd.off, int(rd.n), size, 100); to > from {
					reached = max(reached, to)
				}
			}
			if reached != tt.want {
				t.Errorf("asked for blocks below %d, want %d", reached, tt.want)
			}
		})
	}
}

func TestReadaheadOff(t *testing.T) {
	var r readahead
	for off := int64(0); off < 64<<20; off += 1 << 20 {
		if from, to := r.next(off, 1<<20, 1<<30, 100); from != to {
			t.Fatalf("next(%d) = [%d, %d), want nothing", off, from, to)
		}
	}
}
