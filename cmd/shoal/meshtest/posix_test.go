package meshtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/hanwen/go-fuse/v2/posixtest"
	"golang.org/x/sys/unix"
)

// TestPosix runs of go-fuse's posixtest what a read-only mount can be asked. One test there only
// reads. The others begin by writing: those that then read have their reading half here, on files
// that the UFS side has made, and those about writing itself are named with the reason. A test that
// go-fuse adds is in neither list and fails.
func TestPosix(t *testing.T) {
	l := newLab(t, 1)
	n := l.nodes[0]
	large := contents(1, 128*kib+123)
	l.s3.Put(t, bucket, "posix/file", []byte("hello world"))
	l.s3.Put(t, bucket, "posix/large", large)
	l.s3.Put(t, bucket, "posix/gone", large)
	many := l.upload(t, 2, func(i int) string { return fmt.Sprintf("many/file%036x", i) }, make([]int, 168)...)
	n.start(t, 1)
	p := posix{l: l, n: n, dir: n.path("posix"), large: large, many: len(many)}

	halves := map[string]func(*testing.T){
		"DirSeek":             p.dirSeek,
		"DirectIO":            p.directIO,
		"FdLeak":              p.fdLeak,
		"FileBasic":           p.fileBasic,
		"FileLarge":           p.fileLarge,
		"FstatDeleted":        p.fstatDeleted,
		"LseekEnxioCheck":     p.lseekEnxio,
		"LseekHoleSeeksToEOF": p.lseekHole,
		"ParallelFileOpen":    p.parallelOpen,
		"ReadDirBasic":        p.readDirBasic,
		"XAttr":               p.noXAttr,
	}
	for name, test := range posixtest.All {
		half := halves[name]
		switch why := needsWriting()[name]; {
		case name == "ReadDirConsistency":
			t.Run(name, func(t *testing.T) { test(t, n.path("many")) })
		case half != nil:
			t.Run(name, half)
		case why == "":
			t.Errorf("posixtest.%s is new: run it, or say why it cannot be", name)
		}
	}
}

// needsWriting says of each test of posixtest that has no reading half what it writes.
func needsWriting() map[string]string {
	return map[string]string{
		"AppendWrite":                "appends",
		"Fallocate":                  "allocates",
		"FallocateKeepSize":          "allocates",
		"FcntlFlockLocksFile":        "a write lock needs a file open for writing",
		"FcntlFlockSetLk":            "a write lock needs a file open for writing",
		"Link":                       "makes a hard link",
		"LinkUnlinkRename":           "makes a hard link",
		"MkdirRmdir":                 "makes a directory",
		"NlinkZero":                  "renames over an open file; files of a UFS have one name for ever",
		"OpenAt":                     "renames a directory and creates a file in it",
		"OpenSymlinkRace":            "makes symbolic links; the mount shows none",
		"RenameOpenDir":              "renames a directory",
		"RenameOverwriteDestExist":   "renames",
		"RenameOverwriteDestNoExist": "renames",
		"SetattrSymlink":             "makes a symbolic link",
		"SymlinkReadlink":            "makes a symbolic link",
		"Tmpfile":                    "makes a file without a name",
		"TruncateFile":               "truncates",
		"TruncateNoFile":             "truncates",
		"XAttrLarge":                 "sets an attribute",
	}
}

// posix is the reading half of tests of posixtest, each called as there.
type posix struct {
	l     *lab
	n     *labNode
	dir   string
	large []byte
	many  int // files in the directory many
}

func (p *posix) file(name string) string { return filepath.Join(p.dir, name) }

