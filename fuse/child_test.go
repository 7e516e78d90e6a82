package fuse

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
	"golang.org/x/sys/unix"
)

// The mount tests run the server in a child: the test binary, started again. The test's
// own process only reads, as a process that serves a mount must never touch it.
const (
	serveEnv = "SHOAL_TEST_SERVE" // the child mounts at this path
	elideEnv = "SHOAL_TEST_ELIDE" // it elides opens
	readEnv  = "SHOAL_TEST_READ"  // the child reads this file with O_DIRECT, on its main thread
	busyWait = 300 * time.Millisecond
	// hardLimit ends every test that hangs: the connection is aborted, the child killed.
	hardLimit = 60 * time.Second
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(serveEnv) != "":
		os.Exit(serveChild(os.Getenv(serveEnv), os.Stdin, os.Stdout))
	case os.Getenv(readEnv) != "":
		os.Exit(readChild(os.Getenv(readEnv)))
	}
	os.Exit(m.Run())
}

// sizes are those of the files size-N that the child serves.
func sizes() []int {
	return []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 1<<20 - 1, 1 << 20, 1<<20 + 1, 5 << 20}
}

const manyFiles = 3000

func childTree() *tree {
	t := newTree()
	for _, n := range sizes() {
		t.file(shoal.RootID, fmt.Sprintf("size-%d", n), noise(uint64(n), n))
	}
	many := t.dir(shoal.RootID, "many")
	for i := range manyFiles {
		t.file(many, fmt.Sprintf("file-%05d", i), noise(uint64(i), i%7))
	}
	sub := t.dir(t.dir(shoal.RootID, "sub"), "deeper")
	t.file(sub, "file", []byte("deep"))
	for _, name := range []string{"gate-1", "gate-2", "gate-3", "eio-1", "stale-1", "panic-1", "short-1", "changes"} {
		t.file(shoal.RootID, name, noise(9, 8192))
	}
	return t
}

// report is what the child answers to "stats".
type report struct {
	Stats   Stats
	Lookups map[string]int
	Closed  int
	Backing int // files of the host that are held
	Error   string
}

