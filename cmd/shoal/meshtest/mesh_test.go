package meshtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/zeebo/xxh3"
)

// TestOneBucketThreeNodes is the main job, step by step on one mesh: cold reads by all
// nodes at once, warm reads, reads without the UFS, a restart.
func TestOneBucketThreeNodes(t *testing.T) {
	l := newLab(t, 3)
	objects := l.upload(t, 1, func(i int) string { return fmt.Sprintf("small/%05d.jpg", i) }, small(5000)...)
	edges := []int{0, 1, 4*mib - 1, 4 * mib, 4*mib + 1}
	objects = append(objects, l.upload(t, 2, func(i int) string { return fmt.Sprintf("edge/%d.bin", edges[i]) }, edges...)...)
	objects = append(objects, l.upload(t, 3, func(int) string { return "big.bin" }, 2*gib)...)
	sizes := make([]int, 4600)
	for i := range sizes {
		sizes[i] = 1000
	}
	tiny := l.upload(t, 4, func(i int) string { return fmt.Sprintf("tiny/%04d", i) }, sizes...)
	for i, n := range l.nodes {
		n.setTTL("10m") // one listing is fresh for the whole test
		n.start(t, i+1)
	}
	for _, n := range l.nodes {
		n.sees(t, 3)
	}

	t.Run("stat after one listing sends nothing", func(t *testing.T) { testListThenStat(t, l) })
	t.Run("three nodes read cold data once", func(t *testing.T) {
		before := l.counts(t)
		begun := time.Now()
		for _, p := range readTogether(l.nodes, objects, 10) {
			p.mustBe(t, len(objects))
		}
		sent := l.counts(t).since(before)
		ratio := float64(sent.Bytes) / float64(total(objects))
		t.Logf("cold: %d bytes in %v, S3 sent %.4f x the dataset, requests %v", total(objects), time.Since(begun), ratio, sent.Requests)
		if ratio > 1.05 {
			t.Errorf("S3 sent %.4f x the dataset, want <= 1.05", ratio)
		}
		if sent.Requests["HEAD"] != 0 {
			t.Errorf("%d HEAD requests for %d files, want 0", sent.Requests["HEAD"], len(objects))
		}
	})
	t.Run("the second pass sends nothing", func(t *testing.T) {
		dropCaches(t)
		before := l.counts(t)
		for _, p := range readTogether(l.nodes, objects, 20) {
			p.mustBe(t, len(objects))
		}
		if sent := l.counts(t).since(before); sent.Bytes != 0 {
			t.Errorf("second pass: S3 sent %d bytes, want 0", sent.Bytes)
		}
	})
	t.Run("what is cached is served without the UFS", func(t *testing.T) {
		l.s3.Stop()
		defer l.s3.Start(t)
		dropCaches(t)
		for _, p := range readTogether(l.nodes, objects, 30) {
			p.mustBe(t, len(objects))
		}
	})
	t.Run("a restarted agent keeps its cache", func(t *testing.T) { testRestart(t, l, append(tiny, objects...)) })
}

// sees waits until the node's agent sees members nodes.
func (n *labNode) sees(t testing.TB, members int) {
	t.Helper()
	n.lab.until(t, fmt.Sprintf("%s sees %d members", n.name, members), func() bool {
		s, err := n.tryStatus()
		return err == nil && len(s.Members) == members
	})
}

// testListThenStat lists a directory on each node and then stats every name in it.
func testListThenStat(t *testing.T, l *lab) {
	for _, n := range l.nodes {
		for _, dir := range []string{"", "small", "edge"} {
			if _, err := os.ReadDir(n.path(dir)); err != nil {
				t.Fatal(err)
			}
		}
		before := l.counts(t)
		entries, err := os.ReadDir(n.path("small"))
		if err != nil || len(entries) != 5000 {
			t.Fatalf("%s: listed %d entries, %v, want 5000", n.name, len(entries), err)
		}
		for _, e := range entries {
			info, err := os.Stat(n.path("small", e.Name()))
			if err != nil || info.Size() != 100_000 {
				t.Fatalf("%s: stat %s: %v, %v", n.name, e.Name(), info, err)
			}
		}
		if _, err := os.Stat(n.path("small", "absent")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: stat of an absent name: %v, want not exist", n.name, err)
		}
		if sent := l.counts(t).since(before); len(sent.Requests) != 0 {
			t.Errorf("%s: requests %v after the listing, want none", n.name, sent.Requests)
		}
	}
}

