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
)

// handle returns the open container of a block with its chunk sums. The caller must
// release it.
func (d *disk) handle(s slot) (*handle, error) {
	if h := d.handles.acquire(s.container); h != nil {
		return h, nil
	}
	f, err := d.files.Open(containerPath(d.path, s.container))
	if err != nil {
		return nil, err
	}
	sums, err := d.readTrailer(f, s)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	h := d.handles.add(&handle{container: s.container, file: f, sums: sums})
	if !d.shows(s) { // evicted meanwhile: do not keep it open longer than this reader
		d.handles.forget(s.container)
	}
	return h, nil
}

func (d *disk) readTrailer(f file, s slot) ([]shoal.Sum, error) {
	buf := d.scratch.Get().(*[shoal.ChunkSize]byte)
	defer d.scratch.Put(buf)
	loc := s.location()
	b := buf[:trailerLen(loc.Length)]
	if err := readFull(f, b, loc.Offset+int64(loc.Length)); err != nil {
		return nil, err
	}
	return parseTrailer(b, s.key, loc.Length, s.sum)
}

// read fills p from offset off of the block, each chunk it touches verified; off+len(p)
// must lie within the block.
func (d *disk) read(s slot, p []byte, off int) error {
	h, err := d.handle(s)
	if err != nil {
		return err
	}
	defer d.handles.release(h)
	for loc := s.location(); len(p) > 0; {
		n := wholeChunks(loc.Length, off, len(p))
		if n > 0 {
			err = readChunks(h, s.key, loc, off/shoal.ChunkSize, p[:n])
		} else {
			n, err = d.readEdge(h, s.key, loc, off, p)
		}
		if err != nil {
			return err
		}
		p, off = p[n:], off+n
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
func readChunks(h *handle, key shoal.Key, loc Location, first int, p []byte) error {
	if err := readFull(h.file, p, loc.Offset+int64(first)*shoal.ChunkSize); err != nil {
		return err
	}
	for i := first; len(p) > 0; i++ {
		n := shoal.ChunkLen(loc.Length, i)
		if shoal.ChunkSum(key, i, p[:n]) != h.sums[i] {
			return fmt.Errorf("chunk %d: %w", i, errSum)
		}
		p = p[n:]
	}
	return nil
}

// readEdge reads the chunk at off aside and copies the part of it that p wants.
func (d *disk) readEdge(h *handle, key shoal.Key, loc Location, off int, p []byte) (int, error) {
	buf := d.scratch.Get().(*[shoal.ChunkSize]byte)
	defer d.scratch.Put(buf)
	i := off / shoal.ChunkSize
	chunk := buf[:shoal.ChunkLen(loc.Length, i)]
	if err := readChunks(h, key, loc, i, chunk); err != nil {
		return 0, err
	}
	return copy(p, chunk[off%shoal.ChunkSize:]), nil
}

// readFull is ReadAt that takes the file's end for a fault.
func readFull(f file, p []byte, off int64) error {
	if _, err := f.ReadAt(p, off); err != nil {
		if errors.Is(err, io.EOF) {
			return errTruncated
		}
		return err
	}
	return nil
}

// judge decides what an error of reading block s means. again: the block went meanwhile,
// look it up anew. Otherwise err is for the caller; if the block is bad it has been
// dropped and err wraps ErrCorrupt.
func (d *disk) judge(s slot, cause error) (again bool, err error) {
	switch {
	case errors.Is(cause, unix.EMFILE), errors.Is(cause, unix.ENFILE), errors.Is(cause, unix.ENOMEM):
		return false, cause
	case errors.Is(cause, fs.ErrNotExist) && !d.shows(s):
		return true, nil
	case errors.Is(cause, fs.ErrNotExist) && d.mayMiss(s):
		if d.takeMissing(s) {
			d.log.Info("dropped a block without a container", "disk", d.path, "key", s.key.String(), "container", s.container)
		}
		return true, nil
	case errors.Is(cause, unix.EIO):
		_ = d.blame(cause)
	}
	d.takeBad(s, cause)
	return false, fmt.Errorf("%w: %w", ErrCorrupt, cause)
}

// mayMiss reports whether the container of s may have been missing since before this run:
// until the scan after open has looked for it.
func (d *disk) mayMiss(s slot) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return s.container < d.first && !d.scanned
}

// A Section is an open block whose chunks are read one by one, not verified: it is for a
// receiver that verifies. The bytes stay readable though the block is evicted meanwhile.
// Its methods may be called concurrently, but not with or after Close.
type Section struct {
	Length int         // bytes of the block
	Sums   []shoal.Sum // of its chunks; shared, must not be modified

	disk   *disk
	handle *handle
	loc    Location
}

// ReadChunk reads chunk i into buf, which must be long enough, and returns the part of buf
// that holds it. The chunk is not verified. A chunk beyond the end is fs.ErrInvalid.
func (c *Section) ReadChunk(i int, buf []byte) ([]byte, error) {
	n := shoal.ChunkLen(c.Length, i)
	if i < 0 || n == 0 || len(buf) < n {
		return nil, fmt.Errorf("read chunk %d of %d bytes into %d: %w", i, c.Length, len(buf), fs.ErrInvalid)
	}
	if err := readFull(c.handle.file, buf[:n], c.loc.Offset+int64(i)*shoal.ChunkSize); err != nil {
		return nil, fmt.Errorf("read chunk %d: %w", i, err)
	}
	return buf[:n], nil
}

// Close lets the block's bytes go. It may be called more than once.
func (c *Section) Close() error {
	if c.handle != nil {
		c.disk.handles.release(c.handle)
		c.handle = nil
	}
	return nil
}
