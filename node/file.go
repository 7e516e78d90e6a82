package node

import (
	"context"
	"errors"
	"slices"

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
	sequential := f.prefetch(off, len(p))
	if shoal.Blocks(off+1) == shoal.Blocks(off+int64(len(p))) {
		return f.readBlock(ctx, p, off, sequential)
	}
	n := 0
	for n < len(p) {
		at := off + int64(n)
		piece := p[n:min(len(p), n+shoal.BlockSize-int(at%shoal.BlockSize))]
		data, done, err := f.readBlock(ctx, piece, at, sequential)
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
// will keep, only a sequential read has more fetched than it wants.
func (f *File) readBlock(ctx context.Context, p []byte, off int64, sequential bool) (data []byte, done func(), err error) {
	index, within := uint32(off/shoal.BlockSize), int(off%shoal.BlockSize)
	chunks := spanOf(within, len(p))
	key := shoal.Key{File: f.entry.File, Index: index}
	seen := f.r.trace.see(key)
	for try := 0; ; try++ {
		ft := f.claim(index, chunks, len(p))
		if ft == nil {
			n, err := f.r.store.ReadAt(key, p, within)
			if err == nil && n == len(p) {
				f.gave(seen, index, n, shoal.TierLocal)
				return p, nil, nil
			}
			// Not there, or dropped for being bad: the mesh or the UFS has it. It may also
			// have come since; but a store that cannot be read must not be asked for ever.
			if sequential {
				ft = f.begin(index, len(p), try > 1)
			} else {
				ft = f.r.fetch.want(f.entry, try > 1, part{index, chunks})[0]
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

// claim returns the fetch the file holds for a block, with a reader of n bytes in some chunks
// added, or nil. A fetch that failed, or leaves chunks out, is not held against its block: the
// next one may find a source.
func (f *File) claim(index uint32, chunks span, n int) *fetch {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	h := f.held[index]
	if h == nil {
		return nil
	}
	if h.broken() || !h.acquire(chunks) {
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
	ft := f.r.fetch.want(f.entry, force, whole(index))[0]
	if ft == nil {
		return nil
	}
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.ahead.waits(index)
	switch h := f.held[index]; {
	case h == nil && ft.acquire(ft.whole()):
		f.r.hold(f, ft, n)
		f.r.relieve()
	case h == nil: // given up
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
	if h := f.held[index]; h != nil && h.fetch == ft && (h.unread <= ft.leftOut() || ft.broken()) {
		f.r.letGo(h)
	}
	ft.release()
}

// prefetch starts the blocks that the readers of this file will want next. It reports whether
// the read is a sequential reader's.
func (f *File) prefetch(off int64, n int) (sequential bool) {
	upcoming, sequential := f.upcoming(off, n)
	f.start(upcoming)
	return sequential
}

// further starts more when a block has come, for readers that wait for theirs.
func (f *File) further() {
	f.r.mu.Lock()
	wanted := f.promise(f.ahead.further(f.entry.Info.Size, f.r.relieve(), f.due))
	f.r.mu.Unlock()
	f.start(wanted)
}

// due reports whether a block that the file holds is still on its way. The lock is held.
func (f *File) due(i uint32) bool {
	h := f.held[i]
	return h != nil && h.due()
}

// start fetches and holds parts that nobody reads yet, for which memory has been promised.
func (f *File) start(wanted []part) {
	if len(wanted) == 0 {
		return
	}
	fetches := f.r.fetch.want(f.entry, false, f.missing(wanted)...)
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.r.promised -= uint32(len(wanted))
	for _, ft := range fetches {
		switch {
		case ft == nil:
		case f.held[ft.key.Index] == nil:
			f.r.hold(f, ft, 0)
		default:
			ft.release()
		}
	}
}

// upcoming notes a read and returns what is to follow it, for which memory is promised.
func (f *File) upcoming(off int64, n int) (wanted []part, sequential bool) {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	wanted, sequential = f.ahead.next(off, n, f.entry.Info.Size, f.r.relieve())
	f.trim()
	return f.promise(wanted), sequential
}

// promise promises memory for those of the parts that the file does not hold, and returns them.
// The lock is held.
func (f *File) promise(wanted []part) []part {
	wanted = slices.DeleteFunc(wanted, func(p part) bool { return f.held[p.index] != nil })
	f.r.promised += uint32(len(wanted))
	return wanted
}

// missing returns those of the parts that have to be fetched. The others, which the store has,
// are read ahead from disk.
func (f *File) missing(wanted []part) []part {
	var missing []part
	for _, p := range wanted {
		key := shoal.Key{File: f.entry.File, Index: p.index}
		if !f.r.store.WillNeed(key, p.first*shoal.ChunkSize, (p.end-p.first)*shoal.ChunkSize) {
			missing = append(missing, p)
		}
	}
	return missing
}

// trim lets go of blocks whose reader went elsewhere. The lock is held.
func (f *File) trim() {
	if !f.ahead.left && len(f.held) <= (lead+1)*int(f.r.ahead)+maxStreams {
		return
	}
	f.ahead.left = false
	for i, h := range f.held {
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
