package blockstore

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
)

// TestKilled copies nothing and closes nothing: a second process puts and removes blocks
// until it is killed, over and over in the same directory, and syncs nothing. Each block
// whose Put returned must be there, and whatever is there must be right.
func TestKilled(t *testing.T) {
	dir := fastDir(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var acknowledged []uint32
	for round := range 10 {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), crashChildEnv+"="+dir, fmt.Sprintf("%s=%d", crashRoundEnv, round))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 1; lines.Scan(); n++ {
			var i uint32
			if _, err := fmt.Sscanf(lines.Text(), "put %d", &i); err != nil {
				t.Fatalf("child says %q: %v", lines.Text(), err)
			}
			acknowledged = append(acknowledged, i)
			if n != 20+37*round {
				continue // to the end: what is in the pipe was acknowledged as well
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		_ = cmd.Wait() // says that it was killed
		checkKilled(t, dir, acknowledged)
	}
}

const (
	crashChildEnv = "SHOAL_TEST_CRASH_DIR"
	crashRoundEnv = "SHOAL_TEST_CRASH_ROUND"
	crashDisk     = 1 << 30
)

func crashSize(i uint32) int { return 1 + int(i)*997%200_000 }

// crashChild is the process that is killed: it puts and removes, and says so of each block
// when it is done.
func crashChild(dir string) {
	cfg := oneDisk(dir, crashDisk)
	cfg.FlushInterval = time.Hour
	s, err := Open(cfg)
	if err != nil {
		panic(err)
	}
	var round uint32
	_, _ = fmt.Sscan(os.Getenv(crashRoundEnv), &round)
	for i := round * 100_000; ; i++ {
		key, data := testKey(i), randomBytes(uint64(i), crashSize(i))
		if err := s.Put(key, data, shoal.ChunkSums(key, data)); err != nil {
			panic(err)
		}
		if i%3 == 0 {
			if err := s.Remove(key); err != nil {
				panic(err)
			}
		}
		fmt.Println("put", i)
	}
}

func checkKilled(t *testing.T, dir string, acknowledged []uint32) {
	t.Helper()
	s, err := Open(oneDisk(dir, crashDisk))
	if err != nil {
		t.Fatal(err)
	}
	lost := 0
	for _, i := range acknowledged {
		if s.Has(testKey(i)) != (i%3 != 0) {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("of %d puts and removals acknowledged %d are lost", len(acknowledged), lost)
	}
	for key := range s.Keys() {
		if err := s.Check(key); err != nil {
			t.Errorf("a block the index shows is bad: %v", err)
		}
	}
	if err := s.Close(); err != nil { // waits for, or stops, the sweep
		t.Fatal(err)
	}
}

// TestLeftovers checks what the sweep after open removes, drops and leaves alone.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, oneDisk(dir, 1<<20))
	for i := range uint32(10) {
		put(t, s, testKey(i), randomBytes(uint64(i), 1000))
	}
	missing := container(t, s, testKey(3))
	kept := container(t, s, testKey(4))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(missing); err != nil {
		t.Fatal(err)
	}
	leftover := containerPath(dir, 1<<bootShift+1000)
	alien := filepath.Join(filepath.Dir(leftover), "README")
	for _, path := range []string{leftover, alien} {
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	told := make(chan []shoal.Key, 10)
	cfg := oneDisk(dir, 1<<20)
	cfg.OnEvict = func(keys []shoal.Key) { told <- keys }
	s = openTest(t, cfg)
	put(t, s, testKey(20), randomBytes(20, 1000)) // while it sweeps
	if keys := <-told; len(keys) != 1 || keys[0] != testKey(3) {
		t.Errorf("told of %v, want the block without a container", keys)
	}
	// The missing are dropped after all folders are swept.
	for path, want := range map[string]bool{leftover: false, alien: true, kept: true, container(t, s, testKey(20)): true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s: %v, want present %v", filepath.Base(path), err, want)
		}
	}
	if s.Has(testKey(3)) || !s.Has(testKey(4)) || s.Stats().Corrupt != 0 {
		t.Errorf("after the sweep: Stats() = %+v, want block 3 dropped and 4 kept, none corrupt", s.Stats())
	}
}

// TestMissingAfterRestart checks that an entry whose container was not there when the
// store was opened is dropped as if never put, and that one whose container vanished later
// is corrupt.
func TestMissingAfterRestart(t *testing.T) {
	dir := fastDir(t)
	s := openTest(t, oneDisk(dir, 1<<20))
	paths := make(map[uint32]string)
	for i := range uint32(2) {
		put(t, s, testKey(i), randomBytes(uint64(i), 1000))
		paths[i] = container(t, s, testKey(i))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(paths[0]); err != nil {
		t.Fatal(err)
	}
	var listed atomic.Bool // the scan cannot look before
	cfg := oneDisk(dir, 1<<20)
	cfg.files = &faultyFiles{fault: func(op, _ string) error {
		if op == "list" && !listed.Load() {
			return unix.EIO
		}
		return nil
	}}
	s = openTest(t, cfg)
	if _, err := s.ReadAt(testKey(0), make([]byte, 10), 0); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrCorrupt) {
		t.Errorf("ReadAt(without a container since before) = %v, want %v", err, fs.ErrNotExist)
	}
	if st := s.Stats(); st.Corrupt != 0 || st.Blocks != 1 {
		t.Errorf("Stats() = %+v, want 1 block and none corrupt", st)
	}
	listed.Store(true)
	s.disks[0].scan(nil, s.disks[0].known())
	if err := os.Remove(paths[1]); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadAt(testKey(1), make([]byte, 10), 0); !errors.Is(err, ErrCorrupt) || s.Stats().Corrupt != 1 {
		t.Errorf("ReadAt(container vanished) = %v, want %v and it counted", err, ErrCorrupt)
	}
}

// TestSyncIsReal checks that a put does not wait for the disk and that Sync does.
func TestSyncIsReal(t *testing.T) {
	var syncs atomic.Int64
	cfg := oneDisk(fastDir(t), 1<<20)
	cfg.FlushInterval = time.Hour
	cfg.indexFS = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if strings.HasSuffix(op.Path, ".log") && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) {
			syncs.Add(1)
		}
		return nil
	}))
	s := openTest(t, cfg)
	before := syncs.Load()
	put(t, s, testKey(1), randomBytes(1, 1000))
	if got := syncs.Load() - before; got != 0 {
		t.Errorf("Put synced the log %d times, want never", got)
	}
	for range 2 {
		if err := s.Sync(); err != nil {
			t.Fatal(err)
		}
		if got := syncs.Load() - before; got != 1 {
			t.Errorf("Sync synced the log %d times, want once for one put", got)
		}
	}
}

// TestIndexLost checks that a store whose index is beyond opening begins empty.
func TestIndexLost(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, oneDisk(dir, 1<<20))
	put(t, s, testKey(1), randomBytes(1, 1000))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	manifests, err := filepath.Glob(filepath.Join(dir, "index", "MANIFEST-*"))
	if err != nil || len(manifests) == 0 {
		t.Fatalf("manifests of the index: %v, %v", manifests, err)
	}
	for _, m := range manifests {
		if err := os.WriteFile(m, []byte("not a manifest at all"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = openTest(t, oneDisk(dir, 1<<20))
	if got := s.Stats().Blocks; got != 0 {
		t.Errorf("blocks = %d, want 0", got)
	}
	put(t, s, testKey(1), randomBytes(1, 1000))
	checkReadAt(t, s, testKey(1), randomBytes(1, 1000), 0, 1000)
}
