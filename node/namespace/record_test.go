package namespace

import (
	"bytes"
	"io/fs"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/ufs/ufstest"
)

func someInfo() shoal.FileInfo {
	return shoal.FileInfo{Size: 1 << 40, Mode: fs.ModeDir | 0o755, ModTime: time.Unix(-5, 7).UTC(), Version: `"etag"`}
}

func FuzzDecodeName(f *testing.F) {
	f.Add(nameRecord{id: 1 << 62, tag: 2, fetched: -3, expired: 4, info: someInfo()}.encode())
	f.Add(nameRecord{id: 3}.encode())
	f.Add([]byte{recordFormat})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeName(b)
		if err != nil {
			return
		}
		again, err := decodeName(r.encode())
		if err != nil || again != r || r.id < shoal.FirstID || r.id > shoal.LastID {
			t.Errorf("decodeName(%x) = %+v, encoded and decoded again = %+v, %v", b, r, again, err)
		}
	})
}

func FuzzDecodeNode(f *testing.F) {
	f.Add(nodeRecord{parent: 1, tag: 2, path: "/a/b", fetched: 3, info: someInfo()}.encode())
	f.Add(nodeRecord{path: "/"}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeNode(b)
		if err != nil {
			return
		}
		again, err := decodeNode(r.encode())
		if err != nil || again != r || checkPath(r.path) != nil {
			t.Errorf("decodeNode(%x) = %+v, encoded and decoded again = %+v, %v", b, r, again, err)
		}
	})
}

func FuzzDecodeList(f *testing.F) {
	f.Add(listRecord{tag: 1, started: 2, done: 3, entries: 4}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := decodeList(b); err == nil && !bytes.Equal(r.encode(), b) {
			t.Errorf("decodeList(%x) = %+v, encoded = %x", b, r, r.encode())
		}
	})
}

func TestRecordsRoundTrip(t *testing.T) {
	for _, info := range []shoal.FileInfo{{}, someInfo(), {Mode: 0o644, ModTime: time.Unix(0, 999_999_999).UTC()}} {
		info.ModTime = info.ModTime.UTC()
		name := nameRecord{id: 9, tag: 8, fetched: 7, expired: 6, info: info}
		if got, err := decodeName(name.encode()); err != nil || got != name {
			t.Errorf("decodeName(encode(%+v)) = %+v, %v", name, got, err)
		}
		node := nodeRecord{parent: 9, tag: 8, path: "/x", fetched: 7, info: info}
		if got, err := decodeNode(node.encode()); err != nil || got != node {
			t.Errorf("decodeNode(encode(%+v)) = %+v, %v", node, got, err)
		}
	}
}

// TestCollisions has a hash that knows five values, ids that are not given out among them.
func TestCollisions(t *testing.T) {
	w := newWorld(t)
	names := []string{"a", "b", "c", "d", "e", "f"}
	for _, name := range names {
		w.ufs.Put(name, nil)
	}
	w.hash = func(b []byte) uint64 { return uint64(len(b))%5 - 1 }
	checkList(t, w.Namespace, "/data", names...)
	ids := map[uint64]string{}
	for _, name := range names {
		e := resolve(t, w.Namespace, "/data/"+name)
		if other, ok := ids[e.ID]; ok || e.ID < shoal.FirstID || e.ID > shoal.LastID {
			t.Errorf("id of %s = %d, the one of %q", name, e.ID, other)
		}
		ids[e.ID] = name
		if got, err := w.Attr(t.Context(), e.ID); err != nil || got.Info.Name != name {
			t.Errorf("Attr(%d) = %+v, %v, want %s", e.ID, got, err, name)
		}
	}
	w.ufs.Put("a", nil)
	w.clock.advance(time.Hour)
	if e := resolve(t, w.Namespace, "/data/a"); ids[e.ID] != "" {
		t.Errorf("id of the new version of a = %d, the one of %q", e.ID, ids[e.ID])
	}
}

func BenchmarkNamespaceLookup(b *testing.B) {
	u := &ufstest.FS{}
	names := make([]string, 10_000)
	for i := range names {
		names[i] = "n" + time.Duration(i).String()
		u.Put("d/"+names[i], nil)
	}
	n, err := Open(b.TempDir(), []Mount{{Path: "/", FS: u, TTL: time.Hour}}, Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = n.Close() }()
	d, err := n.Resolve(b.Context(), "/d")
	if err != nil {
		b.Fatal(err)
	}
	var ids []uint64
	for e, err := range n.ReadDir(b.Context(), d.ID, "") {
		if err != nil {
			b.Fatal(err)
		}
		ids = append(ids, e.ID)
	}
	each := func(name string, fn func(i int) error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := fn(i % len(names)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	lookup := func(i int) error { _, err := n.Lookup(b.Context(), d.ID, names[i]); return err }
	attr := func(i int) error { _, err := n.Attr(b.Context(), ids[i]); return err }
	each("memtable", lookup)
	each("memtable/attr", attr)
	if err := n.store.db.Flush(); err != nil {
		b.Fatal(err)
	}
	each("table", lookup)
	each("table/attr", attr)
	each("absent", func(i int) error {
		if _, err := n.Lookup(b.Context(), d.ID, names[i]+"x"); err == nil {
			return errRecord
		}
		return nil
	})
	b.Run("readdir", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for _, err := range n.ReadDir(b.Context(), d.ID, "") {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(names)), "ns/name")
	})
}
