package node

import (
	"context"
	"errors"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore"
)

var _ blocks = (*blockstore.Store)(nil)

// A File is one open file version, read by any number of readers at once.
type File struct {
	r       *Files
	entry   shoal.Entry
	visitor visitor

	// r.mu guards the fields below.
	ahead readahead
	held  map[uint32]*heldFetch // by block index; nil when closed
}

// Read returns the len(p) bytes at off, fewer only at the end of the file, where it returns
// no error: the kernel's convention. Every byte returned has been verified. The bytes are
// in p, or, when done is not nil, in the memory of the fetch that brought them: lent to the
// caller until it calls done.
func (f *File) Read(ctx context.Context, p []byte, off int64) (data []byte, done func(), err error) {
	p = p[:max(0, min(int64(len(p)), f.entry.Info.Size-off))]
	if len(p) == 0 {
		return nil, nil, nil
	}
	random := f.prefetch(off, len(p))
	if shoal.Blocks(off+1) == shoal.Blocks(off+int64(len(p))) {
		return f.readBlock(ctx, p, off, random)
	}
	n := 0
	for n < len(p) {
		at := off + int64(n)
		piece := p[n:min(len(p), n+shoal.BlockSize-int(at%shoal.BlockSize))]
		data, done, err := f.readBlock(ctx, piece, at, random)
		if err != nil {
			return p[:n], nil, err
		}
		n += len(data)
		if done != nil {
			copy(piece, data)
			done()
		}
	}
	return p, nil, nil
}

// ReadAt is Read into p, for callers that must have the bytes there.
func (f *File) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	data, done, err := f.Read(ctx, p, off)
	if done != nil {
		defer done()
		copy(p, data)
	}
	return len(data), err
}

// readBlock is Read within one block: from a fetch this file holds, from the store, or by
// starting a fetch. A fetch that turned out bad is started once more. Of a block that nobody
// will keep, a random read has no more fetched than it wants.
func (f *File) readBlock(ctx context.Context, p []byte, off int64, random bool) (data []byte, done func(), err error) {
	index, within := uint32(off/shoal.BlockSize), int(off%shoal.BlockSize)
	key := shoal.Key{File: f.entry.File, Index: index}
	seen := f.r.trace.see(key)
	for try := 0; ; try++ {
		ft := f.claim(index, len(p))
		if ft == nil {
			n, err := f.r.store.ReadAt(key, p, within)
			if err == nil && n == len(p) {
				f.gave(seen, index, n, shoal.TierLocal)
				return p, nil, nil
			}
			// Not there, or dropped for being bad: the mesh or the UFS has it. It may also
			// have come since; but a store that cannot be read must not be asked for ever.
			if random {
				ft = f.r.fetch.wantPart(f.entry, try > 1, spanOf(within, len(p)), index)[0]
			} else {
				ft = f.begin(index, len(p), try > 1)
			}
			if ft == nil {
				continue
			}
		}
		data, tier, err := ft.view(ctx, within, len(p))
		if err == nil {
			f.r.fetch.served(ft)
			f.gave(seen, index, len(p), tier)
			return data, func() { f.unclaim(index, ft) }, nil
		}
		f.unclaim(index, ft)
		if errors.Is(err, errBadBlock) && try == 0 {
			continue
		}
		if !errors.Is(err, context.Canceled) {
			f.r.failed.Add(1)
		}
		return nil, nil, err
	}
}

// gave counts n bytes of a block that a reader was given, and records them.
func (f *File) gave(seen sighting, index uint32, n int, tier shoal.Tier) {
	f.r.bytes[tier].Add(int64(n))
	f.r.last.note(f.entry.File, tier)
	f.r.trace.gave(seen, &f.visitor, n, shoal.BlockLen(f.entry.Info.Size, index), tier)
}

// claim returns the fetch the file holds for a block, with a reader added, or nil. A fetch
// that failed is not held against its block: the next one may find a source.
func (f *File) claim(index uint32, n int) *fetch {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	h := f.held[index]
	if h == nil {
		return nil
	}
	if h.broken() || !h.acquire(h.whole()) {
		f.r.letGo(h)
		return nil
	}
	h.unread -= n
	f.r.order.MoveToBack(h.place)
	if h.due() {
		f.ahead.waits(index)
	}
	return h.fetch
}

// begin starts, or joins, the fetch of a block for a read of n bytes; nil when the store
// has the block by now, unless force.
func (f *File) begin(index uint32, n int, force bool) *fetch {
	ft := f.r.fetch.want(f.entry, force, index)[0]
	if ft == nil {
		return nil
	}
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.ahead.waits(index)
	switch h := f.held[index]; {
	case h == nil:
		f.r.hold(f, ft, n)
		f.r.relieve()
	case h.fetch == ft:
		h.unread -= n
	}
	return ft
}

// unclaim gives back what claim or begin returned, and lets go of a block that has been
// read to its end or cannot be had.
func (f *File) unclaim(index uint32, ft *fetch) {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	if h := f.held[index]; h != nil && h.fetch == ft && (h.unread <= 0 || ft.broken()) {
		f.r.letGo(h)
	}
	ft.release()
}

// prefetch starts the blocks that the readers of this file will want next. It reports whether
// the read is none of a sequential reader's.
func (f *File) prefetch(off int64, n int) (random bool) {
	f.r.mu.Lock()
	from, to := f.ahead.next(off, n, f.entry.Info.Size, f.r.relieve())
	random = !f.ahead.follows(off, n)
	missing := f.missing(from, to)
	f.r.mu.Unlock()
	f.start(missing)
	return random
}

// further starts more blocks when one has come, for readers that wait for theirs.
func (f *File) further() {
	f.r.mu.Lock()
	missing := f.missing(f.ahead.further(f.entry.Info.Size, f.r.relieve(), f.due))
	f.r.mu.Unlock()
	f.start(missing)
}

// due reports whether a block that the file holds is still on its way. The lock is held.
func (f *File) due(i uint32) bool {
	h := f.held[i]
	return h != nil && h.due()
}

// missing returns the blocks of [from, to) that the file does not hold. The lock is held.
func (f *File) missing(from, to uint32) (blocks []uint32) {
	for i := from; i < to; i++ {
		if f.held[i] == nil {
			blocks = append(blocks, i)
		}
	}
	return blocks
}

// start fetches and holds blocks that nobody reads yet. Those the store has are read ahead from
// disk instead.
func (f *File) start(blocks []uint32) {
	missing := blocks[:0]
	for _, i := range blocks {
		if !f.r.store.WillNeed(shoal.Key{File: f.entry.File, Index: i}) {
			missing = append(missing, i)
		}
	}
	for _, ft := range f.r.fetch.want(f.entry, false, missing...) {
		if ft == nil {
			continue
		}
		f.r.mu.Lock()
		if f.held[ft.key.Index] == nil {
			f.r.hold(f, ft, 0)
			f.trim()
		}
		f.r.mu.Unlock()
		ft.release()
	}
}

// trim lets go of blocks whose reader went elsewhere. The lock is held.
func (f *File) trim() {
	for i, h := range f.held {
		if len(f.held) <= (reach+1)*int(f.r.ahead)+maxStreams {
			return
		}
		if !f.ahead.expects(i) {
			f.r.letGo(h)
		}
	}
}

// Close lets go of every block the file held. Reads that run go on.
func (f *File) Close() error {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	for _, h := range f.held {
		f.r.letGo(h)
	}
	f.held = nil
	return nil
}
