package node

import (
	"slices"

	"github.com/shoal-mesh/shoal"
)

// ask returns what is to be fetched for the stream now, at most room blocks, and notes that
// it has been asked for.
func (s *stream) ask(size int64, room uint32) (parts []part) {
	if !s.strided && !s.sequential() {
		return nil
	}
	from, left := s.asked, s.left(size)
	to := min(s.window, left)
	if room < to-min(from, to) {
		to = from + room
	}
	if to <= from || (to-from < s.window/2 && to < left) {
		return nil // nothing, or too little to be worth a lookup
	}
	return s.upTo(to, size, room)
}

// further is ask for a reader that waits for its blocks. due reports whether one is on its way: of
// those asked for, as many places as the window has are to be.
func (s *stream) further(size int64, room uint32, due func(i uint32) bool) (parts []part) {
	if s.waits == 0 || !s.strided && !s.sequential() {
		return nil
	}
	free := s.window
	for k := uint32(1); k <= s.asked && free > 0; k++ {
		if slices.ContainsFunc(s.parts(k, size), func(p part) bool { return due(p.index) }) {
			free--
		}
	}
	return s.upTo(min(s.asked+free, lead*s.window, s.left(size)), size, room)
}

// upTo returns the parts of the places up to one that have not been asked for, at most room blocks,
// and notes that they have been.
func (s *stream) upTo(to uint32, size int64, room uint32) (parts []part) {
	for s.asked < to {
		more := s.parts(s.asked+1, size)
		if len(parts)+len(more) > int(room) {
			break
		}
		parts = append(parts, more...)
		s.asked++
	}
	return parts
}

// parts returns what is to be fetched for place k of a file of size bytes. A block that place
// k-1 has a part of is not fetched again.
func (s *stream) parts(k uint32, size int64) (parts []part) {
	from, to := s.place(k)
	from, to = max(0, from), min(to, size)
	before, behind := s.place(k - 1)
	for i := uint32(from / shoal.BlockSize); i < after(to); i++ {
		begins := int64(i) * shoal.BlockSize
		switch {
		case !s.strided:
			parts = append(parts, whole(i))
		case before < begins+shoal.BlockSize && behind > begins:
		default:
			off := max(from, begins)
			parts = append(parts, part{i, spanOf(int(off-begins), int(min(to, begins+shoal.BlockSize)-off))})
		}
	}
	return parts
}

// place returns where place k is: bytes [from, to), which may lie outside of the file.
func (s *stream) place(k uint32) (from, to int64) {
	if s.strided {
		from = s.start + int64(k)*s.step
		return from, from + s.length
	}
	i := int64(after(s.end)) - 1 + int64(k)
	if s.way < 0 {
		i = s.start/shoal.BlockSize - int64(k)
	}
	return i * shoal.BlockSize, (i + 1) * shoal.BlockSize
}

// at reports whether the reader is at block i.
func (s *stream) at(i uint32) bool {
	begins := int64(i) * shoal.BlockSize
	return s.start < begins+shoal.BlockSize && s.end > begins
}

// expects reports whether the reader is at block i, or it has been asked for.
func (s *stream) expects(i uint32) bool {
	if s.at(i) {
		return true
	}
	begins := int64(i) * shoal.BlockSize
	for k := range s.asked {
		if from, to := s.place(k + 1); from < begins+shoal.BlockSize && to > begins {
			return true
		}
	}
	return false
}

// left returns how many places there are ahead in a file of size bytes.
func (s *stream) left(size int64) uint32 {
	var n int64
	switch {
	case s.strided && s.step > 0:
		n = (size - 1 - s.start) / s.step
	case s.strided:
		n = (s.start + s.length - 1) / -s.step
	case s.way > 0:
		n = int64(shoal.Blocks(size)) - int64(after(s.end))
	default:
		n = s.start / shoal.BlockSize
	}
	return uint32(max(0, n))
}

// after returns the first block that a read ending at end does not touch.
func after(end int64) uint32 { return uint32((end + shoal.BlockSize - 1) / shoal.BlockSize) }
