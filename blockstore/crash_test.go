package blockstore

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
)

// TestKilled copies nothing and closes nothing: a second process puts blocks until it is
// killed, over and over in the same directory. What it has synced must be there, and
// whatever is there must be right.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for round := range 8 {
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
		var synced []uint32
		lines := bufio.NewScanner(out)
		for n := 0; n < 100+37*round && lines.Scan(); n++ {
			var i uint32
			if _, err := fmt.Sscanf(lines.Text(), "synced %d", &i); err == nil {
				synced = append(synced, i)
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // says that it was killed
		checkKilled(t, dir, synced)
	}
}

const (
	crashChildEnv = "SHOAL_TEST_CRASH_DIR"
	crashRoundEnv = "SHOAL_TEST_CRASH_ROUND"
	crashDisk     = 1 << 30
)

func crashSize(i uint32) int { return 1 + int(i)*997%200_000 }

// crashChild is the process that is killed: it puts, reads and removes, and says which
// blocks it has synced.
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
		if i%16 == 1 {
			if err := s.Sync(); err != nil {
				panic(err)
			}
			fmt.Println("synced", i)
			continue
		}
		fmt.Println("put", i)
	}
}

func checkKilled(t *testing.T, dir string, synced []uint32) {
	t.Helper()
	s, err := Open(oneDisk(dir, crashDisk))
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range synced {
		if i%3 != 0 && !s.Has(testKey(i)) {
			t.Errorf("block %d was synced and is lost", i)
		}
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
	if s.Has(testKey(3)) || !s.Has(testKey(4)) || s.Stats().Corrupt != 1 {
		t.Errorf("after the sweep: Stats() = %+v, want block 3 dropped and 4 kept", s.Stats())
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