// testRestart kills an agent that holds more than 10,000 blocks, starts it again and
// reads everything there.
func testRestart(t *testing.T, l *lab, objects []object) {
	n := l.nodes[1]
	n.readAll(objects, 35, func() {}).mustBe(t, len(objects))
	blocks := n.status(t).Cache.Blocks
	if blocks < 10_000 {
		t.Fatalf("%d blocks cached, want at least 10,000", blocks)
	}
	n.kill(t)
	begun := time.Now()
	n.launch(t)
	l.until(t, "the restarted agent serves its mount", func() bool {
		_, err := os.Stat(n.path("edge", "1.bin"))
		return err == nil
	})
	took := time.Since(begun)
	t.Logf("restart with %d blocks: serving after %v", blocks, took)
	n.sees(t, 3) // its mount is served a moment before its admin API
	if got := n.status(t).Cache.Blocks; got != blocks {
		t.Errorf("after the restart: %d blocks, want %d", got, blocks)
	}
	before := l.counts(t)
	n.readAll(objects, 40, func() {}).mustBe(t, len(objects))
	if sent := l.counts(t).since(before); sent.Bytes != 0 {
		t.Errorf("after the restart: S3 sent %d bytes, want 0", sent.Bytes)
	}
	if s := n.status(t); s.Fetches.PeerBytes != 0 || s.Fetches.UFSBytes != 0 {
		t.Errorf("after the restart: fetched %d bytes from peers and %d from the UFS, want 0", s.Fetches.PeerBytes, s.Fetches.UFSBytes)
	}
}

// TestAgentKilledWhileOthersRead kills each node in turn, half-way through a cold read.
func TestAgentKilledWhileOthersRead(t *testing.T) {
	for victim := range 3 {
		t.Run(fmt.Sprintf("n%d", victim+1), func(t *testing.T) {
			l := newLab(t, 3)
			objects := l.upload(t, 1, func(i int) string { return fmt.Sprintf("small/%04d.jpg", i) }, small(1500)...)
			objects = append(objects, l.upload(t, 2, func(i int) string { return fmt.Sprintf("big-%d.bin", i) }, 128*mib, 128*mib)...)
			for i, n := range l.nodes {
				n.start(t, i+1)
			}
			before := l.counts(t)
			dead := l.nodes[victim]
			var wg sync.WaitGroup
			var once sync.Once
			half := make(chan struct{})
			passes := make([]*pass, 3)
			done := 0
			var mu sync.Mutex
			for i, n := range l.nodes {
				wg.Go(func() {
					passes[i] = n.readAll(objects, uint64(50+i), func() {
						mu.Lock()
						defer mu.Unlock()
						if done++; done >= 3*len(objects)/2 {
							once.Do(func() { close(half) })
						}
					})
				})
			}
			<-half
			held := dead.status(t).Fetches.UFSBytes
			dead.kill(t)
			wg.Wait()
			dead.unmount()
			for i, p := range passes {
				if i != victim {
					p.mustBe(t, len(objects))
				}
			}
			// What the dead node had filled may be fetched once more, nothing else.
			sent := l.counts(t).since(before)
			limit := 1.05*float64(total(objects)) + float64(held)
			t.Logf("S3 sent %.4f x the dataset; the dead node had filled %.4f x", float64(sent.Bytes)/float64(total(objects)), float64(held)/float64(total(objects)))
			if float64(sent.Bytes) > limit {
				t.Errorf("S3 sent %d bytes, want at most %.0f", sent.Bytes, limit)
			}
		})
	}
}

