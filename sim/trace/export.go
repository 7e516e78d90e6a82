package trace

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	live "github.com/shoal-mesh/shoal/node/trace"
)

const (
	batchLen = 4096      // records that are read at a time
	chunkLen = 64 * 1024 // requests that Export goes back over at a time
)

// Export writes the records of src to dst as oracleGeneral, and returns how many. Writes become
// requests as well as reads, nodes and datasets are lost, records of no bytes are left out;
// times are seconds on the trace's own clock, or since it began if its beginning does not fit
// into 32 bits on that.
//
// The index of the next request of an id, never being -1, is known only from the end of the
// trace. So Export first writes all of it to a temporary file, 24 bytes a record, in the
// directory that os.TempDir names, then goes back over that in pieces of 1.5 MiB. In memory it
// keeps the last index of each id: about 50 bytes per id, not per record.
//
// When src fails, what it gave before is exported, and its error returned.
func Export(dst io.Writer, src Source) (n int64, err error) {
	spool, err := os.CreateTemp("", "shoal-export-*")
	if err != nil {
		return 0, fmt.Errorf("export trace: %w", err)
	}
	defer func() {
		if removeErr := errors.Join(spool.Close(), os.Remove(spool.Name())); removeErr != nil {
			err = errors.Join(err, fmt.Errorf("export trace: %w", removeErr))
		}
	}()
	n, srcErr, err := spoolTo(spool, src)
	if err != nil {
		return 0, fmt.Errorf("export trace: %w", err)
	}
	if err := linkBack(spool, n); err != nil {
		return 0, fmt.Errorf("export trace: %w", err)
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return 0, fmt.Errorf("export trace: %w", err)
	}
	if _, err := io.Copy(dst, spool); err != nil {
		return 0, fmt.Errorf("export trace: %w", err)
	}
	return n, srcErr
}

// each calls do with the records of src, batch by batch, up to the end, the error of src or
// that of do.
func each(src Source, do func(batch []Record) error) (srcErr, err error) {
	batch := make([]Record, batchLen)
	for {
		n, err := src.Next(batch)
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return err, nil
		}
		if err := do(batch[:n]); err != nil {
			return nil, err
		}
	}
}

// spoolTo writes the records of src to spool, as requests with no next one.
func spoolTo(spool io.Writer, src Source) (n int64, srcErr, err error) {
	w := bufio.NewWriterSize(spool, inputLen)
	var b [oracleLen]byte
	srcErr, err = each(src, func(batch []Record) error {
		start := src.About().Start
		if start < 0 || start/second > math.MaxUint32 {
			start = 0
		}
		for i := range batch {
			r := &batch[i]
			if r.Size == 0 || r.Op == live.Costs {
				continue
			}
			seconds := (start + r.Time) / second
			if seconds > math.MaxUint32 {
				return fmt.Errorf("record %d: a time of %d s does not fit into 32 bits", n, seconds)
			}
			binary.LittleEndian.PutUint32(b[0:], uint32(seconds))
			binary.LittleEndian.PutUint64(b[4:], r.Block)
			binary.LittleEndian.PutUint32(b[12:], r.Size)
			binary.LittleEndian.PutUint64(b[16:], math.MaxUint64)
			if _, err := w.Write(b[:]); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, srcErr, errors.Join(err, w.Flush())
}

// linkBack goes over the n requests of spool from the last to the first, and writes to each
// the index of the next one of the same id.
func linkBack(spool *os.File, n int64) error {
	next := map[uint64]int64{}
	buf := make([]byte, chunkLen*oracleLen)
	for to := n; to > 0; {
		from := max(0, to-chunkLen)
		chunk := buf[:(to-from)*oracleLen]
		if _, err := spool.ReadAt(chunk, from*oracleLen); err != nil {
			return err
		}
		for i := to - 1; i >= from; i-- {
			b := chunk[(i-from)*oracleLen:]
			id := binary.LittleEndian.Uint64(b[4:])
			if at, ok := next[id]; ok {
				binary.LittleEndian.PutUint64(b[16:], uint64(at))
			}
			next[id] = i
		}
		if _, err := spool.WriteAt(chunk, from*oracleLen); err != nil {
			return err
		}
		to = from
	}
	return nil
}

// Convert writes the records of src to dst in the format of agents, and returns how many. When
// src fails, what it gave before is written, and its error returned.
func Convert(dst io.Writer, src Source) (n int64, err error) {
	c := converter{dst: dst}
	srcErr, err := each(src, func(batch []Record) error {
		if err := c.names(src.About()); err != nil {
			return err
		}
		for _, r := range batch {
			r.Node = c.nodes[r.Node]
			if r.Op != live.Costs {
				r.Dataset = c.datasets[r.Dataset]
			}
			if err := c.w.Append(r); err != nil {
				return fmt.Errorf("record %d: %w", n, err)
			}
			n++
		}
		return nil
	})
	if err != nil {
		return n, fmt.Errorf("convert trace: %w", err)
	}
	if err := c.names(src.About()); err != nil { // a trace without records has a header too
		return n, fmt.Errorf("convert trace: %w", err)
	}
	if err := c.w.Close(); err != nil {
		return n, fmt.Errorf("convert trace: %w", err)
	}
	return n, srcErr
}

// A converter has the indexes that the names of a Source have in what is written.
type converter struct {
	dst             io.Writer
	w               *live.Writer // nil until the header is known
	nodes, datasets []uint32
}

// names gives an index to the names that are new.
func (c *converter) names(a About) (err error) {
	if c.w == nil {
		if c.w, err = live.NewWriter(c.dst, live.Header{Start: a.Start, Share: a.Share}); err != nil {
			return err
		}
	}
	if c.nodes, err = indexes(c.nodes, a.Nodes, c.w.Node); err != nil {
		return err
	}
	c.datasets, err = indexes(c.datasets, a.Datasets, c.w.Dataset)
	return err
}

// indexes appends to known the indexes of the names that it does not have yet.
func indexes(known []uint32, names []string, index func(string) (uint32, error)) ([]uint32, error) {
	for _, name := range names[len(known):] {
		i, err := index(name)
		if err != nil {
			return known, err
		}
		known = append(known, i)
	}
	return known, nil
}
