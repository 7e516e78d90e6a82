package peer

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	mss "github.com/multiformats/go-multistream"

	"github.com/shoal-mesh/shoal"
)

// stallForTest is long enough for a loaded machine and short enough to wait for.
const stallForTest = 500 * time.Millisecond

// A rawPeer is a libp2p end without a Host: it is a member and says what it likes.
type rawPeer struct {
	identity *Identity
	wire     *wire
	listener transport.Listener
	conn     transport.CapableConn
	gone     chan struct{} // closed when the connection that answer serves ends
}

func newRaw(t *testing.T, knows *node) *rawPeer {
	t.Helper()
	cfg, err := Config{Identity: testIdentity(t)}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	g := newGate(cfg.Limits, cfg.Logger)
	id, err := peer.Decode(string(knows.id()))
	if err != nil {
		t.Fatal(err)
	}
	g.admit(map[peer.ID]bool{id: true})
	w, err := newWire(cfg, g)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.limits.Close() })
	return &rawPeer{identity: cfg.Identity, wire: w, gone: make(chan struct{})}
}

func (r *rawPeer) id() shoal.NodeID { return r.identity.ID() }

// dialRaw returns a peer connected to the host, which knows it beside others.
func dialRaw(t *testing.T, host *node, others ...*node) *rawPeer {
	t.Helper()
	r := newRaw(t, host)
	members := []shoal.Member{{ID: r.id()}}
	for _, n := range others {
		members = append(members, n.member())
	}
	host.SetMembers(members)
	id, err := peer.Decode(string(host.id()))
	if err != nil {
		t.Fatal(err)
	}
	if r.conn, err = r.wire.dial(t.Context(), host.Addr(), id); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.conn.Close() })
	return r
}

// listenRaw returns a peer that host, which knows nobody else, may dial.
func listenRaw(t *testing.T, host *node) *rawPeer {
	t.Helper()
	r := newRaw(t, host)
	var err error
	if r.listener, err = r.wire.listen(t.Context(), "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.listener.Close() })
	host.SetMembers([]shoal.Member{{ID: r.id(), PeerAddr: r.listener.Addr().String()}})
	return r
}

// answer agrees to proto on the first stream of one connection, and writes data to it when
// the first request comes.
func (r *rawPeer) answer(t *testing.T, proto string, data []byte) {
	defer close(r.gone)
	c, err := r.listener.Accept()
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = c.Close() }()
	s, err := c.AcceptStream()
	if err != nil {
		t.Error(err)
		return
	}
	mux := mss.NewMultistreamMuxer[string]()
	mux.AddHandler(proto, nil)
	if _, _, err := mux.Negotiate(s); err != nil {
		t.Error(err)
		return
	}
	if _, err := s.Read(make([]byte, 100)); err != nil {
		t.Error(err)
		return
	}
	if _, err := s.Write(data); err != nil {
		t.Error(err)
	}
	_, _ = io.Copy(io.Discard, s) // until the other end has had enough
	if data == nil {
		_, _ = c.AcceptStream() // the connection must end as well
	}
}

// A rawStream is a stream of a rawPeer.
type rawStream struct{ network.MuxedStream }

// open opens a stream and has proto agreed to, if it is not empty.
func (r *rawPeer) open(t *testing.T, proto string) rawStream {
	t.Helper()
	s, err := r.conn.OpenStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if proto != "" {
		if _, err := mss.SelectOneOf([]string{proto}, s); err != nil {
			t.Fatal(err)
		}
	}
	return rawStream{s}
}

func (s rawStream) write(t *testing.T, data []byte) {
	t.Helper()
	if _, err := s.Write(data); err != nil {
		t.Fatal(err)
	}
}

func (s rawStream) read(t *testing.T, n int) []byte {
	t.Helper()
	p := make([]byte, n)
	if _, err := io.ReadFull(s, p); err != nil {
		t.Fatal(err)
	}
	return p
}

func newGarbage(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.Read(p)
	return p
}

