package fuse

import (
	"bytes"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-mesh/shoal"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

func elided(c *Config) { c.ElideOpens = true }

// readID reads up to n bytes of a node id that nobody has opened.
func readID(t *testing.T, r *raw, id uint64, n int) ([]byte, gofuse.Status) {
	t.Helper()
	res, code := r.Read(nil, &gofuse.ReadIn{InHeader: header(id)}, make([]byte, n))
	if !code.Ok() {
		return nil, code
	}
	defer res.Done()
	data, _ := res.Bytes(nil)
	return bytes.Clone(data), code
}

func TestElidedOpen(t *testing.T) {
	tr := newTree()
	id := tr.file(shoal.RootID, "a", []byte("xyz"))
	r := testRaw(t, tr, elided)
	for flags, want := range map[uint32]gofuse.Status{
		syscall.O_RDONLY: gofuse.ENOSYS, syscall.O_DIRECT: gofuse.ENOSYS,
		syscall.O_RDWR: gofuse.EROFS, syscall.O_TRUNC: gofuse.EROFS,
	} {
		if code := r.Open(nil, &gofuse.OpenIn{InHeader: header(id), Flags: flags}, new(gofuse.OpenOut)); code != want {
			t.Errorf("Open with flags %x = %v, want %v", flags, code, want)
		}
	}
}

func TestElidedRead(t *testing.T) {
	tr := newTree()
	old := tr.file(shoal.RootID, "a", []byte("old bytes"))
	dir, gone := tr.dir(shoal.RootID, "d"), tr.file(shoal.RootID, "gone", []byte("gone"))
	r := testRaw(t, tr, elided)
	tr.remove("gone")
	for range 3 {
		if got, code := readID(t, r, old, 8); !code.Ok() || string(got) != "old byte" {
			t.Errorf("Read = %q, %v, want the bytes", got, code)
		}
	}
	if tr.opened != 1 {
		t.Errorf("three reads opened %d files, want 1", tr.opened)
	}
	// What is kept open is read as it was, as by a handle.
	fresh := tr.file(shoal.RootID, "a", []byte("new"))
	tr.forget(old)
	if got, code := readID(t, r, old, 100); !code.Ok() || string(got) != "old bytes" {
		t.Errorf("Read of a replaced version = %q, %v, want its own bytes", got, code)
	}
	if got, code := readID(t, r, fresh, 2); !code.Ok() || string(got) != "ne" {
		t.Errorf("Read of the new version = %q, %v, want its own bytes", got, code)
	}
	r.kept.sweep()
	r.kept.sweep()
	for id, want := range map[uint64]syscall.Errno{old: syscall.ESTALE, gone: syscall.ESTALE, 12345: syscall.ESTALE, dir: syscall.EISDIR} {
		if got, code := readID(t, r, id, 100); code != gofuse.Status(want) {
			t.Errorf("Read of %d = %q, %v, want %v", id, got, code, want)
		}
	}
	if r.stats().OpenFiles != 0 || tr.closed != tr.opened {
		t.Errorf("after two sweeps %d files are open, %d of %d closed, want 0 and all", r.stats().OpenFiles, tr.closed, tr.opened)
	}
}

// A file that is read whole is not kept open.
func TestElidedReadWhole(t *testing.T) {
	tr := newTree()
	id := tr.file(shoal.RootID, "a", []byte("bytes"))
	r := testRaw(t, tr, elided)
	for _, n := range []int{5, 100} {
		if got, code := readID(t, r, id, n); !code.Ok() || string(got) != "bytes" {
			t.Errorf("Read of %d = %q, %v, want the bytes", n, got, code)
		}
	}
	if r.stats().OpenFiles != 0 || tr.opened != 2 || tr.closed != 2 {
		t.Errorf("%d files are open, %d were opened and %d closed, want 0, 2 and 2", r.stats().OpenFiles, tr.opened, tr.closed)
	}
}

// testKept returns a kept, and a function that tells which ids it has closed since it was asked last.
func testKept(limit int) (k *kept, closed func() []uint64) {
	var mu sync.Mutex // guards ids
	var ids []uint64
	k = newKept(limit, func(h *handle) {
		mu.Lock()
		defer mu.Unlock()
		ids = append(ids, h.entry.ID)
	})
	return k, func() []uint64 {
		mu.Lock()
		defer mu.Unlock()
		now := ids
		ids = nil
		slices.Sort(now)
		return now
	}
}

func opened(id uint64) *handle { return &handle{entry: shoal.Entry{ID: id}} }

func TestKeptSweep(t *testing.T) {
	k, closed := testKept(keptFiles)
	busy := k.keep(opened(1))
	for id := range uint64(100) {
		k.give(k.keep(opened(id + 10)))
	}
	k.sweep()
	if got := closed(); got != nil {
		t.Errorf("the first sweep closed %v, want nothing: all have been read", got)
	}
	k.give(k.take(42))
	k.sweep()
	if got := closed(); len(got) != 99 || slices.Contains(got, 42) || k.take(10) != nil {
		t.Errorf("the second sweep closed %v, want all but 1 and 42", got)
	}
	k.sweep()
	if got := closed(); !slices.Equal(got, []uint64{42}) {
		t.Errorf("the third sweep closed %v, want 42: 1 is being read", got)
	}
	k.give(busy)
	k.drain()
	if got := closed(); !slices.Equal(got, []uint64{1}) || k.open.Load() != 0 {
		t.Errorf("drain closed %v and leaves %d open, want 1 and none", got, k.open.Load())
	}
}

func TestKeptOpenedTwice(t *testing.T) {
	k, closed := testKept(keptFiles)
	first := k.keep(opened(7))
	second := k.keep(opened(7)) // by a reader who did not find it either
	if first != second || !slices.Equal(closed(), []uint64{7}) || k.open.Load() != 1 {
		t.Errorf("a file that two readers opened is open %d times, want once", k.open.Load())
	}
	k.give(first)
	k.sweep()
	k.sweep()
	if got := closed(); got != nil {
		t.Errorf("closed %v under a reader, want nothing", got)
	}
}

func TestKeptLimit(t *testing.T) {
	k, closed := testKept(handleShards) // one of a shard
	busy := k.keep(opened(1))
	k.give(k.keep(opened(1 + handleShards)))
	if got := closed(); got != nil || k.open.Load() != 2 {
		t.Errorf("closed %v with %d open, want nothing and 2: the first is being read", got, k.open.Load())
	}
	k.give(busy)
	if got := closed(); !slices.Equal(got, []uint64{1}) || k.open.Load() != 1 {
		t.Errorf("closed %v with %d open, want 1 and one", got, k.open.Load())
	}
	k.give(k.keep(opened(1 + 2*handleShards)))
	if got := closed(); !slices.Equal(got, []uint64{1 + handleShards}) || k.open.Load() != 1 {
		t.Errorf("closed %v with %d open, want %d and one", got, k.open.Load(), 1+handleShards)
	}
}

func TestKeptRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, closed := testKept(keptFiles)
		stop := make(chan struct{})
		go k.run(stop)
		k.give(k.keep(opened(1)))
		time.Sleep(idleAfter)
		synctest.Wait()
		if got := closed(); got != nil {
			t.Errorf("after %v %v is closed, want nothing", idleAfter, got)
		}
		time.Sleep(idleAfter)
		synctest.Wait()
		if got := closed(); !slices.Equal(got, []uint64{1}) {
			t.Errorf("after %v %v is closed, want 1", 2*idleAfter, got)
		}
		close(stop)
	})
}

