package blockstore

import (
	"encoding/binary"

	"github.com/shoal-mesh/shoal"
)

// What the index holds, by the first byte of the key. A container is written before the first
// block in it.
//
// Blocks are ordered by place, not by key: nobody asks the index for a key, and what is read
// at open fills memory from one end to the other (docs/block-store.md). And a place has one
// entry at most, whatever a crash leaves.
const (
	blockPrefix     = 'b' // and a place: what block is there
	containerPrefix = 'c' // and the name of a container, 8 bytes: its header
	syncedPrefix    = 's' // alone: a varint, how many Syncs had begun when the last began that has ended
)

// A place is a slot of a container.
type place struct {
	container uint64 // name
	slot      uint32
}

// placeLen is the length in bytes of a place in an index key.
const placeLen = 8 + 4

// An indexed is what the index says of a block.
type indexed struct {
	place
	key     shoal.Key
	length  uint32
	dataset uint16
	stamp   uint32 // seconds since 1970 when it was put: the order to begin with at open
	syncs   uint32 // how many Syncs of the disk had begun by then
	sum     shoal.Sum
}

// blockKey appends the index key of the block at a place.
func blockKey(b []byte, p place) []byte {
	b = binary.BigEndian.AppendUint64(append(b, blockPrefix), p.container)
	return binary.BigEndian.AppendUint32(b, p.slot)
}

// parsePlace is the inverse of blockKey.
func parsePlace(key []byte) (p place, ok bool) {
	if len(key) != 1+placeLen || key[0] != blockPrefix {
		return place{}, false
	}
	return place{binary.BigEndian.Uint64(key[1:]), binary.BigEndian.Uint32(key[9:])}, true
}

// appendValue appends the index value of e: its key and block sum, and length, dataset, stamp
// and syncs as varints.
func (e indexed) appendValue(b []byte) []byte {
	b = e.key.AppendTo(b)
	b = binary.BigEndian.AppendUint32(b, uint32(e.sum))
	b = binary.AppendUvarint(b, uint64(e.length))
	b = binary.AppendUvarint(b, uint64(e.dataset))
	b = binary.AppendUvarint(b, uint64(e.stamp))
	return binary.AppendUvarint(b, uint64(e.syncs))
}

// parseIndexed is the inverse of blockKey and appendValue. An entry without syncs, as earlier
// agents wrote it, has none.
func parseIndexed(key, value []byte) (e indexed, ok bool) {
	if e.place, ok = parsePlace(key); !ok || len(value) < shoal.KeyLen+4 {
		return indexed{}, false
	}
	e.key, _ = shoal.KeyFrom(value)
	e.sum = shoal.Sum(binary.BigEndian.Uint32(value[shoal.KeyLen:]))
	value = value[shoal.KeyLen+4:]
	var nums [4]uint64
	for i := range nums {
		if i == len(nums)-1 && len(value) == 0 {
			break
		}
		v, n := binary.Uvarint(value)
		if n <= 0 {
			return indexed{}, false
		}
		nums[i], value = v, value[n:]
	}
	if nums[0] == 0 || nums[0] > shoal.BlockSize || nums[1] > 1<<16-1 || nums[2] > 1<<32-1 || nums[3] > 1<<32-1 || len(value) > 0 {
		return indexed{}, false
	}
	e.length, e.dataset, e.stamp, e.syncs = uint32(nums[0]), uint16(nums[1]), uint32(nums[2]), uint32(nums[3])
	return e, true
}

// containerKey appends the index key of a container.
func containerKey(b []byte, name uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, containerPrefix), name)
}
