package fuse

import (
	"bufio"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// deathLimit is how long a reader may take to be gone on a machine under load. One that
// cannot be killed takes for ever, or retryLimit.
const deathLimit = 10 * time.Second

// reader starts a process whose first line of output, if any, is waited for by start.
func reader(t *testing.T, name string, args ...string) (*exec.Cmd, *bufio.Reader, chan error) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0") // the race detector lingers
	if name == os.Args[0] {
		cmd.Env, cmd.Args = append(cmd.Env, readEnv+"="+args[0]), cmd.Args[:1]
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("SKIPPED, interrupts are not tested: %v", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	gone := make(chan error, 1)
	return cmd, bufio.NewReader(out), gone
}

// await returns how cmd ended, and fails if that takes too long.
func await(t *testing.T, c *child, cmd *exec.Cmd, gone chan error) error {
	t.Helper()
	go func() { gone <- cmd.Wait() }()
	limit := time.NewTimer(deathLimit)
	defer limit.Stop()
	select {
	case err := <-gone:
		return err
	case <-limit.C:
		c.kill()
		t.Fatalf("%v still lives %v after its end was asked for", cmd.Args, deathLimit)
		return nil
	}
}

func TestMountKilledReaderDies(t *testing.T) {
	c := startChild(t, mountDir(t))
	for _, r := range []struct {
		what, program, file string
		sig                 syscall.Signal
	}{
		{"through the page cache", "cat", "gate-1", syscall.SIGKILL},
		{"through the page cache", "cat", "gate-2", syscall.SIGTERM},
		{"past the page cache", os.Args[0], "gate-3", syscall.SIGKILL},
		{"past the page cache", os.Args[0], "gate-3", syscall.SIGQUIT},
		{"looking up", "cat", "hang-1", syscall.SIGKILL},
		{"looking up", "cat", "hang-2", syscall.SIGINT},
	} {
		cmd, _, gone := reader(t, r.program, c.file(r.file))
		c.ask("entered")
		if err := cmd.Process.Signal(r.sig); err != nil {
			t.Fatal(err)
		}
		if err := await(t, c, cmd, gone); err == nil {
			t.Errorf("%s, %v: reader ended with nil, want it killed", r.what, r.sig)
		}
		c.ask("release")
	}
	if got := c.report().Stats.Interrupts; got == 0 {
		t.Errorf("Interrupts = %d, want more", got)
	}
}

// A signal that a program handles is no reason to fail its reads: Go's scheduler sends
// itself SIGURG all the time.
func TestMountHarmlessSignalIsNoError(t *testing.T) {
	c := startChild(t, mountDir(t))
	cmd, out, gone := reader(t, os.Args[0], c.file("gate-1"))
	line, err := out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	tid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("reader says %q, want its thread's id", line)
	}
	c.ask("entered")
	if err := unix.Tgkill(cmd.Process.Pid, tid, unix.SIGURG); err != nil {
		t.Fatal(err)
	}
	c.ask("cancelled") // the first run of the request
	c.ask("entered")   // the second
	c.ask("release")
	if line, err := out.ReadString('\n'); err != nil || line != "4096 <nil>\n" {
		t.Errorf("read = %q, %v, want 4096 bytes and no error", line, err)
	}
	if err := await(t, c, cmd, gone); err != nil {
		t.Errorf("reader ended with %v, want nil", err)
	}
}

// After a harmless signal the kernel tells of no other: the server must find out.
func TestMountKilledAfterHarmlessSignal(t *testing.T) {
	c := startChild(t, mountDir(t))
	cmd, out, gone := reader(t, os.Args[0], c.file("gate-1"))
	line, err := out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	tid, _ := strconv.Atoi(strings.TrimSpace(line))
	c.ask("entered")
	if err := unix.Tgkill(cmd.Process.Pid, tid, unix.SIGURG); err != nil {
		t.Fatal(err)
	}
	c.ask("cancelled")
	c.ask("entered")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := await(t, c, cmd, gone); err == nil {
		t.Error("reader ended with nil, want it killed")
	}
}
