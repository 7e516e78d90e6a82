package node

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/fuse"
	"github.com/shoal-mesh/shoal/node/config"
)

// doors are the mounts of the namespace on this machine: one connection to the kernel each, as
// opens are elided on all of a connection or on none (docs/small-files.md).
type doors struct {
	main, small atomic.Pointer[fuse.Server] // nil for one that is not mounted
	gone        chan struct{}               // closed when one of them went away; nil before there is one
	once        sync.Once                   // closes gone
	wg          sync.WaitGroup              // of those who watch them
}

// each calls f for every mount there is.
func (d *doors) each(f func(*fuse.Server)) {
	for _, p := range []*atomic.Pointer[fuse.Server]{&d.main, &d.small} {
		if s := p.Load(); s != nil {
			f(s)
		}
	}
}

// watch has gone closed when s is no longer served.
func (d *doors) watch(s *fuse.Server) {
	d.wg.Go(func() {
		s.Wait()
		d.once.Do(func() { close(d.gone) })
	})
}

// checkDoors finds out whether there is FUSE to mount with.
func (a *Agent) checkDoors(context.Context) error {
	if len(a.cfg.Mount.Paths()) == 0 {
		return nil
	}
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("%w: load the fuse module and let this user open the device; or leave mount.path out to run without a mount", err)
	}
	return f.Close()
}

func (a *Agent) openDoors(context.Context) error {
	if len(a.cfg.Mount.Paths()) == 0 {
		return nil
	}
	a.doors.gone = make(chan struct{})
	memory := newReplies()
	a.onClose("replies", func() error { memory.close(); return nil })
	a.onClose("mounts", func() error { a.doors.wg.Wait(); return nil })
	if err := a.openDoor(&a.doors.main, a.cfg.Mount.Path, fuse.Config{NoPassthrough: noPassthrough(a.cfg), Memory: memory}); err != nil {
		return err
	}
	return a.openDoor(&a.doors.small, a.cfg.Mount.SmallFiles, fuse.Config{ElideOpens: true, Memory: memory})
}

// openDoor mounts the namespace at path as cfg says, and fills in the rest of it.
func (a *Agent) openDoor(door *atomic.Pointer[fuse.Server], path string, cfg fuse.Config) error {
	if path == "" {
		return nil
	}
	cfg.Path, cfg.Cluster, cfg.AllowOther, cfg.Owner = path, a.cfg.Cluster.Name, a.cfg.Mount.AllowOther, owner(a.cfg.Mount)
	cfg.TTL, cfg.Statfs, cfg.XAttr, cfg.Logger = a.fresh, a.statfs, a.xattr, a.log.With("part", "fuse")
	s, err := fuse.Mount(a.names, opener{a.files}, cfg)
	if err != nil {
		return err
	}
	door.Store(s)
	a.doors.watch(s)
	a.onClose("mount", s.Unmount)
	return nil
}

// noPassthrough says why no file can be, or is to be, read by the kernel itself.
func noPassthrough(cfg *config.Config) string {
	switch {
	case cfg.Mount.Passthrough == config.PassthroughOff:
		return "by configuration"
	case len(cfg.Cache) > 1:
		return "the blocks of a file lie in several cache directories"
	}
	return ""
}

// owner returns who owns the files of the mounts: the agent's user where the config names
// nobody.
func owner(m config.FUSE) func(shoal.Entry) (uid, gid uint32) {
	uid, gid := uint32(os.Getuid()), uint32(os.Getgid())
	if m.UID >= 0 {
		uid = uint32(m.UID)
	}
	if m.GID >= 0 {
		gid = uint32(m.GID)
	}
	return func(shoal.Entry) (uint32, uint32) { return uid, gid }
}

// fresh returns how long the kernel may rely on an entry: what is left of its mount's TTL.
func (a *Agent) fresh(e shoal.Entry) time.Duration {
	if e.Fetched.IsZero() {
		return time.Minute // made by the mount table, which does not change
	}
	for _, m := range a.cfg.Namespace {
		if m.Path == e.Mount {
			return max(0, m.Metadata.TTL-time.Since(e.Fetched))
		}
	}
	return 0
}

// renamed makes the kernel ask again for a name that stands for another version now.
func (a *Agent) renamed(parent uint64, name string, _ uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	a.doors.each(func(s *fuse.Server) {
		if err := s.Invalidate(ctx, parent, name); err != nil {
			a.log.Warn("the kernel keeps an old name until its timeout", "mount", s.Path(), "name", name, "err", err)
		}
	})
}

// Done is closed when a mount went away without the agent's doing; nil without one.
func (a *Agent) Done() <-chan struct{} { return a.doors.gone }
