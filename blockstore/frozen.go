package blockstore

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// frozenFS passes calls on until a write fails. From then on nothing that writes reaches
// the disk and all of it seems to succeed: what is on disk stays as a crash at that
// moment would have left it, and the one who writes is not told. Its owner asks frozen,
// and throws the writer away. Reads go on.
//
// Pebble's logs it keeps apart: a logFile is synced by syncLogs and by its Close only.
type frozenFS struct {
	vfs.FS
	fault    atomic.Pointer[error]
	readOnly bool // for one who does not write at all

	mu   sync.Mutex // guards the field below
	logs map[*logFile]struct{}
}

// frozen returns the error that stopped the writes, or nil.
func (f *frozenFS) frozen() error {
	if err := f.fault.Load(); err != nil {
		return *err
	}
	return nil
}

// freeze stops the writes because of err.
func (f *frozenFS) freeze(err error) { f.fault.CompareAndSwap(nil, &err) }

// do runs a call that writes, unless frozen.
func (f *frozenFS) do(call func() error) {
	if f.frozen() != nil {
		return
	}
	if err := call(); err != nil {
		f.freeze(err)
	}
}

// doNamed is do for calls on a file that may be missing: that is an answer, not a fault.
func (f *frozenFS) doNamed(call func() error) (missing error) {
	f.do(func() error {
		err := call()
		if errors.Is(err, fs.ErrNotExist) {
			missing, err = err, nil
		}
		return err
	})
	return missing
}

func (f *frozenFS) file(open func() (vfs.File, error)) (vfs.File, error) {
	var file vfs.File = deadFile{}
	f.do(func() error {
		opened, err := open()
		if err == nil {
			file = frozenFile{opened, f}
		}
		return err
	})
	return file, nil
}

// log is file for what may be a log, by its category.
func (f *frozenFS) log(c vfs.DiskWriteCategory, open func() (vfs.File, error)) (vfs.File, error) {
	file, err := f.file(open)
	opened, ok := file.(frozenFile)
	if c != "pebble-wal" || !ok {
		return file, err
	}
	l := &logFile{frozenFile: opened}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.logs == nil {
		f.logs = make(map[*logFile]struct{})
	}
	f.logs[l] = struct{}{}
	return l, nil
}

// syncLogs makes durable what was written to the logs. It waits for no writer.
func (f *frozenFS) syncLogs() {
	f.mu.Lock()
	logs := make([]*logFile, 0, len(f.logs))
	for l := range f.logs {
		logs = append(logs, l)
	}
	f.mu.Unlock()
	for _, l := range logs {
		l.sync()
	}
}

// Create creates a file.
func (f *frozenFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.log(c, func() (vfs.File, error) { return f.FS.Create(name, c) })
}

// OpenReadWrite opens a file for writing.
func (f *frozenFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.file(func() (vfs.File, error) { return f.FS.OpenReadWrite(name, c, opts...) })
}

// ReuseForWrite renames a file and opens it for writing.
func (f *frozenFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.log(c, func() (vfs.File, error) { return f.FS.ReuseForWrite(from, to, c) })
}

// OpenDir opens a directory, to sync it.
func (f *frozenFS) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return frozenFile{file, f}, nil
}

// List lists a directory. That it fails stops the writes, and seems to be an empty directory:
// when Pebble opens it does this last, with goroutines at work by then that would panic if it
// gave up. One who only reads is told.
func (f *frozenFS) List(dir string) ([]string, error) {
	names, err := f.FS.List(dir)
	if err == nil || f.readOnly || errors.Is(err, fs.ErrNotExist) {
		return names, err
	}
	f.freeze(err)
	return nil, nil
}

// Link makes a hard link.
func (f *frozenFS) Link(from, to string) error {
	return f.doNamed(func() error { return f.FS.Link(from, to) })
}

// Remove removes a file.
func (f *frozenFS) Remove(name string) error {
	return f.doNamed(func() error { return f.FS.Remove(name) })
}

// RemoveAll removes a tree.
func (f *frozenFS) RemoveAll(name string) error {
	return f.doNamed(func() error { return f.FS.RemoveAll(name) })
}

