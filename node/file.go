package node

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"sync/atomic"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore"
)

// A File is one open file version, read by any number of readers at once.
type File struct {
	r     *Files
	entry shoal.Entry

	mu    sync.Mutex // guards the fields below
	ahead readahead
	held  map[uint32]*heldFetch // blocks on their way that this file's readers want
}

// A heldFetch is a fetch kept until its bytes have been read once, so that the pieces the
// kernel asks for come from memory and count for the tier that brought the block.
type heldFetch struct {
	*fetch
	unread int // bytes not read yet, roughly: overlapping reads count twice
}

// Files opens entries for the doors.
type Files struct {
	fetch *Fetcher
	store blocks
	ahead uint32 // blocks read ahead of a sequential reader, at most

	bytes  [shoal.Tiers]atomic.Int64
	opens  atomic.Int64
	failed atomic.Int64
}

// NewFiles returns Files that read through fetch, up to readahead bytes ahead of each
// sequential reader.
func NewFiles(fetch *Fetcher, store blocks, readahead int64) *Files {
	return &Files{fetch: fetch, store: store, ahead: uint32(shoal.Blocks(readahead))}
}

// Open opens an entry for reading.
func (r *Files) Open(e shoal.Entry) (*File, error) {
	if e.Info.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: e.Path, Err: fs.ErrInvalid}
	}
	r.opens.Add(1)
	return &File{r: r, entry: e, ahead: readahead{max: r.ahead}, held: make(map[uint32]*heldFetch)}, nil
}

// Stats returns what readers have been given so far.
func (r *Files) Stats() ReadStats {
	s := ReadStats{Bytes: make(map[string]int64, shoal.Tiers), Opens: r.opens.Load(), Failed: r.failed.Load()}
	for t := range shoal.Tiers {
		s.Bytes[t.String()] = r.bytes[t].Load()
	}
	return s
}

// ReadAt fills p from off, short only at the end of the file, where it returns no error:
// the kernel's convention. Every byte returned has been verified.
func (f *File) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off >= f.entry.Info.Size {
		return 0, nil
	}
	p = p[:min(int64(len(p)), f.entry.Info.Size-off)]
	f.prefetch(off, len(p))
	n := 0
	for n < len(p) {
		at := off + int64(n)
		index, within := uint32(at/shoal.BlockSize), int(at%shoal.BlockSize)
		piece := p[n:min(len(p), n+shoal.BlockSize-within)]
		if err := f.readBlock(ctx, index, piece, within); err != nil {
			if !errors.Is(err, context.Canceled) {
				f.r.failed.Add(1)
			}
			return n, err
		}
		n += len(piece)
	}
	return n, nil
}

// readBlock reads a piece of one block: from a fetch this file holds, from the store, or
// by starting a fetch.
func (f *File) readBlock(ctx context.Context, index uint32, p []byte, within int) error {
	ft := f.claim(index, len(p))
	if ft == nil {
		key := shoal.Key{File: f.entry.File, Index: index}
		n, err := f.r.store.ReadAt(key, p, within)
		if err == nil && n == len(p) {
			f.r.bytes[shoal.TierLocal].Add(int64(n))
			return nil
		}
		// Not there, or dropped for being bad: the mesh or the UFS has it.
		ft = f.begin(index, len(p))
	}
	tier, err := ft.readAt(ctx, p, within)
	f.unclaim(index, ft)
	if err != nil {
		return err
	}
	f.r.bytes[tier].Add(int64(len(p)))
	return nil
}

// claim returns the fetch the file holds for a block, with a reader added, or nil.
func (f *File) claim(index uint32, n int) *fetch {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.held[index]
	if h == nil || !h.acquire() {
		return nil
	}
	h.unread -= n
	return h.fetch
}

// begin starts, or joins, the fetch of a block for a read of n bytes.
func (f *File) begin(index uint32, n int) *fetch {
	ft := f.r.fetch.want(f.entry, index)[0]
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held != nil && f.held[index] == nil && !f.r.fetch.crowded() && ft.acquire() {
		f.held[index] = &heldFetch{fetch: ft, unread: ft.Length() - n}
		f.trimLocked()
	}
	return ft
}

// unclaim gives back what claim or begin returned, and lets go of a block that has been
// read to its end or cannot be had.
func (f *File) unclaim(index uint32, ft *fetch) {
	f.mu.Lock()
	h := f.held[index]
	drop := h != nil && h.fetch == ft && (h.unread <= 0 || ft.broken())
	if drop {
		delete(f.held, index)
	}
	f.mu.Unlock()
	if drop {
		ft.release()
	}
	ft.release()
}

// prefetch starts the blocks that the readers of this file will want next.
func (f *File) prefetch(off int64, n int) {
	f.mu.Lock()
	from, to := f.ahead.next(off, n, f.entry.Info.Size)
	var wanted []uint32
	for i := from; i < to; i++ {
		if f.held[i] == nil {
			wanted = append(wanted, i)
		}
	}
	f.mu.Unlock()
	missing := wanted[:0]
	for _, i := range wanted {
		if !f.r.store.Has(shoal.Key{File: f.entry.File, Index: i}) {
			missing = append(missing, i)
		}
	}
	if len(missing) == 0 || f.r.fetch.crowded() {
		return
	}
	for i, ft := range f.r.fetch.want(f.entry, missing...) {
		f.mu.Lock()
		keep := f.held != nil && f.held[missing[i]] == nil
		if keep {
			f.held[missing[i]] = &heldFetch{fetch: ft, unread: ft.Length()}
			f.trimLocked()
		}
		f.mu.Unlock()
		if !keep {
			ft.release()
		}
	}
}

// trimLocked lets go of blocks whose reader went elsewhere.
func (f *File) trimLocked() {
	for i, h := range f.held {
		if len(f.held) <= 2*int(f.r.ahead)+maxStreams {
			return
		}
		if !f.ahead.expects(i) {
			delete(f.held, i)
			h.release()
		}
	}
}

// Close lets go of every block the file held. Reads that run go on.
func (f *File) Close() error {
	f.mu.Lock()
	held := f.held
	f.held = nil
	f.mu.Unlock()
	for _, h := range held {
		h.release()
	}
	return nil
}

var _ blocks = (*blockstore.Store)(nil)
