package peer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/shoal-mesh/shoal"
)

// A script is a stream whose other end says data and then closes.
type script struct {
	in    *bytes.Reader
	wrote bytes.Buffer
}

func newScript(data []byte) *script { return &script{in: bytes.NewReader(data)} }

func (s *script) Read(p []byte) (int, error)                   { return s.in.Read(p) }
func (s *script) Write(p []byte) (int, error)                  { return s.wrote.Write(p) }
func (s *script) Close() error                                 { return nil }
func (s *script) CloseRead() error                             { return nil }
func (s *script) CloseWrite() error                            { return nil }
func (s *script) Reset() error                                 { return nil }
func (s *script) ResetWithError(network.StreamErrorCode) error { return nil }
func (s *script) SetDeadline(time.Time) error                  { return nil }
func (s *script) SetReadDeadline(time.Time) error              { return nil }
func (s *script) SetWriteDeadline(time.Time) error             { return nil }

var _ network.MuxedStream = (*script)(nil)

// scripted returns a stream on which the other end answers data.
func scripted(data []byte, proto int) *stream {
	c := &conn{peer: newRemote("other", "other", Limits{CallsPerPeer: 1, StreamsPerPeer: 2})}
	s := newStream(newScript(data), c, proto, time.Now(), time.Minute)
	s.used, s.greeted = true, true
	return s
}

func FuzzBlockRequest(f *testing.F) {
	f.Add(blockRequest{testKey(3), Part{shoal.BlockSize, maxChunks - 1, maxChunks}}.appendTo(nil))
	f.Add(blockRequest{testKey(3), Part{1, 0, 1}}.appendTo(nil))
	f.Add(blockRequest{testKey(3), Part{1, 1, 1}}.appendTo(nil))
	f.Add(make([]byte, blockRequestLen))
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseBlockRequest(data)
		if err != nil {
			if !errors.Is(err, errGarbage) {
				t.Errorf("parseBlockRequest(%x) = %v, want %v", data, err, errGarbage)
			}
			return
		}
		if !r.valid() || !bytes.Equal(r.appendTo(nil), data) {
			t.Errorf("parseBlockRequest(%x) = %+v", data, r)
		}
	})
}

// Whatever a peer answers to a call: no panic, and an answer is never more than it sent.
func FuzzCallAnswer(f *testing.F) {
	f.Add([]byte{frameAnswer, 0, 0, 0, 2, 'o', 'k'})
	f.Add([]byte{frameAlive, frameAlive, frameAnswer, 0, 0, 0, 0})
	f.Add([]byte{frameAnswer, 0, 0, 0x10, 1})
	f.Add([]byte{frameFailed, 0, 2, 'n', 'o'})
	f.Add([]byte{frameFailed, 0xff, 0xff})
	f.Add([]byte{frameBusy})
	f.Add([]byte{frameChunks, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		answer, fate, err := scripted(data, calls).call(nil, 4096)
		if len(answer) > len(data) || (err == nil) != (fate == answered && answer != nil) {
			var remote *RemoteError
			if fate != answered || !errors.As(err, &remote) && refusalOf(nil, err)[0] == frameFailed {
				t.Errorf("call(%x) = %x, %v, %v", data, answer, fate, err)
			}
		}
	})
}

// Whatever a peer answers to a block request: no panic, and a fetch that succeeds has had
// every chunk.
func FuzzBlockAnswer(f *testing.F) {
	const length = shoal.ChunkSize + 3
	chunk := func(n int) []byte { return append([]byte{frameChunks, 1, 0, 0, 0, 1}, make([]byte, n)...) }
	f.Add(append(chunk(shoal.ChunkSize), chunk(3)...))
	f.Add(append([]byte{frameAlive, frameChunks, 2}, make([]byte, 8+length)...))
	f.Add(append(chunk(shoal.ChunkSize), frameFailed, 0, 1, 'x'))
	f.Add([]byte{frameChunks, 0})
	f.Add([]byte{frameChunks, 3})
	f.Add([]byte{frameAbsent})
	f.Add([]byte{frameLength})
	f.Fuzz(func(t *testing.T, data []byte) {
		sink := &counted{sized: newSized(length)}
		n, fate, err := scripted(data, blocks).fetch(blockRequest{testKey(0), Part{length, 0, shoal.Chunks(length)}}, sink)
		if n > len(data) || err == nil && (fate != answered || sink.count != 2 || n != length) {
			t.Errorf("fetch(%d bytes) = %d, %v, %v after %d chunks", len(data), n, fate, err, sink.count)
		}
	})
}

// A counted is a sized that counts.
type counted struct {
	*sized
	count int
}

func (c *counted) Begin() {}

func (c *counted) Arrived(int, shoal.Sum) error {
	c.count++
	return nil
}

// Whatever a peer asks: no panic, and all that is answered are whole frames.
func FuzzRequests(f *testing.F) {
	f.Add(true, append(blockRequest{testKey(0), Part{100, 0, 1}}.appendTo(nil), blockRequest{testKey(1), Part{5, 0, 1}}.appendTo(nil)...))
	f.Add(true, blockRequest{testKey(0), Part{99, 0, 1}}.appendTo(nil))
	f.Add(true, []byte("short"))
	f.Add(false, []byte{0, 0, 0, 1, 'x', 0, 0, 0, 0})
	f.Add(false, []byte{0, 0, 0, 1})
	f.Add(false, []byte{0x7f, 0, 0, 1, 'x'})
	f.Fuzz(func(t *testing.T, block bool, data []byte) {
		held := &store{}
		held.put(testKey(0), testData(1, 100))
		h := &Host{blocks: held, calls: &echo{}}
		h.cfg.Limits, _ = Limits{CallBytes: 1024}.withDefaults()
		h.buffers.New = func() any { b := make([]byte, sendBuffer); return &b }
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		peer := newRemote("other", "other", h.cfg.Limits)
		l := newLine(newScript(data), &conn{peer: peer}, time.Minute, cancel)
		var err error
		for err == nil {
			if block {
				err = h.serveBlock(ctx, l)
			} else {
				err = h.serveCall(ctx, l)
			}
		}
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, errGarbage) {
			t.Errorf("serve(%x) = %v", data, err)
		}
		if held.opened() != 0 || peer.serving[blocks].Load() != 0 || peer.serving[calls].Load() != 0 {
			t.Errorf("serve(%x) keeps %d blocks open", data, held.opened())
		}
	})
}

func TestRefusalsTravel(t *testing.T) {
	for _, want := range []error{fs.ErrNotExist, ErrLength, ErrBusy} {
		f, err := scripted(refusalOf(nil, want), blocks).refusedFirst(t)
		if f != answered || !errors.Is(err, want) {
			t.Errorf("refused(refusalOf(%v)) = %v, %v", want, f, err)
		}
	}
}

// refusedFirst reads the first frame of s as a refusal.
func (s *stream) refusedFirst(t *testing.T) (fate, error) {
	t.Helper()
	frame, err := s.frame()
	if err != nil {
		t.Fatal(err)
	}
	return s.refused(frame)
}
