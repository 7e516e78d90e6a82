package node

import (
	"context"
	"fmt"
	"sync"

	"github.com/shoal-mesh/shoal"
)

// A fetch is one block on its way to this node. One source at a time writes it, chunk
// after chunk; any number of readers, kernels and peers alike, follow the chunks as they
// land (cut-through). It lives while any of them wants it: when the last one leaves, what
// is still missing is not fetched, unless it lingers. See docs/read-path.md.
//
// The bytes below the landed mark never change, so readers use them without the lock.
//
// A block that nobody will keep, and of which its readers want a range, is not fetched whole
// (bypass): before the first chunk is asked for, narrow leaves out the others.
type fetch struct {
	key    shoal.Key
	entry  shoal.Entry // the file the block belongs to
	length int         // bytes of the block
	admission
	buf    []byte      // chunks [first, end), once it is running; those below landed are valid
	sums   []shoal.Sum // of the chunks that have landed
	cancel context.CancelFunc
	free   func() // gives buf back once nobody refers to it

	mu        sync.Mutex    // guards the fields below
	span                    // chunks to fetch: all, or what narrow left; settled before the first is asked for
	wish      span          // chunks its readers asked for so far
	landed    int           // chunks [first, landed) are in buf, verified
	tier      shoal.Tier    // where the last chunk came from
	done      bool          // no source will add a chunk any more
	err       error         // why not, when chunks are missing
	moved     chan struct{} // closed when awaited chunks have landed, or no more will; nil while nobody waits
	awaited   int           // the fewest chunks anybody waits for
	readers   int
	running   bool // the goroutine that writes the block has not ended
	lingers   bool // it goes on without readers
	abandoned bool // the last reader left before the last chunk came
	freed     bool
	then      []func() // called once no source will add a chunk any more
}

// A span is the chunks [first, end) of a block.
type span struct{ first, end int }

// A part is the chunks of a block that somebody is going to read.
type part struct {
	index uint32
	span
}

// whole returns all of block index.
func whole(index uint32) part { return part{index, span{0, maxChunks}} }

const maxChunks = shoal.BlockSize / shoal.ChunkSize

// spanOf returns the chunks that bytes [off, off+n) of a block lie in.
func spanOf(off, n int) span { return span{off / shoal.ChunkSize, shoal.Chunks(off + n)} }

// covers reports whether all chunks of o are in s.
func (s span) covers(o span) bool { return s.first <= o.first && o.end <= s.end }

// and returns the chunks from the first to the last of s and o.
func (s span) and(o span) span { return span{min(s.first, o.first), max(s.end, o.end)} }

// Length returns the block's length in bytes.
func (f *fetch) Length() int { return f.length }

// whole returns all chunks of the block.
func (f *fetch) whole() span { return span{0, shoal.Chunks(f.length)} }

// clip returns those of the chunks that the block has.
func (f *fetch) clip(chunks span) span {
	return span{chunks.first, min(chunks.end, shoal.Chunks(f.length))}
}

// narrow leaves out the chunks that none of its readers asked for. It reports false when the
// whole block has to be fetched.
func (f *fetch) narrow() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wish == f.whole() {
		return false
	}
	f.span, f.landed = f.wish, f.wish.first
	return true
}

// bytes returns how many bytes the chunks of the fetch have.
func (f *fetch) bytes() int { return min(f.length, f.end*shoal.ChunkSize) - f.first*shoal.ChunkSize }

// leftOut returns how many bytes of the block the fetch does not bring.
func (f *fetch) leftOut() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.length - f.bytes()
}

// chunk returns the place in buf where chunk i goes.
func (f *fetch) chunk(i int) []byte {
	at := (i - f.first) * shoal.ChunkSize
	return f.buf[at : at+shoal.ChunkLen(f.length, i)]
}

// next returns the first chunk that has not landed.
func (f *fetch) next() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.landed
}

// check reports whether chunk i, whose bytes are in place, may be landed with sum: whether
// it matches, and is the next one. What came from a peer must be checked.
func (f *fetch) check(i int, sum shoal.Sum) error {
	if got := shoal.ChunkSum(f.key, i, f.chunk(i)); got != sum {
		return fmt.Errorf("chunk %d of %v: sum %08x, want %08x: %w", i, f.key, got, sum, errBadChunk)
	}
	if want := f.next(); i != want {
		return fmt.Errorf("chunk %d of %v out of order, want %d: %w", i, f.key, want, errBadChunk)
	}
	return nil
}

