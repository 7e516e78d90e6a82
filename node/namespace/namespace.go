package namespace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/ufs"
)

// A Namespace is the one tree that the mounts make. Its methods may be called
// concurrently; after Close they fail with fs.ErrClosed.
type Namespace struct {
	cfg       Config
	table     *table
	store     *store
	dirs      *dirs
	negatives *negatives
	changes   *changes
	hash      func([]byte) uint64 // what ids are made with
	entries   atomic.Int64        // names kept
	count     counters
	cancel    context.CancelFunc                                                // of all requests
	request   func(timeout time.Duration) (context.Context, context.CancelFunc) // for one request
	wg        sync.WaitGroup

	mu     sync.Mutex // guards the fields below; taken after no other
	closed bool
	stats  map[nameOf]*statCall // in progress
	lists  map[uint64]*listing  // in progress, by directory
}

// Open returns the namespace that mounts make, with what is known of it from dir. The
// caller must Close it. Only one process at a time can have dir open.
func Open(dir string, mounts []Mount, cfg Config) (*Namespace, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("namespace: config: %w", err)
	}
	table, err := newTable(mounts)
	if err != nil {
		return nil, fmt.Errorf("namespace: %w", err)
	}
	s, err := openStore(dir, cfg)
	if err != nil {
		return nil, fmt.Errorf("namespace: %w", err)
	}
	base, cancel := context.WithCancel(context.Background())
	n := &Namespace{
		cfg: cfg, table: table, store: s,
		dirs: newDirs(), negatives: newNegatives(), changes: newChanges(cfg.OnChange),
		hash: hashID, cancel: cancel,
		stats: map[nameOf]*statCall{}, lists: map[uint64]*listing{},
		request: func(timeout time.Duration) (context.Context, context.CancelFunc) {
			return context.WithTimeout(base, timeout)
		},
	}
	if err := n.start(); err != nil {
		return nil, fmt.Errorf("namespace: %w", errors.Join(err, n.Close()))
	}
	return n, nil
}

// start reads the counts and gives the points their ids.
func (n *Namespace) start() error {
	entries, err := n.store.entries()
	if err != nil {
		return err
	}
	n.entries.Store(entries)
	for _, p := range n.table.topDown() {
		if err := n.place(p); err != nil {
			return err
		}
		n.table.byID[p.id] = p
	}
	n.changes.start(n.takeChanges)
	return nil
}

// Close cancels the requests to the UFSs, waits for what it started, and closes the
// metadata. A driver that does not heed its context is not waited for. Close may be
// called more than once.
func (n *Namespace) Close() error {
	n.mu.Lock()
	first := !n.closed
	n.closed = true
	n.mu.Unlock()
	n.cancel()
	n.wg.Wait()
	if first {
		n.changes.close()
	}
	return n.store.close()
}

// Lookup returns the entry of name in the directory parent. The error wraps
// fs.ErrNotExist, syscall.ENOTDIR if parent is a file, ufs.ErrUnavailable, or what else
// the UFS answered.
func (n *Namespace) Lookup(ctx context.Context, parent uint64, name string) (shoal.Entry, error) {
	n.count.lookups.Add(1)
	d, err := n.dir(parent)
	if err != nil {
		return shoal.Entry{}, fmt.Errorf("lookup %q: %w", name, err)
	}
	if p := d.child(name); p != nil {
		n.count.hits.Add(1)
		return p.entry(), nil
	}
	if d.mount == nil || !validName(name) {
		n.count.negativeHits.Add(1)
		return shoal.Entry{}, notExist(d, name)
	}
	return n.lookup(ctx, d, name)
}

// Attr returns the entry of id: of a file as it was when the id was given to it, of a
// directory as it is. It also knows the ids that an earlier process gave out. The error
// wraps what Lookup's does; fs.ErrNotExist also if the id's mount is not in the table
// any more.
func (n *Namespace) Attr(ctx context.Context, id uint64) (shoal.Entry, error) {
	n.count.lookups.Add(1)
	if p := n.table.byID[id]; p != nil {
		n.count.hits.Add(1)
		return p.entry(), nil
	}
	node, m, err := n.node(id)
	if err != nil {
		return shoal.Entry{}, err
	}
	d, err := n.dir(node.parent)
	name := path.Base(node.path)
	if node.info.IsDir() {
		if err != nil {
			return shoal.Entry{}, fmt.Errorf("attr %s: %w", node.path, err)
		}
		e, err := n.lookup(ctx, d, name)
		if err == nil && e.ID != id {
			err = notExist(d, name)
		}
		return e, err
	}
	n.count.hits.Add(1)
	if err != nil {
		return node.entry(id, m), nil
	}
	return n.fileAttr(d, name, id, node)
}

