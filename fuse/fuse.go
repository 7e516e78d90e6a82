// Package fuse is the kernel's door to the namespace: a read-only mount, served on the
// raw FUSE protocol.
//
// Node ids are those of the entries (shoal.Entry.ID): durable, one per name for a
// directory, one per name and version for a file. So what the kernel caches of a file
// under an id is right for ever, and only names have to be asked for again. A file that
// changed has another id; reads of a handle to the old one fail with ESTALE when the
// old version can no longer be had.
//
// Buffers: the p given to File.Read belongs to the request. It must not be used after Read
// has returned. The ctx given to Names and Files ends with the request too.
//
// The process that serves a mount must never touch it: not open, not stat. Both sides
// would wait for each other. This package finds what it must know of its mount in
// /proc/self/mountinfo, and gives invalidations to the kernel from a goroutine of their
// own, never from a request.
//
// It does not cache, does not know of blocks and does not write: every change to the
// mount is refused with EROFS.
package fuse

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/shoal-mesh/shoal"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

// Names is the namespace, as the kernel asks for it. Its ids lie from shoal.FirstID to
// shoal.LastID, but for the root's. Errors wrap io/fs errors, or a
// syscall.Errno where the kernel shall be told just that (see errno).
type Names interface {
	// Lookup resolves one name of the directory parent.
	Lookup(ctx context.Context, parent uint64, name string) (shoal.Entry, error)
	// Attr returns the entry of id, also when an earlier process issued it.
	// fs.ErrNotExist tells that no name stands for it any more.
	Attr(ctx context.Context, id uint64) (shoal.Entry, error)
	// NameOf returns the name that id has, or had, in the directory parent, also when an
	// earlier process issued it; fs.ErrNotExist if none did.
	NameOf(id uint64) (parent uint64, name string, err error)
	// ReadDir yields the entries of the directory id in name order, those strictly
	// after the name after. It ends at the first error.
	ReadDir(ctx context.Context, id uint64, after string) iter.Seq2[shoal.Entry, error]
	// Listed returns when the listing began that ReadDir of id shows, as long as it may be
	// shown without asking again; else the zero time. Equal times mean the same names, but for
	// those that Invalidate has been told of.
	Listed(id uint64) time.Time
}

// Files opens what Names has found.
type Files interface {
	OpenFile(ctx context.Context, e shoal.Entry) (File, error)
}

// A File is one open handle. Read may be called concurrently, also for ranges that
// overlap; Close is called once, after the last of them. What is lent may be given back
// later still.
type File interface {
	// Read returns the len(p) bytes at off, or, with an error only, fewer: in p, or in
	// memory of the file's own, which goes to the kernel without a copy. That memory must
	// not change until done is called; done is nil when nothing is lent. io.EOF before the
	// end of the file is an error to the reader.
	Read(ctx context.Context, p []byte, off int64) (data []byte, done func(), err error)
	Close() error
}

// Memory lends what replies are read into, where there is better than the Go heap. Safe for
// concurrent use.
type Memory interface {
	// Borrow returns n bytes, which may be anything, or nil if it has none to lend.
	Borrow(n int) []byte
	// Return takes back what Borrow returned.
	Return(p []byte)
}

// A Server is a mount being served.
type Server struct {
	cfg   Config
	where mountPoint
	raw   *raw
	conn  *gofuse.Server
	inval *invalidator

	served  chan struct{} // closed when the last request has been answered
	closing sync.Once
	err     error // of Unmount; set by closing
}

// Mount mounts names and files at cfg.Path and serves them until Unmount, or until
// someone else unmounts the path. Its errors say in one line what is wrong and what
// to do about it; nothing stays mounted then. A dead mount at the path (its server
// was killed) is removed first; a live one is not touched and is an error.
func Mount(names Names, files Files, cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("mount: %w", err)
	}
	r := newRaw(names, files, cfg)
	conn, where, err := attach(r, cfg)
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", cfg.Path, err)
	}
	s := &Server{
		cfg: cfg, where: where, raw: r, conn: conn,
		inval:  newInvalidator(conn, cfg.Logger),
		served: make(chan struct{}),
	}
	r.stale = s.inval.try
	r.through.serve(conn, cfg.NoPassthrough)
	go s.inval.run()
	go s.serve()
	where.setReadAhead(cfg)
	cfg.Logger.Info("mounted", "path", where.path, "connection", where.minor)
	return s, nil
}

// serve answers the kernel until the connection ends, then frees what was left open.
func (s *Server) serve() {
	defer close(s.served)
	var wg sync.WaitGroup
	if s.raw.kept != nil {
		wg.Go(func() { s.raw.kept.run(s.raw.stopped) })
	}
	s.conn.Serve()
	s.inval.close()
	s.raw.stop()
	wg.Wait()
	s.raw.close()
}

// Done is closed when the mount is no longer served, whoever unmounted it.
func (s *Server) Done() <-chan struct{} { return s.served }

// Wait returns when the mount is no longer served.
func (s *Server) Wait() { <-s.served }

// Path returns the mount point as the kernel knows it, symbolic links resolved.
func (s *Server) Path() string { return s.where.path }

// Unmount unmounts and waits until the last request has been answered. While the mount
// is in use it tries again for Config.UnmountTimeout; then it unmounts lazily and aborts
// the connection, so that readers get ENOTCONN instead of hanging. It returns an error
// if requests are still running as long again after that. It may be called twice.
func (s *Server) Unmount() error {
	s.closing.Do(func() { s.err = s.unmount() })
	return s.err
}

func (s *Server) unmount() error {
	err := s.where.unmount(s.cfg.UnmountTimeout, s.served)
	if err != nil {
		s.cfg.Logger.Warn("unmounting lazily, readers will see an error", "path", s.where.path, "cause", err)
		err = s.where.abort()
	}
	s.raw.stop()
	limit := time.NewTimer(s.cfg.UnmountTimeout)
	defer limit.Stop()
	select {
	case <-s.served:
		return nil
	case <-limit.C:
		return errors.Join(err, fmt.Errorf("unmount %s: requests still running after %v", s.where.path, s.cfg.UnmountTimeout))
	}
}

// Invalidate makes the kernel forget what the directory parent says of name, so that
// the next use of it asks Names again. It waits for room in a bounded queue and no
// longer: Sync waits for the kernel. Never call either from a method of Names or
// Files: the kernel may hold the directory until that very request is answered.
func (s *Server) Invalidate(ctx context.Context, parent uint64, name string) error {
	s.raw.listings.forget(parent)
	return s.inval.add(ctx, invalidation{id: parent, name: name})
}

// InvalidateInode makes the kernel forget the attributes and the cached bytes of id.
// It is as asynchronous as Invalidate.
func (s *Server) InvalidateInode(ctx context.Context, id uint64) error {
	return s.inval.add(ctx, invalidation{id: id})
}

// Sync returns when the kernel has taken every invalidation asked for before.
func (s *Server) Sync(ctx context.Context) error { return s.inval.sync(ctx) }

// Stats returns what has been counted since Mount.
func (s *Server) Stats() Stats {
	st := s.raw.stats()
	s.inval.count(&st)
	return st
}
