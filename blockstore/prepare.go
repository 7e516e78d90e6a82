package blockstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// format is the version of the layout of a cache directory:
//
//	LOCK      flock by the running agent, its pid inside
//	FORMAT    this version, and the bytes of a slab
//	BOOTS     how often the directory was opened: makes names of sparse containers unique
//	RUNNING   there while a store is open, and after a crash
//	REBUILD   there while the index is made from the containers
//	DATASETS  the names of datasets, a line each: the first is number 1
//	index/    Pebble
//	slabs/    slabs of small blocks
//	files/    256 subfolders of sparse containers, each with its sums file
const (
	format       = 2
	formatPrefix = "shoal blockstore "
)

// bootShift is the bits of a container name below the boot count: 10^12 files a run.
const bootShift = 40

// prepare locks the cache directory, makes or checks its layout, and sets the first
// container name of this run: no earlier run used it or a higher one. What it did it does
// not do again.
func (d *disk) prepare() (err error) {
	if d.prepared {
		return nil
	}
	if d.lock == nil {
		if err := os.MkdirAll(d.path, 0o700); err != nil {
			return explain(d.path, err)
		}
		if d.lock, err = lockDir(d.path); err != nil {
			return err
		}
	}
	if err := os.WriteFile(lockPath(d.path), fmt.Appendf(nil, "%d\n", os.Getpid()), 0o600); err != nil {
		return explain(d.path, err)
	}
	slabBytes, boots, err := layout(d.path, d.slabBytes)
	if err != nil {
		return explain(d.path, err)
	}
	if err := writeFile(runningPath(d.path), ""); err != nil {
		return explain(d.path, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.first, d.next = boots<<bootShift, boots<<bootShift
	d.slabBytes = slabBytes
	d.prepared = true
	return nil
}

// slotsPerSlab is how many of the largest slots a slab has room for, at least: more waste
// less at its end.
const slotsPerSlab = 16

// slabBytesFor returns the size of the slabs of a new directory: a 256th of its limit,
// between 256 KiB and 64 MiB.
func slabBytesFor(limit int64) int64 {
	size := int64(256 << 10)
	for size < 64<<20 && 2*size <= limit/256 {
		size *= 2
	}
	return size
}

// layout makes or checks what is in root, and returns the bytes of a slab there and the
// number of this run.
func layout(root string, slabBytes int64) (slab int64, boots uint64, err error) {
	slab, err = checkFormat(root, slabBytes)
	if err != nil {
		return 0, 0, err
	}
	if boots, err = readBoots(root); err != nil {
		return 0, 0, err
	}
	boots++
	if err := writeFile(bootsPath(root), bootsLine(boots)); err != nil {
		return 0, 0, err
	}
	return slab, boots, makeFolders(root)
}

// makeFolders makes those folders of containers that are missing.
func makeFolders(root string) error {
	if err := os.MkdirAll(filepath.Join(root, slabsDir), 0o700); err != nil {
		return err
	}
	for i := range filesDirs {
		if err := os.MkdirAll(filepath.Join(root, filesDir, subfolder(i)), 0o700); err != nil {
			return err
		}
	}
	return nil
}

func formatPath(root string) string { return filepath.Join(root, "FORMAT") }

func formatLine(slabBytes int64) string {
	return fmt.Sprintf("%s%d slab %d\n", formatPrefix, format, slabBytes)
}

func bootsLine(boots uint64) string { return fmt.Sprintf("%d\n", boots) }

func runningPath(root string) string { return filepath.Join(root, "RUNNING") }

func rebuildPath(root string) string { return filepath.Join(root, "REBUILD") }

func lockPath(root string) string { return filepath.Join(root, "LOCK") }

func bootsPath(root string) string { return filepath.Join(root, "BOOTS") }

// readBoots returns the number of the last run; 0 when there was none. If the file is lost or
// torn it is that of the last run that made a container which is there still.
func readBoots(root string) (boots uint64, err error) {
	b, err := os.ReadFile(bootsPath(root))
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !unreadable(err) {
		return 0, err
	}
	said, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64-bootShift)
	if err == nil {
		return said, nil
	}
	for i := range filesDirs {
		entries, err := os.ReadDir(filepath.Join(root, filesDir, subfolder(i)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
		for _, e := range entries {
			if f, ok := parseFile(sparseFile, e.Name()); ok {
				boots = max(boots, f.name>>bootShift)
			}
		}
	}
	return boots, nil
}

// checkFormat refuses a layout of another version, marks an empty directory with this one,
// and returns the bytes of its slabs.
func checkFormat(root string, slabBytes int64) (int64, error) {
	found, err := readFormat(root)
	if err != nil || found > 0 {
		return found, err
	}
	return slabBytes, writeFile(formatPath(root), formatLine(slabBytes))
}

// readFormat is checkFormat without the mark; slab is 0 for an empty directory.
func readFormat(root string) (slab int64, err error) {
	path := formatPath(root)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(root, "index")); err == nil {
			return 0, fmt.Errorf("%w: %s has an index but no FORMAT file; empty the directory", ErrFormat, root)
		}
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	text, ok := strings.CutPrefix(strings.TrimSpace(string(b)), formatPrefix)
	number, _, _ := strings.Cut(text, " ")
	version, err := strconv.Atoi(number)
	if !ok || err != nil {
		return 0, fmt.Errorf("%w: %s is not a block store's; choose another cache directory", ErrFormat, path)
	}
	if version != format {
		return 0, fmt.Errorf("%w: %s is version %d and this agent knows %d; "+
			"run an agent that knows it, or empty the directory", ErrFormat, path, version, format)
	}
	if _, err := fmt.Sscanf(text, "2 slab %d", &slab); err != nil || slab < 16*pageSize || slab%pageSize != 0 {
		return 0, fmt.Errorf("%w: %s says %q; empty the directory", ErrFormat, path, text)
	}
	return slab, nil
}

// lockDir takes the directory for this process. The kernel lets it go when the process
// ends, however it ends. A lock file that can only be read will do.
func lockDir(root string) (*os.File, error) {
	path := lockPath(root)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		if readable, rerr := os.Open(path); rerr == nil {
			f, err = readable, nil
		}
	}
	if err != nil {
		return nil, explain(root, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer func() { _ = f.Close() }()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		pid := "unknown"
		if b, err := os.ReadFile(path); err == nil && len(b) > 0 {
			pid = strings.TrimSpace(string(b))
		}
		return nil, fmt.Errorf("%w: %s belongs to the running agent with pid %s; stop it or choose another cache directory",
			ErrLocked, root, pid)
	}
	return f, nil
}

// explain adds the cure to what a cache directory may suffer from.
func explain(root string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("cache directory %s is not writable by uid %d; change its owner or choose another: %w",
			root, os.Geteuid(), err)
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("cache directory %s is on a read-only file system; remount it or choose another: %w", root, err)
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("cache directory %s is on a full file system; free some space or choose another: %w", root, err)
	case errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("cache directory %s is not a directory; choose another: %w", root, err)
	}
	return err
}

// writeFile replaces a small file, durably: it holds the old or the new contents.
func writeFile(path, contents string) error {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(contents)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
