package meshtest

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal/node"
)

const (
	// readLimit is how long a reader waits at most when the UFS hangs (docs/failures.md).
	readLimit = 30 * time.Second
	// goneLimit is how long a killed reader may take to go: the second that is promised, and what a
	// busy machine adds. It is less than any patience of the agent, so it is the kill that counts.
	goneLimit = 5 * time.Second
)

// A hold is one way to wait for the mount.
type hold struct {
	name  string
	first []deed // done before the fault
	deed         // done amid it
	fault string // what the reader gets when patience ends
	size  int64  // what it gets without a fault
}

// holds are all ways there are: of the file, whose name is known, and of a directory that is not.
func holds(file, unknown string) []hold {
	return []hold{
		{"read", []deed{{Do: "open", Path: file}}, deed{Do: "read", Off: 5 * mib, Len: 100_000}, "EIO", 100_000},
		{"direct read", nil, deed{Do: "direct", Path: file, Off: mib, Len: 4096}, "EIO", 4096},
		{"mapped read", []deed{{Do: "open", Path: file}, {Do: "map", Len: 8 * mib}}, deed{Do: "load", Off: 6 * mib, Len: 4096}, "SIGBUS", 4096},
		{"stat", nil, deed{Do: "stat", Path: unknown + "/stat"}, "EIO", 0},
		{"open", nil, deed{Do: "open", Path: unknown + "/open"}, "EIO", 0},
		{"list", nil, deed{Do: "list", Path: unknown}, "EIO", 0},
	}
}

// TestUFSHangs has the UFS accept requests and not answer, and stop amid an object. Who waits for
// what it has, in whatever way, gets the errno within the limits, or dies at once when killed; what
// is cached is read on; a sync says that it is not done; and when the UFS answers again, so does the
// mount, to the same readers.
func TestUFSHangs(t *testing.T) {
	l := newLab(t, 1)
	n := l.nodes[0]
	const size = 8 * mib
	ways := len(holds("", ""))
	sizes := make([]int, 2*ways)
	for i := range sizes {
		sizes[i] = size
	}
	hung := l.upload(t, 1, func(i int) string { return fmt.Sprintf("hang/%d.bin", i) }, sizes...)
	for i := range hung {
		l.upload(t, 2, func(j int) string { return fmt.Sprintf("never%d/%s", i, []string{"stat", "open"}[j]) }, 10, 10)
	}
	warm := l.upload(t, 3, func(int) string { return "warm/0.bin" }, size)
	stalled := l.upload(t, 4, func(int) string { return "stall/0.bin" }, size)
	l.startAll(t, "hang", len(hung))
	for _, dir := range []string{"warm", "stall"} {
		if _, err := os.ReadDir(n.path(dir)); err != nil {
			t.Fatal(err)
		}
	}
	n.readAll(warm, 1, func() {}).mustBe(t, 1)

	var patient, killed []*readerChild
	var asked []hold
	for i := range hung {
		h := holds(hung[i].key, fmt.Sprintf("never%d", i))[i%ways]
		r := n.startReader(t)
		for _, d := range h.first {
			if got := r.does(t, d); got.Fault != "" {
				t.Fatalf("%s: %s: %v", h.name, d.Do, got)
			}
		}
		if i < ways {
			patient = append(patient, r)
		} else {
			killed = append(killed, r)
		}
		asked = append(asked, h)
	}
	l.misbehave(t, fault{Keys: "hang/"}, fault{Keys: "never"}, fault{Keys: "stall/", After: mib, Times: 1})
	begun := time.Now()
	for i, r := range append(patient, killed...) {
		r.begin(t, asked[i].deed)
	}
	resumed := n.startReader(t)
	resumed.begin(t, deed{Do: "direct", Path: stalled[0].key, Len: size})
	for i, r := range killed {
		l.until(t, "a reader waits", r.waiting)
		where := r.threads()
		t.Logf("killed in %s: gone after %v; it was at\n%s", asked[ways+i].name, r.kill(t, goneLimit), where)
	}
	dropCaches(t)
	n.readAll(warm, 2, func() {}).mustBe(t, 1)

	var all sync.WaitGroup
	for i, r := range patient {
		all.Go(func() {
			got := r.wait(t)
			t.Logf("%s: %v after %v", asked[i].name, got, time.Since(begun))
			if got.Fault != asked[i].fault {
				t.Errorf("%s: %v while the UFS hangs, want %s", asked[i].name, got, asked[i].fault)
			}
		})
	}
	all.Go(func() {
		got := resumed.wait(t)
		t.Logf("amid a stalled object: %v after %v", got, time.Since(begun))
		if got.Sum != stalled[0].sum {
			t.Errorf("amid an object that stalled once: %v, want its bytes", got)
		}
	})
	all.Go(func() {
		if n.synced(t, "/data/hang") {
			t.Error("a sync of what the UFS does not answer for says that it is done")
		}
	})
	all.Wait()

	l.misbehave(t)
	if !n.synced(t, "/data/hang") {
		t.Error("the UFS answers again, and a sync does not")
	}
	for i, r := range patient {
		l.until(t, asked[i].name+" is answered again", func() bool {
			got := r.does(t, asked[i].deed)
			return got.Fault == "" && int64(got.Bytes) == asked[i].size
		})
	}
	n.readAll(hung, 3, func() {}).mustBe(t, len(hung))
}

// synced has every node sync a path, and reports whether all did. That some did not is an answer, too.
func (n *labNode) synced(t *testing.T, path string) bool {
	begun := time.Now()
	var s node.SyncStatus
	err := n.call(http.MethodPost, "/v1/sync", url.Values{"path": {path}}, &s)
	t.Logf("sync of %s: %+v, %v after %v", path, s, err, time.Since(begun))
	if err != nil {
		t.Errorf("sync of %s: %v, want an answer", path, err)
	}
	return err == nil && !slices.ContainsFunc(s.Nodes, func(n node.SyncNode) bool { return n.Error != "" })
}
