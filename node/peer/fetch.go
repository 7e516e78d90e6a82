package peer

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/shoal-mesh/shoal"
)

// A Part is some chunks of a block: [First, End), to the last one when End is 0.
type Part struct {
	Length     int // of the whole block, in bytes
	First, End int
}

// Fetch streams the part of the block key from the node from into sink, chunk after chunk.
// Chunks reach the sink while the other node is still filling the block. When as many fetches
// from that node as it allows are in progress, this one waits for its turn.
//
// Errors: fs.ErrNotExist when the node neither holds nor fills the block, ErrLength when
// it knows it with another length, a *RemoteError when it failed itself; ErrBusy,
// ErrNotMember and ErrUnreachable as they say; and whatever sink.Arrived returned. Chunks
// that arrived before an error are the sink's to keep: ask the next node for the rest.
func (h *Host) Fetch(ctx context.Context, from shoal.NodeID, key shoal.Key, part Part, sink Sink) error {
	if part.End == 0 {
		part.End = shoal.Chunks(part.Length)
	}
	r := blockRequest{key, part}
	if !r.valid() {
		return fmt.Errorf("fetch %v from %s: no chunks %d to %d in a block of %d bytes", key, from, part.First, part.End, part.Length)
	}
	err := h.exchange(ctx, from, blocks, func(s *stream) (fate, error) {
		n, f, err := s.fetch(r, sink)
		h.counts.bytesIn.Add(int64(n))
		if err == nil {
			h.counts.blocksFetched.Add(1)
		}
		return f, err
	})
	if err != nil {
		return fmt.Errorf("fetch %v from %s: %w", key, from, err)
	}
	return nil
}

// fetch sends the request r on s and reads the chunks into sink. n counts their bytes.
func (s *stream) fetch(r blockRequest, sink Sink) (n int, f fate, err error) {
	sink.Begin()
	s.out = r.appendTo(s.request())
	if err := s.send(); err != nil {
		return 0, silent, err
	}
	f = silent
	for i := r.First; i < r.End; {
		frame, err := s.frame()
		if err != nil {
			return n, f, err
		}
		f = broken
		if frame != frameChunks {
			f, err := s.refused(frame)
			return n, f, err
		}
		count, err := s.in.ReadByte()
		if err != nil {
			return n, f, err
		}
		if count == 0 || i+int(count) > r.End {
			return n, f, fmt.Errorf("%w: %d chunks after %d of %d", errGarbage, count, i, r.End)
		}
		sums := s.scratch[:4*int(count)]
		if _, err := io.ReadFull(s.in, sums); err != nil {
			return n, f, err
		}
		for ; len(sums) > 0; sums = sums[4:] {
			if f, err := s.chunk(r, i, shoal.Sum(binary.BigEndian.Uint32(sums)), sink); err != nil {
				return n, f, err
			}
			n += shoal.ChunkLen(r.Length, i)
			i++
		}
	}
	return n, answered, nil
}

// chunk reads chunk i into the sink's own buffer.
func (s *stream) chunk(r blockRequest, i int, sum shoal.Sum, sink Sink) (fate, error) {
	p := sink.Chunk(i)
	if len(p) != shoal.ChunkLen(r.Length, i) {
		return spoiled, fmt.Errorf("the sink's buffer of chunk %d has %d bytes, want %d", i, len(p), shoal.ChunkLen(r.Length, i))
	}
	for len(p) > 0 {
		got, err := s.in.Read(p)
		if err != nil {
			return broken, err
		}
		s.heard()
		p = p[got:]
	}
	err := sink.Arrived(i, sum)
	s.watch.touch() // the time the sink took is not the peer's
	if err != nil {
		return spoiled, err
	}
	return answered, nil
}
