package fuse

import (
	"errors"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMountSyscalls does to an open file what cannot be done, and what does nothing, and expects
// the answers of any read-only file system.
func TestMountSyscalls(t *testing.T) {
	c := startChild(t, mountDir(t))
	const size = 65537
	f, err := os.Open(c.file("size-65537"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	other, err := os.Open(c.file("size-1"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	fd, from := int(f.Fd()), int(other.Fd())
	second := func(_ int, err error) error { return err }
	lock := func(kind int16) error {
		return unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: kind, Whence: io.SeekStart})
	}
	mapped := func(prot, flags int) error {
		p, err := unix.Mmap(fd, 0, size, prot, flags)
		if err == nil {
			err = unix.Munmap(p)
		}
		return err
	}
	for what, tt := range map[string]struct{ got, want error }{
		"write":                 {second(unix.Pwrite(fd, []byte("x"), 0)), unix.EBADF},
		"truncate":              {unix.Ftruncate(fd, 0), unix.EINVAL},
		"fallocate":             {unix.Fallocate(fd, 0, 0, 4096), unix.EBADF},
		"punch a hole":          {unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096), unix.EBADF},
		"copy_file_range":       {second(unix.CopyFileRange(from, nil, fd, nil, 1, 0)), unix.EBADF},
		"clone":                 {unix.IoctlFileClone(fd, from), unix.EBADF},
		"chmod":                 {unix.Fchmod(fd, 0o600), unix.EROFS},
		"chown":                 {unix.Fchown(fd, 1, 1), unix.EROFS},
		"utimes":                {unix.Futimes(fd, []unix.Timeval{{}, {}}), unix.EROFS},
		"setxattr":              {unix.Fsetxattr(fd, "user.a", []byte("b"), 0), unix.EROFS},
		"ioctl":                 {second(unix.IoctlGetInt(fd, 0x5301)), unix.ENOTTY},
		"flags":                 {second(unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)), unix.ENOTTY},
		"fsync":                 {unix.Fsync(fd), nil},
		"fdatasync":             {unix.Fdatasync(fd), nil},
		"syncfs":                {unix.Syncfs(fd), nil},
		"flock":                 {unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB), nil},
		"lock to read":          {lock(unix.F_RDLCK), nil},
		"lock to write":         {lock(unix.F_WRLCK), unix.EBADF},
		"fadvise":               {unix.Fadvise(fd, 0, 0, unix.FADV_SEQUENTIAL), nil},
		"readlink":              {second(unix.Readlink(c.file("size-1"), make([]byte, 10))), unix.EINVAL},
		"list a file":           {second(unix.Getdents(fd, make([]byte, 4096))), unix.ENOTDIR},
		"open as a directory":   {second(unix.Open(c.file("size-1"), unix.O_DIRECTORY, 0)), unix.ENOTDIR},
		"map to write, shared":  {mapped(unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED), unix.EACCES},
		"map to write, private": {mapped(unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE), nil},
	} {
		if !errors.Is(tt.got, tt.want) {
			t.Errorf("%s = %v, want %v", what, tt.got, tt.want)
		}
	}
	// A file is one piece of data, to its end.
	for _, tt := range []struct {
		whence    int
		off, want int64
		err       error
	}{
		{unix.SEEK_DATA, 0, 0, nil},
		{unix.SEEK_DATA, 5000, 5000, nil},
		{unix.SEEK_DATA, size, -1, unix.ENXIO},
		{unix.SEEK_HOLE, 0, size, nil},
		{unix.SEEK_HOLE, size - 1, size, nil},
		{unix.SEEK_HOLE, size, -1, unix.ENXIO},
	} {
		if got, err := unix.Seek(fd, tt.off, tt.whence); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("seek from %d, whence %d = %d, %v, want %d, %v", tt.off, tt.whence, got, err, tt.want, tt.err)
		}
	}
	if got := c.report().Stats.Errors; got != 0 {
		t.Errorf("%d failures counted, want none", got)
	}
}