// Rename renames a file.
func (f *frozenFS) Rename(from, to string) error {
	return f.doNamed(func() error { return f.FS.Rename(from, to) })
}

// MkdirAll makes directories.
func (f *frozenFS) MkdirAll(dir string, perm os.FileMode) error {
	f.do(func() error { return f.FS.MkdirAll(dir, perm) })
	return nil
}

// Lock locks a file against other processes. Frozen, it only seems to.
func (f *frozenFS) Lock(name string) (io.Closer, error) {
	if f.frozen() != nil {
		return deadFile{}, nil
	}
	return f.FS.Lock(name)
}

// Unwrap returns the file system below.
func (f *frozenFS) Unwrap() vfs.FS { return f.FS }

// frozenFile is a file of a frozenFS.
type frozenFile struct {
	vfs.File
	fs *frozenFS
}

func (f frozenFile) write(n int, call func() error) (int, error) {
	f.fs.do(call)
	return n, nil
}

// Write appends p.
func (f frozenFile) Write(p []byte) (int, error) {
	return f.write(len(p), func() error { _, err := f.File.Write(p); return err })
}

// WriteAt writes p at off.
func (f frozenFile) WriteAt(p []byte, off int64) (int, error) {
	return f.write(len(p), func() error { _, err := f.File.WriteAt(p, off); return err })
}

// Preallocate reserves space; it is only a hint.
func (f frozenFile) Preallocate(off, length int64) error {
	if f.fs.frozen() == nil {
		_ = f.File.Preallocate(off, length)
	}
	return nil
}

// Sync makes the file durable.
func (f frozenFile) Sync() error {
	f.fs.do(f.File.Sync)
	return nil
}

// SyncData makes the file's contents durable.
func (f frozenFile) SyncData() error {
	f.fs.do(f.File.SyncData)
	return nil
}

// SyncTo begins to make the file's first bytes durable.
func (f frozenFile) SyncTo(length int64) (full bool, err error) {
	f.fs.do(func() (err error) { full, err = f.File.SyncTo(length); return err })
	return full, nil
}

// deadFile is what is created after the freeze: it takes everything and has nothing.
type deadFile struct{}

var _ vfs.File = deadFile{}

var errFrozen = errors.New("file was made after its disk failed")

// Close does nothing.
func (deadFile) Close() error { return nil }

// Read fails.
func (deadFile) Read([]byte) (int, error) { return 0, errFrozen }

// ReadAt fails.
func (deadFile) ReadAt([]byte, int64) (int, error) { return 0, errFrozen }

// Write does nothing.
func (deadFile) Write(p []byte) (int, error) { return len(p), nil }

// WriteAt does nothing.
func (deadFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

// Preallocate does nothing.
func (deadFile) Preallocate(int64, int64) error { return nil }

// Stat describes an empty file: Pebble asks after it has made a log, and ends the process
// if that fails.
func (deadFile) Stat() (vfs.FileInfo, error) { return deadInfo{}, nil }

// Sync does nothing.
func (deadFile) Sync() error { return nil }

// SyncTo does nothing.
func (deadFile) SyncTo(int64) (bool, error) { return false, nil }

// SyncData does nothing.
func (deadFile) SyncData() error { return nil }

// Prefetch does nothing.
func (deadFile) Prefetch(int64, int64) error { return nil }

// Fd returns none.
func (deadFile) Fd() uintptr { return vfs.InvalidFd }

// deadInfo describes a deadFile.
type deadInfo struct{}

var _ vfs.FileInfo = deadInfo{}

// Name returns nothing.
func (deadInfo) Name() string { return "" }

// Size returns 0.
func (deadInfo) Size() int64 { return 0 }

// Mode returns 0: a regular file.
func (deadInfo) Mode() fs.FileMode { return 0 }

// ModTime returns the zero time.
func (deadInfo) ModTime() time.Time { return time.Time{} }

// IsDir returns false.
func (deadInfo) IsDir() bool { return false }

// Sys returns nil.
func (deadInfo) Sys() any { return nil }

// DeviceID returns none.
func (deadInfo) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
