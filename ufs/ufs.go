// Package ufs says what Shoal needs of an under file system (UFS): the remote storage
// behind a mount. Each driver lives in a package of its own below this one, and passes
// the conformance suite of ufs/ufstest against the real thing.
//
// Names are slash-separated paths relative to the driver's root, "" for the root
// itself, never beginning or ending with a slash and never holding "", "." or ".." as
// an element or a NUL anywhere. They are bytes: a name need not be valid UTF-8. A
// driver refuses any other name with fs.ErrInvalid (see CheckName), and leaves out of
// its listings what cannot be named that way, or is neither a file nor a directory.
//
// Errors wrap fs.ErrNotExist, fs.ErrPermission, fs.ErrInvalid, ErrVersion or
// ErrUnavailable where one of them applies, so that callers branch with errors.Is.
// fs.ErrNotExist means that the UFS answered and has no such file: a missing bucket or
// an unmounted NAS is ErrUnavailable. When the caller's context ends, its error is what
// a call or a stream returns. Drivers retry what is worth retrying, within a budget;
// callers do not retry.
//
// This package does not cache and does not know of blocks: node does.
package ufs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/shoal-mesh/shoal"
)

var (
	// ErrVersion reports that a file is no longer of the version a read asked for.
	ErrVersion = errors.New("file version changed")
	// ErrUnavailable reports that the UFS did not answer or could not serve now;
	// what is cached may be served instead.
	ErrUnavailable = errors.New("under file system unavailable")
)

// FS is a driver: one UFS prefix, read. Its methods may be called concurrently.
type FS interface {
	// Address names the UFS prefix, whatever node asks ("s3://bucket/prefix@endpoint"):
	// with a name and a version it identifies a file's contents.
	Address() string
	// Stat describes one file or directory. It never lists a directory's contents.
	// The root is a directory, also when nothing is in it.
	Stat(ctx context.Context, name string) (shoal.FileInfo, error)
	// List returns up to limit entries of the directory name that sort after the name
	// after ("" for the first page), in byte order of their names. The Page's infos
	// are as good as Stat's. fs.ErrNotExist if there is no such directory. limit is
	// positive. after need not exist: a listing may be resumed at any name, and pages
	// that follow one another neither lose nor repeat an entry that stayed.
	List(ctx context.Context, name, after string, limit int) (Page, error)
	// Open streams bytes [off, off+length) of name, which must be of version v. It
	// fails with ErrVersion, at once or while streaming, rather than return a byte of
	// another version. A stream that ends early ends with an error, never with io.EOF.
	// A range that is not within the file is fs.ErrInvalid; an empty range within it
	// is checked like any other. ctx governs the stream as well as the call. The
	// caller closes the stream, whose Read is not called concurrently.
	Open(ctx context.Context, name string, v shoal.Version, off, length int64) (io.ReadCloser, error)
}

// A Page is one page of a directory's listing.
type Page struct {
	Entries []shoal.FileInfo
	// More reports that there may be entries after the last one of this page. A page
	// with More set is never empty, so its last name is where to go on.
	More bool
}

// CheckName returns an error wrapping fs.ErrInvalid if name is not a relative path as
// the package comment describes it.
func CheckName(name string) error {
	if name == "" {
		return nil
	}
	for element := range strings.SplitSeq(name, "/") {
		if element == "" || element == "." || element == ".." || strings.IndexByte(element, 0) >= 0 {
			return fmt.Errorf("name %q: %w", name, fs.ErrInvalid)
		}
	}
	return nil
}

// CheckRange returns an error wrapping fs.ErrInvalid unless bytes [off, off+length) lie
// within a file of size bytes.
func CheckRange(off, length, size int64) error {
	if off < 0 || length < 0 || off > size || length > size-off {
		return fmt.Errorf("range at %d of length %d in %d bytes: %w", off, length, size, fs.ErrInvalid)
	}
	return nil
}
