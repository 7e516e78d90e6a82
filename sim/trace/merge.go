package trace

import (
	"cmp"
	"container/heap"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	live "github.com/shoal-mesh/shoal/node/trace"
)

const (
	// agentExt ends the names of the files that agents write.
	agentExt = ".trace"
	// disorder is by how many records one of an agent may come too late: those of reads that
	// ended while it was under way.
	disorder = 4096
)

// OpenAll opens several traces as one: those of a fleet's agents, or the files of one agent. A
// directory stands for the files in and below it whose names end in .trace, packed or not.
//
// Records come in the order of their absolute times (About.Start and Time), the records of
// foreign traces in their own order; of the names of nodes and datasets there is one table, so
// one name is one node, whatever trace it is in. Jobs keep their numbers. When the traces have
// different shares of the blocks, all are thinned out to the smallest. A trace that lacks its
// end is read up to there, and what says so is the error after the last record.
//
// A file is open from its first record to its last only, about 2 MiB each.
func OpenAll(names []string, format Format, o Options) (Source, error) {
	files, err := expand(names)
	if err != nil {
		return nil, fmt.Errorf("open traces: %w", err)
	}
	m := &merged{format: format, options: o}
	for _, name := range files {
		p, err := m.begin(name)
		if errors.Is(err, live.ErrTruncated) {
			m.cut = append(m.cut, err)
			continue
		}
		if err != nil {
			return nil, err
		}
		m.parts = append(m.parts, p)
	}
	if len(m.parts) == 0 {
		return nil, errors.Join(m.cut...)
	}
	slices.SortStableFunc(m.parts, func(a, b part) int {
		return cmp.Or(cmp.Compare(a.about.Start, b.about.Start), strings.Compare(a.name, b.name))
	})
	m.about = m.parts[0].about
	m.about.Nodes, m.about.Datasets, m.about.Skipped, m.about.Clipped = nil, nil, 0, 0
	for _, p := range m.parts {
		if p.about.Format != m.about.Format {
			return nil, fmt.Errorf("open traces: %s is of format %s, and %s of %s: they cannot be one", m.parts[0].name, m.about.Format, p.name, p.about.Format)
		}
		m.about.Share = min(m.about.Share, p.about.Share)
	}
	return m, nil
}

// expand returns the files that names stand for.
func expand(names []string) (files []string, err error) {
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			files = append(files, name)
			continue
		}
		// With a slash at its end it may be a link to a directory.
		err = filepath.WalkDir(name+"/", func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			if strings.HasSuffix(strings.TrimSuffix(path, packing(path)), agentExt) {
				files = append(files, path)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no file whose name ends in %s in %q", agentExt, names)
	}
	return files, nil
}

// A part is a trace before it is read.
type part struct {
	name  string
	about About // as it is at the first record
}

// merged is a Source of several.
type merged struct {
	format  Format
	options Options
	about   About
	parts   []part  // not open yet, the earliest first
	open    streams // those that have records
	cut     []error // of traces that lack their ends
	err     error   // what Next returns from now on

	nodes, datasets map[string]uint32
}

var _ Source = (*merged)(nil)

