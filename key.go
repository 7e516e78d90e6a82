package shoal

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// A Version tells two contents of one path apart: an ETag, or inode, mtime and size.
// It is opaque to all but the UFS driver that made it.
type Version string

// A FileID is a 128-bit hash of a file's UFS address and Version. It does not depend
// on where the UFS is mounted, so a mount may move without losing its blocks.
type FileID [16]byte

// NewFileID returns the FileID of name, as the UFS at address knows it, at version v.
// It is the first half of SHA-256 over the three strings, each preceded by its length.
func NewFileID(address, name string, v Version) FileID {
	b := make([]byte, 0, 512) // on the stack, as names usually are shorter
	for _, s := range [...]string{address, name, string(v)} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	sum := sha256.Sum256(b)
	return FileID(sum[:len(FileID{})])
}

// String returns the 32 hexadecimal digits of f.
func (f FileID) String() string { return hex.EncodeToString(f[:]) }

// IsZero reports whether f is unset.
func (f FileID) IsZero() bool { return f == FileID{} }

// A Key names one block. It is a value: compare it with ==, use it in maps.
type Key struct {
	File  FileID
	Index uint32 // the block covers bytes [Index*BlockSize, (Index+1)*BlockSize)
}

// KeyLen is the length in bytes of a Key's binary form.
const KeyLen = 20

// String returns the file's digits and the index, "<hex>/<index>".
func (k Key) String() string { return fmt.Sprintf("%s/%d", k.File, k.Index) }

// AppendTo appends the binary form of k to b: the FileID, then Index in big endian,
// so that the blocks of a file sort together and in order.
func (k Key) AppendTo(b []byte) []byte {
	b = append(b, k.File[:]...)
	return binary.BigEndian.AppendUint32(b, k.Index)
}

// KeyFrom decodes the first KeyLen bytes of b; ok is false when b is shorter.
func KeyFrom(b []byte) (k Key, ok bool) {
	if len(b) < KeyLen {
		return Key{}, false
	}
	copy(k.File[:], b)
	k.Index = binary.BigEndian.Uint32(b[16:])
	return k, true
}
