package fuse

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/shoal-mesh/shoal"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

// raw answers the kernel's requests. What it does not implement answers ENOSYS, which
// makes the kernel do without: ACCESS (it checks permissions itself), FLUSH, FSYNC,
// LSEEK (holes are not shown), STATX (GETATTR serves), locks (they are local), POLL and LISTXATTR.
type raw struct {
	readOnly

	cfg   Config
	names Names
	files Files

	open    *table[*handle]
	kept    *kept // open by node id; nil unless opens are elided
	through *passthrough
	dirs    *table[*dir]
	batches atomic.Int64 // of entries, that open directories hold

	listings listings
	results  sync.Pool                        // of *result
	stale    func(parent uint64, name string) // has the kernel ask for a name again
	stopped  chan struct{}                    // closed when the server gives up on its requests
	once     sync.Once

	n      counters
	logged limiter
}

// A handle is one open file.
type handle struct {
	entry  shoal.Entry
	file   File
	passed bool // the kernel reads it by itself
}

var _ gofuse.RawFileSystem = (*raw)(nil)

func newRaw(names Names, files Files, cfg Config) *raw {
	r := &raw{
		readOnly: readOnly{gofuse.NewDefaultRawFileSystem()},
		cfg:      cfg,
		names:    names,
		files:    files,
		open:     newTable[*handle](cfg.MaxOpen),
		through:  newPassthrough(),
		dirs:     newTable[*dir](cfg.MaxOpen),
		stale:    func(uint64, string) {},
		stopped:  make(chan struct{}),
	}
	r.results.New = func() any { return &result{pool: &r.results, memory: cfg.Memory} }
	if cfg.ElideOpens {
		r.kept = newKept(min(keptFiles, cfg.MaxOpen), r.closeFile)
	}
	return r
}

// String names the file system.
func (r *raw) String() string { return "shoal" }

// Lookup resolves a name, and lets the kernel remember that there is none.
func (r *raw) Lookup(cancel <-chan struct{}, in *gofuse.InHeader, name string, out *gofuse.EntryOut) gofuse.Status {
	r.n.lookups.Add(1)
	var e shoal.Entry
	err := r.interruptible(cancel, in.Pid, func(ctx context.Context) (err error) {
		e, err = r.names.Lookup(ctx, in.NodeId, name)
		return checked(e, err)
	})
	if err == nil {
		r.cfg.fillEntry(e, out)
		if r.kept != nil && !e.Info.IsDir() {
			r.kept.found.note(&handle{entry: e})
		}
		return gofuse.OK
	}
	code := errno(err)
	if code == gofuse.ENOENT && r.cfg.NegativeTimeout > 0 {
		r.n.negatives.Add(1)
		out.NodeId = 0
		out.SetEntryTimeout(r.cfg.NegativeTimeout)
		return gofuse.OK
	}
	return r.failed(code, err, "lookup", in.NodeId, name)
}

// GetAttr answers from the handle when there is one: what was opened does not change.
func (r *raw) GetAttr(cancel <-chan struct{}, in *gofuse.GetAttrIn, out *gofuse.AttrOut) gofuse.Status {
	r.n.attrs.Add(1)
	var e shoal.Entry
	h, opened := r.open.at(in.Fh())
	if opened = opened && in.Flags()&gofuse.FUSE_GETATTR_FH != 0; opened {
		e = h.entry
	} else {
		err := r.interruptible(cancel, in.Pid, func(ctx context.Context) (err error) {
			e, err = r.names.Attr(ctx, in.NodeId)
			return checked(e, err)
		})
		if err != nil {
			return r.failed(idErrno(err), err, "stat", in.NodeId, "")
		}
	}
	out.SetTimeout(r.cfg.attrTimeout(e))
	r.cfg.fillAttr(e, &out.Attr)
	return gofuse.OK
}

// Open opens a file for reading. The kernel keeps what it has cached of it, always:
// the bytes of an id never change. Where opens are elided the kernel is told so by the
// first, and asks for no other.
func (r *raw) Open(cancel <-chan struct{}, in *gofuse.OpenIn, out *gofuse.OpenOut) gofuse.Status {
	r.n.opens.Add(1)
	switch {
	case in.Flags&syscall.O_ACCMODE != syscall.O_RDONLY || in.Flags&syscall.O_TRUNC != 0:
		return gofuse.EROFS
	case r.kept != nil:
		return gofuse.ENOSYS
	}
	h, code := r.openFile(cancel, &in.InHeader, nil)
	if h == nil {
		return code
	}
	id, passed, err := r.through.open(h.entry.ID, h.file)
	if err != nil {
		r.report(err, h.entry)
	}
	h.passed = passed
	fh, ok := r.open.add(h)
	if !ok {
		r.shut(h)
		return r.full("open", in.NodeId, h.entry.Path)
	}
	out.Fh = fh
	out.OpenFlags = gofuse.FOPEN_KEEP_CACHE | gofuse.FOPEN_NOFLUSH
	if passed {
		out.OpenFlags, out.BackingID = gofuse.FOPEN_PASSTHROUGH|gofuse.FOPEN_NOFLUSH, id
	}
	return gofuse.OK
}

