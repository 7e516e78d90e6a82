package blockstore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/shoal-mesh/shoal"
)

// A Location says where the bytes of a block lie on its disk, whichever kind of container
// it is: a slab of small blocks, or the sparse container of one file.
type Location struct {
	Container uint64 // names the container
	Offset    int64  // of the block's first byte in the container; a multiple of pageSize
	Length    int    // bytes of the block
}

const (
	pageSize      = 4096       // what a file system gives space in
	slabsDir      = "slabs"    // of slab files
	filesDir      = "files"    // of sparse containers: 256 subfolders, by the low byte of the name
	filesDirs     = 256        // keeps directories short at a million containers
	sumsSuffix    = ".sums"    // of the file beside a sparse container
	sumsCell      = 512        // bytes in there for each block, and for the header
	slabFirst     = pageSize   // where a slab's slots begin; its header lies before
	recordMagic   = "shoalB02" // begins the fixed part of a record; the digits are its version
	recordFixed   = len(recordMagic) + shoal.KeyLen + 4 + 2 + 2 + 4
	recordMaxLen  = recordFixed + 4*shoal.BlockSize/shoal.ChunkSize
	headerMagic   = "shoalC02" // begins the header of a slab or of a sums file
	headerLen     = len(headerMagic) + 8 + 8 + 16 + 8 + 4
	maxContainers = 1 << 31
)

// A fileKind tells the files of containers apart.
type fileKind uint8

const (
	slabFile   fileKind = iota
	sparseFile          // of one file's blocks, block i at i*BlockSize
	sumsFile            // of the records of those blocks
)

// A fileName names a file of a container.
type fileName struct {
	kind fileKind
	name uint64
}

// path returns the file on the disk at root.
func (f fileName) path(root string) string {
	switch f.kind {
	case slabFile:
		return filepath.Join(root, slabsDir, fmt.Sprintf("%08x", f.name))
	case sumsFile:
		return fileName{sparseFile, f.name}.path(root) + sumsSuffix
	}
	return filepath.Join(root, filesDir, subfolder(int(f.name%filesDirs)), fmt.Sprintf("%016x", f.name))
}

func subfolder(i int) string { return fmt.Sprintf("%02x", i) }

// parseFile is the inverse of the last element of path.
func parseFile(kind fileKind, base string) (f fileName, ok bool) {
	digits := 16
	if kind == slabFile {
		digits = 8
	} else if name, found := strings.CutSuffix(base, sumsSuffix); found {
		kind, base = sumsFile, name
	}
	name, err := strconv.ParseUint(base, 16, 64)
	return fileName{kind, name}, err == nil && len(base) == digits
}

// recordLen returns the length of the record of a block of length bytes: the sum of each
// chunk, and the fixed part: magic, key, length, dataset, two bytes of zero, CRC32C of all
// before. The fixed part comes last, so that whoever knows where the record ends can read it
// without knowing the length.
func recordLen(length int) int { return recordFixed + 4*shoal.Chunks(length) }

// appendRecord appends the record of a block to b.
func appendRecord(b []byte, key shoal.Key, length int, dataset uint16, sums []shoal.Sum) []byte {
	begin := len(b)
	for _, s := range sums {
		b = binary.BigEndian.AppendUint32(b, uint32(s))
	}
	b = append(b, recordMagic...)
	b = key.AppendTo(b)
	b = binary.BigEndian.AppendUint32(b, uint32(length))
	b = binary.BigEndian.AppendUint16(b, dataset)
	b = append(b, 0, 0)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[begin:], crc32.MakeTable(crc32.Castagnoli)))
}

// A record is what a container says of a block.
type record struct {
	key     shoal.Key
	length  int
	dataset uint16
	sums    []shoal.Sum
}

// parseRecord returns the record that ends where b does; ok is false when there is none, or
// a damaged one.
func parseRecord(b []byte) (r record, ok bool) {
	if len(b) < recordFixed {
		return record{}, false
	}
	fixed := b[len(b)-recordFixed:]
	if string(fixed[:len(recordMagic)]) != recordMagic {
		return record{}, false
	}
	at := len(recordMagic)
	r.key, _ = shoal.KeyFrom(fixed[at:])
	at += shoal.KeyLen
	r.length = int(binary.BigEndian.Uint32(fixed[at:]))
	r.dataset = binary.BigEndian.Uint16(fixed[at+4:])
	if r.length <= 0 || r.length > shoal.BlockSize || recordLen(r.length) > len(b) {
		return record{}, false
	}
	b = b[len(b)-recordLen(r.length):]
	end := len(b) - 4
	if crc32.Checksum(b[:end], crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(b[end:]) {
		return record{}, false
	}
	r.sums = make([]shoal.Sum, shoal.Chunks(r.length))
	for i := range r.sums {
		r.sums[i] = shoal.Sum(binary.BigEndian.Uint32(b[4*i:]))
	}
	return r, true
}

// A header begins a slab and a sums file.
type header struct {
	name uint64
	slot int64        // bytes of a slot, of a slab; 0 of a sparse container
	file shoal.FileID // whose blocks it has; zero of a slab
	size int64        // bytes of that file, or of the slab
}

// bytes returns h as it is on disk: magic, name, slot, file, size, CRC32C of all before.
func (h header) bytes() []byte {
	b := make([]byte, 0, headerLen)
	b = append(b, headerMagic...)
	b = binary.BigEndian.AppendUint64(b, h.name)
	b = binary.BigEndian.AppendUint64(b, uint64(h.slot))
	b = append(b, h.file[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.size))
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// parseHeader is the inverse of bytes; ok is false when b begins with no header.
func parseHeader(b []byte) (h header, ok bool) {
	if len(b) < headerLen || string(b[:len(headerMagic)]) != headerMagic {
		return header{}, false
	}
	end := headerLen - 4
	if crc32.Checksum(b[:end], crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(b[end:]) {
		return header{}, false
	}
	b = b[len(headerMagic):]
	h.name = binary.BigEndian.Uint64(b)
	h.slot = int64(binary.BigEndian.Uint64(b[8:]))
	copy(h.file[:], b[16:])
	h.size = int64(binary.BigEndian.Uint64(b[32:]))
	return h, true
}

// pages rounds n bytes up to whole pages, in bytes.
func pages(n int64) int64 { return (n + pageSize - 1) &^ (pageSize - 1) }

// packedBytes returns what a block of length bytes takes of a slot: its bytes from a page's
// beginning on, a gap of less than a page, and its record, which ends where the slot does.
func packedBytes(length int) int64 { return pages(int64(length + recordLen(length))) }

// sparseBytes returns what a block of length bytes takes in a sparse container: its bytes in
// whole pages, and its cell in the sums file.
func sparseBytes(length int) int64 { return pages(int64(length)) + sumsCell }
