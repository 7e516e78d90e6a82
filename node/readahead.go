package node

import "math"

// maxStreams is how many readers are followed per open file.
const maxStreams = 16

// readahead follows the readers of one open file and says what to fetch before they ask
// for it. It knows nothing but the reads it is told of. See docs/read-path.md.
type readahead struct {
	max     uint32 // blocks ahead of a reader; 0 reads nothing ahead
	streams []stream
	begun   int    // the stream that began last
	clock   uint64 // reads seen
	left    bool   // a reader has gone from what was fetched for it, since the caller set this to false
}

// next notes a read of n bytes at off and returns what to start now: at most room blocks,
// none of them twice. It reports whether the read is one of a sequential reader's, who will
// want the whole of each block.
func (r *readahead) next(off int64, n int, size int64, room uint32) (ask []part, sequential bool) {
	r.clock++
	end := off + int64(n)
	s, jumped := r.find(off, end)
	switch {
	case s == nil:
		s = r.begin(off, end, size)
	case jumped:
		r.left = s.jump(off, end, r.max) || r.left
	default:
		r.left = s.move(off, end, r.max) || r.left
	}
	if s.used > 0 {
		s.gap = max(r.clock-s.used, s.gap-s.gap/8)
	}
	s.used = r.clock
	for i := range r.streams {
		if t := &r.streams[i]; t.asked > 0 && t.gone(r.clock) {
			t.asked, t.waits, r.left = 0, 0, true
		}
	}
	return s.ask(size, room), s.sequential()
}

// waits says that a read that next has noted, of block i, came before the block did. Its reader
// counts as one that waits for a window more: in between it may find some that came early.
func (r *readahead) waits(i uint32) {
	for k := range r.streams {
		if s := &r.streams[k]; s.at(i) {
			s.waits = max(1, s.window)
		}
	}
}

// further returns what more to start, at most room blocks, for a reader that waits for its blocks,
// some of which came before an earlier one: so that as many are on their way as ever. due reports
// whether a block is on its way.
func (r *readahead) further(size int64, room uint32, due func(i uint32) bool) []part {
	for k := range r.streams {
		if parts := r.streams[k].further(size, room, due); len(parts) > 0 {
			return parts
		}
	}
	return nil
}

// find returns the stream that a read of [off, end) continues, the nearest if there are
// several, or nil; and whether by a jump.
func (r *readahead) find(off, end int64) (s *stream, jumped bool) {
	nearest := int64(math.MaxInt64)
	for i := range r.streams {
		t := &r.streams[i]
		if d, ok := t.beside(off, end); ok && d < nearest {
			s, jumped, nearest = t, false, d
		}
		if d, ok := t.ahead(off, end); ok && d < nearest {
			s, jumped, nearest = t, true, d
		}
	}
	return s, jumped
}

// begin returns a new stream for a read that continues none. It may be the second of a
// strided reader's, and the stream begun before it the first.
func (r *readahead) begin(off, end, size int64) *stream {
	s := newStream(off, end)
	if len(r.streams) > 0 {
		s.expect(r.streams[r.begun])
	}
	if off == 0 && end >= min(fromStart, size/8) {
		s.moves, s.way, s.window = 1, 1, min(2, r.max)
	}
	if len(r.streams) < maxStreams {
		r.streams, r.begun = append(r.streams, s), len(r.streams)
	} else {
		r.begun = r.idlest()
		r.left = r.left || r.streams[r.begun].asked > 0
		r.streams[r.begun] = s
	}
	return &r.streams[r.begun]
}

// idlest returns the stream that is missed least.
func (r *readahead) idlest() int {
	least := 0
	for i := range r.streams {
		if r.streams[i].patience() < r.streams[least].patience() {
			least = i
		}
	}
	return least
}

// expects reports whether a reader is at block i, or is to come to it.
func (r *readahead) expects(i uint32) bool {
	for k := range r.streams {
		if s := &r.streams[k]; !s.gone(r.clock) && s.expects(i) {
			return true
		}
	}
	return false
}
