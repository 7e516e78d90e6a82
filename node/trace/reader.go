package trace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/klauspost/compress/zstd"

	"github.com/shoal-mesh/shoal"
)

// A Reader reads a trace. Whatever the bytes are that it is given, it takes about 1 MiB, and
// 32 MiB more at most for names. It is not safe for concurrent use.
type Reader struct {
	src      io.Reader
	unpacker *zstd.Decoder
	header   Header
	nodes    []string
	datasets []string

	offset  int64  // where src stands
	frame   int64  // where the frame that is being read begins
	number  int64  // how many records have been read
	packed  []byte // room for the packed bytes of a frame
	raw     []byte // entries of the frame
	at      int    // how many bytes of raw have been read
	left    int    // how many records are still to come in raw
	current Record // the one read last
	before  Record // the record before, in the frame
	err     error  // why there is nothing more to read
}

// NewReader returns a Reader of the trace that begins at the next byte of src, whose header it
// has read.
func NewReader(src io.Reader) (*Reader, error) {
	r := &Reader{src: src}
	var b [headerLen]byte
	n, err := io.ReadFull(src, b[:])
	r.offset = int64(n)
	if err != nil {
		if n >= len(magic) && string(b[:len(magic)]) != magic {
			err = fmt.Errorf("%w: it does not begin with %q", ErrDamaged, magic)
		}
		return nil, r.located(0, ended(err, "the header"))
	}
	if r.header, err = parseHeader(b[:]); err != nil {
		return nil, r.located(0, err)
	}
	r.unpacker, err = zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(maxRaw),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("open zstd: %w", err)
	}
	r.raw = make([]byte, 0, maxRaw)
	return r, nil
}

// Header returns what the trace says of itself.
func (r *Reader) Header() Header { return r.header }

// Nodes returns the names of the nodes that records may have, by index. The table grows as
// the trace is read. The caller must not change it.
func (r *Reader) Nodes() []string { return r.nodes }

// Datasets returns the names of the datasets, as Nodes those of the nodes.
func (r *Reader) Datasets() []string { return r.datasets }

// Next reads the next record into rec. It returns io.EOF at the end of the trace, and else an
// error that names the byte offset of the frame and the number of the record that it is about,
// counted from 0; that one is returned by every later call too.
func (r *Reader) Next(rec *Record) error {
	for r.err == nil {
		if r.at == len(r.raw) {
			r.err = r.nextFrame()
			continue
		}
		isRecord, err := r.entry()
		if err != nil {
			r.err = r.located(r.frame, err)
		} else if isRecord {
			*rec = r.current
			r.number++
			return nil
		}
	}
	return r.err
}

// nextFrame reads a frame and unpacks it.
func (r *Reader) nextFrame() error {
	if r.left != 0 {
		return r.located(r.frame, fmt.Errorf("%w: the frame has %d records less than it says", ErrDamaged, r.left))
	}
	r.frame = r.offset
	var b [frameHeaderLen]byte
	n, err := io.ReadFull(r.src, b[:])
	r.offset += int64(n)
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	if err != nil {
		return r.located(r.frame, ended(err, "a frame's header"))
	}
	f, err := parseFrameHeader(b[:])
	if err != nil {
		return r.located(r.frame, err)
	}
	if err := r.unpack(f); err != nil {
		return r.located(r.frame, err)
	}
	r.at, r.left, r.before = 0, f.records, Record{}
	return nil
}

// unpack reads the packed bytes of the frame f.
func (r *Reader) unpack(f frameHeader) error {
	if cap(r.packed) < f.packed {
		r.packed = make([]byte, 0, maxPacked)
	}
	packed := r.packed[:f.packed]
	n, err := io.ReadFull(r.src, packed)
	r.offset += int64(n)
	if err != nil {
		return ended(err, "a frame")
	}
	if sum(packed) != f.sum {
		return fmt.Errorf("%w: a frame does not match its sum", ErrDamaged)
	}
	raw, err := r.unpacker.DecodeAll(packed, r.raw[:0])
	if err != nil {
		return fmt.Errorf("%w: unpack a frame: %w", ErrDamaged, err)
	}
	if len(raw) != f.raw {
		return fmt.Errorf("%w: a frame has %d bytes unpacked, and says %d", ErrDamaged, len(raw), f.raw)
	}
	r.raw = raw
	return nil
}

// entry reads one entry, and reports whether it is a record, which is then in r.current.
func (r *Reader) entry() (isRecord bool, err error) {
	tag := r.raw[r.at]
	c := cursor{b: r.raw[r.at+1:]}
	switch {
	case tag == tagCosts:
		isRecord = true
		err = r.costs(&c)
	case tag&tagTier == tagTier:
		err = r.name(tag, &c)
	default:
		isRecord = true
		err = r.record(tag, &c)
		r.current = r.before
	}
	if err == nil && c.bad {
		err = fmt.Errorf("%w: an entry is cut off, or a number in it too large", ErrDamaged)
	}
	r.at = len(r.raw) - len(c.b)
	return isRecord, err
}