// NameOf returns the name that id has, or had, in the directory parent. It never asks the
// UFS. The error wraps fs.ErrNotExist if id was never given out, or its mount is not in
// the table any more.
func (n *Namespace) NameOf(id uint64) (parent uint64, name string, err error) {
	if p := n.table.byID[id]; p != nil {
		return p.parent.id, p.info.Name, nil
	}
	node, _, err := n.node(id)
	if err != nil {
		return 0, "", err
	}
	return node.parent, path.Base(node.path), nil
}

// fileAttr returns the entry of the file version id, which node says is name in d. It
// never asks the UFS: a version does not change.
func (n *Namespace) fileAttr(d *dir, name string, id uint64, node nodeRecord) (shoal.Entry, error) {
	l := d.listed.Load()
	r, ok, err := n.store.name(d.id, name, d.mount.tag)
	if err != nil {
		return shoal.Entry{}, err
	}
	if !ok || r.id != id {
		return node.entry(id, d.mount), nil
	}
	stale := !young(r.confirmed(l), n.cfg.Now(), d.mount.TTL) && !l.within(d.mount.TTL, n.cfg.Now())
	return d.entry(name, r, l, stale && d.mount.isDown()), nil
}

// Resolve returns the entry at an absolute path, by a Lookup of each of its names.
func (n *Namespace) Resolve(ctx context.Context, p string) (shoal.Entry, error) {
	if !strings.HasPrefix(p, "/") {
		return shoal.Entry{}, fmt.Errorf("resolve %q: not absolute: %w", p, fs.ErrInvalid)
	}
	e := n.table.points["/"].entry()
	rest := strings.Trim(path.Clean(p), "/")
	for rest != "" {
		var name string
		var err error
		name, rest, _ = strings.Cut(rest, "/")
		if e, err = n.Lookup(ctx, e.ID, name); err != nil {
			return shoal.Entry{}, err
		}
	}
	return e, nil
}

// Expire says that the UFS does not have id's version any more (ufs.ErrVersion): its
// name is not fresh, whatever the listing said, and the next Lookup asks the UFS.
func (n *Namespace) Expire(id uint64) {
	node, _, err := n.node(id)
	if err != nil {
		return
	}
	d, err := n.dir(node.parent)
	if err != nil || d.mount == nil {
		return
	}
	if err := n.learnExpired(d, path.Base(node.path), id, n.cfg.Now().UnixNano()); err != nil {
		n.cfg.Logger.Warn("expire", "path", node.path, "error", err)
	}
}

// FS returns the UFS that e belongs to, nil above all mounts.
func (n *Namespace) FS(e shoal.Entry) ufs.FS {
	if m := n.table.byPath[e.Mount]; m != nil {
		return m.FS
	}
	return nil
}

// Mounts returns the status of each mount, by path.
func (n *Namespace) Mounts() []MountStatus {
	now := n.cfg.Now()
	all := make([]MountStatus, 0, len(n.table.mounts))
	for _, m := range n.table.mounts {
		all = append(all, m.status(now))
	}
	return all
}

// node returns the record of id and the mount that it belongs to, which is the one it
// was made for.
func (n *Namespace) node(id uint64) (nodeRecord, *mount, error) {
	r, ok, err := n.store.node(id)
	if err != nil {
		return nodeRecord{}, nil, fmt.Errorf("id %d: %w", id, err)
	}
	m := n.table.owner(r.path)
	if !ok || m == nil || m.tag != r.tag {
		return nodeRecord{}, nil, fmt.Errorf("id %d: %w", id, fs.ErrNotExist)
	}
	return r, m, nil
}

// dir returns the directory id.
func (n *Namespace) dir(id uint64) (*dir, error) {
	if d := n.dirs.find(id); d != nil {
		return d, nil
	}
	if p := n.table.byID[id]; p != nil {
		return n.keep(&dir{id: id, parent: p.parent.id, path: p.path, mount: p.mount, source: p.source, point: p})
	}
	node, m, err := n.node(id)
	if err != nil {
		return nil, err
	}
	if !node.info.IsDir() {
		return nil, fmt.Errorf("%s: %w", node.path, syscall.ENOTDIR)
	}
	return n.keep(&dir{id: id, parent: node.parent, path: node.path, mount: m, source: m.source(node.path)})
}

// keep completes d with its last listing and puts it into the cache.
func (n *Namespace) keep(d *dir) (*dir, error) {
	if d.mount != nil {
		l, ok, err := n.store.listed(d.id, d.mount.tag)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.path, err)
		}
		if ok {
			d.listed.Store(&l)
		}
	}
	return n.dirs.keep(d), nil
}

func notExist(d *dir, name string) error {
	return fmt.Errorf("%s: %w", join(d.path, name), fs.ErrNotExist)
}
