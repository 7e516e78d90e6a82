package fuse

import (
	"bytes"
	"context"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

// A fakeKernel takes backing files, or refuses them.
type fakeKernel struct {
	refuse syscall.Errno
	last   int32
	known  map[int32]bool
}

func (k *fakeKernel) RegisterBackingFd(*gofuse.BackingMap) (int32, syscall.Errno) {
	if k.refuse != 0 {
		return 0, k.refuse
	}
	k.last++
	k.known[k.last] = true
	return k.last, 0
}

func (k *fakeKernel) UnregisterBackingFd(id int32) syscall.Errno {
	delete(k.known, id)
	return 0
}

// A backedFile has a backing file while there says so.
type backedFile struct {
	File
	there *bool
	held  int
	told  int
}

func (f *backedFile) Backing() (*os.File, func(), error) {
	if !*f.there {
		return nil, nil, nil
	}
	file, err := os.Open(os.DevNull)
	if err != nil {
		return nil, nil, err
	}
	f.held++
	return file, func() { f.held-- }, nil
}

func (f *backedFile) Passed() { f.told++ }

func (f *backedFile) Read(context.Context, []byte, int64) ([]byte, func(), error) {
	return nil, nil, nil
}

func testPassthrough() (*passthrough, *fakeKernel) {
	k := &fakeKernel{known: make(map[int32]bool)}
	p := newPassthrough()
	p.kernel = k
	p.off.Store(nil)
	return p, k
}

// TestPassthroughAgrees opens an inode in both ways: while one handle is open in one, so are all.
func TestPassthroughAgrees(t *testing.T) {
	p, k := testPassthrough()
	there := false
	f := &backedFile{there: &there}
	want := func(step string, passed, want bool) {
		t.Helper()
		if passed != want {
			t.Errorf("%s: passed = %v, want %v", step, passed, want)
		}
	}
	_, passed, _ := p.open(1, f)
	want("not there", passed, false)
	there = true
	_, passed, _ = p.open(1, f)
	want("there, but one is served", passed, false)
	_, other, _ := p.open(2, f)
	want("another inode", other, true)
	p.close(1, false)
	p.close(1, false)
	first, passed, _ := p.open(1, f)
	want("none is served", passed, true)
	there = false
	second, passed, _ := p.open(1, f)
	want("there no more, but one is passed", passed, true)
	if first != second || len(k.known) != 2 || f.held != 2 || f.told != 3 {
		t.Errorf("ids %d and %d, the kernel knows %v, %d held, %d told; want one id, 2, 2 and 3", first, second, k.known, f.held, f.told)
	}
	p.close(1, true)
	p.close(1, true)
	p.close(2, true)
	if len(k.known) != 0 || f.held != 0 || len(p.inodes) != 0 {
		t.Errorf("all closed: the kernel knows %v, %d held, %d inodes; want nothing", k.known, f.held, len(p.inodes))
	}
}

// TestPassthroughRefused has the kernel refuse: for want of something for this once, for others for
// good. Files are served all the same.
func TestPassthroughRefused(t *testing.T) {
	for _, tt := range []struct {
		code syscall.Errno
		want string
	}{
		{syscall.EMFILE, PassthroughOn},
		{syscall.EPERM, "off: the agent lacks CAP_SYS_ADMIN"},
		{syscall.EOPNOTSUPP, "off: the file system of the cache refuses it"},
	} {
		p, k := testPassthrough()
		k.refuse = tt.code
		there := true
		f := &backedFile{there: &there}
		_, passed, err := p.open(1, f)
		if passed || err == nil || p.state() != tt.want || p.refused.Load() != 1 || f.held != 0 {
			t.Errorf("%v: passed = %v, %v, state %q, %d refused, %d held; want false, an error, %q, 1, 0", tt.code, passed, err, p.state(), p.refused.Load(), f.held, tt.want)
		}
		p.close(1, false)
		k.refuse = 0
		if _, passed, _ := p.open(1, f); passed != (tt.want == PassthroughOn) {
			t.Errorf("%v: passed = %v with the next open", tt.code, passed)
		}
	}
}

// TestMountPassthrough has the kernel read a file of the host, whose bytes are others than the
// server's: so they tell who has read them.
func TestMountPassthrough(t *testing.T) {
	c := startChild(t, mountDir(t))
	const name = "size-1048577"
	served, passed := noise(1<<20+1, 1<<20+1), noise(99, 1<<20+1)
	host := t.TempDir() + "/host"
	if err := os.WriteFile(host, passed, 0o600); err != nil {
		t.Fatal(err)
	}
	if state := c.report().Stats.Passthrough; state != PassthroughOn {
		t.Skipf("SKIPPED, no passthrough is tested: %s", state)
	}
	is := func(step string, f *os.File, want []byte) {
		t.Helper()
		got := make([]byte, len(want))
		if n, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: ReadAt() = %d bytes, %v, from elsewhere than expected", step, n, err)
		}
	}
	open := func() *os.File {
		t.Helper()
		f, err := os.Open(c.file(name))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	old := open()
	is("nothing backs it", old, served)
	c.ask("back " + name + " " + host)
	second := open()
	is("backed while it is open", second, served)
	shut := func(files ...*os.File) {
		for _, f := range files {
			_ = f.Close()
			c.ask("closed")
		}
	}
	shut(old, second)
	reads := c.report().Stats.Reads
	first := open()
	is("backed", first, passed)
	mapped, err := syscall.Mmap(int(first.Fd()), 0, len(passed), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil || !bytes.Equal(mapped, passed) {
		t.Errorf("mmap of a file that is passed through: %v, or other bytes", err)
	}
	_ = syscall.Munmap(mapped)
	c.ask("unback " + name)
	both := open()
	is("backed no more, but open so", both, passed)
	if r := c.report(); r.Stats.Reads != reads || r.Stats.PassthroughOpens != 2 || r.Backing != 1 {
		t.Errorf("%d reads were served, %d opens passed through, %d files held; want 0, 2, 1", r.Stats.Reads-reads, r.Stats.PassthroughOpens, r.Backing)
	}
	shut(first, both)
	if r := c.report(); r.Backing != 0 {
		t.Errorf("%d files of the host are held when all is closed, want 0", r.Backing)
	}
	again := open()
	defer func() { _ = again.Close() }()
	is("nothing backs it any more", again, served)
}

// TestMountPassthroughComesAndGoes has readers open a file again and again while it is backed and is
// not: none of them sees an error, or bytes of both.
func TestMountPassthroughComesAndGoes(t *testing.T) {
	c := startChild(t, mountDir(t))
	const name = "size-65537"
	served, passed := noise(65537, 65537), noise(99, 65537)
	host := t.TempDir() + "/host"
	if err := os.WriteFile(host, passed, 0o600); err != nil {
		t.Fatal(err)
	}
	if state := c.report().Stats.Passthrough; state != PassthroughOn {
		t.Skipf("SKIPPED, no passthrough is tested: %s", state)
	}
	var readers, done sync.WaitGroup
	stop := make(chan struct{})
	var counts [2]atomic.Int64
	for range 8 {
		readers.Go(func() {
			for range 300 {
				got, err := os.ReadFile(c.file(name))
				switch {
				case err == nil && bytes.Equal(got, served):
					counts[0].Add(1)
				case err == nil && bytes.Equal(got, passed):
					counts[1].Add(1)
				default:
					t.Errorf("ReadFile() = %d bytes, %v, want those of the server or those of the host", len(got), err)
					return
				}
			}
		})
	}
	done.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				c.ask("back " + name + " " + host)
				c.ask("unback " + name)
			}
		}
	})
	readers.Wait()
	close(stop)
	done.Wait()
	t.Logf("%d served, %d passed through", counts[0].Load(), counts[1].Load())
}