// TestFileReplaced replaces an object under readers: each read is of one version, and
// after the TTL it is the new one on every node.
func TestFileReplaced(t *testing.T) {
	l := newLab(t, 3)
	const size = 24*mib + 77
	old := l.upload(t, 1, func(int) string { return "model.bin" }, size)[0]
	for i, n := range l.nodes {
		n.setTTL("2s")
		n.start(t, i+1)
	}
	next := contents(99, size)
	replaced := object{"model.bin", size, xxh3.Hash(next)}

	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, n := range l.nodes {
		wg.Go(func() {
			buf := make([]byte, mib)
			for {
				select {
				case <-stop:
					return
				default:
				}
				_, sum, err := n.hash("model.bin", buf)
				switch {
				case errors.Is(err, syscall.ESTALE): // the honest answer of a file whose version is gone
				case err != nil:
					t.Errorf("%s: %v", n.name, err)
				case sum != old.sum && sum != replaced.sum:
					t.Errorf("%s: a read of neither version", n.name)
				}
			}
		})
	}
	l.s3.Put(t, bucket, "model.bin", next)
	buf := make([]byte, mib)
	for _, n := range l.nodes {
		l.until(t, n.name+" reads the new version", func() bool { return n.verify(replaced, buf) == nil })
	}
	close(stop)
	wg.Wait()
	for _, n := range l.nodes {
		if err := n.verify(replaced, buf); err != nil {
			t.Errorf("after the TTL: %v", err)
		}
	}
}

func (n *labNode) setTTL(ttl string) {
	mounts, ok := n.config["namespace"].([]any)
	if !ok {
		panic("the lab's config has no namespace")
	}
	for _, m := range mounts {
		if m, ok := m.(map[string]any); ok {
			m["metadata"] = map[string]any{"ttl": ttl}
		}
	}
}

// TestStrangersStayOut starts a node with another secret and one with another cluster
// name: neither joins, and each is logged once however often it tries.
func TestStrangersStayOut(t *testing.T) {
	l := newLab(t, 2)
	l.upload(t, 1, func(i int) string { return fmt.Sprintf("f%d", i) }, small(10)...)
	for i, n := range l.nodes {
		n.start(t, i+1)
	}
	tests := []struct {
		name   string
		change func(n *labNode, cluster map[string]any)
	}{
		{"another secret", func(n *labNode, cluster map[string]any) {
			file := filepath.Join(n.home, "secret")
			if err := os.WriteFile(file, []byte("another secret, as long as it must be"), 0o600); err != nil {
				t.Fatal(err)
			}
			cluster["secret_file"] = file
		}},
		{"another cluster", func(_ *labNode, cluster map[string]any) { cluster["name"] = "elsewhere" }},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			refused := l.nodes[0].status(t).Gossip.Refused
			memory := l.nodes[0].memory(t)
			stranger := l.addNode(t, 5+i)
			cluster, ok := stranger.config["cluster"].(map[string]any)
			if !ok {
				t.Fatal("the lab's config has no cluster")
			}
			tt.change(stranger, cluster)
			stranger.start(t, 1)
			l.until(t, "the stranger has tried three times", func() bool {
				return l.nodes[0].status(t).Gossip.Refused >= refused+3
			})
			for _, n := range l.nodes {
				if s := n.status(t); len(s.Members) != 2 {
					t.Errorf("%s sees %d members, want 2", n.name, len(s.Members))
				}
			}
			if s := stranger.status(t); len(s.Members) != 1 {
				t.Errorf("the stranger sees %d members, want itself", len(s.Members))
			}
			if lines := linesWith(l.nodes[0].agent.log.String(), stranger.addr); len(lines) != 1 {
				t.Errorf("%d log lines about the stranger, want 1:\n%s", len(lines), strings.Join(lines, "\n"))
			}
			// It has two seeds, and may say so once of each.
			if lines := linesWith(stranger.agent.log.String(), "refused"); len(lines) < 1 || len(lines) > 2 {
				t.Errorf("the stranger logged %d refusals, want one for each seed:\n%s", len(lines), stranger.agent.log)
			}
			if grown := l.nodes[0].memory(t) - memory; grown > 64*mib {
				t.Errorf("memory grew by %d bytes, want at most 64 MiB", grown)
			}
			stranger.stop(t)
		})
	}
}

// memory returns the resident memory of the node's agent in bytes.
func (n *labNode) memory(t testing.TB) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.agent.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		var kb int
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kb); err == nil {
			return kb * kib
		}
	}
	t.Fatalf("no VmRSS in %s", text)
	return 0
}

func linesWith(text, part string) (lines []string) {
	for _, line := range strings.Split(text, "\n") {
		if strings.Contains(line, part) {
			lines = append(lines, line)
		}
	}
	return lines
}
