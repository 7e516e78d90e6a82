package namespace

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/shoal-mesh/shoal"
)

// maxName is the longest name, in bytes, that a kernel takes.
const maxName = 255

// A table is the mount table: the mounts, and the directories that exist because of
// them. It does not change once made.
type table struct {
	mounts []*mount          // sorted by path
	byPath map[string]*mount // the same
	points map[string]*point // by path; the root is always one
	byID   map[uint64]*point // filled by Open
}

// A point is a directory that exists because the mount table says so: the root of the
// namespace, the root of a mount, or a directory above one. Inside an outer mount it
// hides the UFS's own name, and if it is not a mount's root shows the UFS's names in it.
type point struct {
	path   string
	id     uint64
	parent *point // the root's is the root
	mount  *mount // the one it belongs to, nil above all mounts
	source string // its name in that mount's UFS
	info   shoal.FileInfo
	// children by name, and the names sorted.
	children map[string]*point
	names    []string
}

// newTable checks mounts, all of them, and lays them out.
func newTable(mounts []Mount) (*table, error) {
	t := &table{byPath: map[string]*mount{}, points: map[string]*point{}, byID: map[uint64]*point{}}
	var errs []error
	for _, m := range mounts {
		m = m.withDefaults()
		if wrong := m.violations(); wrong != nil {
			errs = append(errs, wrong...)
			continue
		}
		if t.byPath[m.Path] != nil {
			errs = append(errs, fmt.Errorf("mount %q: path used twice", m.Path))
			continue
		}
		t.byPath[m.Path] = newMount(m)
		t.mounts = append(t.mounts, t.byPath[m.Path])
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	slices.SortFunc(t.mounts, func(a, b *mount) int { return cmp.Compare(a.Path, b.Path) })
	t.point("/")
	for _, m := range t.mounts {
		t.point(m.Path)
	}
	for _, p := range t.points {
		slices.Sort(p.names)
	}
	return t, nil
}

// point returns the point at p, making it and those above it.
func (t *table) point(p string) *point {
	if have := t.points[p]; have != nil {
		return have
	}
	made := &point{path: p, mount: t.owner(p), children: map[string]*point{}}
	if made.mount != nil {
		made.source = made.mount.source(p)
	}
	t.points[p] = made
	if p == "/" {
		made.parent = made
		return made
	}
	made.parent = t.point(path.Dir(p))
	made.parent.children[path.Base(p)] = made
	made.parent.names = append(made.parent.names, path.Base(p))
	return made
}

// topDown returns the points, each after its parent.
func (t *table) topDown() []*point {
	all := make([]*point, 0, len(t.points))
	for _, p := range t.points {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *point) int { return cmp.Compare(a.path, b.path) })
	return all
}

// owner returns the mount that path p belongs to: the innermost whose Path is p or
// above it. It is nil when there is none.
func (t *table) owner(p string) *mount {
	for {
		if m := t.byPath[p]; m != nil {
			return m
		}
		if p == "/" || p == "." {
			return nil
		}
		p = path.Dir(p)
	}
}

// checkPath returns an error unless p is an absolute, clean path of names that can be
// in the namespace.
func checkPath(p string) error {
	if !strings.HasPrefix(p, "/") {
		return errors.New("path is not absolute")
	}
	if path.Clean(p) != p {
		return fmt.Errorf("path is not clean, write %q", path.Clean(p))
	}
	if p == "/" {
		return nil
	}
	for name := range strings.SplitSeq(p[1:], "/") {
		if !validName(name) {
			return fmt.Errorf("%q cannot be a name", name)
		}
	}
	return nil
}

// validName reports whether name can be a name of the namespace: one that a kernel can
// say and a driver accepts.
func validName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= maxName &&
		!strings.ContainsAny(name, "/\x00") && utf8.ValidString(name)
}

// join returns the path of name in the directory dir of the namespace.
func join(dir, name string) string {
	if dir == "/" {
		return dir + name
	}
	return dir + "/" + name
}
