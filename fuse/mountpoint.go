package fuse

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	mountinfo   = "/proc/self/mountinfo"
	maxLinks    = 40              // symbolic links followed at the mount point
	maxDead     = 16              // dead mounts removed from one mount point
	answerLimit = 2 * time.Second // what a live server needs at most to answer
)

// prepare makes path ready to be mounted on: it follows links, creates the directory
// when its parent exists (made), and removes dead mounts.
func prepare(path string, log *slog.Logger) (resolved string, made bool, err error) {
	for range maxLinks {
		path, err = resolveParent(path)
		if err != nil {
			return "", false, err
		}
		if err = clearDead(path, log); err != nil {
			return "", false, err
		}
		info, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if err := os.Mkdir(path, 0o755); err != nil {
				return "", false, fmt.Errorf("create mount point: %w", err)
			}
			return path, true, nil
		case err != nil:
			return "", false, fmt.Errorf("look at mount point: %w", err)
		case info.IsDir():
			return path, false, nil
		case info.Mode()&fs.ModeSymlink == 0:
			return "", false, fmt.Errorf("mount point %s is not a directory: name one, or remove it", path)
		}
		to, err := os.Readlink(path)
		if err != nil {
			return "", false, err
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
	return "", false, fmt.Errorf("mount point: %w", syscall.ELOOP)
}

// resolveParent resolves the links of path but for its last element, which may be a
// mount that does not answer.
func resolveParent(path string) (string, error) {
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("neither the mount point nor its parent %s exists: create the parent", filepath.Dir(path))
	}
	if err != nil {
		return "", fmt.Errorf("resolve mount point: %w", err)
	}
	return filepath.Join(dir, filepath.Base(path)), nil
}

// clearDead removes dead FUSE mounts from path. A live one is an error.
func clearDead(path string, log *slog.Logger) error {
	for range maxDead {
		all, err := mounts()
		if err != nil {
			return err
		}
		info, ok := topmost(all, path)
		if !ok || !strings.HasPrefix(info.kind, "fuse") {
			return nil
		}
		if !dead(path) {
			return fmt.Errorf("%s (%s) is mounted there by a server that lives: stop it, or unmount it (umount %s), or use another path",
				info.source, info.kind, path)
		}
		log.Warn("removing the mount of a server that died", "path", path, "source", info.source)
		if err := (mountPoint{path: path, direct: os.Geteuid() == 0}).detach(syscall.MNT_DETACH); err != nil {
			return fmt.Errorf("remove the dead mount (umount -l %s): %w", path, err)
		}
	}
	return fmt.Errorf("more than %d dead mounts on it: umount -l %s", maxDead, path)
}

// dead reports whether the FUSE server of the mount at path is gone. Statfs is the one
// call the kernel never answers from its caches. A server that does not answer counts
// as alive; the goroutine that asks it ends when it does.
func dead(path string) bool {
	answer := make(chan error, 1)
	go func() {
		var st syscall.Statfs_t
		answer <- syscall.Statfs(path, &st)
	}()
	limit := time.NewTimer(answerLimit)
	defer limit.Stop()
	select {
	case err := <-answer:
		return errors.Is(err, syscall.ENOTCONN) || errors.Is(err, syscall.ECONNABORTED)
	case <-limit.C:
		return false
	}
}

// A mountEntry is a line of mountinfo.
type mountEntry struct {
	minor  uint32 // of the device, whose major is 0 for FUSE
	path   string
	kind   string // "fuse.shoal"
	source string
}

// mounts lists what is mounted, as this process sees it.
func mounts() ([]mountEntry, error) {
	data, err := os.ReadFile(mountinfo)
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	return parseMounts(data), nil
}

// parseMounts reads lines of the form
//
//	36 35 0:98 /root /path options - type source superoptions
//
// with any number of optional fields before the dash. Other lines are left out.
func parseMounts(data []byte) []mountEntry {
	var all []mountEntry
	for line := range bytes.Lines(data) {
		head, tail, ok := strings.Cut(strings.TrimSpace(string(line)), " - ")
		f, t := strings.Fields(head), strings.Fields(tail)
		if !ok || len(f) < 6 || len(t) < 2 {
			continue
		}
		_, minor, _ := strings.Cut(f[2], ":")
		n, err := strconv.ParseUint(minor, 10, 32)
		if err != nil {
			continue
		}
		all = append(all, mountEntry{minor: uint32(n), path: unescape(f[4]), kind: t[0], source: unescape(t[1])})
	}
	return all
}

// topmost returns what is mounted at path last.
func topmost(all []mountEntry, path string) (mountEntry, bool) {
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].path == path {
			return all[i], true
		}
	}
	return mountEntry{}, false
}

// unescape turns the octal escapes of mountinfo (\040 for a space) into bytes.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
