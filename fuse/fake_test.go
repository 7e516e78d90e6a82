package fuse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/shoal-mesh/shoal"
)

// A tree is Names and Files in memory. The names of some files say how they misbehave:
// "gate..." blocks reads until the gate is opened or the read is cancelled, "hang..."
// blocks lookups so, "eio..." fails reads, "stale..." fails them with ESTALE, "short..."
// ends them early, "panic..." panics.
type tree struct {
	mu       sync.Mutex // guards the fields below
	last     uint64
	entries  map[uint64]shoal.Entry
	ids      map[uint64]shoal.Entry // the same, and those that are gone
	children map[uint64]map[string]uint64
	data     map[uint64][]byte
	lookups  map[string]int
	listed   []string  // the after of every ReadDir
	began    time.Time // what Listed returns
	opened   int
	closed   int
	shut     chan struct{}     // one for each file that was closed, as far as there is room
	backed   map[string]string // files of the host that have what is read, by name
	backings int               // of these, held now

	lent atomic.Int64 // reads whose bytes have not been given back

	gate      chan struct{}
	entered   chan string // names of reads and lookups that block
	cancelled chan string // of these, the cancelled ones
}

var (
	_ Names = (*tree)(nil)
	_ Files = (*tree)(nil)
)

func newTree() *tree {
	t := &tree{
		last:      shoal.FirstID - 1,
		entries:   map[uint64]shoal.Entry{},
		ids:       map[uint64]shoal.Entry{},
		children:  map[uint64]map[string]uint64{shoal.RootID: {}},
		data:      map[uint64][]byte{},
		lookups:   map[string]int{},
		backed:    map[string]string{},
		shut:      make(chan struct{}, 100),
		gate:      make(chan struct{}),
		entered:   make(chan string, 100),
		cancelled: make(chan string, 100),
	}
	t.entries[shoal.RootID] = shoal.Entry{
		ID: shoal.RootID, Parent: shoal.RootID, Path: "/",
		Info: shoal.FileInfo{Mode: fs.ModeDir},
	}
	return t
}

// dir adds a directory, file a file or a new version of one.
func (t *tree) dir(parent uint64, name string) uint64 {
	return t.add(parent, shoal.FileInfo{Name: name, Mode: fs.ModeDir | 0o755})
}

func (t *tree) file(parent uint64, name string, data []byte) uint64 {
	id := t.add(parent, shoal.FileInfo{
		Name: name, Size: int64(len(data)), Mode: 0o644, ModTime: time.Unix(1_700_000_000, 5),
	})
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data[id] = data
	return id
}

func (t *tree) add(parent uint64, info shoal.FileInfo) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	path := strings.TrimSuffix(t.entries[parent].Path, "/") + "/" + info.Name
	t.entries[t.last] = shoal.Entry{ID: t.last, Parent: parent, Path: path, Info: info}
	t.ids[t.last] = t.entries[t.last]
	t.children[parent][info.Name] = t.last
	if info.IsDir() {
		t.children[t.last] = map[string]uint64{}
	}
	return t.last
}

func (t *tree) Listed(uint64) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.began
}

// remove takes a name of the root away, removeFrom one of a directory.
func (t *tree) remove(name string) { t.removeFrom(shoal.RootID, name) }

func (t *tree) removeFrom(dir uint64, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.entries, t.children[dir][name])
	delete(t.children[dir], name)
}

// rootDir returns the id of a name of the root.
func (t *tree) rootDir(name string) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.children[shoal.RootID][name]
}

// forget takes the id of a replaced version away.
func (t *tree) forget(id uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.entries, id)
}

