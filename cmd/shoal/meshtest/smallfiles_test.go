package meshtest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/zeebo/xxh3"
)

// TestSmallFiles reads the same files through both mounts of a node: the one for small files asks the agent
// for nothing once the kernel has them, and shows every new version all the same.
func TestSmallFiles(t *testing.T) {
	const files = 200
	l := newLab(t, 1)
	n := l.nodes[0]
	objects := l.upload(t, 1, func(i int) string { return fmt.Sprintf("small/%03d.jpg", i) }, small(files)...)
	objects = append(objects, l.upload(t, 2, func(int) string { return "big.bin" }, 9*mib+1)...)
	n.setTTL("1h")
	n.mountSmallFiles()
	n.start(t, 1)
	pass := func(path func(...string) string) {
		t.Helper()
		for _, o := range objects {
			got, err := os.ReadFile(path(o.key))
			if err != nil || len(got) != o.size || xxh3.Hash(got) != o.sum {
				t.Errorf("%s: %d bytes, %v, want its own %d", path(o.key), len(got), err, o.size)
			}
		}
	}
	pass(n.path)
	pass(n.smallPath)
	// A kernel may give its caches up at any moment: one pass of ten without requests shows that none is needed.
	for i := 1; ; i++ {
		before := n.status(t).SmallFiles.Requests
		pass(n.smallPath)
		sum := uint64(0)
		after := n.status(t).SmallFiles.Requests
		for kind, total := range after {
			sum += total - before[kind]
		}
		if sum == 0 {
			break
		}
		if i == 10 {
			t.Fatalf("requests for %d files that have been read: %v after %v, want none", len(objects), after, before)
		}
	}
	if s := n.status(t); s.SmallFiles.Requests["open"] > 1 || s.SmallFiles.Requests["release"] > 0 || s.Kernel.Requests["open"] < uint64(len(objects)) {
		t.Errorf("requests %v on the mount for small files, %v on the other, want opens on the latter only", s.SmallFiles.Requests, s.Kernel.Requests)
	}

	n.stop(t)
	if left := l.mountsBelow(t, n.home); left != nil {
		t.Errorf("the agent that ended has left %v mounted", left)
	}
	n.setTTL("1s")
	n.start(t, 1)
	pass(n.smallPath)
	held, err := os.Open(n.smallPath(objects[0].key))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close() }()
	next := contents(77, 100_001)
	l.s3.Put(t, bucket, objects[0].key, next)
	l.until(t, "the new version is read", func() bool {
		got, err := os.ReadFile(n.smallPath(objects[0].key))
		return err == nil && xxh3.Hash(got) == xxh3.Hash(next)
	})
	dropCaches(t)
	got, err := io.ReadAll(held)
	if xxh3.Hash(got) != objects[0].sum && !errors.Is(err, syscall.ESTALE) {
		t.Errorf("a file held while it was replaced: %d bytes, %v, want its own or %v", len(got), err, syscall.ESTALE)
	}
	objects[0].size, objects[0].sum = len(next), xxh3.Hash(next)

	n.kill(t)
	n.start(t, 1)
	pass(n.path)
	pass(n.smallPath)
}

// mountsBelow returns what is mounted below a directory.
func (l *lab) mountsBelow(t *testing.T, dir string) (paths []string) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); strings.HasPrefix(f[4], dir+"/") {
			paths = append(paths, f[4])
		}
	}
	return paths
}
