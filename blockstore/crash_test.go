package blockstore

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// crashCount is how often a test is to be done: n times, or what the environment says.
func crashCount(t *testing.T, env string, n int) int {
	t.Helper()
	said := os.Getenv(env)
	if said == "" {
		return n
	}
	n, err := strconv.Atoi(said)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s: not a positive number", env, said)
	}
	return n
}

// crashStart starts a child that opens the store in dir and loads it, and returns what it
// says.
func crashStart(t *testing.T, dir string, round int, env ...string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), crashChildEnv+"="+dir, fmt.Sprintf("%s=%d", crashRoundEnv, round))
	cmd.Env = append(cmd.Env, env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, bufio.NewScanner(out)
}

// TestKilled has a process put, read, pin, evict, move and remove blocks until it is killed
// without warning, over and over in one directory that is never closed. Each that comes after
// opens the store, verifies every block, and compares the account with the file system; what
// the one before has said must be true.
func TestKilled(t *testing.T) { // not in parallel: a child has the locks of others' directories until it runs
	kills := crashCount(t, "SHOAL_SOAK_KILLS", 100)
	if !thorough() {
		kills = min(kills, 10)
	}
	dir := fastDir(t)
	truth, rnd := newCrashTruth(), rand.New(rand.NewPCG(5, 5))
	during, checks, begun := 0, 0, time.Now()
	for round := range kills {
		cmd, lines := crashStart(t, dir, round)
		words := 1 + rnd.IntN(2000) // of the load, until it is killed
		if round%10 == 9 {
			words = -1 - rnd.IntN(500) // of all, so while it opens and checks
		}
		truth.restart()
		have := make(map[uint32]bool)
		checked, heard, killed := false, 0, false
		err := truth.hearAll(lines, func(word string, i uint32) bool {
			switch word {
			case "have":
				have[i] = true
			case "checked":
				checked = true
				crashCompare(t, round, truth, have)
			}
			if checked || words < 0 {
				heard++
			}
			if !killed && heard >= max(words, -words) {
				killed = true
				if err := cmd.Process.Kill(); err != nil {
					t.Errorf("round %d: kill: %v", round, err)
				}
			}
			return false // to the end: what is in the pipe was said as well
		})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		_ = cmd.Wait() // says that it was killed
		if !killed {
			t.Fatalf("round %d: the child ended by itself, see above", round)
		}
		if checked {
			checks++
		}
		if len(truth.putting) > 0 {
			during++
		}
	}
	t.Logf("%d kills in %v, %d of them during puts; %d checks, %d puts, %d evicted, %d moved, %d removed, %d syncs",
		kills, time.Since(begun).Round(time.Second), during, checks, truth.puts, truth.evicted, truth.moved, truth.removed, truth.syncs)
	if during < kills/2 || checks < kills*8/10 || truth.evicted == 0 || truth.moved == 0 || truth.removed == 0 {
		t.Error("the kills did not meet what they were to meet")
	}
}

// crashCompare compares the blocks that are there with what was said of them.
func crashCompare(t *testing.T, round int, truth *crashTruth, have map[uint32]bool) {
	t.Helper()
	lost, back := 0, 0
	for _, i := range truth.kept() {
		if !have[i] {
			lost++
		}
	}
	for i := range have {
		if truth.gone[i] {
			back++
		}
	}
	if lost > 0 || back > 0 {
		t.Errorf("round %d: of %d blocks that were there %d are lost, and of %d that were gone %d are back",
			round, len(truth.shown), lost, len(truth.gone), back)
	}
}
