package peer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/shoal-mesh/shoal"
)

// A fate is what became of a stream in one exchange.
type fate int

const (
	// answered: the answer was read to its end; the stream may carry the next request.
	answered fate = iota
	// silent: the stream broke before a byte of an answer came. If it had been idle, it may
	// have been broken for long, and the request is sent again.
	silent
	// broken: the stream broke, or broke the protocol, within the answer.
	broken
	// spoiled: this node does not want the rest of the answer.
	spoiled
)

// exchange sends one request to the node to and reads the answer, both in run, on a stream
// of the pool proto. It returns the answer's own error, or one that says what is wrong
// with the peer, or why ctx ended.
func (h *Host) exchange(ctx context.Context, to shoal.NodeID, proto int, run func(*stream) (fate, error)) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	r, err := h.enter(to)
	if err != nil {
		return err
	}
	defer h.wg.Done()
	if err := r.reserve(ctx, proto); err != nil {
		return err
	}
	defer r.release(proto)
	for {
		s, err := h.open(ctx, r, proto)
		if err != nil {
			return err
		}
		idled := s.used
		stop := s.begin(ctx)
		f, err := run(s)
		cut := s.end(stop)
		if cut == nil && f == answered && s.clean() {
			s.conn.proved.Store(true)
			s.conn.give(s, h.clock())
			return err
		}
		h.wg.Go(s.abort) // it blocks while the connection is stuck
		switch {
		case f == answered || f == spoiled:
			return err
		case errors.Is(cut, errStalled):
			h.stalled(s.conn)
			return fmt.Errorf("%w: %w for %v", ErrUnreachable, errStalled, h.cfg.StallTimeout)
		case cut != nil:
			h.givenUp(s.conn)
			return cut
		case f == silent && idled:
			continue
		}
		h.garbled(r, err)
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
}

// stalled breaks c if no stream of it heard anything for as long as one stream waited:
// then not the request is stuck but the peer, and the next request had better dial.
func (h *Host) stalled(c *conn) {
	h.counts.stalled.Add(1)
	if h.clock()-time.Duration(c.heard.Load()) >= h.cfg.StallTimeout {
		c.proved.Store(false)
		h.wg.Go(c.close) // it may block for some seconds
	}
}

// givenUp breaks c, on which a request's context ended, if the other end has not even
// answered a keep-alive for longer than it takes: its host is gone, yamux needs yet longer
// to say so, and until then every request would go the same way.
func (h *Host) givenUp(c *conn) {
	if c.tcp != nil && c.tcp.silence() > 2*h.cfg.keepAlive {
		c.proved.Store(false)
		h.wg.Go(c.close) // it may block for some seconds
	}
}

// garbled counts and logs, once per peer, that it broke the protocol, if err says so.
func (h *Host) garbled(r *remote, err error) {
	if !errors.Is(err, errGarbage) {
		return
	}
	h.counts.garbage.Add(1)
	if !r.garbled.Swap(true) {
		h.cfg.Logger.Warn("peer breaks the protocol", "node", r.node, "error", err)
	}
}

// refused reads what follows a frame that is not the answer and returns the error it
// stands for.
func (s *stream) refused(frame byte) (fate, error) {
	if frame == frameFailed {
		text, err := readText(s.in, s.scratch[:])
		if err != nil {
			return broken, err
		}
		return answered, &RemoteError{Node: s.conn.peer.node, Text: text}
	}
	if err := refusal(frame); err != nil {
		return answered, err
	}
	return broken, fmt.Errorf("%w: frame %d", errGarbage, frame)
}

// refusalOf returns the frames that tell err to the other end.
func refusalOf(b []byte, err error) []byte {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return append(b, frameAbsent)
	case errors.Is(err, ErrLength):
		return append(b, frameLength)
	case errors.Is(err, ErrBusy):
		return append(b, frameBusy)
	}
	return appendText(b, err)
}
