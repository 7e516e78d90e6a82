package blockstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
)

var (
	errTruncated = errors.New("container is too short")
	errSum       = errors.New("chunk has another checksum")
	errRecord    = errors.New("record is of another block")
)

// read fills p from offset off of the block, each chunk it touches verified; off+len(p)
// must lie within the block, which is held.
func (d *disk) read(b block, p []byte, off int) error {
	if b.packed && len(p) == b.loc.Length {
		_, err := d.readWhole(b, p)
		return err
	}
	h, sums, err := d.openBlock(b)
	if err != nil {
		return err
	}
	defer d.handles.release(h)
	if len(p) > readPiece {
		h.WillNeed(b.loc.Offset+int64(off), int64(len(p)))
	}
	for len(p) > 0 {
		n := min(wholeChunks(b.loc.Length, off, len(p)), readPiece)
		if n > 0 {
			err = readChunks(h, b, sums, off/shoal.ChunkSize, p[:n])
		} else {
			n, err = d.readEdge(h, b, sums, off, p)
		}
		if err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// readPiece is how much is read at once of a longer range: while one piece is verified the
// device reads the others ahead.
const readPiece = 512 << 10

// openBlock returns the file of a block and its chunk sums. The caller must release the file.
func (d *disk) openBlock(b block) (*handle, []shoal.Sum, error) {
	h, err := d.handles.get(b.file())
	if err != nil {
		return nil, nil, err
	}
	sums := d.sums.get(b.key, b.sum)
	if sums == nil {
		if sums, err = d.readSums(h, b); err != nil {
			d.handles.release(h)
			return nil, nil, err
		}
		d.sums.put(b.key, b.sum, sums)
	}
	return h, sums, nil
}

// readSums reads the record of a block, whose file is h.
func (d *disk) readSums(h *handle, b block) ([]shoal.Sum, error) {
	if b.packed {
		return b.readRecord(h)
	}
	cells, err := d.handles.get(fileName{sumsFile, b.loc.Container})
	if err != nil {
		return nil, err
	}
	defer d.handles.release(cells)
	return b.readRecord(cells)
}

// readRecord reads the record of a block from its slab or sums file.
func (b block) readRecord(f file) ([]shoal.Sum, error) {
	end := cellOffset(b.place.slot + 1)
	if b.packed {
		end = b.loc.Offset + packedBytes(b.loc.Length)
	}
	buf := make([]byte, recordLen(b.loc.Length))
	if err := readFull(f, [][]byte{buf}, end-int64(len(buf)), false); err != nil {
		return nil, err
	}
	return b.check(buf)
}

// check returns the chunk sums of the record that ends where buf does, if it is b's.
func (b block) check(buf []byte) ([]shoal.Sum, error) {
	r, ok := parseRecord(buf)
	if !ok || r.key != b.key || r.length != b.loc.Length || shoal.BlockSum(r.sums) != b.sum {
		return nil, errRecord
	}
	return r.sums, nil
}

// readWhole fills p, which is as long as the block, a packed one, verified, and returns its
// chunk sums: with one read, since the record follows the block.
func (d *disk) readWhole(b block, p []byte) ([]shoal.Sum, error) {
	h, err := d.handles.get(b.file())
	if err != nil {
		return nil, err
	}
	defer d.handles.release(h)
	return d.readSlot(h, b, p)
}

// readSlot is readWhole with the slab open.
func (d *disk) readSlot(h file, b block, p []byte) ([]shoal.Sum, error) {
	tail, _ := d.tails.Get().(*[]byte)
	defer d.tails.Put(tail)
	whole := len(p) &^ (pageSize - 1) // what can be read past the page cache
	rest := (*tail)[:packedBytes(len(p))-int64(whole)]
	if err := readFull(h, [][]byte{p[:whole], rest}, b.loc.Offset, len(p) >= directBytes); err != nil {
		return nil, err
	}
	copy(p[whole:], rest)
	sums, err := b.check(rest)
	if err != nil {
		return nil, err
	}
	return sums, verify(b, sums, 0, p)
}

// verify compares whole chunks, from number first on, with their sums.
func verify(b block, sums []shoal.Sum, first int, p []byte) error {
	for i := first; len(p) > 0; i++ {
		n := shoal.ChunkLen(b.loc.Length, i)
		if shoal.ChunkSum(b.key, i, p[:n]) != sums[i] {
			return fmt.Errorf("chunk %d: %w", i, errSum)
		}
		p = p[n:]
	}
	return nil
}

// wholeChunks returns how many bytes at off, of n, are whole chunks of a block of length
// bytes.
func wholeChunks(length, off, n int) int {
	switch {
	case off%shoal.ChunkSize != 0:
		return 0
	case off+n == length:
		return n
	}
	return n - n%shoal.ChunkSize
}

// readChunks fills p, whole chunks from number first on, with one read, and verifies them.
func readChunks(h *handle, b block, sums []shoal.Sum, first int, p []byte) error {
	if err := readFull(h, [][]byte{p}, b.loc.Offset+int64(first)*shoal.ChunkSize, false); err != nil {
		return err
	}
	return verify(b, sums, first, p)
}

// readEdge reads the chunk at off aside and copies the part of it that p wants.
func (d *disk) readEdge(h *handle, b block, sums []shoal.Sum, off int, p []byte) (int, error) {
	buf, _ := d.scratch.Get().(*[shoal.ChunkSize]byte)
	defer d.scratch.Put(buf)
	i := off / shoal.ChunkSize
	chunk := buf[:shoal.ChunkLen(b.loc.Length, i)]
	if err := readChunks(h, b, sums, i, chunk); err != nil {
		return 0, err
	}
	return copy(p, chunk[off%shoal.ChunkSize:]), nil
}

// readFull is ReadAt that takes the file's end for a fault.
func readFull(f file, parts [][]byte, off int64, direct bool) error {
	err := f.ReadAt(parts, off, direct)
	if errors.Is(err, io.EOF) {
		return errTruncated
	}
	return err
}

// judge decides what an error of reading block b means. again: the block went meanwhile,
// look it up anew. Otherwise err is for the caller; if the block is bad it has been
// dropped and err wraps ErrCorrupt.
func (d *disk) judge(b block, cause error) (again bool, err error) {
	switch {
	case exhausted(cause):
		return false, cause
	case !d.shows(b):
		return true, nil
	case d.lostByCrash(b, cause):
		if d.takeMissing(b) {
			d.log.Info("dropped a block that a crash has lost", "disk", d.path, "key", b.key.String(), "container", b.loc.Container)
		}
		return true, nil
	case errors.Is(cause, unix.EIO):
		_ = d.blame(cause)
	}
	d.takeBad(b, cause)
	if name, gone := missing(cause); gone {
		d.dropAll(name)
	}
	return false, fmt.Errorf("%w: %w", ErrCorrupt, cause)
}

// exhausted reports whether an error is the process's or the machine's, not the disk's.
func exhausted(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
}

// lostByCrash reports whether a power loss may be why b cannot be read: it is of an earlier run,
// and the last one did not end well. The place of any block may have been used again, and the
// index not know of it. One that was not synced may never have been written whole; one that was
// is bad when its record is there and its bytes are not.
func (d *disk) lostByCrash(b block, cause error) bool {
	d.mu.Lock()
	crashed := d.crashed
	d.mu.Unlock()
	switch past := d.pastOf(b); {
	case !crashed || past == pastNone:
		return false
	case errors.Is(cause, fs.ErrNotExist), errors.Is(cause, errRecord):
		return true
	case errors.Is(cause, errSum), errors.Is(cause, errTruncated):
		return past == pastUnsynced
	}
	return false
}

// A Section is an open block whose chunks are read one by one, not verified: it is for a
// receiver that verifies. The block's place is not used again before Close. Its methods may
// be called concurrently, but not with or after Close.
type Section struct {
	Length int         // bytes of the block
	Sums   []shoal.Sum // of its chunks; shared, must not be modified

	disk   *disk
	handle *handle
	block  block
}

// ReadChunk reads chunk i into buf, which must be long enough, and returns the part of buf
// that holds it. The chunk is not verified. A chunk beyond the end is fs.ErrInvalid.
func (c *Section) ReadChunk(i int, buf []byte) ([]byte, error) {
	n := shoal.ChunkLen(c.Length, i)
	if i < 0 || n == 0 || len(buf) < n {
		return nil, fmt.Errorf("read chunk %d of %d bytes into %d: %w", i, c.Length, len(buf), fs.ErrInvalid)
	}
	if err := readFull(c.handle, [][]byte{buf[:n]}, c.block.loc.Offset+int64(i)*shoal.ChunkSize, false); err != nil {
		return nil, fmt.Errorf("read chunk %d: %w", i, err)
	}
	return buf[:n], nil
}

// Close lets the block go. It may be called more than once.
func (c *Section) Close() error {
	if c.handle != nil {
		c.disk.handles.release(c.handle)
		c.handle = nil
		c.disk.release(c.block)
	}
	return nil
}
