package fuse

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const (
	maxRequest = 1 << 20 // bytes the kernel asks for in one read, at most
	device     = "/dev/fuse"
	subtype    = "shoal"
)

// A mountPoint is where a connection is mounted.
type mountPoint struct {
	path   string // symbolic links resolved
	minor  uint32 // of its device: the name of the connection
	direct bool   // mounted without fusermount
}

// attach mounts r and returns the connection, ready to be served.
func attach(r *raw, cfg Config) (*gofuse.Server, mountPoint, error) {
	direct := os.Geteuid() == 0
	if err := checkHost(device, direct); err != nil {
		return nil, mountPoint{}, err
	}
	path, made, err := prepare(cfg.Path, cfg.Logger)
	if err != nil {
		return nil, mountPoint{}, err
	}
	m := mountPoint{path: path, direct: direct}
	conn, err := m.connect(r, cfg)
	if err == nil {
		err = m.find()
	}
	if err == nil {
		return conn, m, nil
	}
	if conn != nil {
		aborted := m.abort()
		if aborted == nil {
			conn.Serve() // returns at once: it frees the connection
		}
		err = errors.Join(err, aborted)
	}
	if made {
		_ = os.Remove(path) // best effort: the error that matters is err
	}
	return nil, mountPoint{}, err
}

// connect mounts and shakes hands with the kernel.
func (m mountPoint) connect(r *raw, cfg Config) (*gofuse.Server, error) {
	opts := options(r, cfg)
	if !m.direct {
		conn, err := gofuse.NewServer(r, m.path, opts)
		if err != nil {
			return nil, fmt.Errorf("fusermount refused (allow_other needs user_allow_other in /etc/fuse.conf; the user must own the mount point): %w", err)
		}
		return conn, nil
	}
	fd, err := mountDirect(m.path, opts)
	if err != nil {
		return nil, err
	}
	conn, err := gofuse.NewServer(r, "/dev/fd/"+strconv.Itoa(fd), opts)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect: %w", err), m.abort())
	}
	return conn, nil
}

// options returns what go-fuse and the kernel are to know of the mount.
func options(r *raw, cfg Config) *gofuse.MountOptions {
	return &gofuse.MountOptions{
		FsName:     "shoal:" + cfg.Cluster,
		Name:       subtype,
		Options:    []string{"ro", "default_permissions"},
		AllowOther: cfg.AllowOther,

		MaxWrite:                maxRequest,
		MaxReadAhead:            cfg.ReadAheadKiB << 10,
		MaxBackground:           cfg.MaxBackground,
		MaxInflightRequestBytes: cfg.MaxInflightBytes,

		// Bytes of an id never change, so a new mtime is no reason to drop them.
		ExplicitDataCacheControl: true,
		// Replies are in memory; pipes would only cost file descriptors.
		DisableSplice: true,
		PanicHandler:  r.panicked,
		Logger:        slog.NewLogLogger(cfg.Logger.With("from", "go-fuse").Handler(), slog.LevelWarn),
	}
}

// mountDirect opens the device and mounts it at path. Children must not inherit the
// device: the mount of a killed agent would hang instead of failing.
func mountDirect(path string, opts *gofuse.MountOptions) (int, error) {
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s (in a container: pass the device and run privileged): %w", device, err)
	}
	data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d,max_read=%d,default_permissions",
		fd, os.Geteuid(), os.Getegid(), opts.MaxWrite)
	if opts.AllowOther {
		data += ",allow_other"
	}
	err = unix.Mount(opts.FsName, path, "fuse."+opts.Name, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_RDONLY, data)
	if err == nil {
		return fd, nil
	}
	_ = unix.Close(fd)
	switch {
	case errors.Is(err, unix.EPERM):
		err = fmt.Errorf("no right to mount, though root: give the process CAP_SYS_ADMIN (run the container privileged): %w", err)
	case errors.Is(err, unix.ENODEV):
		err = fmt.Errorf("the kernel has no FUSE: load the module (modprobe fuse): %w", err)
	}
	return -1, err
}

// find fills in the device of the mount, without touching it.
func (m *mountPoint) find() error {
	all, err := mounts()
	if err != nil {
		return err
	}
	info, ok := topmost(all, m.path)
	if !ok || info.kind != "fuse."+subtype {
		return fmt.Errorf("the mount is not in %s (is it of another mount namespace?)", mountinfo)
	}
	m.minor = info.minor
	return nil
}

// setReadAhead sets how far the kernel reads ahead, which it caps at 128 KiB otherwise.
func (m mountPoint) setReadAhead(cfg Config) {
	file := fmt.Sprintf("/sys/class/bdi/0:%d/read_ahead_kb", m.minor)
	if err := os.WriteFile(file, []byte(strconv.Itoa(cfg.ReadAheadKiB)), 0); err != nil {
		cfg.Logger.Warn("readahead stays at the kernel's default", "path", m.path, "cause", err)
	}
}

// unmount unmounts, trying again for as long as limit while the mount is in use. That
// the connection has ended (gone is closed) is as good.
func (m mountPoint) unmount(limit time.Duration, gone <-chan struct{}) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 250*time.Millisecond) {
		ours, err := m.ours()
		if err != nil || !ours {
			return err
		}
		err = m.detach(0)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(wait):
		case <-gone:
			return nil
		case <-deadline.C:
			return fmt.Errorf("unmount %s: %w", m.path, err)
		}
	}
}

// abort takes the mount away whoever uses it, and ends the connection: what waits for
// an answer fails with ENOTCONN.
func (m mountPoint) abort() error {
	var err error
	if ours, _ := m.ours(); ours || m.minor == 0 {
		err = m.detach(unix.MNT_DETACH | unix.MNT_FORCE)
	}
	if m.minor != 0 {
		// Not there unless fusectl is mounted; MNT_FORCE has aborted already, then.
		file := fmt.Sprintf("/sys/fs/fuse/connections/%d/abort", m.minor)
		if os.WriteFile(file, []byte("1"), 0) == nil {
			return nil
		}
	}
	return err
}

// ours reports whether what is mounted at the path now is this connection.
func (m mountPoint) ours() (bool, error) {
	all, err := mounts()
	if err != nil {
		return false, err
	}
	info, ok := topmost(all, m.path)
	return ok && info.minor == m.minor, nil
}

func (m mountPoint) detach(flags int) error {
	if m.direct {
		return unix.Unmount(m.path, flags|unix.UMOUNT_NOFOLLOW)
	}
	args := []string{"-u", "--", m.path}
	if flags&unix.MNT_DETACH != 0 {
		args = append([]string{"-z"}, args...)
	}
	helper, err := fusermount()
	if err != nil {
		return err
	}
	out, err := exec.Command(helper, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w", strings.TrimSpace(string(out)), err)
	}
	return nil
}

// checkHost returns what keeps this host or this user from mounting.
func checkHost(device string, direct bool) error {
	_, err := os.Stat(device)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is missing: load the kernel's FUSE module (modprobe fuse), or pass the device to the container", device)
	case err != nil:
		return err
	case direct:
		return nil
	}
	if _, err = fusermount(); err != nil {
		return errors.New("only root may mount without the helper fusermount3: run as root or install fuse3")
	}
	return nil
}

func fusermount() (string, error) {
	if path, err := exec.LookPath("fusermount3"); err == nil {
		return path, nil
	}
	return exec.LookPath("fusermount")
}
