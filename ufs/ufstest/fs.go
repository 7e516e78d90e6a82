// Package ufstest helps to test what stands on an under file system (UFS) and the
// drivers themselves: FS is a UFS in memory that counts, fails and stalls on request,
// Conformance is the suite every driver passes, and StartS3 runs a real S3 server.
//
// It does not test how fast a driver is, nor what only one UFS does: that is for the
// tests of its package.
package ufstest

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/ufs"
)

var _ ufs.FS = (*FS)(nil)

// FS is an under file system in memory. Its zero value is empty and ready. The exported
// fields are set before its first use; its methods may be called concurrently.
type FS struct {
	// Name tells two FSs of one test apart: it is part of Address.
	Name string
	// Fault, if set, is asked before each "stat", "list" and "open" and before each
	// piece of a stream ("read"); a non-nil error is returned as it is. It is called
	// without a lock held and may block.
	Fault func(op, name string) error
	// OnRead, if set, is called before the bytes of name from offset off in the file
	// are handed out. It may block, until ctx of the stream ends at the latest, and
	// a non-nil error breaks the stream. A Read never crosses a multiple of
	// shoal.ChunkSize, so OnRead is called at each of them.
	OnRead func(ctx context.Context, name string, off int64) error

	mu     sync.Mutex // guards the fields below
	files  map[string]file
	dirs   map[string]*dir // never without the root once there is a file
	puts   int64           // how often anything was put or removed: the last version
	holds  map[place]*hold
	counts Counts
}

// Counts says how often an FS was asked, and how many bytes it gave.
type Counts struct {
	Stat, List, Open int   // calls, also those that failed
	Bytes            int64 // bytes read from streams
	Streams          int   // streams opened and not yet closed
}

type file struct {
	data []byte
	info shoal.FileInfo
}

type dir struct {
	names map[string]bool // what is in it
	made  bool            // by Mkdir: stays when it is empty
	info  shoal.FileInfo
}

