package shoal

import (
	"encoding/binary"
	"hash/crc32"
)

// A Sum is the CRC32C of some bytes bound to the place they belong to: the same bytes
// under another key or at another offset have another Sum, so a write that went to the
// wrong place is found out.
type Sum uint32

// ChunkSum returns the Sum of data as chunk number chunk of the block key: the CRC32C of
// the key's binary form, the chunk number in big endian, and data.
func ChunkSum(key Key, chunk int, data []byte) Sum {
	table := crc32.MakeTable(crc32.Castagnoli)
	var place [KeyLen + 4]byte
	binary.BigEndian.PutUint32(key.AppendTo(place[:0])[KeyLen:KeyLen+4], uint32(chunk))
	// Byte by byte, since what is handed to crc32.Update escapes: an allocation a chunk.
	crc := ^uint32(0)
	for _, b := range place {
		crc = table[byte(crc)^b] ^ crc>>8
	}
	return Sum(crc32.Update(^crc, table, data))
}

// ChunkSums returns the Sum of each chunk of the block key, whose contents are data.
func ChunkSums(key Key, data []byte) []Sum {
	sums := make([]Sum, Chunks(len(data)))
	for i := range sums {
		at := i * ChunkSize
		sums[i] = ChunkSum(key, i, data[at:at+ChunkLen(len(data), i)])
	}
	return sums
}

// BlockSum folds the chunk sums of a block into the one Sum its filler announces.
func BlockSum(sums []Sum) Sum {
	var crc uint32
	var b [4]byte
	for _, s := range sums {
		binary.BigEndian.PutUint32(b[:], uint32(s))
		crc = crc32.Update(crc, crc32.MakeTable(crc32.Castagnoli), b[:])
	}
	return Sum(crc)
}
