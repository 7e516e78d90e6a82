package shoal_test

import (
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/shoal-mesh/shoal"
)

func TestChunkSumIsBoundToItsPlace(t *testing.T) {
	key := shoal.Key{File: shoal.NewFileID("fake://", "a/b", "v1"), Index: 7}
	data := []byte("the bytes of a chunk")
	want := crc32.Checksum(append(binary.BigEndian.AppendUint32(key.AppendTo(nil), 3), data...), crc32.MakeTable(crc32.Castagnoli))
	if got := shoal.ChunkSum(key, 3, data); got != shoal.Sum(want) {
		t.Errorf("ChunkSum = %08x, want %08x", got, want)
	}
	other := key
	other.Index++
	for _, got := range []shoal.Sum{shoal.ChunkSum(key, 4, data), shoal.ChunkSum(other, 3, data), shoal.ChunkSum(shoal.Key{}, 3, data)} {
		if got == shoal.Sum(want) {
			t.Errorf("the same bytes at another place have the same sum %08x", got)
		}
	}
	if n := testing.AllocsPerRun(100, func() { shoal.ChunkSum(key, 3, data) }); n != 0 {
		t.Errorf("ChunkSum allocates %v times, want 0", n)
	}
}

func TestBlocksAndChunks(t *testing.T) {
	tests := []struct {
		size   int64
		blocks int
		last   int // length of the last block
		chunks int // of the last block
	}{
		{0, 0, 0, 0},
		{1, 1, 1, 1},
		{shoal.ChunkSize, 1, shoal.ChunkSize, 1},
		{shoal.ChunkSize + 1, 1, shoal.ChunkSize + 1, 2},
		{shoal.BlockSize - 1, 1, shoal.BlockSize - 1, 64},
		{shoal.BlockSize, 1, shoal.BlockSize, 64},
		{shoal.BlockSize + 1, 2, 1, 1},
		{1 << 40, 1 << 18, shoal.BlockSize, 64},
	}
	for _, tt := range tests {
		blocks := shoal.Blocks(tt.size)
		if blocks != tt.blocks {
			t.Errorf("Blocks(%d) = %d, want %d", tt.size, blocks, tt.blocks)
		}
		last := shoal.BlockLen(tt.size, uint32(max(0, blocks-1)))
		if last != tt.last || shoal.Chunks(last) != tt.chunks {
			t.Errorf("last block of %d: %d bytes in %d chunks, want %d in %d", tt.size, last, shoal.Chunks(last), tt.last, tt.chunks)
		}
		if got := shoal.BlockLen(tt.size, uint32(blocks)); got != 0 {
			t.Errorf("BlockLen beyond the end of %d = %d, want 0", tt.size, got)
		}
	}
}

func TestKeyBinaryForm(t *testing.T) {
	key := shoal.Key{File: shoal.NewFileID("s3://b", "n", "v"), Index: 1<<31 + 5}
	b := key.AppendTo([]byte("x"))
	if got, ok := shoal.KeyFrom(b[1:]); !ok || got != key || len(b) != 1+shoal.KeyLen {
		t.Errorf("KeyFrom(AppendTo(%v)) = %v, %v", key, got, ok)
	}
	if _, ok := shoal.KeyFrom(b[2:]); ok {
		t.Error("KeyFrom of too few bytes is ok")
	}
	// Lengths precede the strings: what moves from one to the next makes another id.
	if shoal.NewFileID("ab", "c", "") == shoal.NewFileID("a", "bc", "") {
		t.Error("two addresses and names share a FileID")
	}
}