// begin returns what is known of a trace when its first record is.
func (m *merged) begin(name string) (p part, err error) {
	src, err := Open(name, m.format, m.options)
	if err != nil {
		return part{}, err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	if src.About().Format != Shoal {
		var first [1]Record
		if _, err := src.Next(first[:]); err != nil && !errors.Is(err, io.EOF) {
			return part{}, err
		}
	}
	return part{name, src.About()}, nil
}

func (m *merged) Next(batch []Record) (int, error) {
	n := 0
	for n < len(batch) && m.err == nil {
		if err := m.openDue(); err != nil {
			m.err = err
			break
		}
		if len(m.open) == 0 {
			m.err = io.EOF
			if len(m.cut) > 0 {
				m.err = errors.Join(m.cut...)
			}
			break
		}
		s := m.open[0]
		batch[n] = s.head()
		n++
		s.at++
		m.err = m.moved()
	}
	if n > 0 {
		return n, nil
	}
	return 0, m.err
}

// openDue opens the traces that began before the next record.
func (m *merged) openDue() error {
	for len(m.parts) > 0 && (len(m.open) == 0 || m.parts[0].about.Start-m.about.Start <= m.open[0].head().Time) {
		p := m.parts[0]
		m.parts = m.parts[1:]
		src, err := Open(p.name, p.about.Format, m.options)
		if err != nil {
			return err
		}
		s := &stream{src: src, name: p.name, later: p.about.Start - m.about.Start, thin: p.about.Share > m.about.Share}
		more, err := m.fill(s)
		if err != nil {
			return err
		}
		if more {
			heap.Push(&m.open, s)
		}
	}
	return nil
}

// moved puts the stream whose head was taken where its next record belongs.
func (m *merged) moved() error {
	more, err := m.fill(m.open[0])
	switch {
	case err != nil:
		return err
	case more:
		heap.Fix(&m.open, 0)
	default:
		heap.Pop(&m.open)
	}
	return nil
}

// fill reads on until s has a record whose place is known; more is false if there is none, and
// s is closed.
func (m *merged) fill(s *stream) (more bool, err error) {
	for !s.ended && s.at >= s.ready {
		s.records = append(s.records[:0], s.records[s.at:]...)
		s.at = 0
		for !s.ended && len(s.records) < 2*disorder {
			if err := m.read(s); err != nil {
				return false, errors.Join(err, s.src.Close())
			}
		}
		s.ready = len(s.records)
		if m.about.Format == Shoal {
			slices.SortStableFunc(s.records, func(a, b Record) int { return cmp.Compare(a.Time, b.Time) })
			if !s.ended {
				s.ready -= disorder // others may belong among the rest
			}
		}
	}
	if s.at < s.ready {
		return true, nil
	}
	about := s.src.About()
	m.about.Skipped += about.Skipped
	m.about.Clipped += about.Clipped
	return false, s.src.Close()
}

// read adds a batch to s, in the numbers of m.
func (m *merged) read(s *stream) error {
	from := len(s.records)
	s.records = slices.Grow(s.records, disorder)[:from+disorder]
	batch := s.records[from:]
	n, err := s.src.Next(batch)
	s.records = s.records[:from]
	switch {
	case errors.Is(err, io.EOF):
		s.ended = true
	case errors.Is(err, live.ErrTruncated):
		s.ended = true
		m.cut = append(m.cut, err)
	case err != nil:
		return err
	}
	about := s.src.About()
	s.nodes = renumber(s.nodes, about.Nodes, &m.nodes, &m.about.Nodes)
	s.datasets = renumber(s.datasets, about.Datasets, &m.datasets, &m.about.Datasets)
	for _, r := range batch[:n] {
		r.Time += s.later
		r.Node = s.nodes[r.Node]
		if r.Op != live.Costs {
			if s.thin && !live.Sampled(r.Block, m.about.Share) {
				continue
			}
			r.Dataset = s.datasets[r.Dataset]
		}
		s.records = append(s.records, r)
	}
	return nil
}

// renumber appends to known the numbers, in the table all, of the names that it lacks.
func renumber(known []uint32, names []string, numbers *map[string]uint32, all *[]string) []uint32 {
	if *numbers == nil {
		*numbers = make(map[string]uint32)
	}
	for _, name := range names[len(known):] {
		i, ok := (*numbers)[name]
		if !ok {
			i = uint32(len(*all))
			*all = append(*all, name)
			(*numbers)[name] = i
		}
		known = append(known, i)
	}
	return known
}

func (m *merged) About() About { return m.about }

func (m *merged) Close() error {
	if m.err == nil {
		m.err = fmt.Errorf("read traces: %w", fs.ErrClosed)
	}
	var errs []error
	for _, s := range m.open {
		errs = append(errs, s.src.Close())
	}
	m.open = nil
	return errors.Join(errs...)
}

// A stream is a trace that is being read.
type stream struct {
	src             Source
	name            string
	later           int64 // than the first of all it began, in microseconds
	thin            bool  // it has more blocks than others
	nodes, datasets []uint32
	records         []Record // read; those before at are taken, those before ready in order
	at, ready       int
	ended           bool
}

func (s *stream) head() Record { return s.records[s.at] }

// streams are a heap by the time of the next record.
type streams []*stream

func (s streams) Len() int { return len(s) }
func (s streams) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(s[i].head().Time, s[j].head().Time), strings.Compare(s[i].name, s[j].name)) < 0
}
func (s streams) Swap(i, j int) { s[i], s[j] = s[j], s[i] }

// Push is heap's.
func (s *streams) Push(x any) { *s = append(*s, x.(*stream)) }

// Pop is heap's.
func (s *streams) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
}
