package fuse

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/shoal-mesh/shoal"
)

// Config says where and how to mount. Only Path must be set.
type Config struct {
	// Path is the mount point. It is created when its parent exists.
	Path string
	// Cluster is what df shows after "shoal:"; default "shoal".
	Cluster string
	// AllowOther lets users other than the agent's see the mount. Permission bits
	// are always checked by the kernel.
	AllowOther bool

	// TTL returns how long a resolved name may still be relied on: the kernel keeps it,
	// and the attributes of a directory, that long, and at 0 or less asks every time.
	// Default: EntryTimeout.
	TTL func(e shoal.Entry) time.Duration
	// EntryTimeout bounds that; default 24 hours. Names that change before are
	// the caller's to Invalidate.
	EntryTimeout time.Duration
	// AttrTimeout is how long the kernel keeps the attributes of a file, which never
	// change under one id; default 24 hours.
	AttrTimeout time.Duration
	// NegativeTimeout is how long the kernel remembers that a name does not exist;
	// default 1 second. Negative: not at all.
	NegativeTimeout time.Duration

	// Owner returns who shall own an entry; default: the user the agent runs as.
	Owner func(e shoal.Entry) (uid, gid uint32)
	// Umask is taken away from every entry's permission bits, besides the write bits,
	// which nobody gets. Entries without permission bits get 0444 or, if
	// directories, 0555. Default 0.
	Umask fs.FileMode
	// Statfs returns what df shows; default: nothing. It must not block.
	Statfs func() Space
	// XAttr returns the value of an entry's extended attribute user.shoal.<name>, or
	// syscall.ENODATA if it has none of that name. Default: none has any.
	XAttr func(ctx context.Context, e shoal.Entry, name string) (string, error)

	// ReadAheadKiB is how far the kernel reads ahead in a file that is read in
	// order; default 1024, at most 65536. Setting it needs root; else it is 128.
	ReadAheadKiB int
	// ElideOpens has the kernel open and close files without asking, which saves two requests a
	// file. It reads no file by itself then, and a version that has been replaced can be
	// read as long as it is known, not as long as it is open. See docs/small-files.md.
	ElideOpens bool
	// NoPassthrough says why the kernel is to read no file by itself; "" lets it (see Backed).
	NoPassthrough string
	// MaxOpen bounds the open files and directories; beyond it opens fail with
	// ENFILE. Default 1,000,000.
	MaxOpen int
	// MaxBackground is how many readahead requests may run at once, each of at most
	// 1 MiB; default 64, at most 1024.
	MaxBackground int
	// MaxInflightBytes bounds the memory that requests which are being answered
	// hold, apart from the bytes read; default 64 MiB, at least 8 MiB.
	MaxInflightBytes int
	// Memory is what replies are read into; default: the Go heap.
	Memory Memory
	// UnmountTimeout is how long Unmount waits for a mount in use to become free, and
	// then for the last requests; default 5 seconds.
	UnmountTimeout time.Duration

	// Logger is for what an operator should know; nil discards it.
	Logger *slog.Logger
}

// Space is the room a mount shows to df.
type Space struct {
	Bytes     int64
	FreeBytes int64
	Files     int64
}

// withDefaults returns c with every default filled in and Path absolute, or all that
// is wrong with it.
func (c Config) withDefaults() (Config, error) {
	def(&c.Cluster, "shoal")
	def(&c.EntryTimeout, 24*time.Hour)
	def(&c.AttrTimeout, 24*time.Hour)
	def(&c.NegativeTimeout, time.Second)
	def(&c.ReadAheadKiB, 1024)
	def(&c.MaxOpen, 1_000_000)
	def(&c.MaxBackground, 64)
	def(&c.MaxInflightBytes, 64<<20)
	def(&c.UnmountTimeout, 5*time.Second)
	c.NegativeTimeout = max(0, c.NegativeTimeout)
	if c.ElideOpens {
		c.NoPassthrough = "opens are elided"
	}
	if c.TTL == nil {
		ttl := c.EntryTimeout
		c.TTL = func(shoal.Entry) time.Duration { return ttl }
	}
	if c.Owner == nil {
		uid, gid := uint32(os.Geteuid()), uint32(os.Getegid())
		c.Owner = func(shoal.Entry) (uint32, uint32) { return uid, gid }
	}
	if c.Statfs == nil {
		c.Statfs = func() Space { return Space{} }
	}
	if c.XAttr == nil {
		c.XAttr = func(context.Context, shoal.Entry, string) (string, error) { return "", syscall.ENODATA }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	errs := c.violations()
	if c.Path != "" {
		path, err := filepath.Abs(c.Path)
		c.Path = path
		errs = append(errs, err)
	}
	return c, errors.Join(errs...)
}

func (c Config) violations() []error {
	var errs []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	refuse(c.Path == "", "no mount point given: set the path")
	refuse(c.EntryTimeout < 0, "entry timeout %v is negative", c.EntryTimeout)
	refuse(c.AttrTimeout < 0, "attribute timeout %v is negative", c.AttrTimeout)
	refuse(c.UnmountTimeout < 0, "unmount timeout %v is negative", c.UnmountTimeout)
	refuse(c.Umask&^fs.ModePerm != 0, "umask %o has bits beyond 0777", c.Umask)
	refuse(c.ReadAheadKiB < 4 || c.ReadAheadKiB > 65536, "readahead of %d KiB is not within 4 and 65536", c.ReadAheadKiB)
	refuse(c.MaxOpen < 1, "limit of %d open files is below 1", c.MaxOpen)
	refuse(c.MaxBackground < 1 || c.MaxBackground > 1024, "limit of %d background requests is not within 1 and 1024", c.MaxBackground)
	refuse(c.MaxInflightBytes < 8<<20, "limit of %d bytes for requests is below 8 MiB", c.MaxInflightBytes)
	return errs
}

// def sets *p to v if it is the zero value.
func def[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}
