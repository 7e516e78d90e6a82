package peer

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/shoal-mesh/shoal"
)

// A store is a fake Blocks: blocks in memory, some of which may still be filled.
type store struct {
	// Fault, if set, is asked before each chunk.
	Fault func(key shoal.Key, i int) error

	onClose func() // called when a stream is closed; may be nil

	mu     sync.Mutex // guards the fields below
	blocks map[shoal.Key]*block
	open   int
}

// A block is complete when landed is nil. Otherwise each receive from landed lets one
// more chunk land.
type block struct {
	data   []byte
	sums   []shoal.Sum
	landed chan struct{}
}

func (s *store) put(key shoal.Key, data []byte) *block {
	b := &block{data: data, sums: shoal.ChunkSums(key, data)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.blocks == nil {
		s.blocks = make(map[shoal.Key]*block)
	}
	s.blocks[key] = b
	return b
}

// fill is like put, of a block that is still being filled.
func (s *store) fill(key shoal.Key, data []byte) *block {
	b := s.put(key, data)
	b.landed = make(chan struct{})
	return b
}

func (s *store) opened() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

func (s *store) OpenBlock(_ context.Context, key shoal.Key) (Stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.blocks[key]
	if b == nil {
		return nil, fmt.Errorf("open %v: %w", key, fs.ErrNotExist)
	}
	s.open++
	return &reading{s, key, b}, nil
}

type reading struct {
	store *store
	key   shoal.Key
	*block
}

func (r *reading) Length() int { return len(r.data) }

func (r *reading) Chunk(ctx context.Context, i int, buf []byte) ([]byte, shoal.Sum, error) {
	if r.store.Fault != nil {
		if err := r.store.Fault(r.key, i); err != nil {
			return nil, 0, err
		}
	}
	if r.landed != nil {
		select {
		case <-r.landed:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
	n := copy(buf, r.data[i*shoal.ChunkSize:][:shoal.ChunkLen(len(r.data), i)])
	return buf[:n], r.sums[i], nil
}

func (r *reading) Close() error {
	if r.store.onClose != nil {
		r.store.onClose()
	}
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	r.store.open--
	return nil
}

// A buffer is a Sink that verifies and keeps a whole block.
type buffer struct {
	key     shoal.Key
	data    []byte
	arrived func(i int) // may be nil
	count   int
}

func newBuffer(key shoal.Key, length int) *buffer {
	return &buffer{key: key, data: make([]byte, length)}
}

func (b *buffer) Chunk(i int) []byte {
	return b.data[i*shoal.ChunkSize:][:shoal.ChunkLen(len(b.data), i)]
}

func (b *buffer) Begin() {}

func (b *buffer) Arrived(i int, sum shoal.Sum) error {
	if got := shoal.ChunkSum(b.key, i, b.Chunk(i)); got != sum {
		return fmt.Errorf("chunk %d: %w", i, errCorrupt)
	}
	b.count++
	if b.arrived != nil {
		b.arrived(i)
	}
	return nil
}

var errCorrupt = fmt.Errorf("corrupt")

// echo is a fake Calls that answers with the request, unless Handle says otherwise.
type echo struct {
	Handle func(ctx context.Context, from shoal.NodeID, request []byte) ([]byte, error)
	count  atomic.Int64
}

func (e *echo) HandleCall(ctx context.Context, from shoal.NodeID, request []byte) ([]byte, error) {
	e.count.Add(1)
	if e.Handle != nil {
		return e.Handle(ctx, from, request)
	}
	return request, nil
}

// A node is a Host with its fakes.
type node struct {
	*Host
	store *store
	echo  *echo
	log   *logBook
}

func (n *node) id() shoal.NodeID { return n.cfg.Identity.ID() }

func (n *node) member() shoal.Member {
	return shoal.Member{ID: n.id(), PeerAddr: n.Addr(), Boot: 1}
}

// startNode returns a running host on loopback that knows nobody.
func startNode(t testing.TB, cfg Config) *node {
	t.Helper()
	cfg.Identity = testIdentity(t)
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	n := &node{store: &store{}, echo: &echo{}, log: &logBook{}}
	cfg.Logger = newTestLogger(n.log)
	h, err := New(n.store, n.echo, cfg)
	if err != nil {
		t.Fatal(err)
	}
	n.Host = h
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Errorf("Close() = %v, want nil", err)
		}
	})
	return n
}

// startPair returns two hosts that know each other.
func startPair(t testing.TB, cfg Config) (a, b *node) {
	t.Helper()
	a, b = startNode(t, cfg), startNode(t, cfg)
	introduce(a, b)
	return a, b
}

// idle returns the idle stream of proto that n would use next to reach to.
func (n *node) idle(to *node, proto int) *stream {
	n.mu.RLock()
	defer n.mu.RUnlock()
	r := n.peers[to.id()]
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.newest()
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.idle[proto]) == 0 {
		return nil
	}
	return c.idle[proto][len(c.idle[proto])-1]
}

func introduce(nodes ...*node) {
	var members []shoal.Member
	for _, n := range nodes {
		members = append(members, n.member())
	}
	for _, n := range nodes {
		n.SetMembers(members)
	}
}

func testIdentity(t testing.TB) *Identity {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	id, err := newIdentity(key)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func testKey(i uint32) shoal.Key { return shoal.Key{File: shoal.FileID{1, 2, 3}, Index: i} }

// testData returns n bytes that differ from block to block.
func testData(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return data
}

func newTestLogger(book *logBook) *slog.Logger { return slog.New(book) }

// A logBook keeps the messages logged.
type logBook struct {
	mu    sync.Mutex // guards the field below
	lines []string
}

func (l *logBook) Enabled(context.Context, slog.Level) bool { return true }

func (l *logBook) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, r.Message)
	return nil
}

func (l *logBook) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *logBook) WithGroup(string) slog.Handler      { return l }

// count returns how many lines read msg.
func (l *logBook) count(msg string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range l.lines {
		if line == msg {
			n++
		}
	}
	return n
}