// record reads a record of this tag into r.before.
func (r *Reader) record(tag byte, c *cursor) error {
	if err := r.count(); err != nil {
		return err
	}
	rec := &r.before
	rec.Tier = shoal.Tier(tag & tagTier)
	rec.Op = Op(tag & tagWrite / tagWrite)
	rec.Time += unzigzag(c.uvarint(math.MaxUint64))
	if tag&tagNode != 0 {
		rec.Node = uint32(c.uvarint(math.MaxUint32))
	}
	if tag&tagJob != 0 {
		rec.Job = uint32(c.uvarint(math.MaxUint32))
	}
	if tag&tagDataset != 0 {
		rec.Dataset = uint32(c.uvarint(math.MaxUint32))
	}
	rec.Block = c.uint64()
	if tag&tagSize != 0 {
		rec.Size = uint32(c.uvarint(math.MaxUint32))
	}
	rec.Bytes = rec.Size
	if tag&tagBytes != 0 {
		rec.Bytes = uint32(c.uvarint(math.MaxUint32))
	}
	rec.Latency = uint32(c.uvarint(math.MaxUint32))
	if c.bad {
		return nil // entry says so
	}
	return r.check(rec)
}

// costs reads a record of Costs. Those behind it differ from the one before it.
func (r *Reader) costs(c *cursor) error {
	if err := r.count(); err != nil {
		return err
	}
	r.before.Time += unzigzag(c.uvarint(math.MaxUint64))
	r.current = Record{Time: r.before.Time, Op: Costs}
	for _, v := range []*uint32{&r.current.Node, &r.current.Size, &r.current.Bytes} {
		*v = uint32(c.uvarint(math.MaxUint32))
	}
	if c.bad {
		return nil // entry says so
	}
	return r.check(&r.current)
}

// count counts a record of the frame.
func (r *Reader) count() error {
	if r.left == 0 {
		return fmt.Errorf("%w: the frame has more records than it says", ErrDamaged)
	}
	r.left--
	return nil
}

// check refuses a record that no Writer has written.
func (r *Reader) check(rec *Record) error {
	switch {
	case rec.Time < 0:
		return fmt.Errorf("%w: a record from before the trace began", ErrDamaged)
	case int64(rec.Node) >= int64(len(r.nodes)):
		return fmt.Errorf("%w: node %d has no name", ErrDamaged, rec.Node)
	case rec.Op != Costs && int64(rec.Dataset) >= int64(len(r.datasets)):
		return fmt.Errorf("%w: dataset %d has no name", ErrDamaged, rec.Dataset)
	}
	return nil
}

// name reads a name of this tag.
func (r *Reader) name(tag byte, c *cursor) error {
	var table *[]string
	switch tag {
	case tagNameOfNode:
		table = &r.nodes
	case tagNameOfDataset:
		table = &r.datasets
	default:
		return fmt.Errorf("%w: there is no entry of tag %d", ErrDamaged, tag)
	}
	name := c.bytes(int(c.uvarint(maxName)))
	if c.bad {
		return nil // entry says so
	}
	if len(name) == 0 || len(*table) == maxNames {
		return fmt.Errorf("%w: a name that is empty, or more than %d of them", ErrDamaged, maxNames)
	}
	*table = append(*table, string(name))
	return nil
}

// located adds to err the offset of what could not be read, and the number of the next record.
func (r *Reader) located(offset int64, err error) error {
	return fmt.Errorf("offset %d, record %d: %w", offset, r.number, err)
}

// ended makes of an end of src within what an ErrTruncated.
func ended(err error, what string) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w within %s", ErrTruncated, what)
	}
	return err
}

// A cursor takes numbers from b. Once one was not there, or too large, it is bad, and what it
// returns means nothing.
type cursor struct {
	b   []byte
	bad bool
}

// uvarint takes a varint of at most limit.
func (c *cursor) uvarint(limit uint64) uint64 {
	if len(c.b) > 0 && c.b[0] < 0x80 {
		x := c.b[0]
		c.b = c.b[1:]
		return uint64(x) // no limit is smaller
	}
	x, n := binary.Uvarint(c.b)
	if n <= 0 || x > limit {
		c.bad = true
		return 0
	}
	c.b = c.b[n:]
	return x
}

// uint64 takes eight bytes.
func (c *cursor) uint64() uint64 {
	if len(c.b) < 8 {
		c.bad = true
		return 0
	}
	x := binary.LittleEndian.Uint64(c.b)
	c.b = c.b[8:]
	return x
}

// bytes takes n bytes.
func (c *cursor) bytes(n int) []byte {
	if len(c.b) < n {
		c.bad = true
		return nil
	}
	b := c.b[:n]
	c.b = c.b[n:]
	return b
}
