package fuse

import (
	"bytes"
	"errors"
	"os"
	"syscall"
	"testing"
)

// TestMountElided has what holds for a mount hold for one whose kernel opens no files.
func TestMountElided(t *testing.T) {
	t.Setenv(elideEnv, "1")
	t.Run("read", TestMountRead)
	t.Run("parallel reads", TestMountParallelReads)
	t.Run("mmap", TestMountMmap)
	t.Run("read-only", TestMountIsReadOnly)
	t.Run("failures", TestMountReadFailures)
	t.Run("new version", TestMountNewVersion)
	t.Run("killed readers", TestMountKilledReaderDies)
	t.Run("harmless signals", TestMountHarmlessSignalIsNoError)
}

func TestMountElidedOpens(t *testing.T) {
	t.Setenv(elideEnv, "1")
	c := startChild(t, mountDir(t))
	for range 3 {
		readAll(t, c)
	}
	st := c.report().Stats
	if st.Opens != 1 || st.Releases != 0 {
		t.Errorf("%d opens and %d releases, want 1 and 0", st.Opens, st.Releases)
	}
	if want := "off: opens are elided"; st.Passthrough != want {
		t.Errorf("passthrough is %q, want %q", st.Passthrough, want)
	}
}

// An open file of a version that nobody knows any more is read from the page cache, or not at all.
func TestMountElidedGone(t *testing.T) {
	t.Setenv(elideEnv, "1")
	c := startChild(t, mountDir(t))
	path := c.file("changes")
	old, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = old.Close() }()
	c.ask("sweep")
	c.ask("remove changes")
	buf := make([]byte, 8192)
	if n, err := old.ReadAt(buf, 0); !errors.Is(err, syscall.ESTALE) {
		t.Errorf("read of a removed file = %d bytes, %v, want %v", n, err, syscall.ESTALE)
	}
	c.ask("change changes")
	if got := c.ask("invalidate changes"); got != "ok" {
		t.Fatalf("invalidate = %s, want ok", got)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, noise(10, 4096)) {
		t.Errorf("new version = %d bytes, %v, want the 4096 new ones", len(got), err)
	}
}
