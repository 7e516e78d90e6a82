// Package local is the driver for a directory as under file system (UFS): a local disk,
// or a NAS the host has mounted.
//
// A file's version is its inode number, its time of modification in nanoseconds and its
// size. So a change is missed if it leaves the inode and the size as they were and comes
// within one tick of the file system's clock (up to 4 ms on older kernels) of the state
// it changes; and over NFS, within the time the client caches attributes (3 s by
// default) while a file is streamed. Writers that replace files by rename are safe.
//
// Nothing is reached through ".." or through a symlink that leaves the root, which every
// absolute one is held to do: such a name is fs.ErrPermission, and listings leave it
// out. So is a symlink to a directory that contains it, because a walk would not end,
// and what is neither a file nor a directory.
//
// The root is opened anew by each call, so that a NAS can be unmounted and mounted
// again under a running agent; while the root is missing, all calls are
// ufs.ErrUnavailable. A call cannot be taken back from the kernel: on a NAS mounted
// "hard" that does not answer, it hangs as any program would. Mount it "soft", or with
// "softerr", to have ufs.ErrUnavailable instead.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/ufs"
)

var _ ufs.FS = (*FS)(nil)

// Config holds the settings of an FS. A zero field means its default.
type Config struct {
	// SnapshotNames is how many names of listings in progress are kept, so that a page
	// need not read its directory again; one directory may exceed it. Default 1 Mi
	// (some 50 MB); not negative.
	SnapshotNames int
	// Logger receives a line, at debug level, for each entry a listing leaves out.
	// Default: discard.
	Logger *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	if c.SnapshotNames == 0 {
		c.SnapshotNames = 1 << 20
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.SnapshotNames < 0 {
		return c, fmt.Errorf("snapshot names: %d is negative", c.SnapshotNames)
	}
	return c, nil
}

// FS is a directory, read.
type FS struct {
	path      string // absolute
	log       *slog.Logger
	snapshots snapshots
}

// New returns the driver for the directory root. It does not look at it: see Check.
func New(root string, cfg Config) (*FS, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("local: config: %w", err)
	}
	if root == "" {
		return nil, fmt.Errorf("local: root is empty: %w", fs.ErrInvalid)
	}
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("local: root %q: %w", root, err)
	}
	return &FS{path: abs, log: cfg.Logger, snapshots: snapshots{max: cfg.SnapshotNames}}, nil
}

// Check reports whether the root is there and can be listed; its error names the cause
// and the cure.
func (f *FS) Check(ctx context.Context) error {
	err := f.check(ctx)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w (let the agent's user read and search the directory)", err)
	case errors.Is(err, ufs.ErrUnavailable):
		return fmt.Errorf("%w (is the path a directory's, and the file system mounted?)", err)
	}
	return err
}

// check reads one name of the root.
func (f *FS) check(ctx context.Context) error {
	root, err := f.begin(ctx, "check", "")
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	dir, err := root.Open(".")
	if err != nil {
		return f.wrap("check", "", err)
	}
	defer func() { _ = dir.Close() }()
	if _, err := dir.Readdirnames(1); err != nil && !errors.Is(err, io.EOF) {
		return f.wrap("check", "", err)
	}
	return nil
}

// Address implements ufs.FS. It is the same on all nodes only if they mount the same
// storage at the same path.
func (f *FS) Address() string { return "file://" + f.path }

// Stat implements ufs.FS. It follows symlinks that stay within the root.
func (f *FS) Stat(ctx context.Context, name string) (shoal.FileInfo, error) {
	root, err := f.begin(ctx, "stat", name)
	if err != nil {
		return shoal.FileInfo{}, err
	}
	defer func() { _ = root.Close() }()
	info, err := describe(root, name)
	if err != nil {
		return shoal.FileInfo{}, f.wrap("stat", name, err)
	}
	return info, nil
}

// List implements ufs.FS. A first page reads the whole directory and keeps its sorted
// names for the pages that follow, which read it again only if it was changed; so a
// listing shows the directory as it was at one time. Infos are as of each page.
func (f *FS) List(ctx context.Context, name, after string, limit int) (ufs.Page, error) {
	root, err := f.begin(ctx, "list", name)
	if err != nil {
		return ufs.Page{}, err
	}
	defer func() { _ = root.Close() }()
	if limit <= 0 {
		return ufs.Page{}, fmt.Errorf("list %q: limit %d: %w", name, limit, fs.ErrInvalid)
	}
	names, err := f.snapshots.names(ctx, root, name, after)
	if err != nil {
		return ufs.Page{}, f.wrap("list", name, err)
	}
	page, err := f.page(ctx, root, name, names, limit)
	if err != nil {
		return ufs.Page{}, f.wrap("list", name, err)
	}
	if !page.More {
		f.snapshots.forget(name)
	}
	return page, nil
}

