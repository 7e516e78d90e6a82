package blockstore

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	shutdownCycles = 20
	shutdownImage  = 512 << 20

	// The ioctl that stops a file system at once, of XFS and ext4 alike: _IOR('X', 125, __u32).
	ioctlShutdown = 0x8004587d
	noLogFlush    = 2 // what is in the journal's memory is lost as well
)

// TestShutdown has a file system stop at once, as at a power loss, under a process that puts,
// reads, evicts, moves and syncs, over and over: what the kernel had not written is lost. What
// is found afterwards must be as after the power losses of TestPowerLoss.
func TestShutdown(t *testing.T) {
	for name, mkfs := range map[string][]string{
		"ext4": {"mkfs.ext4", "-q", "-F"},
		"xfs":  {"mkfs.xfs", "-q", "-f"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newShutdownMount(t, name, mkfs)
			truth, rnd := newCrashTruth(), rand.New(rand.NewPCG(8, 8))
			var sum shutdownTally
			begun := time.Now()
			for cycle := range shutdownCycles {
				m.mount(t)
				truth.restart()
				m.cycle(t, cycle, 500+rnd.IntN(4000), truth, &sum)
				m.unmount(t)
				truth.forgetUnlessDurable()
			}
			t.Logf("%d cycles in %v: %+v, %d puts, %d evicted, %d moved, %d syncs", shutdownCycles,
				time.Since(begun).Round(time.Second), sum, truth.puts, truth.evicted, truth.moved, truth.syncs)
			if sum.During < shutdownCycles/2 || sum.Durable == 0 || truth.evicted == 0 || truth.moved == 0 {
				t.Error("the shutdowns did not meet what they were to meet")
			}
		})
	}
}

// shutdownTally counts what the shutdowns met.
type shutdownTally struct {
	During                         int // of them amid puts
	Durable, Have, Missed, Dropped int // blocks after them
}

// A shutdownMount is a file system in an image file.
type shutdownMount struct {
	loop, dir, kind string
}

// newShutdownMount makes the image and its device, or skips the test where that cannot be.
func newShutdownMount(t *testing.T, kind string, mkfs []string) *shutdownMount {
	t.Helper()
	if os.Getenv("SHOAL_TEST_ALL") == "" {
		t.Skip("SHOAL_TEST_ALL is not set: run `make test-all` for tests with real file systems")
	}
	if os.Geteuid() != 0 {
		t.Skip("not root: file systems cannot be mounted")
	}
	for _, tool := range []string{mkfs[0], "losetup", "mount", "umount"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no power losses of %s: %v", kind, err)
		}
	}
	base := fastDir(t)
	image := filepath.Join(base, "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, shutdownImage); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", image).CombinedOutput()
	if err != nil {
		t.Skipf("no power losses of %s: no loop device: %v: %s", kind, err, out)
	}
	m := &shutdownMount{loop: strings.TrimSpace(string(out)), dir: filepath.Join(base, "mnt"), kind: kind}
	t.Cleanup(func() {
		_ = exec.Command("umount", "-l", m.dir).Run() // it is mounted only if the test failed
		m.do(t, "losetup", "-d", m.loop)
	})
	m.do(t, mkfs[0], append(mkfs[1:], m.loop)...)
	if err := os.Mkdir(m.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", kind, m.loop, m.dir).CombinedOutput(); err != nil {
		t.Skipf("no power losses of %s: the kernel does not mount it: %v: %s", kind, err, out)
	}
	m.unmount(t)
	return m
}

func (m *shutdownMount) do(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Errorf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

func (m *shutdownMount) mount(t *testing.T) {
	t.Helper()
	m.do(t, "mount", "-t", m.kind, m.loop, m.dir)
}

// unmount tries more than once: the kernel may let the files of a killed process go only after
// the process is gone.
func (m *shutdownMount) unmount(t *testing.T) {
	t.Helper()
	var out []byte
	var err error
	for range 500 {
		if out, err = exec.Command("umount", m.dir).CombinedOutput(); err == nil {
			return
		}
	}
	t.Fatalf("umount %s: %v: %s", m.dir, err, out)
}

// shutdown stops the file system.
func (m *shutdownMount) shutdown(t *testing.T) {
	t.Helper()
	fd, err := unix.Open(m.dir, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	flags := uint32(noLogFlush)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctlShutdown, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		t.Fatalf("shut down %s: %v", m.kind, errno)
	}
}

// cycle has a child check and load the store, stops the file system after so many words of the
// load, and kills the child.
func (m *shutdownMount) cycle(t *testing.T, cycle, words int, truth *crashTruth, sum *shutdownTally) {
	t.Helper()
	cmd, lines := crashStart(t, filepath.Join(m.dir, "cache"), cycle, crashPowerEnv+"=1")
	durable := truth.durable()
	sum.Durable += len(durable)
	have := make(map[uint32]bool)
	checked, ended, heard := false, false, 0
	err := truth.hearAll(lines, func(word string, i uint32) bool {
		switch word {
		case "have":
			have[i] = true
			truth.hear("shown", i)
		case "missed":
			sum.Missed++
		case "dropped":
			sum.Dropped++
		case "checked":
			checked = true
		}
		if checked {
			heard++
		}
		if heard >= words && !ended {
			ended = true
			m.shutdown(t)
			if err := cmd.Process.Kill(); err != nil {
				t.Errorf("kill: %v", err)
			}
		}
		return false
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // says that it was killed
	if !ended {
		t.Fatalf("cycle %d: the child ended by itself, see above", cycle)
	}
	sum.Have += len(have)
	if len(truth.putting) > 0 {
		sum.During++
	}
	for _, i := range durable {
		if !have[i] {
			t.Errorf("cycle %d: block %d is lost, of %d that were synced", cycle, i, len(durable))
		}
	}
}