// openFile opens the file of a request's node id, which found may have. The handle is nil if it
// fails.
func (r *raw) openFile(cancel <-chan struct{}, in *gofuse.InHeader, found *handle) (*handle, gofuse.Status) {
	h := found
	if h == nil {
		h = new(handle)
	}
	err := r.interruptible(cancel, in.Pid, func(ctx context.Context) (err error) {
		if found == nil {
			h.entry, err = r.names.Attr(ctx, in.NodeId)
		}
		switch {
		case err != nil:
			return err
		case h.entry.Info.IsDir():
			return syscall.EISDIR
		}
		h.file, err = r.files.OpenFile(ctx, h.entry)
		return err
	})
	if err != nil {
		return nil, r.failed(idErrno(err), err, "open", in.NodeId, h.entry.Path)
	}
	return h, gofuse.OK
}

// Read reads from the handle, or by node id where opens are elided.
func (r *raw) Read(cancel <-chan struct{}, in *gofuse.ReadIn, buf []byte) (gofuse.ReadResult, gofuse.Status) {
	r.n.reads.Add(1)
	if r.kept != nil {
		return r.readID(cancel, in, buf)
	}
	h, ok := r.open.at(in.Fh)
	if !ok {
		return nil, gofuse.EBADF
	}
	return r.read(cancel, in, h, buf)
}

// read has the file fill the reply, or lend it the bytes. A reply shorter than asked tells
// the kernel that the file ends there, so it is given for the end of the file only.
func (r *raw) read(cancel <-chan struct{}, in *gofuse.ReadIn, h *handle, buf []byte) (gofuse.ReadResult, gofuse.Status) {
	off := int64(in.Offset)
	n := max(0, min(int64(len(buf)), h.entry.Info.Size-off))
	if n == 0 {
		return gofuse.ReadResultData(nil), gofuse.OK
	}
	res := r.results.Get().(*result)
	p, sent := res.room(buf[:n]), false
	defer func() {
		if !sent { // also when the file panics, which go-fuse survives
			res.Done()
		}
	}()
	err := r.interruptible(cancel, in.Pid, func(ctx context.Context) (err error) {
		res.data[0], res.done, err = h.file.Read(ctx, p, off)
		return err
	})
	if err = whole(res.Size(), len(p), err); err != nil {
		return nil, r.readFailed(h, off, err)
	}
	r.n.readBytes.Add(uint64(len(p)))
	sent = true
	return res, gofuse.OK
}

// readFailed has the kernel look the name up again if the version read is gone.
func (r *raw) readFailed(h *handle, off int64, err error) gofuse.Status {
	code := idErrno(err)
	if code == gofuse.Status(syscall.ESTALE) {
		r.stale(h.entry.Parent, h.entry.Info.Name)
	}
	if ordinary(code) {
		return code
	}
	return r.failed(code, fmt.Errorf("at %d: %w", off, err), "read", h.entry.ID, h.entry.Path)
}

// Release closes a file. The kernel sends it after the last read has been answered.
func (r *raw) Release(_ <-chan struct{}, in *gofuse.ReleaseIn) {
	r.n.releases.Add(1)
	if h, ok := r.open.remove(in.Fh); ok {
		r.shut(h)
	}
}

func (r *raw) shut(h *handle) {
	r.through.close(h.entry.ID, h.passed)
	r.closeFile(h)
}

func (r *raw) closeFile(h *handle) {
	if err := h.file.Close(); err != nil {
		r.cfg.Logger.Warn("close", "path", h.entry.Path, "cause", err)
	}
}

// Flush does not exist: files are only read.
func (r *raw) Flush(<-chan struct{}, *gofuse.FlushIn) gofuse.Status { return gofuse.ENOSYS }

// Access refuses writing. The kernel asks only without default_permissions.
func (r *raw) Access(_ <-chan struct{}, in *gofuse.AccessIn) gofuse.Status {
	if in.Mask&gofuse.W_OK != 0 {
		return gofuse.EROFS
	}
	return gofuse.OK
}

// Readlink is asked of symbolic links, and there are none.
func (r *raw) Readlink(<-chan struct{}, *gofuse.InHeader) ([]byte, gofuse.Status) {
	return nil, gofuse.EINVAL
}

