// Package peer carries bytes between nodes: blocks as they flow, chunk by chunk, and
// small calls with an answer. Everything travels over libp2p connections of TCP, TLS 1.3
// and yamux, and both ends of a connection prove which node they are.
//
// Only members connect. A Host admits nobody until SetMembers names them, refuses
// everyone else after the TLS handshake at the latest, and closes the connections of a
// member that is gone. What a stranger can make it allocate, and what a member can, is
// bounded by Config.Limits.
//
// A request travels on a stream of its own and the stream is kept for the next one,
// because opening a stream per small request costs a third of the throughput. The two
// protocols are described in wire.go.
//
// Buffers: a request given to Call stays the caller's, the answer becomes the caller's; a
// request given to HandleCall becomes the handler's, its answer becomes the Host's. Fetch
// reads into the Sink's buffers and keeps none of them.
//
// The package does not know who should be asked for a block, does not verify what it
// carries (the Sink does), and does not retry at another node.
package peer

import (
	"context"
	"errors"
	"fmt"

	"github.com/shoal-mesh/shoal"
)

// Errors a caller of Call and Fetch branches on.
var (
	// ErrNotMember says that the node is not among the members of the last SetMembers.
	ErrNotMember = errors.New("not a member")
	// ErrUnreachable says that the node could not be dialed, that it broke the connection,
	// or that it kept silent for Config.StallTimeout.
	ErrUnreachable = errors.New("peer unreachable")
	// ErrBusy says that the node serves as many requests as it may, those of other nodes
	// among them: try another.
	ErrBusy = errors.New("peer busy")
	// ErrLength says that the node knows the block with another length than the one asked for.
	ErrLength = errors.New("block length differs")
	// ErrClosed says that the Host is closed.
	ErrClosed = errors.New("peer host closed")
)

// A RemoteError is what the other node answered when its Blocks or Calls failed. The node
// is well: it was reached, and it said so.
type RemoteError struct {
	Node shoal.NodeID
	Text string // at most maxText bytes of the error there
}

// Error returns the node and its words.
func (e *RemoteError) Error() string { return fmt.Sprintf("%s says: %s", e.Node, e.Text) }

// Blocks is where a Host finds the blocks it serves.
type Blocks interface {
	// OpenBlock returns the block key to stream from. It fails with fs.ErrNotExist when the
	// node neither holds nor fills it.
	OpenBlock(ctx context.Context, key shoal.Key) (Stream, error)
}

// A Stream is one block while it is sent. Only one goroutine uses it at a time.
type Stream interface {
	// Length is the length in bytes of the whole block.
	Length() int
	// Chunk blocks until chunk i has landed, and returns its bytes, in buf or wherever they
	// are, and its sum. The bytes stay as they are until the next call. len(buf) is at least
	// the length of the chunk.
	Chunk(ctx context.Context, i int, buf []byte) (data []byte, sum shoal.Sum, err error)
	// Close ends the use of the block.
	Close() error
}

// Calls answers the calls other nodes make.
type Calls interface {
	// HandleCall returns the answer to request. The text of its error travels back.
	HandleCall(ctx context.Context, from shoal.NodeID, request []byte) ([]byte, error)
}

// A Sink takes the chunks of one block as they arrive.
type Sink interface {
	// Begin is called when the request goes out: what passed before it was spent waiting
	// for a turn. It is called again should the request be repeated.
	Begin()
	// Chunk returns the buffer chunk i is read into: exactly as long as the chunk.
	Chunk(i int) []byte
	// Arrived is called when the buffer of chunk i is full. It verifies the bytes against
	// sum; an error ends the fetch and is what Fetch returns.
	Arrived(i int, sum shoal.Sum) error
}
