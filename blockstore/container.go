package blockstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/shoal-mesh/shoal"
)

// A Location says where the bytes of a block lie on its disk. The block's trailer lies
// right behind them.
type Location struct {
	Container uint64 // names the container file; never used twice on a disk
	Offset    int64  // of the block's first byte in the container; a multiple of pageSize
	Length    int    // bytes of the block, without its trailer
}

const (
	pageSize      = 4096       // what a file system gives space in
	containersDir = "blocks"   // holds 256 subfolders, by the container's low byte
	containerDirs = 256        // keeps directories short at a million containers
	trailerMagic  = "shoalB01" // begins a trailer; the digits are its version
	trailerFixed  = len(trailerMagic) + shoal.KeyLen + 4
	trailerMaxLen = trailerFixed + 4*shoal.BlockSize/shoal.ChunkSize
)

// occupied returns what a block of length bytes takes on disk, trailer included, in whole
// pages.
func occupied(length int) int64 {
	n := int64(length + trailerLen(length))
	return (n + pageSize - 1) &^ (pageSize - 1)
}

// containerPath returns the file of a container on the disk at root.
func containerPath(root string, container uint64) string {
	return filepath.Join(root, containersDir, subfolder(int(container%containerDirs)), fmt.Sprintf("%016x", container))
}

func subfolder(i int) string { return fmt.Sprintf("%02x", i) }

// parseContainer is the inverse of the last element of containerPath.
func parseContainer(name string) (container uint64, ok bool) {
	container, err := strconv.ParseUint(name, 16, 64)
	return container, err == nil && len(name) == 16
}

// trailerLen returns the length in bytes of the trailer of a block of length bytes: magic,
// key, length, and the sum of each chunk.
func trailerLen(length int) int { return trailerFixed + 4*shoal.Chunks(length) }

// appendTrailer appends the trailer of block key to b.
func appendTrailer(b []byte, key shoal.Key, length int, sums []shoal.Sum) []byte {
	b = append(b, trailerMagic...)
	b = key.AppendTo(b)
	b = binary.BigEndian.AppendUint32(b, uint32(length))
	for _, s := range sums {
		b = binary.BigEndian.AppendUint32(b, uint32(s))
	}
	return b
}

// parseTrailer returns the chunk sums in trailer b if it is the trailer of block key with
// length bytes and the block sum sum: so a flipped bit in it is found as well.
func parseTrailer(b []byte, key shoal.Key, length int, sum shoal.Sum) ([]shoal.Sum, error) {
	var fixed [trailerFixed]byte
	want := appendTrailer(fixed[:0], key, length, nil)
	if len(b) != trailerLen(length) || !bytes.Equal(b[:trailerFixed], want) {
		return nil, errors.New("trailer is of another block")
	}
	sums := make([]shoal.Sum, shoal.Chunks(length))
	for i := range sums {
		sums[i] = shoal.Sum(binary.BigEndian.Uint32(b[trailerFixed+4*i:]))
	}
	if shoal.BlockSum(sums) != sum {
		return nil, errors.New("chunk sums do not add up to the block's")
	}
	return sums, nil
}
