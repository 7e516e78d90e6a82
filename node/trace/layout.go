package trace

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
)

const (
	magic   = "SHOALTRC"
	version = 1
	rule    = 1 // what Sampled does

	headerLen      = 36
	frameHeaderLen = 20

	maxRaw    = 256 << 10        // entries of one frame, in bytes
	maxPacked = maxRaw + 1<<10   // zstd adds a few bytes to what it cannot make smaller
	maxName   = 255              // bytes of a name
	maxNames  = 1 << 16          // names of a table
	maxEntry  = 1 + 10 + 6*5 + 8 // the longest record: tag, time, six varints of 32 bits, block
	maxNaming = 1 + 2 + maxName  // the longest name entry
)

// The tag is the first byte of an entry. Its lowest two bits are the tier of a record; there
// is no fourth tier, and 3 says that the entry is a name, or what reads cost.
const (
	tagTier    = 3
	tagWrite   = 1 << 2
	tagNode    = 1 << 3 // the node is not that of the record before
	tagJob     = 1 << 4 // nor is the job
	tagDataset = 1 << 5 // nor the dataset
	tagSize    = 1 << 6 // nor the size
	tagBytes   = 1 << 7 // not the whole block was read

	tagNameOfNode    = 3
	tagNameOfDataset = 3 | 1<<2
	tagCosts         = 3 | 1<<3 // a record of Costs: time, node, size, bytes
)

// appendHeader appends the binary form of h to b.
func appendHeader(b []byte, h Header) []byte {
	from := len(b)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint32(b, rule)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.Start))
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(h.Share))
	return binary.LittleEndian.AppendUint32(b, sum(b[from:]))
}

// parseHeader reads the headerLen bytes b.
func parseHeader(b []byte) (Header, error) {
	if string(b[:len(magic)]) != magic {
		return Header{}, fmt.Errorf("%w: it does not begin with %q", ErrDamaged, magic)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != version {
		return Header{}, fmt.Errorf("trace is of version %d, and only version %d can be read", v, version)
	}
	if binary.LittleEndian.Uint32(b[headerLen-4:]) != sum(b[:headerLen-4]) {
		return Header{}, fmt.Errorf("%w: its header does not match its sum", ErrDamaged)
	}
	if r := binary.LittleEndian.Uint32(b[12:]); r != rule {
		return Header{}, fmt.Errorf("trace is sampled by rule %d, and only rule %d is known", r, rule)
	}
	h := Header{
		Start: int64(binary.LittleEndian.Uint64(b[16:])),
		Share: math.Float64frombits(binary.LittleEndian.Uint64(b[24:])),
	}
	if !validShare(h.Share) {
		return Header{}, fmt.Errorf("%w: its share is %v", ErrDamaged, h.Share)
	}
	return h, nil
}

// A frameHeader is what stands before the packed bytes of a frame.
type frameHeader struct {
	raw, packed int // lengths in bytes
	records     int
	sum         uint32 // of the packed bytes
}

// put writes f to the frameHeaderLen bytes b.
func (f frameHeader) put(b []byte) {
	binary.LittleEndian.PutUint32(b[0:], uint32(f.raw))
	binary.LittleEndian.PutUint32(b[4:], uint32(f.packed))
	binary.LittleEndian.PutUint32(b[8:], uint32(f.records))
	binary.LittleEndian.PutUint32(b[12:], f.sum)
	binary.LittleEndian.PutUint32(b[16:], sum(b[:16]))
}

// parseFrameHeader reads the frameHeaderLen bytes b.
func parseFrameHeader(b []byte) (frameHeader, error) {
	if binary.LittleEndian.Uint32(b[16:]) != sum(b[:16]) {
		return frameHeader{}, fmt.Errorf("%w: a frame's header does not match its sum", ErrDamaged)
	}
	raw, packed := binary.LittleEndian.Uint32(b[0:]), binary.LittleEndian.Uint32(b[4:])
	records := binary.LittleEndian.Uint32(b[8:])
	if raw == 0 || raw > maxRaw || packed > maxPacked || records > raw {
		return frameHeader{}, fmt.Errorf("%w: a frame of %d records in %d bytes, packed to %d, is impossible", ErrDamaged, records, raw, packed)
	}
	return frameHeader{int(raw), int(packed), int(records), binary.LittleEndian.Uint32(b[12:])}, nil
}

// sum returns the CRC32C of b.
func sum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