func (t *tree) Lookup(ctx context.Context, parent uint64, name string) (shoal.Entry, error) {
	if strings.HasPrefix(name, "hang") {
		if err := t.block(ctx, name); err != nil {
			return shoal.Entry{}, err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lookups[name]++
	id, ok := t.children[parent][name]
	if !ok {
		return shoal.Entry{}, fmt.Errorf("lookup %s: %w", name, fs.ErrNotExist)
	}
	return t.entries[id], nil
}

func (t *tree) Attr(_ context.Context, id uint64) (shoal.Entry, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.entries[id]
	if !ok {
		return shoal.Entry{}, fmt.Errorf("id %d: %w", id, fs.ErrNotExist)
	}
	return e, nil
}

func (t *tree) NameOf(id uint64) (parent uint64, name string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.ids[id]
	if !ok {
		return 0, "", fmt.Errorf("id %d: %w", id, fs.ErrNotExist)
	}
	return e.Parent, e.Info.Name, nil
}

func (t *tree) ReadDir(_ context.Context, id uint64, after string) iter.Seq2[shoal.Entry, error] {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.listed = append(t.listed, after)
	var all []shoal.Entry
	for name, child := range t.children[id] {
		if name > after {
			all = append(all, t.entries[child])
		}
	}
	slices.SortFunc(all, func(a, b shoal.Entry) int { return strings.Compare(a.Info.Name, b.Info.Name) })
	return func(yield func(shoal.Entry, error) bool) {
		for _, e := range all {
			if e.Info.Name == "unlistable" {
				yield(shoal.Entry{}, syscall.EIO)
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// XAttr answers the attribute "path" with the entry's path, "empty" with nothing; "hang..." blocks,
// and "eio" fails.
func (t *tree) XAttr(ctx context.Context, e shoal.Entry, name string) (string, error) {
	switch {
	case name == "path":
		return e.Path, nil
	case name == "empty":
		return "", nil
	case name == "eio":
		return "", errors.New("storage is down")
	case strings.HasPrefix(name, "hang"):
		return "", t.block(ctx, name)
	}
	return "", fmt.Errorf("%s: %w", name, syscall.ENODATA)
}

func (t *tree) OpenFile(_ context.Context, e shoal.Entry) (File, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.opened++
	return &treeFile{tree: t, name: e.Info.Name, data: t.data[e.ID]}, nil
}

// block waits until the gate opens.
func (t *tree) block(ctx context.Context, name string) error {
	t.entered <- name
	t.mu.Lock()
	gate := t.gate
	t.mu.Unlock()
	select {
	case <-gate:
		return nil
	case <-ctx.Done():
		t.cancelled <- name
		return ctx.Err()
	}
}

type treeFile struct {
	tree *tree
	name string
	data []byte
}

// Read lends what is lendFrom bytes or more, and spoils it once it is given back.
func (f *treeFile) Read(ctx context.Context, p []byte, off int64) ([]byte, func(), error) {
	kind, _, _ := strings.Cut(f.name, "-")
	switch kind {
	case "gate":
		if err := f.tree.block(ctx, f.name); err != nil {
			return nil, nil, err
		}
	case "eio":
		return nil, nil, fmt.Errorf("read %s: storage is down", f.name)
	case "stale":
		return nil, nil, fmt.Errorf("read %s: version changed: %w", f.name, syscall.ESTALE)
	case "short":
		return p[:copy(p, f.data[off:])/2+1], nil, io.EOF
	case "panic":
		panic("on purpose")
	}
	data := f.data[min(off, int64(len(f.data))):]
	data = data[:min(len(p), len(data))]
	if len(data) < len(p) {
		return p[:copy(p, data)], nil, io.EOF
	}
	if len(p) < lendFrom {
		return p[:copy(p, data)], nil, nil
	}
	lent := bytes.Clone(data)
	f.tree.lent.Add(1)
	return lent, func() {
		clear(lent)
		f.tree.lent.Add(-1)
	}, nil
}

// Backing returns a file of the host whose bytes tell who has read them: they are others.
func (f *treeFile) Backing() (*os.File, func(), error) {
	f.tree.mu.Lock()
	defer f.tree.mu.Unlock()
	path, ok := f.tree.backed[f.name]
	if !ok {
		return nil, nil, nil
	}
	host, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	f.tree.backings++
	return host, func() {
		f.tree.mu.Lock()
		defer f.tree.mu.Unlock()
		f.tree.backings--
	}, nil
}

func (f *treeFile) Passed() {}

// lendFrom is the length from which reads of a treeFile are lent.
const lendFrom = 64 << 10

func (f *treeFile) Close() error {
	f.tree.mu.Lock()
	defer f.tree.mu.Unlock()
	f.tree.closed++
	select {
	case f.tree.shut <- struct{}{}:
	default:
	}
	return nil
}

// noise returns n bytes that differ everywhere, the same for the same seed.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}
