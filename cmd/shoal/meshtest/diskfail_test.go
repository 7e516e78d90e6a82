package meshtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ioctl that stops a file system at once, of ext4 among others: _IOR('X', 125, __u32). From then
// on all it is asked ends with EIO.
const ioctlShutdown = 0x8004587d

// A testDisk is a file system of its own, on a loop device.
type testDisk struct{ dir string }

// newDisk mounts a new disk at dir, over what is mounted there. Where that cannot be, it skips the test.
func (l *lab) newDisk(t *testing.T, dir, name string) *testDisk {
	t.Helper()
	image := filepath.Join(l.dir, name)
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 512*mib); err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"mkfs.ext4", "losetup", "mount"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED, no disk fails: %v", err)
		}
	}
	out, err := exec.Command("losetup", "--find", "--show", image).CombinedOutput()
	if err != nil {
		t.Skipf("SKIPPED, no disk fails: no loop device: %v: %s", err, out)
	}
	loop := strings.TrimSpace(string(out))
	t.Cleanup(func() { l.run(t, "losetup", "-d", loop) })
	l.run(t, "mkfs.ext4", "-q", "-F", loop)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l.run(t, "mount", "-t", "ext4", loop, dir)
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return &testDisk{dir}
}

// fail has the disk answer everything with EIO.
func (d *testDisk) fail(t *testing.T) {
	t.Helper()
	fd, err := unix.Open(d.dir, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	flags := uint32(2) // what is in the journal's memory is lost as well
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctlShutdown, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		t.Fatalf("shut down %s: %v", d.dir, errno)
	}
}

// TestDiskFails has the cache's disk answer with EIO under readers. Files read through the agent are
// read on, from the UFS; a file that the kernel reads by itself is EIO to who has it open, and is
// read again by who opens it anew. When there is another disk in its place, the agent takes it.
func TestDiskFails(t *testing.T) {
	const size = 12 * mib
	l := newLab(t, 1)
	n := l.nodes[0]
	disk := filepath.Join(n.home, "disk")
	bad := l.newDisk(t, disk, "bad")
	objects := l.upload(t, 1, func(i int) string { return fmt.Sprintf("disk/%03d.jpg", i) }, small(50)...)
	large := l.upload(t, 2, func(i int) string { return fmt.Sprintf("disk/large-%d.bin", i) }, size, size)
	all := append(objects, large...)
	n.config["cache"] = []any{map[string]any{"path": filepath.Join(disk, "cache"), "size": "256MiB"}}
	n.config["state"] = filepath.Join(n.home, "state") // elsewhere
	l.startAll(t, "disk", len(all))

	served := n.startReader(t)
	served.does(t, deed{Do: "open", Path: large[0].key})
	n.readAll(all, 1, func() {}).mustBe(t, len(all))
	l.until(t, "all is in the cache", func() bool { return n.status(t).Cache.Blocks == len(objects)+2*size/(4*mib) })
	passed := n.startReader(t)
	passed.does(t, deed{Do: "open", Path: large[1].key})
	passes := n.status(t).Kernel.PassthroughOpens == 1

	bad.fail(t)
	dropCaches(t)
	direct := n.startReader(t)
	for _, o := range objects {
		if got := direct.does(t, deed{Do: "direct", Path: o.key, Len: int64(o.size)}); got.Sum != o.sum {
			t.Errorf("%s: %v, want its bytes", o.key, got)
		}
	}
	if got := served.does(t, deed{Do: "read", Len: size}); got.Sum != large[0].sum {
		t.Errorf("a file that the agent serves: %v, want its bytes", got)
	}
	got := passed.does(t, deed{Do: "read", Len: size})
	if passes && got.Fault != "EIO" || !passes && got.Sum != large[1].sum {
		t.Errorf("a file that the kernel reads by itself: %v, want EIO", got)
	}
	passed.kill(t, goneLimit)
	dropCaches(t)
	n.readAll(all, 2, func() {}).mustBe(t, len(all))
	if s := n.status(t).Cache; s.Disks[0].Error == "" {
		t.Errorf("the disk failed, and its status is %+v", s.Disks[0])
	}

	l.newDisk(t, disk, "good")
	if err := os.Mkdir(filepath.Join(disk, "cache"), 0o700); err != nil {
		t.Fatal(err)
	}
	l.until(t, "the agent takes the new disk", func() bool { return n.status(t).Cache.Disks[0].Error == "" })
	dropCaches(t)
	n.readAll(all, 3, func() {}).mustBe(t, len(all))
	l.until(t, "all is in the cache", func() bool { return n.status(t).Cache.Blocks >= len(objects) })
	before := l.counts(t)
	dropCaches(t)
	n.readAll(objects, 4, func() {}).mustBe(t, len(objects))
	if sent := l.counts(t).since(before); sent.Bytes != 0 {
		t.Errorf("from the new disk: S3 sent %d bytes, want 0", sent.Bytes)
	}
}
