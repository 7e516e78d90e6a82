package node

import (
	"container/list"
	"io/fs"
	"sync"
	"sync/atomic"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore"
)

// Files opens entries for the doors. It keeps the blocks that open files hold in memory
// within the fetcher's bound: when that is reached, the block that was used longest ago
// is let go, once the store has it.
type Files struct {
	fetch *Fetcher
	store localBlocks
	ahead uint32 // blocks read ahead of a reader, at most
	trace *recorder

	verifier verifier

	last   lastTiers
	bytes  [shoal.Tiers]atomic.Int64
	opens  atomic.Int64
	failed atomic.Int64

	mu       sync.Mutex // guards the fields below, and those of each File below its own note
	order    list.List  // of *heldFetch: what open files hold, used longest ago first
	promised uint32     // blocks about to be fetched ahead of readers
}

// A heldFetch is a fetch that an open file holds until its bytes have been read once, so
// that the pieces the kernel asks for come from memory and count for the tier that
// brought the block.
type heldFetch struct {
	*fetch
	file   *File
	unread int // bytes not read yet, roughly: overlapping reads count twice
	place  *list.Element
}

// localBlocks is what reading files asks of the store.
type localBlocks interface {
	ReadAt(key shoal.Key, p []byte, off int) (int, error)
	WillNeed(key shoal.Key, off, n int) bool
	Whole(file shoal.FileID, size int64) *blockstore.Whole
}

// NewFiles returns Files that read through fetch, up to readahead bytes ahead of each
// sequential reader.
func NewFiles(fetch *Fetcher, store localBlocks, readahead int64) *Files {
	return &Files{fetch: fetch, store: store, ahead: uint32(shoal.Blocks(readahead))}
}

// Close ends what Files do by themselves. No file may be open.
func (r *Files) Close() error {
	r.verifier.close()
	return nil
}

// Open opens an entry for reading.
func (r *Files) Open(e shoal.Entry) (*File, error) {
	if e.Info.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: e.Path, Err: fs.ErrInvalid}
	}
	r.opens.Add(1)
	return &File{r: r, entry: e, ahead: readahead{max: r.ahead}, held: make(map[uint32]*heldFetch), visitor: visitor{dataset: e.Mount}}, nil
}

// Stats returns what readers have been given so far.
func (r *Files) Stats() ReadStats {
	s := ReadStats{Bytes: make(map[string]int64, shoal.Tiers), Opens: r.opens.Load(), Failed: r.failed.Load()}
	for t := range shoal.Tiers {
		s.Bytes[t.String()] = r.bytes[t].Load()
	}
	return s
}

// hold has f hold ft, of which n bytes are being read, with the caller's reference to it. The
// lock is held.
func (r *Files) hold(f *File, ft *fetch, n int) {
	if f.held == nil { // closed meanwhile
		ft.release()
		return
	}
	h := &heldFetch{fetch: ft, file: f, unread: ft.length - n}
	h.place = r.order.PushBack(h)
	f.held[ft.key.Index] = h
	ft.afterwards(f.further)
}

// letGo ends the hold on h. The lock is held.
func (r *Files) letGo(h *heldFetch) {
	r.order.Remove(h.place)
	delete(h.file.held, h.key.Index)
	h.release()
}

// relieve lets go of complete blocks until there is room for one more, and returns how
// many more blocks may be read ahead. The lock is held.
func (r *Files) relieve() uint32 {
	for e := r.order.Front(); e != nil && r.fetch.room() == 0; {
		next := e.Next()
		if h, ok := e.Value.(*heldFetch); ok && h.ended() {
			r.letGo(h)
		}
		e = next
	}
	room := r.fetch.room()
	return room - min(room, r.promised)
}
