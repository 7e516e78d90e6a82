// Package trace is the format in which agents record what is read and written, so that the
// simulator can replay it (policy.md §4.2, point 6).
//
// A trace is a header and frames, all numbers in little endian:
//
//	header  "SHOALTRC" · version u32 · rule u32 · start i64 · share f64 · CRC32C of these u32
//	frame   raw u32 · packed u32 · records u32 · CRC32C of the packed bytes u32 ·
//	        CRC32C of these u32 · packed bytes
//
// The packed bytes are zstd of the raw bytes of at most 256 KiB, which are entries: names, each
// before the first record that has its index, and records, each as what differs from the one
// before it in the frame (see Writer). So a frame needs nothing of another but the names, and a
// trace that is cut off can be read up to its last whole frame.
//
// A frame's own sum tells damage from an end that is missing: when its five numbers are whole,
// there must be packed bytes after them.
//
// This package starts no goroutine, opens no file and knows no clock: the agent does.
package trace

import (
	"errors"
	"fmt"

	"github.com/shoal-mesh/shoal"
)

// Errors that a Reader wraps with the offset and the number of the record it stopped at.
var (
	// ErrTruncated is about a trace that ends within a frame or its header: what came before
	// is whole. It is what a crash leaves.
	ErrTruncated = errors.New("trace is cut off")
	// ErrDamaged is about a trace that is not what a Writer wrote.
	ErrDamaged = errors.New("trace is damaged")
)

// A Record is one read or write of one block.
type Record struct {
	Time    int64      // microseconds since the trace began; may go back, as reads end out of order
	Block   uint64     // hash of the block's key, the same on every node
	Node    uint32     // which node it was on: an index into the table of nodes
	Job     uint32     // for which job, 0 when that is not known
	Dataset uint32     // of which dataset: an index into the table of datasets
	Size    uint32     // length of the whole block, in bytes
	Bytes   uint32     // how many of them were read or written
	Latency uint32     // how long it took, in microseconds
	Op      Op         // what was done
	Tier    shoal.Tier // where the bytes of a read came from
}

// An Op is what was done to a block.
type Op uint8

// The operations.
const (
	Read Op = iota
	Write
	// Costs says what reads from peers cost the node from then on, where one from the UFS costs
	// 1: Bytes from one of its zone, and Size from one of another, in millionths. It has neither
	// block, dataset, job, tier nor latency.
	Costs
	ops // how many there are
)

// String returns the word for o.
func (o Op) String() string {
	switch o {
	case Read:
		return "read"
	case Write:
		return "write"
	case Costs:
		return "costs"
	}
	return fmt.Sprintf("op(%d)", uint8(o))
}

// A Header says of what a trace is a record. Its zero value is that of a trace of all blocks
// that began in 1970.
type Header struct {
	// Start is when it began, in microseconds since 1970.
	Start int64
	// Share is the share of blocks that are in it, by Sampled: above 0, to 1. 0 means 1.
	Share float64
}

func (h Header) withDefaults() (Header, error) {
	if h.Share == 0 {
		h.Share = 1
	}
	if !validShare(h.Share) {
		return Header{}, fmt.Errorf("trace header: share %v is not above 0, to 1", h.Share)
	}
	return h, nil
}

// validShare reports whether share is one that a header may have; NaN is none.
func validShare(share float64) bool { return share > 0 && share <= 1 }

// Sampled reports whether the block of this hash is among the share that is recorded (spatial
// sampling, policy.md §4.1): of one hash the answer is the same on every node and in every
// trace, and the blocks of a smaller share are among those of a larger one. This is rule 1 of
// the header.
func Sampled(hash uint64, share float64) bool {
	if share >= 1 {
		return true
	}
	// What chooses shards and buckets looks at bits of the hash itself. Scrambled, they have
	// no say: a sample has its part of each shard.
	return share > 0 && scramble(hash) < uint64(share*(1<<64))
}

// scramble is a bijection of 64 bits in which each bit of the argument flips each bit of the
// result in half of all cases (the finalizer of SplitMix64, after its increment).
func scramble(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// zigzag maps integers to unsigned ones, those near 0 to small ones.
func zigzag(x int64) uint64 { return uint64(x<<1) ^ uint64(x>>63) }

// unzigzag undoes zigzag.
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }
