package trace

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"

	live "github.com/shoal-mesh/shoal/node/trace"
)

const (
	lcsMagic = 0x123456789abcdef0 // first and last eight bytes of a header

	lcsShortHeader = 1024
	lcsLongHeader  = 8192
	maxTenants     = 1 << 16
)

// An lcsLayout says where in a request of lcs what is. libCacheSim has had three headers with
// the same magic number, in this order:
//
//  1. 1,024 bytes with a format string like those of Python's package struct ("<IQIq") at 8,
//     the numbers of the fields from 248 on, how many requests there are at 488, fields and
//     bytes of one at 1000 and 1004;
//  2. 1,024 bytes with a version, 1 or 2, at 8, and how many requests there are at 24;
//  3. 8,192 bytes with a version, 1 to 8, at 8, and how many requests there are at 24.
//
// They are told apart by where the second magic number is, and by the "<" at 8. Requests of
// version 1 are as in oracleGeneral; version 2 has operation (a byte) and tenant (three bytes)
// before the index of the next request; version 3 has a size of eight bytes, and a lifetime
// after the tenant; versions 4 to 8 have 1, 2, 4, 8, 16 numbers of four bytes more.
type lcsLayout struct {
	header   int   // length in bytes
	size     int   // of a request, in bytes
	requests int64 // how many the header says there are, 0 if it does not

	time, id, bytes, op, tenant field
}

// A field is an unsigned number in little endian. One that is not there has no width.
type field struct{ offset, width int }

