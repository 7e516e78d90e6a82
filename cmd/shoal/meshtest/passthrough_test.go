package meshtest

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/zeebo/xxh3"

	"github.com/shoal-mesh/shoal/fuse"
)

// TestPassthrough reads a large file before it is whole on its node, after, after a restart of the
// agent, and while others push everything else out of the cache: always the same bytes, and those
// that are here by the kernel alone.
func TestPassthrough(t *testing.T) {
	const size = 48 * mib
	l := newLab(t, 1)
	n := l.nodes[0]
	objects := l.upload(t, 1, func(i int) string { return fmt.Sprintf("models/%d.bin", i) }, size, size, size, size)
	n.setCache("cache", 100*mib, nil)
	l.startAll(t, "models", len(objects))
	file := n.path(objects[0].key)
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if sum := xxh3.Hash(want); len(want) != size || sum != objects[0].sum {
		t.Fatalf("cold: %d bytes with sum %x, want %d with %x", len(want), sum, size, objects[0].sum)
	}
	// same reads the file, and says how many reads of the kernel and files passed through that took.
	same := func(step string) (reads, passed uint64) {
		t.Helper()
		dropCaches(t)
		before := n.status(t).Kernel
		got, err := os.ReadFile(file)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: ReadFile() = %d bytes, %v, want the %d of the object", step, len(got), err, len(want))
		}
		after := n.status(t).Kernel
		return after.Reads - before.Reads, after.PassthroughOpens - before.PassthroughOpens
	}
	if state := n.status(t).Kernel.Passthrough; state != fuse.PassthroughOn {
		t.Skipf("SKIPPED, no passthrough is tested: %s", state)
	}
	l.until(t, "the file is whole", func() bool { return n.status(t).Cache.Blocks == size/(4*mib) })
	if reads, passed := same("whole"); reads != 0 || passed != 1 {
		t.Errorf("whole: %d reads were served, %d files passed through, want 0 and 1", reads, passed)
	}
	open, err := os.Open(file) // passed through, and held meanwhile
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects[1:] {
		if got, err := os.ReadFile(n.path(o.key)); err != nil || xxh3.Hash(got) != o.sum {
			t.Errorf("%s beside an open file: %d bytes, %v, want its own", o.key, len(got), err)
		}
	}
	got := make([]byte, size)
	dropCaches(t)
	if _, err := open.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("held while others came: %v, or other bytes", err)
	}
	if err := open.Close(); err != nil {
		t.Error(err)
	}
	n.stop(t)
	n.start(t, 1)
	if _, passed := same("just after a restart"); passed != 0 {
		t.Error("a file was passed through that nobody has verified since the start")
	}
	l.until(t, "the file is verified", func() bool {
		_, passed := same("after a restart")
		return passed == 1
	})
}
