package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/shoal-mesh/shoal"
)

// serve answers the requests that come on raw until the peer closes it or breaks it.
func (h *Host) serve(ctx context.Context, c *conn, raw network.MuxedStream) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := newLine(raw, c, h.cfg.StallTimeout, cancel)
	proto, err := l.negotiate(h)
	for err == nil {
		// Between requests a peer may be silent as long as it likes; within one it may not.
		if _, err = l.in.Peek(1); err != nil {
			break
		}
		if proto == blockProtocol {
			err = h.serveBlock(ctx, l)
		} else {
			err = h.serveCall(ctx, l)
		}
	}
	h.garbled(c.peer, err)
	if errors.Is(err, io.EOF) {
		_ = raw.Close()
		return
	}
	_ = raw.Reset()
}

// admit takes a place for one more request of r, if there is one. dismiss gives it back.
func (h *Host) admit(r *remote, proto int) bool {
	perPeer, total := h.cfg.Limits.CallsPerPeer, h.cfg.Limits.Calls
	if proto == blocks {
		perPeer, total = h.cfg.Limits.BlocksPerPeer, h.cfg.Limits.Blocks
	}
	ok := int(r.serving[proto].Add(1)) <= perPeer
	if int(h.serving[proto].Add(1)) <= total && ok {
		return true
	}
	h.dismiss(r, proto)
	h.counts.busy.Add(1)
	return false
}

func (h *Host) dismiss(r *remote, proto int) {
	r.serving[proto].Add(-1)
	h.serving[proto].Add(-1)
}

// sendBuffer holds the header and the bytes of one chunk: the frame that is sent at once.
const (
	chunkHeader = 2 + 4
	sendBuffer  = chunkHeader + shoal.ChunkSize
)

// serveBlock reads one request from l and streams the block it asks for. It returns when
// the next request comes, or when the stream has ended.
func (h *Host) serveBlock(ctx context.Context, l *line) error {
	l.hurry(l.in.Buffered() < blockRequestLen)
	if _, err := io.ReadFull(l.in, l.scratch[:blockRequestLen]); err != nil {
		return err
	}
	r, err := parseBlockRequest(l.scratch[:blockRequestLen])
	if err != nil {
		return err
	}
	l.begin()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := h.sendBlock(ctx, l, r)
		l.end()
		if err != nil {
			_ = l.raw.Reset() // ends the Peek below
		}
		done <- err
	}()
	// A peer that gives the block up resets the stream. Nobody else would notice while the
	// next chunk is waited for.
	_, gone := l.in.Peek(1)
	if gone != nil {
		cancel()
	}
	if err := <-done; err != nil {
		return err
	}
	return gone
}

// sendBlock answers the request r. An error says that the stream is broken.
func (h *Host) sendBlock(ctx context.Context, l *line, r blockRequest) error {
	if !h.admit(l.conn.peer, blocks) {
		return l.write(append(l.out[:0], frameBusy))
	}
	defer h.dismiss(l.conn.peer, blocks)
	b, err := h.blocks.OpenBlock(ctx, r.key)
	if err != nil {
		return l.refuse(err)
	}
	if b.Length() != r.Length {
		err = ErrLength
	}
	to := l.conn.begin(r.key, (r.End-r.First)*shoal.ChunkSize)
	defer to.end()
	for i := r.First; err == nil && i < r.End; i++ {
		var lost error
		if lost, err = h.serveChunk(ctx, l, to, b, r.Length, i); lost != nil {
			_ = b.Close()
			return lost
		}
	}
	closed := b.Close()
	if err == nil {
		h.counts.blocksServed.Add(1)
		return closed
	}
	return l.refuse(err)
}

// serveChunk sends chunk i of b as soon as it has landed and its turn has come. lost says that the stream is
// broken, err that b is.
func (h *Host) serveChunk(ctx context.Context, l *line, to *sender, b Stream, length, i int) (lost, err error) {
	n := shoal.ChunkLen(length, i)
	buf := h.buffers.Get().(*[]byte)
	defer h.buffers.Put(buf)
	frame := (*buf)[:chunkHeader+n]
	data, sum, err := b.Chunk(ctx, i, frame[chunkHeader:])
	if err != nil {
		return ctx.Err(), err
	}
	if len(data) != n {
		return nil, fmt.Errorf("chunk %d has %d bytes, want %d", i, len(data), n)
	}
	if &data[0] != &frame[chunkHeader] {
		copy(frame[chunkHeader:], data)
	}
	if err := to.turn(ctx); err != nil {
		return err, nil
	}
	frame[0], frame[1] = frameChunks, 1
	binary.BigEndian.PutUint32(frame[2:], uint32(sum))
	if err := l.write(frame); err != nil {
		return err, nil
	}
	h.counts.bytesOut.Add(int64(n))
	return nil, nil
}
