package peer

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/shoal-mesh/shoal"
)

const (
	// mostWaiting is how much may wait in a connection, in bytes, before blocks wait their turn:
	// enough to keep the connection busy, and soon sent for a call that comes behind it. yamux
	// alone takes 64 messages, or 4 MiB: most of a second on a link of 40 Mbit/s.
	mostWaiting = 128 << 10
	// short is the most bytes of a request that need not wait for blocks: a few files of a loader, or
	// a part of a block. Behind the blocks a peer reads ahead it would wait for seconds on a slow link.
	short = 512 << 10
	// together is how many blocks of a file may lie between two that one reader is about to read.
	together = 64
	// turnWithin is how long a chunk waits for its turn. It may be that the one whose turn it was
	// cannot send, for it waits for its own reader.
	turnWithin = time.Second
	// messageHeader is the length of what yamux puts before the bytes of a stream. The second
	// byte is the kind of message; 0 is data.
	messageHeader = 12
)

// A backlog is what a connection's streams have written and TCP has not taken. Blocks wait while
// it is long, so that calls do not, and those that a reader comes to first go first: eight blocks
// that share a link evenly all come when the last one does, and until then their reader has
// nothing to read, and asks for nothing more.
type backlog struct {
	mu     sync.Mutex // guards the fields below
	bytes  int        // below zero while a writer has not said yet what it wrote
	served []shoal.Key
	line   []waiter // lowest rank first
}

// A waiter is a chunk that waits for its turn.
type waiter struct {
	rank int
	turn chan struct{} // closed when it has come
}

// begin says that so many bytes of a block are going to be sent, and returns who waits for turns
// for its chunks.
func (b *backlog) begin(key shoal.Key, bytes int) *sender {
	if bytes <= short {
		return &sender{backlog: b}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.served = append(b.served, key)
	return &sender{b, key, true}
}

// A sender sends chunks of one block.
type sender struct {
	*backlog
	key  shoal.Key
	long bool // and is in backlog.served
}

// end says that all has been sent.
func (s *sender) end() {
	if !s.long {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.served, s.key)
	s.served = slices.Delete(s.served, i, i+1)
}

// rank says whose turn is next: the lowest. It is 0 for a short request, and else grows with the
// blocks of the same file that are being sent and lie before: 1 for those that readers come to
// next. b.mu is held.
func (s *sender) rank() int {
	if !s.long {
		return 0
	}
	rank := 1
	for _, k := range s.served {
		if k.File == s.key.File && k.Index < s.key.Index && k.Index+together > s.key.Index {
			rank++
		}
	}
	return rank
}

// turn waits until a chunk may be written, or for as long as ctx allows.
func (s *sender) turn(ctx context.Context) error {
	b := s.backlog
	b.mu.Lock()
	if b.bytes < mostWaiting && len(b.line) == 0 {
		b.mu.Unlock()
		return nil
	}
	mine := make(chan struct{})
	b.wait(waiter{s.rank(), mine})
	b.mu.Unlock()
	timer := time.NewTimer(turnWithin)
	defer timer.Stop()
	select {
	case <-mine:
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}
	b.leave(mine)
	return ctx.Err()
}

// wait puts w in line, behind those of its rank. b.mu is held.
func (b *backlog) wait(w waiter) {
	i := len(b.line)
	for i > 0 && b.line[i-1].rank > w.rank {
		i--
	}
	b.line = slices.Insert(b.line, i, w)
}

// leave gives up a place in the line, or hands on the turn that has come.
func (b *backlog) leave(mine chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.IndexFunc(b.line, func(w waiter) bool { return w.turn == mine }); i >= 0 {
		b.line = slices.Delete(b.line, i, i+1)
		return
	}
	b.next()
}

// wrote says that a stream has written n bytes.
func (b *backlog) wrote(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes += n
}

// sent says that TCP has taken a message of yamux.
func (b *backlog) sent(message []byte) {
	if len(message) <= messageHeader || message[1] != 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes -= len(message) - messageHeader
	if b.bytes < mostWaiting {
		b.next()
	}
}

// next gives the first in line its turn. b.mu is held.
func (b *backlog) next() {
	if len(b.line) > 0 {
		close(b.line[0].turn)
		b.line = b.line[1:]
	}
}

// A queued stream adds what it writes to its connection's backlog.
type queued struct {
	network.MuxedStream
	backlog *backlog
}

// Write is of network.MuxedStream.
func (s queued) Write(p []byte) (int, error) {
	n, err := s.MuxedStream.Write(p)
	s.backlog.wrote(n)
	return n, err
}
