package fuse

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

// A Backed file may have its bytes in a file of this host as well, which the kernel can read by
// itself (passthrough: Linux 6.9 and newer).
type Backed interface {
	File
	// Backing returns that file, open, with the same bytes at the same offsets as long as it is
	// open or mapped anywhere, also after done; nil when there is none now. The caller closes
	// it, and calls done when the kernel has no handle of it any more.
	Backing() (backing *os.File, done func(), err error)
	// Passed is told that a handle has been opened whose reads the kernel serves.
	Passed()
}

// kernelSide is what passthrough asks of the connection.
type kernelSide interface {
	RegisterBackingFd(m *gofuse.BackingMap) (int32, syscall.Errno)
	UnregisterBackingFd(id int32) syscall.Errno
}

// passthrough has the kernel read files by itself that are whole on this host. It wants all
// handles of one inode alike: while some are served from here so are new ones, and while some are
// passed through new ones share their backing file.
type passthrough struct {
	kernel kernelSide
	off    atomic.Pointer[string] // why there is none; nil while there is

	mu     sync.Mutex // guards the fields below
	inodes map[uint64]*inode

	opens, refused atomic.Uint64
}

// An inode is one with open handles.
type inode struct {
	refs int // guarded by passthrough.mu

	mu     sync.Mutex // guards the fields below; held while the kernel is told
	served int        // handles read from here
	passed int        // handles the kernel reads by itself
	id     int32      // of the backing file
	done   func()     // of Backed.Backing; nil when there is no backing file
}

func newPassthrough() *passthrough {
	p := &passthrough{inodes: make(map[uint64]*inode)}
	p.disable("the mount is not served yet")
	return p
}

// serve begins with passthrough, if the connection has it and nothing is said against it.
func (p *passthrough) serve(conn *gofuse.Server, against string) {
	p.kernel = conn
	switch {
	case against != "":
		p.disable(against)
	case conn.KernelSettings().Flags64()&gofuse.CAP_PASSTHROUGH == 0:
		p.disable("the kernel is older than 6.9 or built without it")
	default:
		p.off.Store(nil)
	}
}

func (p *passthrough) disable(why string) { p.off.Store(&why) }

// PassthroughOn is Stats.Passthrough while there is.
const PassthroughOn = "on"

// state says PassthroughOn, or why there is none.
func (p *passthrough) state() string {
	if why := p.off.Load(); why != nil {
		return "off: " + *why
	}
	return PassthroughOn
}

// open decides how a new handle of an inode is read, and returns its backing file's id if the
// kernel does. close must be called for each. The error is why it could not be passed through
// that could have been.
func (p *passthrough) open(node uint64, f File) (id int32, passed bool, err error) {
	in := p.enter(node)
	in.mu.Lock()
	defer in.mu.Unlock()
	b, ok := f.(Backed)
	if in.done == nil && in.served == 0 && ok && p.off.Load() == nil {
		err = p.begin(in, b)
	}
	if in.done == nil || !ok {
		in.served++
		return 0, false, err
	}
	in.passed++
	p.opens.Add(1)
	b.Passed()
	return in.id, true, nil
}

// begin has the kernel know the backing file of an inode, if there is one.
func (p *passthrough) begin(in *inode, b Backed) error {
	f, done, err := b.Backing()
	switch {
	case err != nil:
		p.refused.Add(1)
		return err
	case f == nil:
		return nil
	}
	id, code := p.kernel.RegisterBackingFd(&gofuse.BackingMap{Fd: int32(f.Fd())})
	err = f.Close() // the kernel has its own reference
	if code == 0 {
		in.id, in.done = id, done
		return err
	}
	done()
	p.refused.Add(1)
	switch code {
	case syscall.EPERM:
		p.disable("the agent lacks CAP_SYS_ADMIN")
	case syscall.EOPNOTSUPP, syscall.ELOOP, syscall.EINVAL:
		p.disable("the file system of the cache refuses it")
	}
	return fmt.Errorf("register a backing file: %w", code)
}

// close ends what open began.
func (p *passthrough) close(node uint64, passed bool) {
	p.mu.Lock()
	in := p.inodes[node]
	p.mu.Unlock()
	in.mu.Lock()
	switch {
	case !passed:
		in.served--
	default:
		if in.passed--; in.passed == 0 {
			_ = p.kernel.UnregisterBackingFd(in.id) // fails only with the connection
			in.done()
			in.done = nil
		}
	}
	in.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if in.refs--; in.refs == 0 {
		delete(p.inodes, node)
	}
}

// enter returns the inode of a node with one reference more.
func (p *passthrough) enter(node uint64) *inode {
	p.mu.Lock()
	defer p.mu.Unlock()
	in := p.inodes[node]
	if in == nil {
		in = new(inode)
		p.inodes[node] = in
	}
	in.refs++
	return in
}
