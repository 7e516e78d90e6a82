package node

import "github.com/shoal-mesh/shoal"

const (
	// slack is how far from its place a read may be and still continue a stream: the
	// kernel sends the pieces of one readahead in any order.
	slack = 4 << 20
	// reach is how many bytes of what it has passed a stream remembers.
	reach = 2 * slack
	// steady is how many moves in one direction make a stream of a reader that leaves
	// much out. Reads at random make as many by chance, but seldom.
	steady = 8
	// fromStart is how many bytes at the beginning of a file somebody reads who is taken
	// to read on. Who looks at a header reads less.
	fromStart = 128 << 10
	// lead is how many windows ahead of a reader that waits for what it reads a stream may be.
	lead = 3
)

// A stream is one reader of a file, as far as its reads tell: sequential, in either
// direction; strided, which is to say in runs of about one length that are one step apart;
// or none of these yet.
//
// What it is about to read are its places: of a sequential reader blocks, of a strided one
// runs. Place 0 is where it is, place 1 comes next.
type stream struct {
	start, end int64 // its latest reads lie within
	read       int64 // bytes read of that, roughly
	moves      int   // that went up since it turned; less than 0: that went down
	way        int   // 1: reads up, -1: down, 0: neither yet

	step    int64 // from run to run; 0: unknown
	length  int64 // of a run, the longest so far
	strided bool  // a run came where step said

	window uint32 // places to be ahead
	asked  uint32 // places that have been asked for
	waits  uint32 // places until it no longer counts as one that waits for what it reads

	used uint64 // when, by the readahead's clock
	gap  uint64 // how long it was unused lately, at most
}

func newStream(off, end int64) stream { return stream{start: off, end: end, read: end - off} }

// expect takes the stream for the second run of a reader, before being the first.
func (s *stream) expect(before stream) {
	s.length = before.end - before.start
	if step := s.start - before.start; abs(step) >= s.length && before.dense() {
		s.step = step
	}
}

// beside reports whether [off, end) is about where the stream is, and how many bytes off.
func (s *stream) beside(off, end int64) (distance int64, ok bool) {
	return min(abs(off-s.end), abs(end-s.start)), off <= s.end+slack && end >= s.start-slack
}

// ahead reports whether [off, end) is about where the next run is to be, and how many bytes off.
func (s *stream) ahead(off, end int64) (distance int64, ok bool) {
	next := s.start + s.step
	return abs(off - next), s.step != 0 && off < next+s.length && end > next && s.dense()
}

// jump notes a read of the next run, and reports whether what was asked for is not wanted.
func (s *stream) jump(off, end int64, most uint32) (left bool) {
	if !s.strided {
		left = s.asked > 0 // as of a sequential reader
		s.strided, s.way, s.moves, s.window, s.asked = true, 0, 0, 0, 0
	}
	s.length = max(s.length, s.end-s.start)
	s.start += s.step
	s.end, s.read = max(end, s.start+1), end-off
	s.asked -= min(s.asked, 1)
	s.waits -= min(s.waits, 1)
	s.window = min(max(2*s.window, 2), most/uint32(shoal.Blocks(s.length)))
	return left
}

// move notes a read about where the stream is, and reports whether what was asked for is
// not wanted.
func (s *stream) move(off, end int64, most uint32) (left bool) {
	if s.strided {
		s.end, s.read = max(s.end, end), s.read+end-off
		if s.end-s.start <= s.length+slack {
			return false
		}
		left = s.asked > 0 // the run goes on and on
		*s = stream{start: s.start, end: s.end, read: s.read, moves: 1, used: s.used, gap: s.gap}
		return left
	}
	before := *s
	s.extend(off, end)
	if s.start > before.start {
		s.step = 0 // too long for a run
	} else if s.step != 0 {
		s.step += s.start - before.start
	}
	if s.way > 0 && s.end < before.end || s.way < 0 && s.start > before.start {
		left = s.asked > 0
		s.way, s.window, s.asked = 0, 0, 0
	}
	if way := s.heading(); way != 0 && way != s.way {
		left = left || s.asked > 0
		s.way, s.window, s.asked = way, 0, 0
	}
	s.advance(before, most)
	return left
}

// extend has the stream cover a read, and counts it.
func (s *stream) extend(off, end int64) {
	start, stop := min(s.start, off), max(s.end, end)
	length := stop - start
	switch {
	case end > s.end:
		s.moves = max(s.moves, 0) + 1
		start = max(start, min(off, stop-reach))
	case off < s.start:
		s.moves = min(s.moves, 0) - 1
		stop = min(stop, max(end, start+reach))
	}
	s.read = min(s.read+end-off, length)
	if kept := stop - start; kept < length { // as much of what was read as of the whole
		s.read = int64(float64(s.read) * float64(kept) / float64(length))
	}
	s.start, s.end = start, stop
}

// heading returns the direction of one who reads nearly all on the way, or goes one way
// for long; 0 for others.
func (s *stream) heading() int {
	switch {
	case s.moves >= steady, s.moves >= 1 && s.dense():
		return 1
	case s.moves <= -steady, s.moves <= -3 && s.dense():
		return -1
	}
	return 0
}

// dense reports whether most of what the stream passed was read.
func (s *stream) dense() bool { return 4*s.read >= 3*(s.end-s.start) }

// sequential reports whether a read that was noted just now is a sequential reader's.
func (s *stream) sequential() bool { return s.way != 0 && s.way == s.heading() }

// advance counts the blocks that the stream has gone on, and widens its window.
func (s *stream) advance(before stream, most uint32) {
	var blocks uint32
	switch {
	case s.way > 0:
		blocks = after(s.end) - after(before.end)
	case s.way < 0:
		blocks = uint32(before.start/shoal.BlockSize - s.start/shoal.BlockSize)
	}
	s.asked -= min(s.asked, blocks)
	s.waits -= min(s.waits, blocks)
	switch {
	case !s.sequential():
	case blocks > 0:
		s.window = min(max(2*s.window, 2), most)
	default:
		s.window = max(s.window, min(1, most))
	}
}

// patience returns until when, by the readahead's clock, the reader counts as being there. One
// whose ways are not known yet is not waited for.
func (s *stream) patience() uint64 {
	if s.way == 0 && !s.strided {
		return s.used
	}
	return s.used + 16 + 8*s.gap
}

// gone reports whether the reader has not been seen for long, by the readahead's clock.
func (s *stream) gone(clock uint64) bool { return clock > s.patience() }

func abs(n int64) int64 { return max(n, -n) }