// StatFs shows what Config.Statfs says.
func (r *raw) StatFs(_ <-chan struct{}, _ *gofuse.InHeader, out *gofuse.StatfsOut) gofuse.Status {
	const unit = 4096
	s := r.cfg.Statfs()
	out.Bsize, out.Frsize, out.NameLen = unit, unit, 255
	out.Blocks = uint64(max(0, s.Bytes)) / unit
	out.Bfree = uint64(max(0, s.FreeBytes)) / unit
	out.Bavail = out.Bfree
	out.Files = uint64(max(0, s.Files))
	return gofuse.OK
}

// panicked answers for a request whose handler panicked: the mount lives on.
func (r *raw) panicked(cause any) gofuse.Status {
	r.n.panics.Add(1)
	r.cfg.Logger.Error("request handler panicked", "cause", cause, "stack", string(debug.Stack()))
	return gofuse.EIO
}

// failed returns code, and says why where it is a failure: this is where errors stop.
func (r *raw) failed(code gofuse.Status, err error, op string, id uint64, name string) gofuse.Status {
	if ordinary(code) {
		return code
	}
	r.n.errors.Add(1)
	if held, ok := r.logged.allow(time.Now()); ok {
		r.cfg.Logger.Warn("request failed", "op", op, "id", id, "name", name,
			"errno", syscall.Errno(code).Error(), "cause", err, "unreported", held)
	}
	return code
}

// report says why a file is not passed through, once a second at most.
func (r *raw) report(err error, e shoal.Entry) {
	if held, ok := r.logged.allow(time.Now()); ok {
		r.cfg.Logger.Warn("no passthrough", "path", e.Path, "cause", err, "state", r.through.state(), "unreported", held)
	}
}

// full is the answer when too many files or directories are open.
func (r *raw) full(op string, id uint64, name string) gofuse.Status {
	err := fmt.Errorf("%d are open: %w", r.cfg.MaxOpen, syscall.ENFILE)
	return r.failed(errno(err), err, op, id, name)
}

// stop ends the requests that go on although they were interrupted.
func (r *raw) stop() { r.once.Do(func() { close(r.stopped) }) }

// close frees what is open still: the kernel sends no RELEASE over a dead connection.
// No request may be running.
func (r *raw) close() {
	r.stop()
	for _, h := range r.open.drain() {
		r.shut(h)
	}
	if r.kept != nil {
		r.kept.drain()
	}
	r.dirs.drain()
}

// checked refuses an entry that the kernel would take for something else.
func checked(e shoal.Entry, err error) error {
	if err == nil && e.ID == 0 {
		return fmt.Errorf("entry %s has no id: %w", e.Path, syscall.EIO)
	}
	return err
}

// whole returns an error unless want bytes have been read.
func whole(n, want int, err error) error {
	switch {
	case n == want:
		return nil
	case err == nil || err == io.EOF: //nolint:errorlint // io.EOF itself is what ReaderAt returns
		return fmt.Errorf("file ends early: read %d bytes of %d: %w", n, want, io.ErrUnexpectedEOF)
	}
	return err
}

// A result is the bytes of a reply, in memory of its own or lent by the file. It is written by
// writev: of the other ways go-fuse has, one calls Done before the bytes are written.
type result struct {
	data     [1][]byte
	done     func() // gives back what the file has lent; nil when nothing is
	borrowed []byte // of memory; nil when it had none
	memory   Memory // nil: the heap
	pool     *sync.Pool
}

// room returns as many bytes as buf to read into, until Done: borrowed ones, or buf itself.
func (s *result) room(buf []byte) []byte {
	if s.memory != nil {
		s.borrowed = s.memory.Borrow(len(buf))
	}
	if s.borrowed != nil {
		return s.borrowed
	}
	return buf
}

// Slices returns the bytes.
func (s *result) Slices() ([][]byte, gofuse.Status) { return s.data[:], gofuse.OK }

// Bytes is never called of what has Slices; it copies nothing either.
func (s *result) Bytes([]byte) ([]byte, gofuse.Status) { return s.data[0], gofuse.OK }

// Size returns how many bytes there are.
func (s *result) Size() int { return len(s.data[0]) }

// Done gives back what was lent, and the result itself.
func (s *result) Done() {
	if s.done != nil {
		s.done()
	}
	if s.borrowed != nil {
		s.memory.Return(s.borrowed)
	}
	s.data[0], s.done, s.borrowed = nil, nil, nil
	s.pool.Put(s)
}

// A limiter lets one message a second pass and counts the others.
type limiter struct {
	last atomic.Int64 // unix nanoseconds
	held atomic.Uint64
}

// allow reports whether a message may pass now, and how many were held back before.
func (l *limiter) allow(now time.Time) (held uint64, ok bool) {
	last := l.last.Load()
	if now.UnixNano()-last < int64(time.Second) || !l.last.CompareAndSwap(last, now.UnixNano()) {
		l.held.Add(1)
		return 0, false
	}
	return l.held.Swap(0), true
}