// Put writes the file name. Each Put makes a new version, also of the same data, which
// the caller must not modify afterwards. Missing directories are made, and go again
// with their last file. It panics if name is bad or a directory: the test is wrong.
func (f *FS) Put(name string, data []byte) {
	mustBeGood(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.dirs[name]; ok || name == "" {
		panic(fmt.Sprintf("ufstest: put %q: is a directory", name))
	}
	if f.files == nil {
		f.files = make(map[string]file)
	}
	f.puts++
	f.link(name)
	f.files[name] = file{data: data, info: shoal.FileInfo{
		Name: path.Base(name), Size: int64(len(data)), Mode: 0o644, ModTime: f.now(),
		Version: shoal.Version(fmt.Sprintf("v%d", f.puts)),
	}}
}

// Mkdir makes the directory name, which stays when it is empty.
func (f *FS) Mkdir(name string) {
	mustBeGood(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.puts++
	f.makeDir(name).made = true
}

// Remove removes the file or empty directory name, if there is one.
func (f *FS) Remove(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.puts++
	delete(f.files, name)
	if d := f.dirs[name]; d != nil {
		d.made = false
	}
	for name != "" {
		if d := f.dirs[name]; d != nil && (d.made || len(d.names) > 0) {
			return
		}
		delete(f.dirs, name)
		parent, base := split(name)
		if d := f.dirs[parent]; d != nil {
			delete(d.names, base)
			d.info.ModTime = f.now()
		}
		name = parent
	}
}

// Counts returns how often f was asked since it was made or Reset.
func (f *FS) Counts() Counts {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts
}

// ResetCounts sets all counts but Streams to zero.
func (f *FS) ResetCounts() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts = Counts{Streams: f.counts.Streams}
}

// Address implements ufs.FS.
func (f *FS) Address() string { return "fake://" + f.Name }

// Stat implements ufs.FS.
func (f *FS) Stat(ctx context.Context, name string) (shoal.FileInfo, error) {
	if err := f.begin(ctx, "stat", name, func(c *Counts) { c.Stat++ }); err != nil {
		return shoal.FileInfo{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stat(name)
}

// List implements ufs.FS.
func (f *FS) List(ctx context.Context, name, after string, limit int) (ufs.Page, error) {
	if err := f.begin(ctx, "list", name, func(c *Counts) { c.List++ }); err != nil {
		return ufs.Page{}, err
	}
	if limit <= 0 {
		return ufs.Page{}, fmt.Errorf("list %q: limit %d: %w", name, limit, fs.ErrInvalid)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.dirs[name]
	if d == nil && name == "" {
		d = &dir{}
	}
	if d == nil {
		return ufs.Page{}, fmt.Errorf("list %q: %w", name, fs.ErrNotExist)
	}
	var names []string
	for n := range d.names {
		if n > after {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	var page ufs.Page
	for _, n := range names[:min(limit, len(names))] {
		info, err := f.stat(path.Join(name, n))
		if err != nil {
			return ufs.Page{}, err
		}
		page.Entries = append(page.Entries, info)
	}
	page.More = len(names) > limit
	return page, nil
}

// Open implements ufs.FS. The stream fails with ufs.ErrVersion as soon as the file is
// replaced or removed.
func (f *FS) Open(ctx context.Context, name string, v shoal.Version, off, length int64) (io.ReadCloser, error) {
	if err := f.begin(ctx, "open", name, func(c *Counts) { c.Open++ }); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	file, ok := f.files[name]
	if !ok {
		return nil, fmt.Errorf("open %q: %w", name, fs.ErrNotExist)
	}
	if v != file.info.Version {
		return nil, fmt.Errorf("open %q: version %q, not %q: %w", name, file.info.Version, v, ufs.ErrVersion)
	}
	if err := ufs.CheckRange(off, length, int64(len(file.data))); err != nil {
		return nil, fmt.Errorf("open %q: %w", name, err)
	}
	f.counts.Streams++
	return f.newStream(ctx, name, file, off, length), nil
}

// begin does what all calls begin with: count, check, fail on request.
func (f *FS) begin(ctx context.Context, op, name string, count func(*Counts)) error {
	f.mu.Lock()
	count(&f.counts)
	f.mu.Unlock()
	if err := ufs.CheckName(name); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if f.Fault != nil {
		if err := f.Fault(op, name); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s %q: %w", op, name, err)
	}
	return nil
}

// stat is Stat; f.mu is held.
func (f *FS) stat(name string) (shoal.FileInfo, error) {
	if d, ok := f.dirs[name]; ok {
		return d.info, nil
	}
	if file, ok := f.files[name]; ok {
		return file.info, nil
	}
	if name == "" {
		return shoal.FileInfo{Mode: fs.ModeDir | 0o755, ModTime: f.now()}, nil
	}
	return shoal.FileInfo{}, fmt.Errorf("stat %q: %w", name, fs.ErrNotExist)
}

// link enters name in its directory, making it; f.mu is held.
func (f *FS) link(name string) {
	parent, base := split(name)
	d := f.makeDir(parent)
	d.names[base] = true
	d.info.ModTime = f.now()
}

// makeDir returns the directory name, making it and those above; f.mu is held.
func (f *FS) makeDir(name string) *dir {
	if d, ok := f.dirs[name]; ok {
		return d
	}
	if _, ok := f.files[name]; ok {
		panic(fmt.Sprintf("ufstest: make directory %q: is a file", name))
	}
	if f.dirs == nil {
		f.dirs = make(map[string]*dir)
	}
	_, base := split(name)
	d := &dir{
		names: make(map[string]bool),
		info:  shoal.FileInfo{Name: base, Mode: fs.ModeDir | 0o755, ModTime: f.now()},
	}
	f.dirs[name] = d
	if name != "" {
		f.link(name)
	}
	return d
}

// now returns a time of modification: one second later for each Put, whatever the clock.
func (f *FS) now() time.Time { return time.Unix(1_700_000_000+f.puts, 0).UTC() }

func split(name string) (parent, base string) {
	i := strings.LastIndexByte(name, '/')
	return name[:max(i, 0)], name[i+1:]
}

func mustBeGood(name string) {
	if err := ufs.CheckName(name); err != nil {
		panic("ufstest: " + err.Error())
	}
}
