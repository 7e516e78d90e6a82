package trace

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/shoal-mesh/shoal"
	live "github.com/shoal-mesh/shoal/node/trace"
)

const (
	maxNames   = 1 << 16 // names of nodes, and of datasets
	maxNameLen = 255     // bytes of a name, as in node/trace
)

// A text decodes lines of columns: csv, and webcachesim, whose columns are separated by any
// number of blanks. The last line may lack its end, so one that is cut off in its last column
// cannot be told from a whole one.
type text struct {
	foreign
	in      *input
	columns Columns
	blanks  bool // whether blanks separate columns
	last    int  // the last column of interest

	line           int64    // number of the line that comes next, from 1
	fields         [][]byte // columns of a line, up to the last of interest
	unquoted       []byte   // room for fields whose quotes had to be taken away
	nodes          map[string]uint32
	datasets       map[string]uint32
	headerToBeRead bool
}

func newText(in *input, f Format, c Columns) (*text, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	t := &text{
		foreign: newForeign(f), in: in, columns: c, blanks: f == Webcachesim,
		last: slices.Max(c.all()), line: 1, headerToBeRead: c.Header,
	}
	if c.Node > 0 {
		t.nodes, t.about.Nodes = map[string]uint32{}, nil
	}
	if c.Dataset > 0 {
		t.datasets, t.about.Datasets = map[string]uint32{}, nil
	}
	if bytes.HasPrefix(in.peek(3), []byte("\xef\xbb\xbf")) { // the mark that some editors begin UTF-8 with
		in.take(3)
	}
	return t, nil
}

func (t *text) next(batch []Record) (int, error) {
	n := 0
	for n < len(batch) {
		line, length, err := t.in.line()
		if err != nil {
			return n, t.at(err)
		}
		if !t.headerToBeRead && len(bytes.TrimSpace(line)) > 0 {
			ok, err := t.decode(&batch[n], line)
			if err != nil {
				return n, t.at(err)
			}
			if ok {
				n++
			}
		}
		t.headerToBeRead = false
		t.in.take(length)
		t.line++
	}
	return n, nil
}

// at adds to err where the line is that comes next.
func (t *text) at(err error) error {
	if !errors.Is(err, io.EOF) {
		err = fmt.Errorf("line %d: %w", t.line, err)
	}
	return t.located(t.in.offset(), err)
}

// decode reads a line, and reports whether it is a record.
func (t *text) decode(r *Record, line []byte) (bool, error) {
	if err := t.split(line); err != nil {
		return false, err
	}
	if len(t.fields) < t.last {
		return false, fmt.Errorf("%w: it has %d columns, not %d", live.ErrDamaged, len(t.fields), t.last)
	}
	op := live.Read
	if t.columns.Op > 0 {
		var isDeletion, ok bool
		word := t.fields[t.columns.Op-1]
		if op, isDeletion, ok = opOf(word); !ok {
			return false, fmt.Errorf("%w: column %d: no operation %.40q is known", live.ErrDamaged, t.columns.Op, word)
		}
		if isDeletion {
			return false, t.skip()
		}
	}
	time, ok := parseTime(t.fields[t.columns.Time-1], t.columns.Unit)
	if !ok {
		return false, t.noNumber("time", t.columns.Time)
	}
	size := uint64(shoal.BlockSize)
	if t.columns.Size > 0 {
		if size, ok = parseUint(t.fields[t.columns.Size-1]); !ok {
			return false, t.noNumber("size", t.columns.Size)
		}
	}
	ok, err := t.accept(r, time, parseID(t.fields[t.columns.ID-1]), size)
	if !ok || err != nil {
		return false, err
	}
	r.Op = op
	if t.nodes != nil {
		if r.Node, err = index(t.nodes, &t.about.Nodes, t.fields[t.columns.Node-1]); err != nil {
			return false, fmt.Errorf("column %d, the node: %w", t.columns.Node, err)
		}
	}
	if t.datasets != nil {
		if r.Dataset, err = index(t.datasets, &t.about.Datasets, t.fields[t.columns.Dataset-1]); err != nil {
			return false, fmt.Errorf("column %d, the dataset: %w", t.columns.Dataset, err)
		}
	}
	return true, nil
}

// noNumber returns the error for a column that should be a number.
func (t *text) noNumber(what string, column int) error {
	hint := ""
	if t.line == 1 && !t.blanks {
		hint = " (if that is a line of titles: has-header=true)"
	}
	return fmt.Errorf("%w: column %d, the %s: %.40q is no number, or too large%s", live.ErrDamaged, column, what, t.fields[column-1], hint)
}

// split cuts line into t.fields, as far as they are of interest.
func (t *text) split(line []byte) error {
	t.fields, t.unquoted = t.fields[:0], t.unquoted[:0]
	if t.blanks {
		for len(t.fields) < t.last {
			line = bytes.TrimLeft(line, " \t")
			if len(line) == 0 {
				return nil
			}
			end := bytes.IndexAny(line, " \t")
			if end < 0 {
				end = len(line)
			}
			t.fields = append(t.fields, line[:end])
			line = line[end:]
		}
		return nil
	}
	for len(t.fields) < t.last {
		trimmed := bytes.TrimLeft(line, " ")
		if len(trimmed) > 0 && trimmed[0] == '"' {
			field, rest, err := t.unquote(trimmed[1:])
			if err != nil {
				return err
			}
			t.fields = append(t.fields, field)
			if line = rest; len(line) == 0 {
				return nil
			}
			line = line[1:]
			continue
		}
		field, rest, more := bytes.Cut(line, []byte{t.columns.Delimiter})
		t.fields = append(t.fields, bytes.TrimSpace(field))
		if line = rest; !more {
			return nil
		}
	}
	return nil
}

// unquote returns the field that begins after a quote at line, and what is left of the line
// from the delimiter on. Two quotes in it are one.
func (t *text) unquote(line []byte) (field, rest []byte, err error) {
	from := len(t.unquoted)
	for {
		end := bytes.IndexByte(line, '"')
		if end < 0 {
			return nil, nil, fmt.Errorf("%w: a quote is not closed on its line", live.ErrDamaged)
		}
		t.unquoted = append(t.unquoted, line[:end]...)
		line = line[end+1:]
		if len(line) > 0 && line[0] == '"' {
			t.unquoted = append(t.unquoted, '"')
			line = line[1:]
			continue
		}
		rest = bytes.TrimLeft(line, " ")
		if t.columns.Delimiter == ' ' {
			rest = line
		}
		if len(rest) > 0 && rest[0] != t.columns.Delimiter {
			return nil, nil, fmt.Errorf("%w: %.20q stands between a quote and the delimiter", live.ErrDamaged, rest)
		}
		return t.unquoted[from:], rest, nil
	}
}

// index returns the index of name in all, where it is put if it is new.
func index(known map[string]uint32, all *[]string, name []byte) (uint32, error) {
	if i, ok := known[string(name)]; ok {
		return i, nil
	}
	switch {
	case len(name) == 0 || len(name) > maxNameLen:
		return 0, fmt.Errorf("%w: name %.40q has %d bytes, not 1 to %d", live.ErrDamaged, name, len(name), maxNameLen)
	case len(*all) == maxNames:
		return 0, fmt.Errorf("there are more than %d names", maxNames)
	}
	i := uint32(len(*all))
	known[string(name)] = i
	*all = append(*all, string(name))
	return i, nil
}
