package node

import "github.com/shoal-mesh/shoal"

const (
	maxStreams = 4 // sequential readers followed per open file
	// slack is how far from its end a read may be and still continue a stream: the
	// kernel sends the pieces of one readahead in any order.
	slack = 4 << 20
	// reach is how many windows ahead of a reader that waits for its blocks a stream may be.
	reach = 3
)

// readahead follows the sequential readers of one open file and says which blocks to
// start. A reader that goes on where one stopped doubles its window, up to max
// blocks; any other read begins a stream without one.
type readahead struct {
	max     uint32 // blocks; 0 reads nothing ahead
	streams [maxStreams]stream
	clock   uint64
}

type stream struct {
	end    int64  // first byte after the furthest read
	ahead  uint32 // blocks below have been asked for
	window uint32 // blocks
	waits  bool   // the last read came before its block did
	used   uint64 // when, by the readahead's clock
}

// next notes a read of n bytes at off and returns the blocks [from, to) to start now, at
// most room of them. A reader at the beginning of a file is taken for a sequential one.
func (r *readahead) next(off int64, n int, size int64, room uint32) (from, to uint32) {
	r.clock++
	end := off + int64(n)
	s := r.find(off, end)
	switch {
	case s == nil:
		s = r.oldest()
		*s = stream{end: end, ahead: after(end)}
		if off == 0 {
			s.window = min(2, r.max)
		}
	case after(end) > after(s.end): // went on into another block
		s.window = min(max(2*s.window, 2), r.max)
	case end > s.end:
		s.window = max(s.window, min(1, r.max))
	}
	s.used, s.waits = r.clock, false
	s.end = max(s.end, end)
	from = max(s.ahead, after(s.end))
	to = min(after(s.end)+s.window, uint32(shoal.Blocks(size)))
	if room < to-min(from, to) {
		to = from + room
	}
	if to <= from || (to-from < s.window/2 && to < uint32(shoal.Blocks(size))) {
		return 0, 0 // nothing, or too little to be worth a lookup
	}
	s.ahead = to
	return from, to
}

// waits says that the read that next has noted last of block i came before the block did.
func (r *readahead) waits(i uint32) {
	for k := range r.streams {
		if s := &r.streams[k]; s.used > 0 && after(s.end)-1 == i {
			s.waits = true
		}
	}
}

// further returns more blocks [from, to) to start, at most room, for a reader that waits for its
// blocks, some of which came before an earlier one: so that as many are on their way as ever.
// due reports whether a block is on its way.
func (r *readahead) further(size int64, room uint32, due func(i uint32) bool) (from, to uint32) {
	for i := range r.streams {
		s := &r.streams[i]
		if !s.waits {
			continue
		}
		free := s.window
		for b := after(s.end); b < s.ahead && free > 0; b++ {
			if due(b) {
				free--
			}
		}
		to = min(s.ahead+min(free, room), after(s.end)+reach*s.window, uint32(shoal.Blocks(size)))
		if to > s.ahead {
			from, s.ahead = s.ahead, to
			return from, to
		}
	}
	return 0, 0
}

// follows reports whether a read that next has noted is one of a sequential reader's.
func (r *readahead) follows(off int64, n int) bool {
	s := r.find(off, off+int64(n))
	return s != nil && (s.window > 0 || r.max == 0 && s.used == r.clock && s.end > off+int64(n))
}

// after returns the first block that a read ending at end does not touch.
func after(end int64) uint32 { return uint32((end + shoal.BlockSize - 1) / shoal.BlockSize) }

// expects reports whether a stream is about to read block i.
func (r *readahead) expects(i uint32) bool {
	for _, s := range r.streams {
		if s.used > 0 && i >= uint32(max(0, s.end-slack)/shoal.BlockSize) && i < s.ahead {
			return true
		}
	}
	return false
}

// find returns the stream that a read of [off, end) continues, or nil.
func (r *readahead) find(off, end int64) *stream {
	for i := range r.streams {
		s := &r.streams[i]
		if s.used > 0 && off <= s.end+slack && end >= s.end-slack {
			return s
		}
	}
	return nil
}

func (r *readahead) oldest() *stream {
	s := &r.streams[0]
	for i := range r.streams {
		if r.streams[i].used < s.used {
			s = &r.streams[i]
		}
	}
	return s
}
