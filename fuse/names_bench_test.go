package fuse

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/node/namespace"
	"github.com/shoal-mesh/shoal/ufs"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// BenchmarkNames walks a tree of five million names and a directory of one million (a
// tenth of either with -short) over a real namespace, asking what the kernel asks: every
// directory is listed with attributes, first from the UFS, then again; then every name is
// looked up and its attributes asked for; then all is forgotten. It reports how fast that
// went, and the memory of this process, beyond what it had before, at its peak and at the
// end. See docs/benchmarks.md.
func BenchmarkNames(b *testing.B) {
	scale := 1
	if testing.Short() {
		scale = 10
	}
	for _, w := range []world{{dirs: 5000 / scale, files: 1000}, {dirs: 1, files: 1_000_000 / scale}} {
		b.Run(fmt.Sprintf("%dx%d", w.dirs, w.files), func(b *testing.B) {
			for b.Loop() {
				w.walk(b)
			}
		})
	}
}

// walk walks w and reports.
func (w world) walk(b *testing.B) {
	before := memory(b, "VmRSS")
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // VmHWM starts anew
		b.Skipf("SKIPPED, no peak of memory to be had: %v", err)
	}
	names, err := namespace.Open(b.TempDir(), []namespace.Mount{{Path: "/data", FS: w, TTL: 24 * time.Hour}}, namespace.Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = names.Close() }()
	cfg, err := Config{Path: "/m"}.withDefaults()
	if err != nil {
		b.Fatal(err)
	}
	k := caller{b: b, r: newRaw(names, nil, cfg)}
	total := w.dirs*(1+w.files) + 1
	per := func(unit string, value float64) { b.ReportMetric(value/float64(total), unit) }
	pass := func(name string, walk func() int) {
		mallocs, cpu, begun := memstats().Mallocs, cpuTime(b), time.Now()
		if got := walk(); got != total {
			b.Fatalf("%s: %d names, want %d", name, got, total)
		}
		per("µs/"+name, float64(time.Since(begun).Microseconds()))
		per("cpu-µs/"+name, float64((cpuTime(b) - cpu).Microseconds()))
		per("allocs/"+name, float64(memstats().Mallocs-mallocs))
	}
	pass("cold", func() int { return k.list(shoal.RootID) })
	pass("warm", func() int { return k.list(shoal.RootID) })
	pass("lookup", func() int { return k.look(w) })
	per("peak-B/name", float64(memory(b, "VmHWM")-before))
	per("B/name", float64(memory(b, "VmRSS")-before))
	per("heap-B/name", float64(memstats().HeapAlloc))
	runtime.KeepAlive(k)
}

// A caller asks as the kernel does: page by page of 4 KiB, a READDIRPLUS each, and
// remembers nothing, as if it forgot every name at once.
type caller struct {
	b *testing.B
	r *raw
}

// pageEntries is how many entries of such a name fit into a page of 4 KiB.
const pageEntries = 22

// list lists the directory id and those below it, and returns how many names there are.
func (k caller) list(id uint64) (names int) {
	var opened gofuse.OpenOut
	in := gofuse.ReadIn{InHeader: gofuse.InHeader{NodeId: id}}
	if code := k.r.OpenDir(nil, &gofuse.OpenIn{InHeader: in.InHeader}, &opened); !code.Ok() {
		k.b.Fatalf("OpenDir(%d) = %v", id, code)
	}
	in.Fh = opened.Fh
	defer k.r.ReleaseDir(&gofuse.ReleaseIn{Fh: in.Fh})
	var below []uint64
	var out gofuse.EntryOut
	for more := true; more; {
		room := pageEntries
		more = false
		code := k.r.list(nil, &in, func(d gofuse.DirEntry, e *shoal.Entry) bool {
			if room--; room < 0 {
				return false
			}
			more, in.Offset = true, d.Off
			if e == nil {
				return true
			}
			k.r.cfg.fillEntry(*e, &out)
			names++
			if e.Info.IsDir() {
				below = append(below, out.NodeId)
			}
			return true
		})
		if !code.Ok() {
			k.b.Fatalf("list %d after %d: %v", id, in.Offset, code)
		}
	}
	for _, dir := range below {
		names += k.list(dir)
	}
	return names
}