// of returns the field's value in the request b, 0 if it is not there.
func (f field) of(b []byte) uint64 {
	b = b[f.offset:]
	switch f.width {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	case 3:
		return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	case 8:
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// An lcs decodes lcs.
type lcs struct {
	foreign
	lcsLayout
	in      *input
	tenants map[uint64]uint32 // tenant to dataset
}

func newLCS(in *input) (*lcs, error) {
	layout, err := parseLCS(in.peek(lcsLongHeader))
	if err != nil {
		return nil, fmt.Errorf("offset 0: lcs header: %w", err)
	}
	in.take(layout.header)
	d := &lcs{foreign: newForeign(LCS), lcsLayout: layout, in: in}
	if d.tenant.width > 0 {
		d.tenants, d.about.Datasets = map[uint64]uint32{}, nil
	}
	return d, nil
}

// parseLCS reads the header at the beginning of head.
func parseLCS(head []byte) (lcsLayout, error) {
	isMagic := func(at int) bool {
		return len(head) >= at+8 && binary.LittleEndian.Uint64(head[at:]) == lcsMagic
	}
	var l lcsLayout
	switch {
	case !isMagic(0):
		return l, fmt.Errorf("%w: it does not begin with %#x", live.ErrDamaged, uint64(lcsMagic))
	case isMagic(lcsShortHeader - 8):
		if head[8] == '<' {
			return parseLCSFormat(head)
		}
		l.header = lcsShortHeader
	case isMagic(lcsLongHeader - 8):
		l.header = lcsLongHeader
	case len(head) < lcsLongHeader:
		return l, fmt.Errorf("%w within it", live.ErrTruncated)
	default:
		return l, fmt.Errorf("%w: it does not end with %#x, be it of %d or %d bytes", live.ErrDamaged, uint64(lcsMagic), lcsShortHeader, lcsLongHeader)
	}
	version := binary.LittleEndian.Uint64(head[8:])
	newest := uint64(8)
	if l.header == lcsShortHeader {
		newest = 2
	}
	if version < 1 || version > newest {
		return l, fmt.Errorf("lcs of version %d with a header of %d bytes is not known, only versions 1 to %d", version, l.header, newest)
	}
	l.requests = int64(binary.LittleEndian.Uint64(head[24:]))
	if l.requests < 0 {
		return l, fmt.Errorf("%w: it says there are %d requests", live.ErrDamaged, l.requests)
	}
	l.versioned(int(version))
	return l, nil
}

// versioned sets the layout of a request of this version.
func (l *lcsLayout) versioned(version int) {
	l.time, l.id, l.bytes = field{0, 4}, field{4, 8}, field{12, 4}
	switch version {
	case 1:
		l.size = 24
	case 2:
		l.op, l.tenant = field{16, 1}, field{17, 3}
		l.size = 28
	default:
		l.bytes, l.op, l.tenant = field{12, 8}, field{20, 1}, field{21, 3}
		l.size = 36
		if version > 3 {
			l.size += 4 << (version - 4)
		}
	}
}

// parseLCSFormat reads the header head that has a format string.
func parseLCSFormat(head []byte) (lcsLayout, error) {
	format, _, _ := bytes.Cut(head[9:9+239], []byte{0})
	l := lcsLayout{header: lcsShortHeader, requests: int64(binary.LittleEndian.Uint64(head[488:]))}
	fields := make([]field, 1, len(format)+1) // numbered from 1; 0 is none
	for _, c := range format {
		width := 0
		switch c {
		case 'c', 'b', 'B':
			width = 1
		case 'h', 'H':
			width = 2
		case 'i', 'I':
			width = 4
		case 'q', 'Q':
			width = 8
		default:
			return l, fmt.Errorf("lcs with a field %q in its format %q is not supported", c, format)
		}
		fields = append(fields, field{l.size, width})
		l.size += width
	}
	if n, size := binary.LittleEndian.Uint32(head[1000:]), binary.LittleEndian.Uint32(head[1004:]); int64(n) != int64(len(format)) || int64(size) != int64(l.size) {
		return l, fmt.Errorf("%w: it says a request has %d fields in %d bytes, and its format %q has %d in %d", live.ErrDamaged, n, size, format, len(format), l.size)
	}
	if l.requests < 0 {
		return l, fmt.Errorf("%w: it says there are %d requests", live.ErrDamaged, l.requests)
	}
	for i, f := range []*field{&l.id, &l.bytes, &l.time, nil, nil, &l.op, nil, &l.tenant} {
		number := int(head[248+i])
		if number >= len(fields) {
			return l, fmt.Errorf("%w: it names field %d of %d", live.ErrDamaged, number, len(format))
		}
		if f == nil {
			continue
		}
		*f = fields[number]
		if f.width == 0 && i < 3 {
			return l, fmt.Errorf("lcs without id, size or time (field %d of %q) is not supported", number, format)
		}
	}
	return l, nil
}

func (d *lcs) next(batch []Record) (int, error) {
	n := 0
	for n < len(batch) {
		b, err := d.in.records(d.size, len(batch)-n)
		if err != nil {
			if errors.Is(err, io.EOF) && d.number < d.requests {
				err = fmt.Errorf("%w: its header says that there are %d requests", live.ErrTruncated, d.requests)
			}
			return n, d.located(d.in.offset(), err)
		}
		for i := 0; i+d.size <= len(b); i += d.size {
			ok, err := d.decode(&batch[n], b[i:i+d.size])
			if err != nil {
				return n, d.located(d.in.offset()+int64(i), err)
			}
			if ok {
				n++
			}
		}
		d.in.take(len(b))
	}
	return n, nil
}

// decode reads the request b, and reports whether it is a record.
func (d *lcs) decode(r *Record, b []byte) (bool, error) {
	op, known := lcsOp(d.op.of(b))
	if !known {
		return false, d.skip()
	}
	time := d.time.of(b)
	if time > uint64(maxTime/second) {
		return false, fmt.Errorf("%w: a time of %d s: is it no lcs trace?", live.ErrDamaged, time)
	}
	ok, err := d.accept(r, int64(time)*second, d.id.of(b), d.bytes.of(b))
	if !ok || err != nil {
		return false, err
	}
	r.Op = op
	if d.tenants != nil {
		r.Dataset, err = d.dataset(d.tenant.of(b))
	}
	return true, err
}

// dataset returns the dataset that stands for a tenant.
func (d *lcs) dataset(tenant uint64) (uint32, error) {
	i, ok := d.tenants[tenant]
	if !ok {
		if len(d.tenants) == maxTenants {
			return 0, fmt.Errorf("more than %d tenants", maxTenants)
		}
		i = uint32(len(d.tenants))
		d.tenants[tenant] = i
		d.about.Datasets = append(d.about.Datasets, "tenant "+strconv.FormatUint(tenant, 10))
	}
	return i, nil
}

// lcsOp returns what libCacheSim's operation of this number does to a block: what is not
// stated reads; known is false for a deletion.
func lcsOp(number uint64) (op live.Op, known bool) {
	switch number {
	case 3, 4, 5, 6, 7, 8, 10, 11, 13, 14: // set, add, cas, replace, append, prepend, incr, decr, write, update
		return live.Write, true
	case 9: // delete
		return live.Read, false
	}
	return live.Read, true
}
