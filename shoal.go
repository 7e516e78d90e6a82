// Package shoal defines the words every other package speaks: what a block is,
// how it is named, who holds a copy of it, and what a node says of itself.
//
// A file version in the under file system (UFS) is cut into blocks of BlockSize
// bytes; a small file is one short block. Copies of a block are its replicas, and
// the nodes that have them its holders. The block's home is the node that keeps the
// list of holders; the filler is the node that is reading the block from the UFS now.
//
// Blocks are immutable and only names move: a changed file has a new Version, so a
// new FileID, so new Keys. Nothing that is named by a Key is ever invalidated.
//
// This package holds values only: no I/O, no goroutines, no imports outside the
// standard library. If two packages must agree on a type, the type lives here.
package shoal

const (
	// BlockSize is the length in bytes of every block of a file but the last.
	BlockSize = 4 << 20
	// ChunkSize is the length in bytes of every chunk of a block but the last: the
	// unit of checksums and of cut-through.
	ChunkSize = 64 << 10
)

// Blocks returns how many blocks a file of size bytes has. An empty file has none.
func Blocks(size int64) int {
	return int((size + BlockSize - 1) / BlockSize)
}

// BlockLen returns the length in bytes of block index of a file of size bytes,
// 0 when the block lies beyond the end.
func BlockLen(size int64, index uint32) int {
	return int(max(0, min(BlockSize, size-int64(index)*BlockSize)))
}

// Chunks returns how many chunks a block of length bytes has.
func Chunks(length int) int {
	return (length + ChunkSize - 1) / ChunkSize
}

// ChunkLen returns the length in bytes of one chunk of a block of length bytes,
// 0 when the chunk lies beyond the end.
func ChunkLen(length, chunk int) int {
	return max(0, min(ChunkSize, length-chunk*ChunkSize))
}

// A Tier says where the bytes of a read came from.
type Tier uint8

// The tiers, nearest first.
const (
	TierLocal Tier = iota // this node's NVMe
	TierPeer              // another node's NVMe, or its fill in progress
	TierUFS               // the under file system
	Tiers                 // how many tiers there are
)

// String returns the word for t that metrics, reports and xattrs use.
func (t Tier) String() string {
	switch t {
	case TierLocal:
		return "local"
	case TierPeer:
		return "peer"
	case TierUFS:
		return "ufs"
	}
	return "none"
}