// look looks up every name of w, asks for its attributes and forgets it.
func (k caller) look(w world) (names int) {
	lookup := func(parent uint64, name string) uint64 {
		var out gofuse.EntryOut
		if code := k.r.Lookup(nil, &gofuse.InHeader{NodeId: parent}, name, &out); !code.Ok() {
			k.b.Fatalf("Lookup(%d, %s) = %v", parent, name, code)
		}
		var attr gofuse.AttrOut
		if code := k.r.GetAttr(nil, &gofuse.GetAttrIn{InHeader: gofuse.InHeader{NodeId: out.NodeId}}, &attr); !code.Ok() {
			k.b.Fatalf("GetAttr(%d) = %v", out.NodeId, code)
		}
		k.r.Forget(out.NodeId, 1)
		names++
		return out.NodeId
	}
	root := lookup(shoal.RootID, "data")
	for i := range w.dirs {
		dir := lookup(root, dirInfo(i).Name)
		for j := range w.files {
			lookup(dir, fileName(j))
		}
	}
	return names
}

// A world is a UFS that makes its names up: so many directories of so many files each.
type world struct{ dirs, files int }

var _ ufs.FS = world{}

// Address implements ufs.FS.
func (world) Address() string { return "fake://world" }

// Stat is not asked: a walk lists.
func (world) Stat(_ context.Context, name string) (shoal.FileInfo, error) {
	return shoal.FileInfo{}, fmt.Errorf("stat %s: %w", name, fs.ErrNotExist)
}

// Open is not asked: nothing is read.
func (world) Open(_ context.Context, name string, _ shoal.Version, _, _ int64) (io.ReadCloser, error) {
	return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
}

// List implements ufs.FS.
func (w world) List(_ context.Context, dir, after string, limit int) (ufs.Page, error) {
	n, info := w.files, fileInfo
	if dir == "" {
		n, info = w.dirs, dirInfo
	}
	first := 0
	if after != "" {
		last, err := strconv.Atoi(after[1:8])
		if err != nil {
			return ufs.Page{}, err
		}
		first = last + 1
	}
	end := min(n, first+limit)
	page := ufs.Page{Entries: make([]shoal.FileInfo, 0, end-first), More: end < n}
	for i := first; i < end; i++ {
		page.Entries = append(page.Entries, info(i))
	}
	return page, nil
}

func dirInfo(i int) shoal.FileInfo {
	return shoal.FileInfo{Name: fmt.Sprintf("n%07d", i), Mode: fs.ModeDir | 0o755}
}

func fileName(i int) string { return fmt.Sprintf("f%07d_sample.JPEG", i) }

func fileInfo(i int) shoal.FileInfo {
	return shoal.FileInfo{
		Name: fileName(i), Size: 100_000 + int64(i), Mode: 0o644, ModTime: time.Unix(1_700_000_000, 0),
		Version: shoal.Version(fmt.Sprintf("\"%032x\"", i)),
	}
}

// memory returns a figure of /proc/self/status in bytes, once what is free is given back.
func memory(b *testing.B, field string) int64 {
	b.Helper()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, after, _ := bytes.Cut(status, []byte(field+":"))
	kib, _, _ := bytes.Cut(bytes.TrimSpace(after), []byte(" "))
	n, err := strconv.ParseInt(string(kib), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return n << 10
}

func memstats() (m runtime.MemStats) {
	runtime.ReadMemStats(&m)
	return m
}

// cpuTime returns what this process has used of the processors.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var self unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &self); err != nil {
		b.Fatal(err)
	}
	return time.Duration(self.Utime.Nano() + self.Stime.Nano())
}
