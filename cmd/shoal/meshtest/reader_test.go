package meshtest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zeebo/xxh3"
	"golang.org/x/sys/unix"
)

// readerEnv makes the test binary run as a reader of files, which does what it reads a line at a
// time, on its main thread: so it can be killed, and may hang, in the test's place.
const readerEnv = "SHOAL_TEST_READER"

// A deed is what a reader is to do.
type deed struct {
	// Do is open (Path, which stays open), map (the open file, which stays mapped), read (the open
	// file), load (the mapped one), direct (Path, past the page cache), stat or list (Path). What
	// fails of a read through the page cache the kernel asks for once more: direct sees each failure.
	Do       string
	Path     string
	Off, Len int64
}

// A reading is what came of a deed.
type reading struct {
	Bytes int
	Sum   uint64 // xxh3 of the bytes
	Fault string // the errno's name, or SIGBUS; "" for none
}

func (r reading) String() string {
	if r.Fault != "" {
		return r.Fault
	}
	return fmt.Sprintf("%d bytes, sum %x", r.Bytes, r.Sum)
}

// is reports whether the reading is of these bytes.
func (r reading) is(data []byte) bool {
	return r.Fault == "" && r.Bytes == len(data) && r.Sum == xxh3.Hash(data)
}

// readerMain does deeds until there are no more.
func readerMain(in io.Reader, out io.Writer) {
	runtime.LockOSThread()
	debug.SetPanicOnFault(true)
	var h held
	answers := json.NewEncoder(out)
	for deeds := json.NewDecoder(in); ; {
		var d deed
		if deeds.Decode(&d) != nil {
			return
		}
		data, err := h.do(d)
		if answers.Encode(reading{len(data), xxh3.Hash(data), faultName(err)}) != nil {
			return
		}
	}
}

// held is what a reader has open and mapped.
type held struct {
	fd     int
	mapped []byte
}

var errBus = errors.New("SIGBUS")

// do does one deed, and returns the bytes it read.
func (h *held) do(d deed) (data []byte, err error) {
	switch d.Do {
	case "open":
		h.fd, err = unix.Open(d.Path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	case "map":
		h.mapped, err = unix.Mmap(h.fd, 0, int(d.Len), unix.PROT_READ, unix.MAP_SHARED)
	case "read":
		return pread(h.fd, make([]byte, d.Len), d.Off)
	case "load":
		return h.load(d)
	case "direct":
		fd, err := unix.Open(d.Path, unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		defer func() { _ = unix.Close(fd) }()
		return pread(fd, make([]byte, d.Len), d.Off)
	case "stat":
		_, err = os.Stat(d.Path)
	case "list":
		_, err = os.ReadDir(d.Path)
	}
	return nil, err
}

// load copies mapped bytes. A fault that the kernel answers with SIGBUS is an error.
func (h *held) load(d deed) (data []byte, err error) {
	defer func() {
		if recover() != nil {
			data, err = nil, errBus
		}
	}()
	return append([]byte(nil), h.mapped[d.Off:d.Off+d.Len]...), nil
}

// pread reads at off until p is full, or the file ends.
func pread(fd int, p []byte, off int64) ([]byte, error) {
	n := 0
	for n < len(p) {
		m, err := unix.Pread(fd, p[n:], off+int64(n))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || m == 0 {
			return p[:n], err
		}
		n += m
	}
	return p, nil
}

func faultName(err error) string {
	var code syscall.Errno
	switch {
	case err == nil:
		return ""
	case errors.As(err, &code):
		return unix.ErrnoName(code)
	}
	return err.Error()
}

// A readerChild is a process that reads a mount.
type readerChild struct {
	process
	node     *labNode
	in       io.WriteCloser
	readings chan reading
}

// startReader starts a reader, which ends with the test at the latest.
func (n *labNode) startReader(t testing.TB) *readerChild {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := &readerChild{node: n, readings: make(chan reading, 1)}
	r.cmd, r.log = exec.Command(self), &syncBuffer{}
	r.cmd.Env = append(os.Environ(), readerEnv+"=1")
	out, answers := io.Pipe()
	r.cmd.Stdout, r.cmd.Stderr = answers, r.log
	if r.in, err = r.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for lines := json.NewDecoder(bufio.NewReader(out)); ; {
			var got reading
			if lines.Decode(&got) != nil {
				return
			}
			r.readings <- got
		}
	}()
	r.start(t, "reader")
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill() // it may have ended
		select {
		case <-r.exited:
		case <-time.After(command):
			t.Errorf("a killed reader does not end, its connection is aborted\n%s", r.threads())
			_ = unix.Unmount(n.mount, unix.MNT_FORCE|unix.MNT_DETACH)
			<-r.exited
		}
		_ = answers.Close() // ends the goroutine above
	})
	return r
}

// begin has the reader do something and does not wait.
func (r *readerChild) begin(t testing.TB, d deed) {
	t.Helper()
	if d.Path != "" && !filepath.IsAbs(d.Path) {
		d.Path = r.node.path(d.Path)
	}
	if err := json.NewEncoder(r.in).Encode(d); err != nil {
		t.Fatalf("reader: %v\n%s", err, r.log)
	}
}

// wait returns what came of what the reader does; twice the longest that may take ends the test.
func (r *readerChild) wait(t testing.TB) reading {
	t.Helper()
	late := time.NewTimer(2 * readLimit)
	defer late.Stop()
	select {
	case got := <-r.readings:
		return got
	case <-r.exited:
		t.Fatalf("a reader ended:\n%s", r.log)
	case <-late.C:
		t.Fatalf("a reader does not answer within %v:\n%s", 2*readLimit, r.threads())
	}
	return reading{}
}

// does has the reader do something and waits for what comes of it.
func (r *readerChild) does(t testing.TB, d deed) reading {
	t.Helper()
	r.begin(t, d)
	return r.wait(t)
}

// kill kills the reader and returns how long it took to go; limit ends the test.
func (r *readerChild) kill(t testing.TB, limit time.Duration) time.Duration {
	t.Helper()
	begun := time.Now()
	if err := r.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-r.exited:
	case <-time.After(limit):
		t.Fatalf("a killed reader is not gone after %v:\n%s", limit, r.threads())
	}
	return time.Since(begun)
}

// waiting reports whether a thread of the reader waits in the kernel for the mount: in D state, or
// in FUSE.
func (r *readerChild) waiting() bool {
	for line := range strings.Lines(r.threads()) {
		if f := strings.Fields(line); len(f) == 3 && (f[1] == "D" || strings.Contains(f[2], "fuse") || strings.Contains(f[2], "request_wait_answer")) {
			return true
		}
	}
	return false
}

// threads returns a line for each thread of the reader: its id, its state and where it waits.
func (r *readerChild) threads() string {
	var text strings.Builder
	dirs, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", r.cmd.Process.Pid))
	for _, dir := range dirs {
		stat, _ := os.ReadFile(filepath.Join(dir, "stat"))
		where, _ := os.ReadFile(filepath.Join(dir, "wchan"))
		if _, after, ok := strings.Cut(string(stat), ") "); ok {
			fmt.Fprintf(&text, "%s %c %s\n", filepath.Base(dir), after[0], where)
		}
	}
	return text.String()
}
