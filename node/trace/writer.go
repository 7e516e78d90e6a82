package trace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/shoal-mesh/shoal"
)

// A Writer writes a trace. It is not safe for concurrent use, and starts no goroutine: about
// one Append in 17,000 packs a frame and writes it, so whoever must not wait for a disk has
// another goroutine append.
//
// A record is a tag byte, the time as a signed varint since the record before, those of node,
// job, dataset and size that are not those of the record before, the block's eight bytes, the
// bytes read if they are not the whole block, and the latency: about 14 bytes before packing.
// The first record of a frame differs from a zero Record.
type Writer struct {
	dst      io.Writer
	packer   *zstd.Encoder
	nodes    names
	datasets names
	raw      []byte // entries of the frame that is being filled
	records  int    // how many of them are records
	before   Record // the last one of them
	frame    []byte // a frame as it is written
	err      error  // why nothing can be written any more
}

// NewWriter returns a Writer that has written the header h to dst.
func NewWriter(dst io.Writer, h Header) (*Writer, error) {
	h, err := h.withDefaults()
	if err != nil {
		return nil, err
	}
	packer, err := zstd.NewWriter(nil,
		zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderCRC(false), // frames have a sum of their own
		zstd.WithWindowSize(maxRaw),
		zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("open zstd: %w", err)
	}
	if _, err := dst.Write(appendHeader(nil, h)); err != nil {
		return nil, fmt.Errorf("write header of trace: %w", err)
	}
	return &Writer{
		dst: dst, packer: packer,
		raw:   make([]byte, 0, maxRaw),
		frame: make([]byte, 0, frameHeaderLen+maxPacked),
	}, nil
}

// Node returns the index of the node called name, from now on to be used in records. A name
// has 1 to 255 bytes, and there are at most 65,536.
func (w *Writer) Node(name string) (uint32, error) {
	return w.index(&w.nodes, tagNameOfNode, name)
}

// Dataset returns the index of the dataset called name, as Node does that of a node.
func (w *Writer) Dataset(name string) (uint32, error) {
	return w.index(&w.datasets, tagNameOfDataset, name)
}

func (w *Writer) index(n *names, tag byte, name string) (uint32, error) {
	if i, ok := n.find(name); ok {
		return i, nil
	}
	if w.err != nil {
		return 0, w.err
	}
	if len(w.raw)+maxNaming > maxRaw {
		if err := w.Flush(); err != nil {
			return 0, err
		}
	}
	i, err := n.add(name)
	if err != nil {
		return 0, err
	}
	w.raw = append(w.raw, tag)
	w.raw = binary.AppendUvarint(w.raw, uint64(len(name)))
	w.raw = append(w.raw, name...)
	return i, nil
}

// Append adds a record, whether or not its block is among the sampled ones: the caller asks
// Sampled before it makes a record. A record that cannot be one is refused and the trace stays
// as it was; after an error of dst, every call returns that error.
func (w *Writer) Append(r Record) error {
	if w.err != nil {
		return w.err
	}
	if err := w.check(&r); err != nil {
		return err
	}
	if len(w.raw)+maxEntry > maxRaw {
		if err := w.Flush(); err != nil {
			return err
		}
	}
	w.encode(&r)
	return nil
}

// check returns why r is no record of this trace.
func (w *Writer) check(r *Record) error {
	switch {
	case r.Time < 0:
		return fmt.Errorf("trace record at %d us: before the trace began", r.Time)
	case r.Op >= ops || r.Tier >= shoal.Tiers:
		return fmt.Errorf("trace record at %d us: no operation %d, or no tier %d", r.Time, uint8(r.Op), uint8(r.Tier))
	case r.Node >= uint32(len(w.nodes.all)) || r.Op != Costs && r.Dataset >= uint32(len(w.datasets.all)):
		return fmt.Errorf("trace record at %d us: node %d or dataset %d has no name", r.Time, r.Node, r.Dataset)
	}
	return nil
}

// encode adds r to the frame that is being filled.
func (w *Writer) encode(r *Record) {
	before := &w.before
	if r.Op == Costs {
		w.encodeCosts(r)
		return
	}
	b := append(w.raw, 0)
	tag, at := byte(r.Tier), len(b)-1
	b = binary.AppendUvarint(b, zigzag(r.Time-before.Time))
	if r.Op == Write {
		tag |= tagWrite
	}
	if r.Node != before.Node {
		tag |= tagNode
		b = binary.AppendUvarint(b, uint64(r.Node))
	}
	if r.Job != before.Job {
		tag |= tagJob
		b = binary.AppendUvarint(b, uint64(r.Job))
	}
	if r.Dataset != before.Dataset {
		tag |= tagDataset
		b = binary.AppendUvarint(b, uint64(r.Dataset))
	}
	b = binary.LittleEndian.AppendUint64(b, r.Block)
	if r.Size != before.Size {
		tag |= tagSize
		b = binary.AppendUvarint(b, uint64(r.Size))
	}
	if r.Bytes != r.Size {
		tag |= tagBytes
		b = binary.AppendUvarint(b, uint64(r.Bytes))
	}
	b = binary.AppendUvarint(b, uint64(r.Latency))
	b[at] = tag
	w.raw, w.before = b, *r
	w.records++
}

// encodeCosts is encode of Costs. The records behind it differ from the one before it.
func (w *Writer) encodeCosts(r *Record) {
	b := append(w.raw, tagCosts)
	b = binary.AppendUvarint(b, zigzag(r.Time-w.before.Time))
	for _, v := range []uint32{r.Node, r.Size, r.Bytes} {
		b = binary.AppendUvarint(b, uint64(v))
	}
	w.raw, w.before.Time = b, r.Time
	w.records++
}

// Flush writes what has been appended, as a frame. Frames end on their own when they are
// full, so only what must not be lost, or the wish to see it, asks for it.
func (w *Writer) Flush() error {
	if w.err != nil || len(w.raw) == 0 {
		return w.err
	}
	w.frame = w.packer.EncodeAll(w.raw, w.frame[:frameHeaderLen])
	packed := w.frame[frameHeaderLen:]
	frameHeader{len(w.raw), len(packed), w.records, sum(packed)}.put(w.frame)
	if _, err := w.dst.Write(w.frame); err != nil {
		w.err = fmt.Errorf("write frame of trace: %w", err)
		return w.err
	}
	w.raw, w.records, w.before = w.raw[:0], 0, Record{}
	return nil
}

// Close flushes. It does not close what the trace is written to. Nothing can be appended
// after it; a second Close does nothing.
func (w *Writer) Close() error {
	if errors.Is(w.err, errClosed) {
		return nil
	}
	if err := w.Flush(); err != nil {
		return err
	}
	w.err = errClosed
	return nil
}

var errClosed = errors.New("trace is closed")

// names is a table of names, each with its index.
type names struct {
	all   []string
	known map[string]uint32
}

func (n *names) find(name string) (uint32, bool) {
	i, ok := n.known[name]
	return i, ok
}

// add gives a name that is new the next index.
func (n *names) add(name string) (uint32, error) {
	if name == "" || len(name) > maxName {
		return 0, fmt.Errorf("trace: name %.40q has %d bytes, not 1 to %d", name, len(name), maxName)
	}
	if len(n.all) == maxNames {
		return 0, fmt.Errorf("trace: no room for name %q: there are %d", name, maxNames)
	}
	if n.known == nil {
		n.known = map[string]uint32{}
	}
	i := uint32(len(n.all))
	n.all = append(n.all, name)
	n.known[name] = i
	return i, nil
}