// serveChild mounts, says "ready", and does what it reads a line at a time until
// there is no more, so that it ends with the test that started it.
func serveChild(path string, in io.Reader, out io.Writer) int {
	tr := childTree()
	s, err := Mount(tr, tr, Config{
		Path: path, Cluster: "test", AllowOther: true,
		NegativeTimeout: time.Minute, UnmountTimeout: busyWait, ElideOpens: os.Getenv(elideEnv) != "", XAttr: tr.XAttr,
		Statfs: func() Space { return Space{Bytes: 1 << 30, FreeBytes: 1 << 29} },
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		_, _ = fmt.Fprintln(out, err)
		return 1
	}
	_, err = fmt.Fprintln(out, "ready")
	for lines := bufio.NewScanner(in); err == nil && lines.Scan(); {
		_, err = fmt.Fprintln(out, obey(s, tr, strings.Fields(lines.Text())))
	}
	if err := s.Unmount(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func obey(s *Server, tr *tree, command []string) string {
	var err error
	switch command[0] {
	case "stats":
		tr.mu.Lock()
		defer tr.mu.Unlock()
		b, _ := json.Marshal(report{Stats: s.Stats(), Lookups: tr.lookups, Closed: tr.closed, Backing: tr.backings})
		return string(b)
	case "entered": // wait until something blocks
		return <-tr.entered
	case "cancelled": // wait until what blocks is cancelled
		return <-tr.cancelled
	case "release": // let everything go on that blocks
		tr.mu.Lock()
		defer tr.mu.Unlock()
		close(tr.gate)
		tr.gate = make(chan struct{})
	case "remove": // a name of the root, and its id
		tr.remove(command[1])
	case "change": // a new version of a file of the root
		tr.file(shoal.RootID, command[1], noise(10, 4096))
	case "listed": // all directories, by a listing that began then; never for 0
		tr.mu.Lock()
		defer tr.mu.Unlock()
		seconds, _ := strconv.ParseInt(command[1], 10, 64)
		if tr.began = (time.Time{}); seconds > 0 {
			tr.began = time.Unix(seconds, 0)
		}
	case "add-below": // a file of a directory of the root
		tr.file(tr.rootDir(command[1]), command[2], nil)
	case "remove-below":
		tr.removeFrom(tr.rootDir(command[1]), command[2])
	case "invalidate":
		if err = s.Invalidate(bg(), shoal.RootID, command[1]); err == nil {
			err = s.Sync(bg())
		}
	case "sweep": // as in time
		s.raw.kept.sweep()
	case "unmount":
		err = s.Unmount()
	case "wait":
		s.Wait()
	case "closed": // wait until a file has been closed
		<-tr.shut
	case "back": // the kernel may read a file by itself
		tr.mu.Lock()
		defer tr.mu.Unlock()
		tr.backed[command[1]] = command[2]
	case "unback":
		tr.mu.Lock()
		defer tr.mu.Unlock()
		delete(tr.backed, command[1])
	case "big": // a file for benchmarks
		n, _ := strconv.Atoi(command[2])
		tr.file(shoal.RootID, command[1], noise(11, n))
	}
	if err != nil {
		return err.Error()
	}
	return "ok"
}

// readChild tells its main thread's id, reads 4096 bytes there and tells how that ended.
func readChild(path string) int {
	runtime.LockOSThread()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(unix.Gettid())
	buf, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	n, err := unix.Pread(fd, buf, 0)
	fmt.Println(n, err)
	return 0
}

// A child serves a mount.
type child struct {
	t     testing.TB
	path  string
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
	ended chan struct{}
}

// requireFUSE skips the test where nothing can be mounted.
func requireFUSE(t testing.TB) {
	t.Helper()
	if _, err := os.Stat(device); err != nil {
		t.Skipf("SKIPPED, no mount is tested: %v", err)
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED, no mount is tested: not root")
	}
}

// startChild mounts in a child of the test's and waits until it serves.
func startChild(t testing.TB, path string) *child {
	t.Helper()
	requireFUSE(t)
	c, answer := runChild(t, path)
	if answer != "ready" {
		t.Fatalf("mount in child: %s", answer)
	}
	return c
}

func mountDir(t testing.TB) string {
	t.Helper()
	requireFUSE(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "mnt")
}

func runChild(t testing.TB, path string) (*child, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serveEnv+"="+path, "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if testing.Verbose() {
		cmd.Stderr = os.Stderr
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, path: path, cmd: cmd, in: in, lines: make(chan string, 1), ended: make(chan struct{})}
	// Pdeathsig is of the thread that starts the child: it must not end before us.
	runtime.LockOSThread()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			c.lines <- lines.Text()
		}
		_ = cmd.Wait()
	}()
	limit := hardLimit
	if _, long := t.(*testing.B); long {
		limit *= 10
	}
	watchdog := time.AfterFunc(limit, c.kill)
	t.Cleanup(func() {
		defer runtime.UnlockOSThread()
		defer watchdog.Stop()
		_ = in.Close()
		limit := time.AfterFunc(10*time.Second, c.kill)
		defer limit.Stop()
		<-c.ended
		c.detach()
	})
	return c, c.answer()
}

// kill ends the child and what waits for it, whatever state they are in.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	c.detach()
}

// detach removes what is mounted, aborting it.
func (c *child) detach() {
	for unix.Unmount(c.path, unix.MNT_DETACH|unix.MNT_FORCE) == nil {
		continue
	}
}

// ask has the child obey a command and returns its answer.
func (c *child) ask(command string) string {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.in, command); err != nil {
		c.t.Fatalf("%s: %v", command, err)
	}
	return c.answer()
}

func (c *child) answer() string {
	c.t.Helper()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	select {
	case line := <-c.lines:
		return line
	case <-c.ended:
		c.t.Fatal("child ended")
	case <-limit.C:
		c.kill()
		c.t.Fatal("child does not answer")
	}
	return ""
}

func (c *child) report() report {
	c.t.Helper()
	var r report
	if line := c.ask("stats"); json.Unmarshal([]byte(line), &r) != nil {
		c.t.Fatalf("stats = %q, want JSON", line)
	}
	return r
}

func (c *child) file(name string) string { return filepath.Join(c.path, name) }
