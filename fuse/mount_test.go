package fuse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

func bg() context.Context { return context.Background() }

func TestMountRead(t *testing.T) {
	c := startChild(t, mountDir(t))
	first := readAll(t, c)
	info, err := os.Stat(c.file("size-65537"))
	if err != nil || info.Size() != 65537 || info.Mode() != 0o444 || info.ModTime().Unix() != 1_700_000_000 {
		t.Errorf("stat = %v, %v, want 65537 bytes, mode 0444", info, err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(c.path, &st); err != nil || st.Blocks != 1<<18 || st.Bavail != 1<<17 {
		t.Errorf("statfs = %d, %d blocks, %v, want %d, %d", st.Blocks, st.Bavail, err, 1<<18, 1<<17)
	}
	all, err := mounts()
	if err != nil {
		t.Fatal(err)
	}
	m, _ := topmost(all, c.path)
	ahead, err := os.ReadFile(fmt.Sprintf("/sys/class/bdi/0:%d/read_ahead_kb", m.minor))
	if err != nil || strings.TrimSpace(string(ahead)) != "1024" {
		t.Errorf("readahead = %q KiB, %v, want 1024", ahead, err)
	}
	total := 0
	for _, n := range sizes() {
		total += n
	}
	// A kernel may give pages up at any moment, also with memory to spare, and then asks for
	// them again. So "once" allows a fifth more, and one pass of ten without a byte from the
	// server shows that pages are kept between opens.
	if first < uint64(total) || first > uint64(total+total/5) {
		t.Errorf("bytes read from the server = %d, want %d: once each", first, total)
	}
	passes := []uint64{first}
	for n := 1; n == 1 || passes[n-1] != passes[n-2]; n++ {
		if n == 10 {
			t.Fatalf("bytes read from the server after each pass: %d, want one pass from the page cache", passes)
		}
		passes = append(passes, readAll(t, c))
	}
}

// readAll reads each file of sizes and returns the bytes that the server has sent since its start.
func readAll(t *testing.T, c *child) uint64 {
	t.Helper()
	for _, n := range sizes() {
		got, err := os.ReadFile(c.file(fmt.Sprintf("size-%d", n)))
		if err != nil || !bytes.Equal(got, noise(uint64(n), n)) {
			t.Errorf("size-%d = %d bytes, %v, want the bytes written", n, len(got), err)
		}
	}
	return c.report().Stats.ReadBytes
}

func TestMountParallelReads(t *testing.T) {
	c := startChild(t, mountDir(t))
	const n = 5 << 20
	want := noise(n, n)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			f, err := os.Open(c.file(fmt.Sprintf("size-%d", n)))
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = f.Close() }()
			buf := make([]byte, 100_000)
			for j := range 50 {
				off := (i*7919 + j*1_000_003) % n
				m, err := f.ReadAt(buf, int64(off))
				if !bytes.Equal(buf[:m], want[off:off+m]) || m != min(len(buf), n-off) || err != nil && !errors.Is(err, io.EOF) {
					t.Errorf("ReadAt(%d) = %d, %v, want the bytes written", off, m, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestMountMmap(t *testing.T) {
	c := startChild(t, mountDir(t))
	const n = 1<<20 + 1
	f, err := os.Open(c.file(fmt.Sprintf("size-%d", n)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	data, err := unix.Mmap(int(f.Fd()), 0, n, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(data) }()
	if !bytes.Equal(data, noise(n, n)) {
		t.Error("mapped bytes differ from those written")
	}
}

func TestMountReadDir(t *testing.T) {
	c := startChild(t, mountDir(t))
	fd, err := unix.Open(c.file("many"), unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	all := dirents(t, fd)
	want := []string{".", ".."}
	for i := range manyFiles {
		want = append(want, fmt.Sprintf("file-%05d", i))
	}
	if got := names(all); !slices.Equal(got, want) {
		t.Fatalf("got %d names, want %d in order", len(got), len(want))
	}
	for _, at := range []int{1700, 0, 1, 2, 2999, 3002} {
		var cookie int64
		if at > 0 {
			cookie = int64(all[at-1].Off)
		}
		if _, err := unix.Seek(fd, cookie, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if got := names(dirents(t, fd)); !slices.Equal(got, want[at:]) {
			t.Errorf("after seeking to %d: %d names, want %d", at, len(got), len(want)-at)
		}
	}
}

// TestMountReadDirWhileChanging lists a directory that changes before and behind the
// reader, and seeks to positions it had, also to those of names that have gone.
func TestMountReadDirWhileChanging(t *testing.T) {
	c := startChild(t, mountDir(t))
	fd, err := unix.Open(c.file("many"), unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	c.ask("remove-below many file-01000") // before the first name is listed
	stayed := map[string]bool{".": true, "..": true}
	for i := range manyFiles {
		stayed[fmt.Sprintf("file-%05d", i)] = i != 1000
	}
	var all []gofuse.DirEntry
	for page := 0; ; page++ {
		got := dirents1(t, fd)
		if len(got) == 0 {
			break
		}
		all = append(all, got...)
		if page%10 != 0 {
			continue
		}
		last := all[len(all)-1].Name
		for _, at := range []int{page, manyFiles - 1 - page} { // most are behind, or before, the reader
			name := fmt.Sprintf("file-%05d", at)
			c.ask("add-below many " + name + "-new")
			c.ask("remove-below many " + name)
			stayed[name] = false
		}
		// The name the position stands for goes, and another comes right behind it.
		c.ask("remove-below many " + last)
		c.ask("add-below many " + last + "-behind")
		stayed[last] = false
		if _, err := unix.Seek(fd, int64(all[len(all)-1].Off), io.SeekStart); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	for i, e := range all {
		if seen[e.Name] || i > 2 && e.Name < all[i-1].Name {
			t.Errorf("name %q comes twice or out of order", e.Name)
		}
		seen[e.Name] = true
	}
	for name, stays := range stayed {
		if stays && !seen[name] {
			t.Errorf("name %q was there all the time and is not listed", name)
		}
	}
	for _, at := range []int{len(all) / 2, 5, len(all) - 2} {
		if _, err := unix.Seek(fd, int64(all[at].Off), io.SeekStart); err != nil {
			t.Fatal(err)
		}
		for _, e := range dirents(t, fd) {
			if e.Name <= all[at].Name {
				t.Errorf("after the position of %q: %q", all[at].Name, e.Name)
			}
		}
	}
}

// dirents reads fd to the end with a small buffer.
func dirents(t *testing.T, fd int) []gofuse.DirEntry {
	t.Helper()
	var all []gofuse.DirEntry
	for {
		some := dirents1(t, fd)
		if len(some) == 0 {
			return all
		}
		all = append(all, some...)
	}
}

// dirents1 reads on in fd, once.
func dirents1(t *testing.T, fd int) []gofuse.DirEntry {
	t.Helper()
	var all []gofuse.DirEntry
	buf := make([]byte, 1500)
	n, err := unix.ReadDirent(fd, buf)
	if err != nil {
		t.Fatal(err)
	}
	for rest := buf[:n]; len(rest) > 0; {
		var e gofuse.DirEntry
		rest = rest[e.Parse(rest):]
		all = append(all, e)
	}
	return all
}

func TestMountWalk(t *testing.T) {
	c := startChild(t, mountDir(t))
	files, total := 0, int64(0)
	err := filepath.WalkDir(c.path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			files, total = files+1, total+info.Size()
		}
		return err
	})
	want := int64(8*8192 + 4)
	for i := range manyFiles {
		want += int64(i % 7)
	}
	for _, n := range sizes() {
		want += int64(n)
	}
	if err != nil || files != manyFiles+len(sizes())+9 || total != want {
		t.Errorf("walk = %d files of %d bytes, %v, want %d of %d", files, total, err, manyFiles+len(sizes())+9, want)
	}
	// The listing told the attributes: none of the files had to be looked up.
	if got := c.report(); len(got.Lookups) > 10 {
		t.Errorf("%d names looked up after listing, want nearly none", len(got.Lookups))
	}
}

func TestMountAbsent(t *testing.T) {
	c := startChild(t, mountDir(t))
	for range 5 {
		if _, err := os.Stat(c.file("absent")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("stat absent = %v, want %v", err, fs.ErrNotExist)
		}
	}
	if _, err := os.Stat(c.file("size-1/below")); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("stat below a file = %v, want %v", err, syscall.ENOTDIR)
	}
	if got := c.report().Lookups["absent"]; got != 1 {
		t.Errorf("absent looked up %d times, want 1", got)
	}
}

func TestMountIsReadOnly(t *testing.T) {
	c := startChild(t, mountDir(t))
	file, dir, absent := c.file("size-1"), c.file("sub"), c.file("absent")
	open := func(path string, flags int) error {
		fd, err := unix.Open(path, flags, 0o600)
		if err == nil {
			_ = unix.Close(fd)
		}
		return err
	}
	for what, err := range map[string]error{
		"open to write":    open(file, unix.O_WRONLY),
		"open to change":   open(file, unix.O_RDWR),
		"open to append":   open(file, unix.O_WRONLY|unix.O_APPEND),
		"open to truncate": open(file, unix.O_RDONLY|unix.O_TRUNC),
		"create":           open(absent, unix.O_CREAT|unix.O_WRONLY),
		"tmpfile":          open(dir, unix.O_TMPFILE|unix.O_RDWR),
		"mkdir":            unix.Mkdir(absent, 0o700),
		"mknod":            unix.Mknod(absent, unix.S_IFIFO, 0),
		"symlink":          unix.Symlink("x", absent),
		"link":             unix.Link(file, absent),
		"unlink":           unix.Unlink(file),
		"rmdir":            unix.Rmdir(dir),
		"rename":           unix.Rename(file, absent),
		"exchange":         unix.Renameat2(unix.AT_FDCWD, file, unix.AT_FDCWD, dir, unix.RENAME_EXCHANGE),
		"chmod":            unix.Chmod(file, 0o600),
		"chown":            unix.Chown(file, 1, 1),
		"truncate":         unix.Truncate(file, 0),
		"utimes":           unix.Utimes(file, []unix.Timeval{{}, {}}),
		"setxattr":         unix.Setxattr(file, "user.a", []byte("b"), 0),
		"removexattr":      unix.Removexattr(file, "user.a"),
		"access to write":  unix.Access(file, unix.W_OK),
	} {
		if !errors.Is(err, unix.EROFS) {
			t.Errorf("%s = %v, want %v", what, err, unix.EROFS)
		}
	}
}

func TestMountReadFailures(t *testing.T) {
	c := startChild(t, mountDir(t))
	for name, want := range map[string]error{
		"eio-1": syscall.EIO, "panic-1": syscall.EIO, "short-1": syscall.EIO, "stale-1": syscall.ESTALE,
	} {
		if _, err := direct(c.file(name)); !errors.Is(err, want) {
			t.Errorf("read %s = %v, want %v", name, err, want)
		}
	}
	if _, err := os.ReadFile(c.file("size-1")); err != nil {
		t.Errorf("read after failures = %v, want nil", err)
	}
	if got := c.report().Stats; got.Panics != 1 || got.Errors < 3 {
		t.Errorf("%d panics and %d errors, want 1 and at least 3", got.Panics, got.Errors)
	}
}

// direct reads the first page of a file past the page cache.
func direct(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	buf := make([]byte, 4096)
	for {
		n, err := unix.Pread(fd, buf, 0)
		if !errors.Is(err, unix.EINTR) {
			return buf[:max(0, n)], err
		}
	}
}

func TestMountNewVersion(t *testing.T) {
	c := startChild(t, mountDir(t))
	path := c.file("changes")
	old, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = old.Close() }()
	c.ask("change changes")
	if info, err := os.Stat(path); err != nil || info.Size() != 8192 {
		t.Errorf("stat before the name expired = %v, %v, want the old 8192 bytes", info, err)
	}
	if got := c.ask("invalidate changes"); got != "ok" {
		t.Fatalf("invalidate = %s, want ok", got)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, noise(10, 4096)) {
		t.Errorf("new version = %d bytes, %v, want the 4096 new ones", len(got), err)
	}
	if got, err := io.ReadAll(old); err != nil || !bytes.Equal(got, noise(9, 8192)) {
		t.Errorf("old handle = %d bytes, %v, want the 8192 old ones", len(got), err)
	}
}

// TestMountNames has a name go that the kernel believes in for a day, and one come that it believes
// absent for a minute.
func TestMountNames(t *testing.T) {
	c := startChild(t, mountDir(t))
	stat := func(name string, want error) {
		t.Helper()
		if _, err := os.Stat(c.file(name)); !errors.Is(err, want) {
			t.Errorf("stat %s = %v, want %v", name, err, want)
		}
	}
	stat("size-1", nil)
	stat("absent", fs.ErrNotExist)
	c.ask("remove size-1")
	c.ask("change absent")
	stat("size-1", nil)
	stat("absent", fs.ErrNotExist)
	for _, name := range []string{"size-1", "absent"} {
		if got := c.ask("invalidate " + name); got != "ok" {
			t.Fatalf("invalidate %s = %s, want ok", name, got)
		}
	}
	stat("size-1", fs.ErrNotExist)
	stat("absent", nil)
}