// land publishes chunk i, the next one, whose bytes are in place and sum to sum.
func (f *fetch) land(i int, sum shoal.Sum, tier shoal.Tier) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sums[i] = sum
	f.landed = i + 1
	f.tier = tier
	if f.landed >= f.awaited {
		f.wakeLocked()
	}
}

// finish ends the fetch: err is nil when every chunk has landed.
func (f *fetch) finish(err error) {
	f.mu.Lock()
	then := f.then
	f.done, f.err, f.then = true, err, nil
	f.wakeLocked()
	f.mu.Unlock()
	for _, do := range then {
		do()
	}
}

// afterwards has do called when the fetch is over, unless it is already.
func (f *fetch) afterwards(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.done {
		f.then = append(f.then, do)
	}
}

// due reports whether a source may still add chunks.
func (f *fetch) due() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.done
}

func (f *fetch) wakeLocked() {
	if f.moved != nil {
		close(f.moved)
		f.moved = nil
	}
}

// wait returns once chunks [0, n) have landed, or with the reason why they never will.
func (f *fetch) wait(ctx context.Context, n int) error {
	for {
		f.mu.Lock()
		if f.landed >= n {
			f.mu.Unlock()
			return nil
		}
		if f.done {
			err := f.err
			f.mu.Unlock()
			return err
		}
		if f.moved == nil {
			f.moved, f.awaited = make(chan struct{}), n
		}
		f.awaited = min(f.awaited, n)
		moved := f.moved
		f.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// view returns the n bytes at off, where they lie, as soon as the chunks that hold them
// have landed, and says which tier they came from. They must lie within the block, and are
// the caller's to read for as long as it is a reader of the fetch.
func (f *fetch) view(ctx context.Context, off, n int) ([]byte, shoal.Tier, error) {
	if err := f.wait(ctx, shoal.Chunks(off+n)); err != nil {
		return nil, 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	off -= f.first * shoal.ChunkSize
	return f.buf[off : off+n], f.tier, nil
}

// Chunk waits for chunk i and returns it with its sum: the peers' view of a fetch.
// The bytes are the fetch's own; buf is not used.
func (f *fetch) Chunk(ctx context.Context, i int, _ []byte) ([]byte, shoal.Sum, error) {
	if err := f.wait(ctx, i+1); err != nil {
		return nil, 0, err
	}
	return f.chunk(i), f.sums[i], nil
}

// acquire adds a reader of some chunks; false when the block was given up or has left
// memory, or they are not fetched.
func (f *fetch) acquire(chunks span) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.abandoned || f.freed || !f.covers(chunks) {
		return false
	}
	f.readers++
	f.wish = f.wish.and(chunks)
	return true
}

// join is acquire for a peer, which follows the fetch wherever its chunks come from. Homes see to
// it that no two nodes wait for each other (package replicas: receivers).
func (f *fetch) join() bool {
	if !f.acquire(f.whole()) {
		return false
	}
	f.wasTaken()
	return true
}

// ended reports that the fetch is over and the whole block was here.
func (f *fetch) ended() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.done && f.err == nil
}

// release drops a reader. Without readers a fetch that still misses chunks is given up;
// one that has them all may still be on its way to the disk, which goes on.
func (f *fetch) release() {
	f.mu.Lock()
	f.readers--
	giveUp := f.readers == 0 && !f.lingers && !f.done && f.landed < f.end
	f.abandoned = f.abandoned || giveUp
	f.mu.Unlock()
	if giveUp {
		f.cancel()
	}
	f.tryFree()
}

// linger has the fetch go on when its last reader leaves.
func (f *fetch) linger() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lingers = true
}

// retire says that the goroutine that wrote the block has ended.
func (f *fetch) retire() {
	f.mu.Lock()
	f.running = false
	f.mu.Unlock()
	f.tryFree()
}

// tryFree gives the buffer back once neither a writer nor a reader is left.
func (f *fetch) tryFree() {
	f.mu.Lock()
	free := !f.running && f.readers == 0 && !f.freed
	f.freed = f.freed || free
	f.mu.Unlock()
	if free {
		f.free()
	}
}

// broken reports that the fetch ended without the whole block.
func (f *fetch) broken() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.abandoned || f.done && f.err != nil
}
