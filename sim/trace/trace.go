// Package trace reads traces, of agents and of others, as one kind of records, and writes them
// for others (policy.md §4.2, points 6 and 7).
//
// Open gives a Source of records, OpenAll one of several traces, as of a fleet's agents. The
// formats are:
//
//   - shoal, what agents record (package node/trace);
//   - oracleGeneral, of libCacheSim: 24 bytes a request, namely the time in seconds (u32), the
//     id (u64), the size (u32) and the index of the next request of that id (i64), in little
//     endian;
//   - lcs, of libCacheSim too: a header, and requests as its version says (see lcsLayout);
//   - csv, lines of columns that Columns names;
//   - webcachesim, lines of "time id size", and more that is not read.
//
// A file whose name ends in .gz or .zst is unpacked as it is read.
//
// Foreign traces tell neither who read nor from where. Their ids are taken for hashes of keys
// as they are, or hashed if they are no numbers; each of their requests is a read of a whole
// block, of one node and one dataset called "all" unless there is a column for it; requests of
// no bytes are left out, as libCacheSim leaves them out, and so are deletions.
//
// Nothing in here replays a trace: that is for package sim. No goroutine is started.
package trace

import (
	"errors"
	"fmt"
	"io"
	"os"

	live "github.com/shoal-mesh/shoal/node/trace"
)

// A Record is one read or write of one block.
type Record = live.Record

// ErrTruncated is wrapped by errors about traces that lack their ends: see Source.
var ErrTruncated = live.ErrTruncated

// A Format is how a trace is written.
type Format = string

// The formats.
const (
	Shoal         Format = "shoal"
	OracleGeneral Format = "oracleGeneral"
	LCS           Format = "lcs"
	CSV           Format = "csv"
	Webcachesim   Format = "webcachesim"
)

// A Source gives the records of a trace, in the order they have there.
type Source interface {
	// Next fills batch, which must not be empty, from its beginning, and returns with how many
	// records. It returns either some of them, or none and an error, which every later call
	// returns too: io.EOF at the end, else one that names the offset in bytes (unpacked, if
	// the file is packed) and the number of the record, from 0. An error that is a
	// node/trace.ErrTruncated means that the trace lacks its end, and that all before it was
	// read.
	Next(batch []Record) (int, error)
	// About returns what is known of the trace by now.
	About() About
	// Close closes the file.
	Close() error
}

// About is what is known of a trace besides its records.
type About struct {
	// Format is how it is written.
	Format Format
	// Start is when it began, in microseconds since 1970, or on whatever clock the trace has.
	// In foreign traces it is the time of the first record, and known when that has been read.
	Start int64
	// Share is the share of blocks that are in it (node/trace.Sampled).
	Share float64
	// Nodes and Datasets are the names of what records have the indexes of. They grow as
	// records are read, and must not be changed.
	Nodes, Datasets []string
	// Skipped is how many requests were left out: those of no bytes, and deletions.
	Skipped int64
	// Clipped is how many records have a size of 4 GiB less a byte instead of their own,
	// which is larger.
	Clipped int64
}

// Options say how to read a trace. The zero value works for all formats.
type Options struct {
	// Columns are those of a csv. Default: time, id and size, in this order.
	Columns Columns
}

// Open opens the trace called name. An empty format is what Detect finds it to be.
func Open(name string, format Format, o Options) (Source, error) {
	f, err := openFile(name)
	if err != nil {
		return nil, fmt.Errorf("open trace: %w", err)
	}
	if format == "" {
		format, err = detect(name, f.in.peek(headLen))
	}
	var d decoder
	if err == nil {
		d, err = newDecoder(f.in, format, o)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open trace %s: %w", name, err), f.Close())
	}
	return &source{name: name, file: f, decoder: d}, nil
}

// A decoder reads one format.
type decoder interface {
	// next fills batch as Source.Next does, but may return records and an error together.
	next(batch []Record) (int, error)
	// tell returns what is known by now.
	tell() About
}

// newDecoder returns the decoder of in, whose contents are to be of this format.
func newDecoder(in *input, format Format, o Options) (decoder, error) {
	head := in.peek(headLen)
	if len(head) == 0 {
		if in.err != nil && !errors.Is(in.err, io.EOF) {
			return nil, in.err
		}
		return nil, fmt.Errorf("%w: it is empty", live.ErrTruncated)
	}
	if err := mislabelled(format, head); err != nil {
		return nil, err
	}
	switch format {
	case Shoal:
		return newAgents(in)
	case OracleGeneral:
		return newOracle(in), nil
	case LCS:
		return newLCS(in)
	case CSV:
		return newText(in, CSV, o.Columns)
	case Webcachesim:
		return newText(in, Webcachesim, Columns{})
	}
	return nil, fmt.Errorf("no format %q: there are %s", format, formats)
}

const formats = Shoal + ", " + OracleGeneral + ", " + LCS + ", " + CSV + " and " + Webcachesim

// A source is a trace in a file.
type source struct {
	name    string
	file    *file
	decoder decoder
	err     error // what Next returns from now on
}

var _ Source = (*source)(nil)

func (s *source) Next(batch []Record) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.decoder.next(batch)
	if err != nil {
		s.err = err
		if !errors.Is(err, io.EOF) {
			s.err = fmt.Errorf("read trace %s: %w", s.name, err)
		}
	}
	if n > 0 {
		return n, nil
	}
	return 0, s.err
}

func (s *source) About() About { return s.decoder.tell() }

func (s *source) Close() error {
	if s.err == nil {
		s.err = fmt.Errorf("read trace %s: %w", s.name, os.ErrClosed)
	}
	return s.file.Close()
}
