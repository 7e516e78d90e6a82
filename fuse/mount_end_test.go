package fuse

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMountServerKilled(t *testing.T) {
	path := mountDir(t)
	c := startChild(t, path)
	if _, err := os.ReadFile(c.file("size-1")); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-c.ended
	if _, err := os.ReadFile(c.file("size-65536")); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("read without a server = %v, want %v", err, syscall.ENOTCONN)
	}
	c = startChild(t, path)
	if got, err := os.ReadFile(c.file("size-65536")); err != nil || !bytes.Equal(got, noise(65536, 65536)) {
		t.Errorf("read after mounting again = %d bytes, %v, want those written", len(got), err)
	}
	all, err := mounts()
	if err != nil {
		t.Fatal(err)
	}
	all = slices.DeleteFunc(all, func(m mountEntry) bool { return m.path != path })
	if len(all) != 1 || all[0].kind != "fuse.shoal" || all[0].source != "shoal:test" {
		t.Errorf("mounted at %s: %+v, want one fuse.shoal of shoal:test", path, all)
	}
}

func TestMountRefusesLiveMount(t *testing.T) {
	c := startChild(t, mountDir(t))
	_, answer := runChild(t, c.path)
	if !strings.Contains(answer, "a server that lives") || !strings.Contains(answer, c.path) {
		t.Errorf("second mount = %q, want it refused", answer)
	}
	if _, err := os.ReadFile(c.file("size-1")); err != nil {
		t.Errorf("read of the first mount = %v, want nil", err)
	}
}

func TestMountFailureLeavesNothing(t *testing.T) {
	path := mountDir(t)
	if _, answer := runChild(t, filepath.Join(path, "below")); !strings.Contains(answer, "create the parent") {
		t.Errorf("mount = %q, want it to tell to create the parent", answer)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, answer := runChild(t, path); !strings.Contains(answer, "not a directory") {
		t.Errorf("mount on a file = %q, want it refused", answer)
	}
}

func TestUnmountIdle(t *testing.T) {
	c := startChild(t, mountDir(t))
	if _, err := os.ReadFile(c.file("size-1")); err != nil {
		t.Fatal(err)
	}
	if got := c.ask("unmount"); got != "ok" {
		t.Errorf("unmount = %s, want ok", got)
	}
	if got := c.ask("unmount"); got != "ok" {
		t.Errorf("second unmount = %s, want ok", got)
	}
	mustBeGone(t, c.path)
	if got := c.report(); got.Closed != 1 || got.Stats.OpenFiles != 0 {
		t.Errorf("%d files closed, %d open, want 1, 0", got.Closed, got.Stats.OpenFiles)
	}
}

func TestUnmountInUse(t *testing.T) {
	c := startChild(t, mountDir(t))
	cmd, out, gone := reader(t, os.Args[0], c.file("gate-1"))
	if _, err := out.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	c.ask("entered")
	if got := c.ask("unmount"); got != "ok" {
		t.Errorf("unmount = %s, want ok", got)
	}
	mustBeGone(t, c.path)
	if line, err := out.ReadString('\n'); err != nil || !strings.HasPrefix(line, "-1 ") {
		t.Errorf("read = %q, %v, want it to fail", line, err)
	}
	if err := await(t, c, cmd, gone); err != nil {
		t.Errorf("reader ended with %v, want nil", err)
	}
	if got := c.report(); got.Closed != 1 || got.Stats.OpenFiles != 0 {
		t.Errorf("%d files closed, %d open, want 1, 0", got.Closed, got.Stats.OpenFiles)
	}
}

func TestUnmountedBySomeoneElse(t *testing.T) {
	c := startChild(t, mountDir(t))
	if err := unix.Unmount(c.path, 0); err != nil {
		t.Fatal(err)
	}
	if got := c.ask("wait"); got != "ok" {
		t.Errorf("wait = %s, want ok", got)
	}
	if got := c.ask("unmount"); got != "ok" {
		t.Errorf("unmount = %s, want ok", got)
	}
}

func mustBeGone(t *testing.T, path string) {
	t.Helper()
	all, err := mounts()
	if err != nil {
		t.Fatal(err)
	}
	if m, ok := topmost(all, path); ok {
		t.Errorf("%s is mounted still: %+v", path, m)
	}
}