// Open implements ufs.FS.
func (f *FS) Open(ctx context.Context, name string, v shoal.Version, off, length int64) (io.ReadCloser, error) {
	root, err := f.begin(ctx, "open", name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	// Not blocking, because the name may be a pipe's.
	file, err := root.OpenFile(osName(name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, f.wrap("open", name, err)
	}
	if err := check(file, v, off, length); err != nil {
		_ = file.Close() // the error that matters is err
		return nil, f.wrap("open", name, err)
	}
	return f.newStream(ctx, name, file, v, off, length), nil
}

// begin checks what all calls check and opens the root.
func (f *FS) begin(ctx context.Context, op, name string) (*os.Root, error) {
	if err := ufs.CheckName(name); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s %q: %w", op, name, err)
	}
	root, err := os.OpenRoot(f.path)
	if err == nil {
		return root, nil
	}
	if info, statErr := os.Stat(f.path); statErr == nil && !info.IsDir() {
		err = syscall.ENOTDIR // package os has an error of its own for this
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, fmt.Errorf("%s %q: root %s: %s: %w", op, name, f.path, err.Error(), ufs.ErrUnavailable)
	}
	return nil, f.wrap(op, name, fmt.Errorf("root: %w", err))
}

// page describes names until the page is full or they end. Those that vanished
// meanwhile, or that Stat would refuse, are left out.
func (f *FS) page(ctx context.Context, root *os.Root, name string, names []string, limit int) (ufs.Page, error) {
	dir, err := root.OpenRoot(osName(name))
	if err != nil {
		return ufs.Page{}, err
	}
	defer func() { _ = dir.Close() }()
	page := ufs.Page{Entries: make([]shoal.FileInfo, 0, min(limit, len(names)))}
	for i, base := range names {
		if len(page.Entries) == limit {
			page.More = true
			break
		}
		if i%1024 == 0 && ctx.Err() != nil {
			return ufs.Page{}, ctx.Err()
		}
		info, err := dir.Lstat(base)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return ufs.Page{}, err
		}
		entry, err := f.entry(root, path.Join(name, base), info)
		switch {
		case err == nil:
			page.Entries = append(page.Entries, entry)
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
			f.log.Debug("listing leaves out an entry", "directory", name, "name", base, "cause", err)
		default:
			return ufs.Page{}, err
		}
	}
	return page, nil
}

// entry describes name, of which info was found in its directory. Only symlinks are
// looked up from the root, so that the depth of a directory costs its entries nothing.
func (f *FS) entry(root *os.Root, name string, info fs.FileInfo) (shoal.FileInfo, error) {
	if info.Mode().Type() != fs.ModeSymlink {
		return fileInfo(path.Base(name), info)
	}
	entry, err := describe(root, name)
	if err != nil {
		return entry, f.wrap("stat", name, err)
	}
	return entry, nil
}

// describe is Stat of a name in root.
func describe(root *os.Root, name string) (shoal.FileInfo, error) {
	info, err := root.Lstat(osName(name))
	if err != nil {
		return shoal.FileInfo{}, err
	}
	if info.Mode().Type() == fs.ModeSymlink {
		if info, err = root.Stat(osName(name)); err != nil {
			return shoal.FileInfo{}, err
		}
		if err := checkLoop(root, name, info); err != nil {
			return shoal.FileInfo{}, err
		}
	}
	return fileInfo(path.Base(name), info)
}

// checkLoop refuses a symlink to a directory that contains it: a walk would not end.
func checkLoop(root *os.Root, name string, target fs.FileInfo) error {
	for target.IsDir() && name != "" {
		name = name[:max(strings.LastIndexByte(name, '/'), 0)]
		above, err := root.Stat(osName(name))
		if err != nil {
			return err
		}
		if os.SameFile(above, target) {
			return fmt.Errorf("symlink to a directory that contains it: %w", fs.ErrPermission)
		}
	}
	return nil
}

// fileInfo translates what the kernel says of a file or a directory.
func fileInfo(base string, info fs.FileInfo) (shoal.FileInfo, error) {
	if base == "." {
		base = ""
	}
	got := shoal.FileInfo{Name: base, Mode: info.Mode() & (fs.ModeDir | fs.ModePerm), ModTime: info.ModTime()}
	switch {
	case info.IsDir():
		return got, nil
	case info.Mode().IsRegular():
		got.Size, got.Version = info.Size(), version(info)
		return got, nil
	}
	return got, fmt.Errorf("%v is neither a file nor a directory: %w", info.Mode().Type(), fs.ErrPermission)
}

// version returns the version of a regular file.
func version(info fs.FileInfo) shoal.Version {
	return shoal.Version(fmt.Sprintf("%x-%x-%x", inode(info), info.ModTime().UnixNano(), info.Size()))
}

func inode(info fs.FileInfo) uint64 {
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		return sys.Ino
	}
	return 0
}

// osName is a name as os.Root wants it.
func osName(name string) string {
	if name == "" {
		return "."
	}
	return name
}