// BenchmarkRawSmall reads a file of 60 KB as the kernel does: opened, read and released; and by its
// node id, whole, and its second half when it is kept open.
func BenchmarkRawSmall(b *testing.B) {
	const size = 60_000 // more is lent by the fake, which allocates for that
	tr := newTree()
	id := tr.file(shoal.RootID, "a", noise(1, size))
	buf := make([]byte, size)
	read := func(b *testing.B, r *raw, in *gofuse.ReadIn) {
		res, code := r.Read(nil, in, buf)
		if !code.Ok() {
			b.Fatal(code)
		}
		res.Done()
	}
	b.Run("open", func(b *testing.B) {
		r := testRaw(b, tr, nil)
		b.ReportAllocs()
		for b.Loop() {
			fh := open(b, r, id)
			read(b, r, &gofuse.ReadIn{InHeader: header(id), Fh: fh})
			r.Release(nil, &gofuse.ReleaseIn{InHeader: header(id), Fh: fh})
		}
	})
	b.Run("elided/whole", func(b *testing.B) {
		r := testRaw(b, tr, elided)
		b.ReportAllocs()
		for b.Loop() {
			read(b, r, &gofuse.ReadIn{InHeader: header(id)})
		}
	})
	b.Run("elided/kept", func(b *testing.B) {
		r := testRaw(b, tr, elided)
		b.ReportAllocs()
		for b.Loop() {
			read(b, r, &gofuse.ReadIn{InHeader: header(id), Offset: size / 2})
		}
	})
}