// Whatever a member sends, the stream it comes on ends, and nothing else.
func TestHostDropsGarbageRequests(t *testing.T) {
	host, good := startPair(t, Config{StallTimeout: stallForTest})
	raw := dialRaw(t, host, good)
	tooLong := blockRequest{testKey(0), Part{shoal.BlockSize + 1, 0, shoal.Chunks(shoal.BlockSize + 1)}}.appendTo(nil)
	beyond := blockRequest{testKey(0), Part{100, 1, 2}}.appendTo(nil)
	tests := []struct {
		name, proto string
		data        []byte
		garbage     int64 // as the host counts it
	}{
		{"oversize call", callProtocol, []byte{0xff, 0xff, 0xff, 0xff}, 1},
		{"call over the limit", callProtocol, []byte{0, 0x10, 0, 1}, 1},
		{"half a call", callProtocol, []byte{0, 0, 0, 9, 'x'}, 0},
		{"half a length", callProtocol, []byte{0}, 0},
		{"block too long", blockProtocol, tooLong, 1},
		{"chunk beyond the block", blockProtocol, beyond, 1},
		{"half a block request", blockProtocol, beyond[:5], 0},
		{"noise for a block request", blockProtocol, bytes.Repeat([]byte{0xa5}, 4096), 1},
		{"noise for a protocol", "", bytes.Repeat([]byte{0xa5}, 4096), 0},
		{"a long protocol", "", append([]byte("\x13/multistream/1.0.0\n\xff\x07"), make([]byte, 2000)...), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := host.Stats().Garbage
			s := raw.open(t, tt.proto)
			s.write(t, tt.data)
			if _, err := io.Copy(io.Discard, s); err == nil && tt.proto != "" {
				t.Error("the stream was closed in good order, want a reset")
			}
			if _, err := good.Call(t.Context(), host.id(), []byte("still there?")); err != nil {
				t.Errorf("Call of another member = %v, want nil", err)
			}
			if got := host.Stats().Garbage - before; got != tt.garbage {
				t.Errorf("garbage counted %d times, want %d", got, tt.garbage)
			}
		})
	}
	if got := host.log.count(lineGarbage); got != 1 {
		t.Errorf("%d log lines on a peer that breaks the protocol, want 1", got)
	}
}

// Lengths that are announced and not sent cost nothing.
func TestHostAllocatesForWhatArrives(t *testing.T) {
	host := startNode(t, Config{Limits: Limits{CallBytes: 16 << 20, CallsPerPeer: 100}})
	raw := dialRaw(t, host)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 99 {
		s := raw.open(t, callProtocol)
		s.write(t, []byte{0x01, 0, 0, 0, 'x'})
	}
	last := raw.open(t, callProtocol)
	last.write(t, []byte{0, 0, 0, 1, 'x'})
	if got := last.read(t, 6); !bytes.Equal(got, []byte{frameAnswer, 0, 0, 0, 1, 'x'}) {
		t.Errorf("answer %v, want the echo of x", got)
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 32<<20 {
		t.Errorf("99 calls that announce 16 MiB each made the host allocate %d bytes", grown)
	}
}

// More streams than a peer may have are refused without harm to the others.
func TestHostBoundsStreams(t *testing.T) {
	host := startNode(t, Config{Limits: Limits{StreamsPerPeer: 80}})
	raw := dialRaw(t, host)
	first := raw.open(t, callProtocol)
	refused := 0
	for range 200 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		s, err := raw.conn.OpenStream(ctx)
		if err == nil {
			_, err = mss.SelectOneOf([]string{callProtocol}, s)
		}
		cancel()
		if err != nil {
			refused++
		}
	}
	if refused != 200-79 {
		t.Errorf("%d streams of 200 refused, want %d", refused, 200-79)
	}
	first.write(t, []byte{0, 0, 0, 0})
	if got := first.read(t, 5); got[0] != frameAnswer {
		t.Errorf("frame %d on the first stream, want %d", got[0], frameAnswer)
	}
}

func TestHostDropsGarbageAnswers(t *testing.T) {
	manyChunks := []byte{frameChunks, 255}
	tests := []struct {
		name, proto string
		data        []byte
	}{
		{"unknown frame", callProtocol, []byte{99}},
		{"oversize answer", callProtocol, []byte{frameAnswer, 0xff, 0xff, 0xff, 0xff}},
		{"oversize text", callProtocol, []byte{frameFailed, 0xff, 0xff}},
		{"chunks for a call", callProtocol, manyChunks},
		{"unknown frame", blockProtocol, []byte{0}},
		{"answer for a block", blockProtocol, []byte{frameAnswer, 0, 0, 0, 0}},
		{"too many chunks", blockProtocol, manyChunks},
		{"no chunks", blockProtocol, []byte{frameChunks, 0}},
		{"noise", blockProtocol, append([]byte{200}, newGarbage(5000)...)},
	}
	for _, tt := range tests {
		t.Run(tt.proto[1:]+"/"+tt.name, func(t *testing.T) {
			a := startNode(t, Config{})
			liar := listenRaw(t, a)
			go liar.answer(t, tt.proto, tt.data)
			var err error
			if tt.proto == callProtocol {
				_, err = a.Call(t.Context(), liar.id(), nil)
			} else {
				err = a.Fetch(t.Context(), liar.id(), testKey(0), Part{Length: 100}, newBuffer(testKey(0), 100))
			}
			if !errors.Is(err, ErrUnreachable) || !errors.Is(err, errGarbage) {
				t.Errorf("%s: %v, want %v", tt.name, err, errGarbage)
			}
			if got := a.Stats().Garbage; got != 1 {
				t.Errorf("garbage counted %d times, want 1", got)
			}
			<-liar.gone
		})
	}
}
