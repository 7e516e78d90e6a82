package blockstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
)

// A wrongHeader is a file of a container whose header is not what the index says.
type wrongHeader struct {
	name fileName
	want header
}

// errHeader reports a container whose header is of another, or damaged.
var errHeader = errors.New("header is not the container's")

// audit compares the containers in memory with their files and adds what it finds to r. dead
// are the index entries of which nothing could be brought into memory.
func (d *disk) audit(ctx context.Context, r *Report, dead deadEntries) (wrong []wrongHeader, err error) {
	d.auditDead(r, dead)
	if err := d.auditFiles(r); err != nil {
		return nil, err
	}
	for _, c := range d.places.containers {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		switch {
		case c.name == 0: // free
		case c.packed:
			h := header{name: c.name - 1, slot: c.slot, size: d.slabBytes}
			err = d.auditFile(r, fileName{slabFile, c.name - 1}, d.slabBytes, &h, &wrong)
		default:
			h := header{name: c.name, file: c.file, size: c.size}
			err = d.auditFile(r, fileName{sumsFile, c.name}, cellOffset(c.n), &h, &wrong)
			if err == nil {
				err = d.auditFile(r, fileName{sparseFile, c.name}, c.size, nil, &wrong)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return wrong, nil
}

// auditDead adds the containers that are not there, and those that have no room for a block
// the index has in them.
func (d *disk) auditDead(r *Report, dead deadEntries) {
	type lost struct {
		blocks int
		err    error
	}
	found := make(map[uint64]lost)
	for _, name := range dead.containers {
		found[name] = lost{err: fmt.Errorf("container: %w", fs.ErrNotExist)}
	}
	for _, p := range dead.blocks {
		l, ok := found[p.container]
		if !ok {
			l.err = errors.New("the index has blocks where there cannot be any")
		}
		l.blocks++
		found[p.container] = l
	}
	for name, l := range found {
		f := fileName{sparseFile, name}
		if name < 1<<bootShift {
			f = fileName{slabFile, name - 1}
		}
		r.Problems = append(r.Problems, Problem{f.path(""), l.blocks, l.err})
	}
	slices.SortFunc(r.Problems, func(a, b Problem) int { return cmp.Compare(a.File, b.File) })
}

// auditFiles adds the files that are of no container. A slab that is cut for no class is in use.
func (d *disk) auditFiles(r *Report) error {
	slabs, err := d.files.List(filepath.Join(d.path, slabsDir))
	if err != nil {
		return err
	}
	most := d.mostSlabs(len(slabs))
	for _, base := range slabs {
		if f, ok := parseFile(slabFile, base); !ok || f.name >= most || f.path("") != filepath.Join(slabsDir, base) {
			r.Leftovers = append(r.Leftovers, filepath.Join(slabsDir, base))
		}
	}
	for i := range filesDirs {
		names, err := d.files.List(filepath.Join(d.path, filesDir, subfolder(i)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, base := range names {
			path := filepath.Join(filesDir, subfolder(i), base)
			f, ok := parseFile(sparseFile, base)
			if _, known := d.places.names[f.name]; !ok || !known || f.path("") != path {
				r.Leftovers = append(r.Leftovers, path)
			}
		}
	}
	slices.Sort(r.Leftovers)
	return nil
}

// auditFile adds a file that is missing, of another length, or does not begin with its header,
// if it has one.
func (d *disk) auditFile(r *Report, name fileName, size int64, want *header, wrong *[]wrongHeader) error {
	err := d.auditHeader(name, size, want)
	switch {
	case err == nil:
		return nil
	case exhausted(err):
		return err
	case errors.Is(err, errHeader):
		*wrong = append(*wrong, wrongHeader{name, *want})
	}
	r.Problems = append(r.Problems, Problem{File: name.path(""), Err: err})
	return nil
}

func (d *disk) auditHeader(name fileName, size int64, want *header) error {
	h, err := d.handles.get(name)
	if err != nil {
		return err
	}
	defer d.handles.release(h)
	got, err := h.Size()
	if err != nil {
		return err
	}
	if got != size {
		return fmt.Errorf("%d bytes, want %d", got, size)
	}
	if want == nil {
		return nil
	}
	head, err := readHeader(h)
	if errors.Is(err, errRecord) || err == nil && head != *want {
		return errHeader
	}
	return err
}