func (p *posix) open(t *testing.T, name string, flags int) int {
	t.Helper()
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

func (p *posix) fileBasic(t *testing.T) {
	got, err := os.ReadFile(p.file("file"))
	if err != nil || string(got) != "hello world" {
		t.Errorf("ReadFile() = %q, %v, want what was written", got, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(p.open(t, p.file("file"), 0), &st); err != nil || st.Size != 11 || st.Mode != unix.S_IFREG|0o444 {
		t.Errorf("Fstat() = %d bytes, mode %o, %v, want 11, mode %o", st.Size, st.Mode, err, unix.S_IFREG|0o444)
	}
}

func (p *posix) fileLarge(t *testing.T) {
	fd := p.open(t, p.file("large"), 0)
	if got, err := pread(fd, make([]byte, len(p.large)+1000), 0); err != nil || !bytes.Equal(got, p.large) {
		t.Errorf("a read past the end: %d bytes, %v, want the %d there are", len(got), err, len(p.large))
	}
	const off, n = 4096 + 7, 64<<10 + 5
	if got, err := pread(fd, make([]byte, n), off); err != nil || !bytes.Equal(got, p.large[off:off+n]) {
		t.Errorf("a read amid: %d bytes, %v, want those there", len(got), err)
	}
}

func (p *posix) directIO(t *testing.T) {
	fd := p.open(t, p.file("large"), unix.O_DIRECT)
	for _, c := range []struct{ off, n int64 }{{0, 12288}, {4096, 4096}, {4095, 4098}, {1, 1}, {128 * kib, 4096}, {100_001, 30_011}, {128*kib + 123, 10}} {
		want := p.large[c.off:min(c.off+c.n, int64(len(p.large)))]
		if got, err := pread(fd, make([]byte, c.n), c.off); err != nil || !bytes.Equal(got, want) {
			t.Errorf("direct read of %d bytes at %d: %d bytes, %v, want %d", c.n, c.off, len(got), err, len(want))
		}
	}
}

func (p *posix) fdLeak(t *testing.T) {
	count := func() int {
		names, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.n.agent.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	before := count()
	for range 100 {
		if _, err := os.ReadFile(p.file("file")); err != nil {
			t.Fatal(err)
		}
	}
	if after := count(); after > before+15 {
		t.Errorf("the agent has %d files open after 100 reads, %d before", after, before)
	}
}

// fstatDeleted has the UFS side remove a file that is open and read: it stays what it was.
func (p *posix) fstatDeleted(t *testing.T) {
	fd := p.open(t, p.file("gone"), 0)
	if _, err := pread(fd, make([]byte, len(p.large)), 0); err != nil {
		t.Fatal(err)
	}
	var before, after unix.Stat_t
	if err := unix.Fstat(fd, &before); err != nil {
		t.Fatal(err)
	}
	if err := p.l.s3.Do("DELETE", bucket, "posix/gone", nil); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fstat(fd, &after); err != nil || before != after {
		t.Errorf("Fstat() of a removed file = %+v, %v, want %+v", after, err, before)
	}
	if got, err := pread(fd, make([]byte, len(p.large)), 0); err != nil || !bytes.Equal(got, p.large) {
		t.Errorf("a removed file that was read: %d bytes, %v, want all of it", len(got), err)
	}
}

func (p *posix) lseekHole(t *testing.T) {
	fd, size := p.open(t, p.file("large"), 0), int64(len(p.large))
	if off, err := unix.Seek(fd, size/2, unix.SEEK_HOLE); err != nil || off != size {
		t.Errorf("SEEK_HOLE = %d, %v, want the end, %d", off, err, size)
	}
	if off, err := unix.Seek(fd, size/2, unix.SEEK_DATA); err != nil || off != size/2 {
		t.Errorf("SEEK_DATA = %d, %v, want where it is, %d", off, err, size/2)
	}
}

func (p *posix) lseekEnxio(t *testing.T) {
	fd, size := p.open(t, p.file("large"), 0), int64(len(p.large))
	for _, c := range []struct {
		off    int64
		whence int
	}{{size, unix.SEEK_DATA}, {size + 1, unix.SEEK_DATA}, {size + 1, unix.SEEK_HOLE}} {
		if off, err := unix.Seek(fd, c.off, c.whence); !errors.Is(err, unix.ENXIO) {
			t.Errorf("Seek(%d, %d) = %d, %v, want %v", c.off, c.whence, off, err, unix.ENXIO)
		}
	}
}

func (p *posix) parallelOpen(t *testing.T) {
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if got, err := os.ReadFile(p.file("file")); err != nil || string(got) != "hello world" {
				t.Errorf("ReadFile() = %q, %v, want what was written", got, err)
			}
			if _, err := os.OpenFile(p.file("file"), os.O_RDWR, 0); !errors.Is(err, syscall.EROFS) {
				t.Errorf("open for writing: %v, want %v", err, syscall.EROFS)
			}
		})
	}
	all.Wait()
}

func (p *posix) readDirBasic(t *testing.T) {
	d, err := os.Open(p.n.path("many"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	names, err := d.Readdirnames(-1)
	slices.Sort(names)
	if err != nil || len(slices.Compact(names)) != p.many || names[0] != fmt.Sprintf("file%036x", 0) {
		t.Errorf("Readdirnames() = %d names, %v, want each of %d once", len(names), err, p.many)
	}
}

func (p *posix) dirSeek(t *testing.T) {
	fd := p.open(t, p.n.path("many"), unix.O_DIRECTORY)
	all := dirents(t, fd)
	if len(all) != p.many+2 {
		t.Fatalf("%d entries, want %d", len(all), p.many+2)
	}
	for i := len(all) - 1; i >= 0; i-- {
		var cookie int64
		if i > 0 {
			cookie = all[i-1].cookie
		}
		if _, err := unix.Seek(fd, cookie, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if got := dirents(t, fd); !slices.Equal(got, all[i:]) {
			t.Errorf("after seeking to entry %d: %d entries, want %d", i, len(got), len(all)-i)
		}
	}
}

func (p *posix) noXAttr(t *testing.T) {
	if n, err := unix.Getxattr(p.file("file"), "user.xattrtest", make([]byte, 1024)); !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("Getxattr() = %d, %v, want that there is none", n, err)
	}
	names := make([]byte, 1024)
	if n, err := unix.Listxattr(p.file("file"), names); err == nil && bytes.Contains(names[:n], []byte("user.xattrtest")) || err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("Listxattr() = %q, %v, want that there is none", names[:max(0, n)], err)
	}
	if err := unix.Setxattr(p.file("file"), "user.xattrtest", []byte("v"), 0); !errors.Is(err, unix.EROFS) {
		t.Errorf("Setxattr() = %v, want %v", err, unix.EROFS)
	}
}

// A dirent is an entry of a directory, and where the next one is.
type dirent struct {
	name   string
	cookie int64
}

// dirents reads fd to the end with a small buffer.
func dirents(t *testing.T, fd int) (all []dirent) {
	t.Helper()
	buf := make([]byte, 4096)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return all
		}
		for rest := buf[:n]; len(rest) > 0; {
			var e fuse.DirEntry
			rest = rest[e.Parse(rest):]
			all = append(all, dirent{e.Name, int64(e.Off)})
		}
	}
}
