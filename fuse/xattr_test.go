package fuse

import (
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

func TestGetXAttr(t *testing.T) {
	tr := newTree()
	id := tr.file(shoal.RootID, "a", []byte("xyz"))
	r := testRaw(t, tr, func(c *Config) { c.XAttr = tr.XAttr })
	tests := []struct {
		name string
		id   uint64
		room int
		want string
		n    uint32
		code gofuse.Status
	}{
		{"user.shoal.path", id, 10, "/a", 2, gofuse.OK},
		{"user.shoal.path", id, 2, "/a", 2, gofuse.OK},
		{"user.shoal.path", id, 1, "", 2, gofuse.ERANGE},
		{"user.shoal.path", id, 0, "", 2, gofuse.ERANGE},
		{"user.shoal.empty", id, 0, "", 0, gofuse.OK},
		{"user.shoal.path", 99, 10, "", 0, gofuse.Status(syscall.ESTALE)},
		{"user.shoal.absent", id, 10, "", 0, gofuse.ENODATA},
		{"user.shoal.eio", id, 10, "", 0, gofuse.EIO},
		{"user.shoal", id, 10, "", 0, gofuse.ENODATA},
		{"user.path", id, 10, "", 0, gofuse.ENODATA},
		{"system.posix_acl_access", id, 10, "", 0, gofuse.Status(syscall.EOPNOTSUPP)},
		{"security.capability", id, 10, "", 0, gofuse.Status(syscall.EOPNOTSUPP)},
	}
	for _, tt := range tests {
		in, dest := header(tt.id), make([]byte, tt.room)
		n, code := r.GetXAttr(nil, &in, tt.name, dest)
		if n != tt.n || code != tt.code {
			t.Errorf("GetXAttr(%s) into %d bytes = %d, %v, want %d, %v", tt.name, tt.room, n, code, tt.n, tt.code)
		}
		if got := strings.TrimRight(string(dest), "\x00"); got != tt.want {
			t.Errorf("GetXAttr(%s) into %d bytes is %q, want %q", tt.name, tt.room, got, tt.want)
		}
	}
	if got := r.stats(); got.XAttrs != uint64(len(tests)) || got.Errors != 2 {
		t.Errorf("%d attributes asked for and %d errors, want %d and 2", got.XAttrs, got.Errors, len(tests))
	}
	if n, code := testRaw(t, tr, nil).GetXAttr(nil, &gofuse.InHeader{NodeId: id}, "user.shoal.path", nil); n != 0 || code != gofuse.ENODATA {
		t.Errorf("GetXAttr without Config.XAttr = %d, %v, want 0, %v", n, code, gofuse.ENODATA)
	}
}

func TestGetXAttrInterrupted(t *testing.T) {
	tr := newTree()
	r := testRaw(t, tr, func(c *Config) { c.XAttr = tr.XAttr })
	cancel := make(chan struct{})
	go func() {
		<-tr.entered
		close(cancel)
	}()
	in := header(shoal.RootID)
	if _, code := r.GetXAttr(cancel, &in, "user.shoal.hang", nil); code != gofuse.EINTR {
		t.Errorf("interrupted GetXAttr = %v, want %v", code, gofuse.EINTR)
	}
}

func TestMountXAttrs(t *testing.T) {
	c := startChild(t, mountDir(t))
	file, dir := c.file("size-1"), c.file("sub")
	buf := make([]byte, 64)
	for path, want := range map[string]string{file: "/size-1", dir: "/sub", c.path: "/"} {
		if n, err := unix.Getxattr(path, "user.shoal.path", buf); err != nil || string(buf[:n]) != want {
			t.Errorf("getxattr of %s = %q, %v, want %q", path, buf[:max(0, n)], err, want)
		}
	}
	if n, err := unix.Getxattr(file, "user.shoal.path", nil); n != len("/size-1") || err != nil {
		t.Errorf("length of an attribute = %d, %v, want %d", n, err, len("/size-1"))
	}
	for _, tt := range []struct {
		name string
		room int
		want error
	}{
		{"user.shoal.path", 3, unix.ERANGE},
		{"user.shoal.absent", 64, unix.ENODATA},
		{"user.other", 64, unix.ENODATA},
		{"user.shoal.eio", 64, unix.EIO},
		{"system.posix_acl_access", 64, unix.EOPNOTSUPP},
		{"system.posix_acl_default", 0, unix.EOPNOTSUPP},
		{"security.selinux", 64, unix.EOPNOTSUPP},
		{"security.capability", 64, unix.EOPNOTSUPP},
		{"trusted.overlay.opaque", 64, unix.EOPNOTSUPP},
	} {
		if _, err := unix.Getxattr(file, tt.name, buf[:tt.room]); !errors.Is(err, tt.want) {
			t.Errorf("getxattr of %s into %d bytes = %v, want %v", tt.name, tt.room, err, tt.want)
		}
	}
	for range 3 {
		if _, err := unix.Listxattr(file, buf); !errors.Is(err, unix.EOPNOTSUPP) {
			t.Errorf("listxattr = %v, want %v", err, unix.EOPNOTSUPP)
		}
	}
	if n, err := unix.Getxattr(file, "user.shoal.path", buf); err != nil {
		t.Errorf("getxattr after listxattr = %d, %v, want the attribute still", n, err)
	}
}

// TestMountListLong has ls tell all it tells of 3000 files: it must not cost a request for each.
func TestMountListLong(t *testing.T) {
	c := startChild(t, mountDir(t))
	if _, err := unix.Listxattr(c.path, nil); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("listxattr = %v, want %v", err, unix.EOPNOTSUPP)
	}
	for _, flags := range []string{"-l", "-lZ", "-l --color=always"} {
		before := c.report().Stats
		args := append(strings.Fields(flags), c.file("many"))
		if out, err := exec.Command("ls", args...).CombinedOutput(); err != nil {
			t.Skipf("ls %s: %v: %.200s", flags, err, out)
		}
		after := c.report().Stats
		t.Logf("ls %s: %d attributes, %d lookups, %d stats, %d pages", flags, after.XAttrs-before.XAttrs,
			after.Lookups-before.Lookups, after.Attrs-before.Attrs, after.ReadDirs-before.ReadDirs)
		if asked := after.XAttrs - before.XAttrs; asked > 10 {
			t.Errorf("ls %s of %d files asked for %d extended attributes, want a few at most", flags, manyFiles, asked)
		}
	}
}
