package namespace

import (
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-mesh/shoal"
)

// maxDirs bounds how many directories are kept in RAM, about 300 bytes each.
const maxDirs = 32 << 10

// A dir is a directory as lookups need it: where it is and how fresh its listing is.
type dir struct {
	id     uint64
	parent uint64
	path   string
	mount  *mount // nil above all mounts
	source string // its name in the mount's UFS
	point  *point // nil unless the mount table makes it

	used    atomic.Bool                // since the cache last looked for one to drop
	listed  atomic.Pointer[listRecord] // the last complete listing, nil if there was none
	listing atomic.Pointer[listing]    // the one in progress

	spent int64 // Stats of its names since listed expired or was tried anew; guarded by Namespace.mu
}

// child returns the point called name in d, nil if there is none.
func (d *dir) child(name string) *point {
	if d.point == nil {
		return nil
	}
	return d.point.children[name]
}

// names returns the names of the points in d, sorted.
func (d *dir) names() []string {
	if d.point == nil {
		return nil
	}
	return d.point.names
}

// sourceOf returns the UFS's name of name in d.
func (d *dir) sourceOf(name string) string {
	if d.source == "" {
		return name
	}
	return d.source + "/" + name
}

// within reports whether l, nil for none, was complete less than ttl before now.
func (l *listRecord) within(ttl time.Duration, now time.Time) bool {
	return l != nil && young(l.done, now, ttl)
}

// confirmed returns when the UFS last said that r is so. l is the last complete listing
// of the directory, which saw every name that is still there.
func (r nameRecord) confirmed(l *listRecord) int64 {
	if l != nil && r.expired == 0 {
		return max(r.fetched, l.started)
	}
	return r.fetched
}

// entry returns the Entry of the name r in d.
func (d *dir) entry(name string, r nameRecord, l *listRecord, stale bool) shoal.Entry {
	at := join(d.path, name)
	e := shoal.Entry{
		ID:      r.id,
		Parent:  d.id,
		Path:    at,
		Mount:   d.mount.Path,
		Source:  d.mount.source(at),
		Info:    r.info,
		Fetched: time.Unix(0, r.confirmed(l)),
		Stale:   stale,
	}
	e.Info.Name = at[len(at)-len(name):]
	if !e.Info.IsDir() {
		e.File = shoal.NewFileID(d.mount.address, e.Source, e.Info.Version)
	}
	return e
}

// entry returns the Entry of p.
func (p *point) entry() shoal.Entry {
	e := shoal.Entry{ID: p.id, Parent: p.parent.id, Path: p.path, Source: p.source, Info: p.info}
	if p.mount != nil {
		e.Mount = p.mount.Path
	}
	return e
}

// entry returns the Entry of r, which belongs to m, as it was when it was stored.
func (r nodeRecord) entry(id uint64, m *mount) shoal.Entry {
	e := shoal.Entry{
		ID:      id,
		Parent:  r.parent,
		Path:    r.path,
		Mount:   m.Path,
		Source:  m.source(r.path),
		Info:    r.info,
		Fetched: time.Unix(0, r.fetched),
	}
	e.Info.Name = path.Base(r.path)
	if !e.Info.IsDir() {
		e.File = shoal.NewFileID(m.address, e.Source, e.Info.Version)
	}
	return e
}

// dirs is the cache of directories.
type dirs struct {
	mu   sync.RWMutex // guards the fields below
	byID map[uint64]*dir
}

func newDirs() *dirs { return &dirs{byID: map[uint64]*dir{}} }

// find returns the directory id, nil if it is not in the cache.
func (c *dirs) find(id uint64) *dir {
	c.mu.RLock()
	defer c.mu.RUnlock()
	d := c.byID[id]
	if d != nil && !d.used.Load() {
		d.used.Store(true)
	}
	return d
}

// keep puts d into the cache and returns the one that is there now, which is another if
// someone was faster.
func (c *dirs) keep(d *dir) *dir {
	c.mu.Lock()
	defer c.mu.Unlock()
	if have := c.byID[d.id]; have != nil {
		return have
	}
	if len(c.byID) >= maxDirs {
		c.drop()
	}
	c.byID[d.id] = d
	return d
}

// drop makes room: of a few directories, taken as the map gives them, it drops those not
// used since the last time. One that is being listed stays, so that no second listing of
// it can start.
func (c *dirs) drop() {
	looked := 0
	for id, d := range c.byID {
		if d.listing.Load() == nil && !d.used.Swap(false) {
			delete(c.byID, id)
		}
		if looked++; looked == 16 && len(c.byID) < maxDirs {
			return
		}
	}
}
