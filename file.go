package shoal

import (
	"io/fs"
	"math"
	"time"
)

// A FileInfo is what a UFS says of one file or directory.
type FileInfo struct {
	Name    string      // the last element of its path
	Size    int64       // bytes; 0 for a directory
	Mode    fs.FileMode // type and permission bits
	ModTime time.Time
	Version Version // empty for a directory
}

// IsDir reports whether the info is of a directory.
func (i FileInfo) IsDir() bool { return i.Mode.IsDir() }

// An Entry is one name of the namespace, resolved: which file version it stands for.
type Entry struct {
	ID     uint64   // durable node id: one per name for a directory, one per name and version for a file
	Parent uint64   // ID of its directory; RootID's parent is RootID
	Path   string   // path in the namespace, "/" for the root, without a slash at its end
	Mount  string   // path of the mount it belongs to; empty above all mounts
	Source string   // its name in the mount's UFS, "" for the mount's root
	File   FileID   // zero for a directory
	Info   FileInfo // Info.Name is the last element of Path
	// Fetched is when the UFS last confirmed the entry; zero for names that only
	// the mount table makes.
	Fetched time.Time
	// Stale reports that the entry is older than its mount's TTL and is served
	// because the UFS does not answer.
	Stale bool
}

// The durable node ids. All but the root's lie from FirstID to LastID: so the ID of a name
// can stand for the position after it in a listing, which a kernel takes for an off_t, and
// 0 to 2 for the positions before the first name.
const (
	RootID  = 1 // the namespace's root
	FirstID = 3
	LastID  = math.MaxInt64
)
