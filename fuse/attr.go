package fuse

import (
	"io/fs"
	"syscall"
	"time"

	"github.com/shoal-mesh/shoal"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

const (
	writeBits = fs.FileMode(0o222)
	fileBits  = fs.FileMode(0o444) // for a file whose UFS knows no permissions
	dirBits   = fs.FileMode(0o555) // for such a directory
)

// fillEntry writes what the kernel is told of a name that stands for e.
func (c *Config) fillEntry(e shoal.Entry, out *gofuse.EntryOut) {
	out.NodeId = e.ID
	out.SetEntryTimeout(c.entryTimeout(e))
	out.SetAttrTimeout(c.attrTimeout(e))
	c.fillAttr(e, &out.Attr)
}

// fillAttr writes the attributes of e. Directories have one link, which tells tools
// that the number of links says nothing of subdirectories.
func (c *Config) fillAttr(e shoal.Entry, out *gofuse.Attr) {
	out.Ino = e.ID
	out.Nlink = 1
	out.Mode = c.mode(e)
	out.Uid, out.Gid = c.Owner(e)
	if !e.Info.IsDir() {
		out.Size = uint64(e.Info.Size)
		out.Blocks = (out.Size + 511) / 512
	}
	if t := e.Info.ModTime; !t.IsZero() {
		out.SetTimes(&t, &t, &t)
	}
}

// mode returns type and permission bits of e. What is not a directory is a file.
func (c *Config) mode(e shoal.Entry) uint32 {
	kind, bits := uint32(syscall.S_IFREG), fileBits
	if e.Info.IsDir() {
		kind, bits = syscall.S_IFDIR, dirBits
	}
	if own := e.Info.Mode.Perm(); own != 0 {
		bits = own &^ writeBits
	}
	return kind | uint32(bits&^c.Umask)
}

// entryTimeout is how long the kernel may take it that the name still stands for e.
func (c *Config) entryTimeout(e shoal.Entry) time.Duration {
	return max(0, min(c.EntryTimeout, c.TTL(e)))
}

// attrTimeout is how long the kernel may keep the attributes of e: a file's never
// change under its id, a directory's are as fresh as its name.
func (c *Config) attrTimeout(e shoal.Entry) time.Duration {
	if e.Info.IsDir() {
		return c.entryTimeout(e)
	}
	return c.AttrTimeout
}
