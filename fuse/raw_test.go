package fuse

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

func testRaw(t testing.TB, tr *tree, change func(*Config)) *raw {
	t.Helper()
	cfg := Config{Path: "/m"}
	if change != nil {
		change(&cfg)
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	return newRaw(tr, tr, cfg)
}

func header(id uint64) gofuse.InHeader { return gofuse.InHeader{NodeId: id} }

func open(t testing.TB, r *raw, id uint64) uint64 {
	t.Helper()
	var out gofuse.OpenOut
	if code := r.Open(nil, &gofuse.OpenIn{InHeader: header(id)}, &out); !code.Ok() {
		t.Fatalf("Open(%d) = %v, want OK", id, code)
	}
	if want := uint32(gofuse.FOPEN_KEEP_CACHE | gofuse.FOPEN_NOFLUSH); out.OpenFlags != want {
		t.Errorf("Open(%d) has flags %b, want %b", id, out.OpenFlags, want)
	}
	return out.Fh
}

func TestLookup(t *testing.T) {
	tr := newTree()
	id := tr.file(shoal.RootID, "a", []byte("xyz"))
	r := testRaw(t, tr, func(c *Config) { c.NegativeTimeout = time.Minute })
	var out gofuse.EntryOut
	in := header(shoal.RootID)
	if code := r.Lookup(nil, &in, "a", &out); !code.Ok() || out.NodeId != id || out.Size != 3 {
		t.Errorf("Lookup(a) = %v, node %d, size %d, want OK, %d, 3", code, out.NodeId, out.Size, id)
	}
	out = gofuse.EntryOut{}
	if code := r.Lookup(nil, &in, "b", &out); !code.Ok() || out.NodeId != 0 || out.EntryTimeout() != time.Minute {
		t.Errorf("Lookup(b) = %v, node %d for %v, want OK, 0, 1m", code, out.NodeId, out.EntryTimeout())
	}
	r = testRaw(t, tr, func(c *Config) { c.NegativeTimeout = -1 })
	if code := r.Lookup(nil, &in, "b", &out); code != gofuse.ENOENT {
		t.Errorf("Lookup(b) without negative entries = %v, want %v", code, gofuse.ENOENT)
	}
}

func TestGetAttr(t *testing.T) {
	tr := newTree()
	id := tr.file(shoal.RootID, "a", []byte("xyz"))
	r := testRaw(t, tr, nil)
	fh := open(t, r, id)
	tr.remove("a")
	var out gofuse.AttrOut
	if code := r.GetAttr(nil, &gofuse.GetAttrIn{InHeader: header(id)}, &out); code != gofuse.Status(syscall.ESTALE) {
		t.Errorf("GetAttr of a gone id = %v, want ESTALE", code)
	}
	in := gofuse.GetAttrIn{InHeader: header(id), Flags_: gofuse.FUSE_GETATTR_FH, Fh_: fh}
	if code := r.GetAttr(nil, &in, &out); !code.Ok() || out.Size != 3 || out.Timeout() != 24*time.Hour {
		t.Errorf("GetAttr of a handle = %v, size %d for %v, want OK, 3, 24h", code, out.Size, out.Timeout())
	}
}

func TestOpenRefuses(t *testing.T) {
	tr := newTree()
	id, dir := tr.file(shoal.RootID, "a", nil), tr.dir(shoal.RootID, "d")
	r := testRaw(t, tr, func(c *Config) { c.MaxOpen = 1 })
	for _, c := range []struct {
		id    uint64
		flags int
		want  syscall.Errno
	}{
		{id, syscall.O_WRONLY, syscall.EROFS},
		{id, syscall.O_RDWR, syscall.EROFS},
		{id, syscall.O_TRUNC, syscall.EROFS},
		{dir, 0, syscall.EISDIR},
		{12345, 0, syscall.ESTALE},
		{id, syscall.O_DIRECT, 0},
		{id, 0, syscall.ENFILE},
	} {
		in := gofuse.OpenIn{InHeader: header(c.id), Flags: uint32(c.flags)}
		if code := r.Open(nil, &in, new(gofuse.OpenOut)); code != gofuse.Status(c.want) {
			t.Errorf("Open(%d, %x) = %v, want %v", c.id, c.flags, code, c.want)
		}
	}
	if tr.closed != 1 {
		t.Errorf("%d files closed, want 1: the one there was no handle for", tr.closed)
	}
	if code := r.OpenDir(nil, &gofuse.OpenIn{InHeader: header(id)}, new(gofuse.OpenOut)); code != gofuse.ENOTDIR {
		t.Errorf("OpenDir of a file = %v, want %v", code, gofuse.ENOTDIR)
	}
}

func TestRead(t *testing.T) {
	tr := newTree()
	data := noise(1, 10_000)
	r := testRaw(t, tr, nil)
	fh := open(t, r, tr.file(shoal.RootID, "a", data))
	for _, c := range []struct{ off, size, want int }{
		{0, 4096, 4096},
		{1, 9999, 9999},
		{8192, 4096, 1808},
		{9999, 1, 1},
		{10_000, 4096, 0},
		{99_999, 4096, 0},
		{0, 0, 0},
	} {
		buf := make([]byte, c.size)
		res, code := r.Read(nil, &gofuse.ReadIn{Fh: fh, Offset: uint64(c.off), Size: uint32(c.size)}, buf)
		if !code.Ok() {
			t.Errorf("Read(%d, %d) = %v, want OK", c.off, c.size, code)
			continue
		}
		got, _ := res.Bytes(buf)
		if want := data[min(c.off, len(data)):min(c.off+c.size, len(data))]; !bytes.Equal(got, want) || res.Size() != c.want {
			t.Errorf("Read(%d, %d) has %d bytes, want %d", c.off, c.size, len(got), c.want)
		}
		res.Done()
	}
	if got := r.stats(); got.Reads != 7 || got.ReadBytes != 4096+9999+1808+1 || got.OpenFiles != 1 {
		t.Errorf("stats() = %+v, want 7 reads of %d bytes, 1 open", got, 4096+9999+1808+1)
	}
	r.Release(nil, &gofuse.ReleaseIn{Fh: fh})
	if _, code := r.Read(nil, &gofuse.ReadIn{Fh: fh, Size: 1}, make([]byte, 1)); code != gofuse.EBADF {
		t.Errorf("Read of a closed file = %v, want %v", code, gofuse.EBADF)
	}
	if tr.closed != 1 || r.stats().OpenFiles != 0 {
		t.Errorf("%d files closed and %d open, want 1 and 0", tr.closed, r.stats().OpenFiles)
	}
}

// TestReadLent has a reply take its bytes from the file's memory, and give them back.
func TestReadLent(t *testing.T) {
	tr := newTree()
	data := noise(1, 2*lendFrom)
	r := testRaw(t, tr, nil)
	fh := open(t, r, tr.file(shoal.RootID, "a", data))
	buf := make([]byte, lendFrom)
	res, code := r.Read(nil, &gofuse.ReadIn{Fh: fh, Offset: 1, Size: lendFrom}, buf)
	if !code.Ok() {
		t.Fatalf("Read = %v, want OK", code)
	}
	if got, _ := res.(*result).Slices(); tr.lent.Load() != 1 || !bytes.Equal(slices.Concat(got...), data[1:1+lendFrom]) {
		t.Errorf("%d reads are lent, want 1 with the bytes of the file", tr.lent.Load())
	}
	res.Done()
	if tr.lent.Load() != 0 {
		t.Errorf("%d reads are lent, want 0: the reply has been sent", tr.lent.Load())
	}
	if !bytes.Equal(buf, make([]byte, lendFrom)) {
		t.Error("lent bytes were copied into the reply's buffer")
	}
}

func TestReadFailures(t *testing.T) {
	tr := newTree()
	var log bytes.Buffer
	r := testRaw(t, tr, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	var asked []string
	r.stale = func(_ uint64, name string) { asked = append(asked, name) }
	for _, c := range []struct {
		name string
		want syscall.Errno
	}{
		{"eio-1", syscall.EIO},
		{"stale-1", syscall.ESTALE},
		{"short-1", syscall.EIO}, // or the kernel would cut the file off there
	} {
		fh := open(t, r, tr.file(shoal.RootID, c.name, make([]byte, 100)))
		if _, code := r.Read(nil, &gofuse.ReadIn{Fh: fh, Size: 50}, make([]byte, 50)); code != gofuse.Status(c.want) {
			t.Errorf("Read(%s) = %v, want %v", c.name, code, c.want)
		}
	}
	if len(asked) != 1 || asked[0] != "stale-1" {
		t.Errorf("names to ask for again = %q, want only stale-1", asked)
	}
	if got := r.stats().Errors; got != 3 {
		t.Errorf("Errors = %d, want 3", got)
	}
	if got := log.String(); !strings.Contains(got, "/eio-1") || !strings.Contains(got, "storage is down") || strings.Count(got, "\n") != 1 {
		t.Errorf("log is %q, want one line a second that names the file and the cause", got)
	}
}

func TestEveryChangeIsRefused(t *testing.T) {
	r := testRaw(t, newTree(), nil)
	var h gofuse.InHeader
	var e gofuse.EntryOut
	_, write := r.Write(nil, &gofuse.WriteIn{}, nil)
	_, writev := r.Writev(nil, &gofuse.WriteIn{}, nil)
	_, copied := r.CopyFileRange(nil, &gofuse.CopyFileRangeIn{})
	for what, code := range map[string]gofuse.Status{
		"write":       write,
		"writev":      writev,
		"copy":        copied,
		"setattr":     r.SetAttr(nil, &gofuse.SetAttrIn{}, &gofuse.AttrOut{}),
		"mknod":       r.Mknod(nil, &gofuse.MknodIn{}, "a", &e),
		"mkdir":       r.Mkdir(nil, &gofuse.MkdirIn{}, "a", &e),
		"unlink":      r.Unlink(nil, &h, "a"),
		"rmdir":       r.Rmdir(nil, &h, "a"),
		"rename":      r.Rename(nil, &gofuse.RenameIn{}, "a", "b"),
		"link":        r.Link(nil, &gofuse.LinkIn{}, "a", &e),
		"symlink":     r.Symlink(nil, &h, "a", "b", &e),
		"setxattr":    r.SetXAttr(nil, &gofuse.SetXAttrIn{}, "a", nil),
		"removexattr": r.RemoveXAttr(nil, &h, "a"),
		"create":      r.Create(nil, &gofuse.CreateIn{}, "a", &gofuse.CreateOut{}),
		"tmpfile":     r.Tmpfile(nil, &gofuse.CreateIn{}, &gofuse.CreateOut{}),
		"fallocate":   r.Fallocate(nil, &gofuse.FallocateIn{}),
		"access":      r.Access(nil, &gofuse.AccessIn{Mask: gofuse.W_OK}),
	} {
		if code != gofuse.EROFS {
			t.Errorf("%s = %v, want %v", what, code, gofuse.EROFS)
		}
	}
}

func TestStatFs(t *testing.T) {
	r := testRaw(t, newTree(), func(c *Config) {
		c.Statfs = func() Space { return Space{Bytes: 8192 + 1, FreeBytes: 4096, Files: 5} }
	})
	var out gofuse.StatfsOut
	if code := r.StatFs(nil, nil, &out); !code.Ok() || out.Blocks != 2 || out.Bavail != 1 || out.Files != 5 {
		t.Errorf("StatFs() = %v, %+v, want 2 blocks, 1 free, 5 files", code, out)
	}
}

func TestCloseFreesHandles(t *testing.T) {
	tr := newTree()
	r := testRaw(t, tr, nil)
	id := tr.file(shoal.RootID, "a", nil)
	for range 40 {
		open(t, r, id)
	}
	r.close()
	r.close()
	if tr.closed != 40 || r.stats().OpenFiles != 0 {
		t.Errorf("%d files closed and %d open, want 40 and 0", tr.closed, r.stats().OpenFiles)
	}
}

func TestWhole(t *testing.T) {
	other := errors.New("other")
	for _, c := range []struct {
		n    int
		err  error
		want error
	}{
		{10, nil, nil},
		{10, io.EOF, nil},
		{9, nil, io.ErrUnexpectedEOF},
		{9, io.EOF, io.ErrUnexpectedEOF},
		{0, other, other},
		{0, context.Canceled, context.Canceled},
	} {
		if got := whole(c.n, 10, c.err); !errors.Is(got, c.want) {
			t.Errorf("whole(%d, 10, %v) = %v, want %v", c.n, c.err, got, c.want)
		}
	}
}

func TestLimiter(t *testing.T) {
	var l limiter
	now := time.Unix(1000, 0)
	for i, c := range []struct {
		after time.Duration
		held  uint64
		ok    bool
	}{
		{0, 0, true},
		{0, 0, false},
		{time.Second / 2, 0, false},
		{time.Second, 2, true},
	} {
		if held, ok := l.allow(now.Add(c.after)); held != c.held || ok != c.ok {
			t.Errorf("call %d: allow() = %d, %v, want %d, %v", i, held, ok, c.held, c.ok)
		}
	}
}
