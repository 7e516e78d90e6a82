package node

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/shoal-mesh/shoal/node/trace"
)

const (
	traceSuffix   = ".trace"
	traceStamp    = "20060102T150405.000000Z" // when a trace began; names sort by it
	tracesAtATime = 8                         // files that a node's traces are, when they are as much as they may
	traceFrame    = 300 << 10                 // no single write to a trace is larger
	maxTraceName  = 255                       // bytes of the name of a dataset in a trace
)

// traceFiles are the traces of one node in a directory: one file after the other, the oldest of
// which are removed before all are more than they may be. Other files there are left alone. It
// is used by one goroutine.
type traceFiles struct {
	dir   string
	node  string
	share float64
	max   int64 // bytes, at least 16 times traceFrame
	// create makes a file. Tests fill their disks by it.
	create func(name string) (traceFile, error)

	written atomic.Int64 // by this agent

	w     *trace.Writer // nil before the first record, and once all is closed
	to    *tracePart
	began time.Time
	self  uint32
}

// A traceFile is what a trace is written to.
type traceFile interface {
	io.WriteCloser
	Truncate(size int64) error
}

// newTraceFiles returns the traces of the node of this name in dir, which it makes.
func newTraceFiles(dir, node string, share float64, limit int64) (*traceFiles, error) {
	t := &traceFiles{dir: dir, node: node, share: share, max: limit, create: func(name string) (traceFile, error) {
		return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return t, fmt.Errorf("trace.path: %w: make it, or let this user write there", err)
	}
	return t, nil
}

// append adds a record of what began at this time, whose own Time, Node and Dataset do not
// count.
func (t *traceFiles) append(at time.Time, dataset string, r trace.Record) (err error) {
	if t.w == nil || t.to.size >= t.max/tracesAtATime {
		if err := t.next(at); err != nil {
			return err
		}
	}
	// Reads that began before the file and ended after it began with it, as far as it says.
	r.Time = max(0, at.Sub(t.began).Microseconds())
	r.Node = t.self
	if r.Op != trace.Costs {
		r.Dataset, err = t.w.Dataset(dataset[:min(len(dataset), maxTraceName)])
	}
	if err == nil {
		err = t.w.Append(r)
	}
	return t.failed(err)
}

// flush writes what has been appended.
func (t *traceFiles) flush() error {
	if t.w == nil {
		return nil
	}
	return t.failed(t.w.Flush())
}

// close ends the file that is being written.
func (t *traceFiles) close() error {
	if t.w == nil {
		return nil
	}
	err := errors.Join(t.w.Close(), t.to.Close())
	t.w = nil
	return t.failed(err)
}

// next begins another file, and makes room for it.
func (t *traceFiles) next(at time.Time) error {
	if err := t.close(); err != nil {
		return err
	}
	if err := t.makeRoom(); err != nil {
		return t.failed(err)
	}
	f, err := t.create(filepath.Join(t.dir, at.UTC().Format(traceStamp)+t.ending()))
	if err != nil {
		return t.failed(err)
	}
	t.to, t.began = &tracePart{traceFile: f, written: &t.written}, at
	w, err := trace.NewWriter(t.to, trace.Header{Start: at.UnixMicro(), Share: t.share})
	if err == nil {
		t.self, err = w.Node(t.node)
	}
	if err != nil {
		return t.failed(errors.Join(err, f.Close()))
	}
	t.w = w
	return nil
}

// makeRoom removes the oldest files, so that another one fits.
func (t *traceFiles) makeRoom() error {
	entries, err := os.ReadDir(t.dir) // sorted by name
	if err != nil {
		return err
	}
	var mine []fs.FileInfo
	room := t.max - t.max/tracesAtATime - traceFrame
	for _, e := range entries {
		if !t.owns(e.Name()) {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		mine = append(mine, info)
		room -= info.Size()
	}
	for _, info := range mine {
		if room >= 0 {
			return nil
		}
		if err := os.Remove(filepath.Join(t.dir, info.Name())); err != nil {
			return err
		}
		room += info.Size()
	}
	return nil
}

// owns reports whether a file of this name is a trace of this node.
func (t *traceFiles) owns(name string) bool {
	if len(name) < len(traceStamp) || name[len(traceStamp):] != t.ending() {
		return false
	}
	_, err := time.Parse(traceStamp, name[:len(traceStamp)])
	return err == nil
}

// ending returns what the names of this node's traces have after the time.
func (t *traceFiles) ending() string {
	return "-" + strings.Map(func(r rune) rune {
		if r == '/' || r <= ' ' || r == 0x7f {
			return '_'
		}
		return r
	}, t.node) + traceSuffix
}

// failed names the directory in err.
func (t *traceFiles) failed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("write trace in %s: %w", t.dir, err)
}

// A tracePart is one file of a trace. What a failed write left at its end is cut off, so that
// the trace stays whole.
type tracePart struct {
	traceFile
	size    int64
	written *atomic.Int64
}

func (p *tracePart) Write(b []byte) (int, error) {
	n, err := p.traceFile.Write(b)
	if err != nil {
		return n, errors.Join(err, p.Truncate(p.size))
	}
	p.size += int64(n)
	p.written.Add(int64(n))
	return n, nil
}
