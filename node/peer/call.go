package peer

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/shoal-mesh/shoal"
)

// Call sends request to the node to and returns its answer. It waits as long as ctx allows
// while that node is at work, and fails at once, for a while, when it could not be dialed.
//
// Errors: a *RemoteError is the handler's; ErrBusy, ErrNotMember and ErrUnreachable are as
// they say. A request may be handled twice when a connection breaks: it must be harmless
// to repeat.
func (h *Host) Call(ctx context.Context, to shoal.NodeID, request []byte) ([]byte, error) {
	if len(request) > h.cfg.Limits.CallBytes {
		return nil, fmt.Errorf("call %s: a request of %d bytes, at most %d are allowed", to, len(request), h.cfg.Limits.CallBytes)
	}
	var answer []byte
	err := h.exchange(ctx, to, calls, func(s *stream) (f fate, err error) {
		answer, f, err = s.call(request, h.cfg.Limits.CallBytes)
		if f == answered {
			h.counts.callsMade.Add(1)
			h.counts.bytesOut.Add(int64(len(request)))
			h.counts.bytesIn.Add(int64(len(answer)))
		}
		return f, err
	})
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", to, err)
	}
	return answer, nil
}

// call sends request on s and reads the answer, at most limit bytes.
func (s *stream) call(request []byte, limit int) ([]byte, fate, error) {
	s.out = binary.BigEndian.AppendUint32(s.request(), uint32(len(request)))
	s.out = append(s.out, request...)
	if err := s.send(); err != nil {
		return nil, silent, err
	}
	frame, err := s.frame()
	if err != nil {
		return nil, silent, err
	}
	if frame != frameAnswer {
		f, err := s.refused(frame)
		return nil, f, err
	}
	n, err := readUint32(s.in, s.scratch[:])
	if err != nil {
		return nil, broken, err
	}
	answer, err := readBytes(s.in, n, limit)
	if err != nil {
		return nil, broken, err
	}
	return answer, answered, nil
}

// serveCall reads one request from l, has it handled and answers.
func (h *Host) serveCall(ctx context.Context, l *line) error {
	l.hurry(!l.whole())
	n, err := readUint32(l.in, l.scratch[:])
	if err != nil {
		return err
	}
	if !h.admit(l.conn.peer, calls) {
		if err := l.discard(n, h.cfg.Limits.CallBytes); err != nil {
			return err
		}
		l.begin()
		defer l.end()
		return l.refuse(ErrBusy)
	}
	request, err := readBytes(l.in, n, h.cfg.Limits.CallBytes)
	if err != nil {
		h.dismiss(l.conn.peer, calls)
		return err
	}
	l.begin()
	defer l.end()
	answer, err := h.calls.HandleCall(ctx, l.conn.peer.node, request)
	// Not after the answer was sent: who has it may call again at once.
	h.dismiss(l.conn.peer, calls)
	h.counts.callsServed.Add(1)
	h.counts.bytesIn.Add(int64(len(request)))
	if err == nil && len(answer) > h.cfg.Limits.CallBytes {
		err = fmt.Errorf("an answer of %d bytes, at most %d are allowed", len(answer), h.cfg.Limits.CallBytes)
	}
	if err != nil {
		l.out = appendText(l.out[:0], err)
		return l.write(l.out)
	}
	h.counts.bytesOut.Add(int64(len(answer)))
	l.out = binary.BigEndian.AppendUint32(append(l.out[:0], frameAnswer), uint32(len(answer)))
	l.out = append(l.out, answer...)
	return l.write(l.out)
}
