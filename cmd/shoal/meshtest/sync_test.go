package meshtest

import (
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"testing"

	"github.com/zeebo/xxh3"

	"github.com/shoal-mesh/shoal/node"
)

// TestSync changes a bucket under two nodes that believe what they know for an hour, and their
// kernels with them, and has one of them sync: both see the changes at once.
func TestSync(t *testing.T) {
	l := newLab(t, 2)
	const size = 300_001
	names := []string{"d/replaced", "d/removed", "d/stays"}
	old := l.upload(t, 1, func(i int) string { return names[i] }, size, size, size)
	for i, n := range l.nodes {
		n.setTTL("1h")
		n.start(t, i+1)
		n.sees(t, i+1)
	}
	buf := make([]byte, mib)
	var held []*os.File
	for _, n := range l.nodes {
		if entries, err := os.ReadDir(n.path("d")); err != nil || len(entries) != len(names) {
			t.Fatalf("%s lists %d names, %v, want %d", n.name, len(entries), err, len(names))
		}
		for _, o := range old {
			if err := n.verify(o, buf); err != nil {
				t.Fatal(err)
			}
		}
		f, err := os.Open(n.path("d/replaced"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		held = append(held, f)
	}
	next := contents(99, size+1)
	replaced, added := object{"d/replaced", size + 1, xxh3.Hash(next)}, object{"d/added", size + 1, xxh3.Hash(next)}
	l.s3.Put(t, bucket, replaced.key, next)
	l.s3.Put(t, bucket, added.key, next)
	l.s3.Remove(t, bucket, "d/removed")
	for _, n := range l.nodes {
		for _, o := range old[:2] {
			if err := n.verify(o, buf); err != nil {
				t.Errorf("before the sync: %v", err)
			}
		}
		n.absent(t, added.key)
	}
	before := l.counts(t)
	var s node.SyncStatus
	if err := l.nodes[0].call(http.MethodPost, "/v1/sync", url.Values{"path": {"/data/d"}}, &s); err != nil {
		t.Fatal(err)
	}
	if !s.Exists || len(s.Nodes) != 2 || s.Nodes[0].Error != "" || s.Nodes[1].Error != "" {
		t.Errorf("sync = %+v, want two nodes without an error", s)
	}
	t.Logf("requests for a directory on two nodes: %v", l.counts(t).since(before).Requests)
	for i, n := range l.nodes {
		for _, o := range []object{replaced, added, old[2]} {
			if err := n.verify(o, buf); err != nil {
				t.Errorf("after the sync: %v", err)
			}
		}
		n.absent(t, "d/removed")
		if info, err := held[i].Stat(); err != nil || info.Size() != size {
			t.Errorf("%s: stat of the old version that is open = %v, %v, want its %d bytes", n.name, info, err, size)
		}
		got := make([]byte, size)
		if _, err := held[i].ReadAt(got, 0); err == nil && xxh3.Hash(got) != old[0].sum || err != nil && !errors.Is(err, syscall.ESTALE) {
			t.Errorf("%s: read of the old version that is open: %v, or other bytes; want its own, or ESTALE", n.name, err)
		}
	}
	l.s3.Remove(t, bucket, added.key)
	if err := l.nodes[1].call(http.MethodPost, "/v1/sync", url.Values{"path": {"/data/" + added.key}}, &s); err != nil || s.Exists {
		t.Errorf("sync of a removed file = %+v, %v, want that nothing is there", s, err)
	}
	for _, n := range l.nodes {
		n.absent(t, added.key)
	}
	l.nodes[1].kill(t)
	if err := l.nodes[0].call(http.MethodPost, "/v1/sync", url.Values{"path": {"/data/d"}}, &s); err != nil {
		t.Fatal(err)
	}
	for _, n := range s.Nodes {
		if failed := n.Error != ""; failed != (n.Name == "n2") {
			t.Errorf("sync with n2 dead: on %s %q", n.Name, n.Error)
		}
	}
}

// absent checks that a node's mount has no such name.
func (n *labNode) absent(t *testing.T, key string) {
	t.Helper()
	if _, err := os.Stat(n.path(key)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: stat %s = %v, want %v", n.name, key, err, fs.ErrNotExist)
	}
}
