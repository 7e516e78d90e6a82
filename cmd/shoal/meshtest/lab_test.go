package meshtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal/node"
	"github.com/shoal-mesh/shoal/ufs/ufstest"
)

// A lab is a small data centre: a hub namespace with a bridge, the S3 server and the
// counting proxy, and a namespace with an agent for each node.
type lab struct {
	dir     string
	hub     string // network namespace
	control string // the proxy's unix socket
	s3      *ufstest.Server
	nodes   []*labNode
	secret  string   // file
	seeds   []string // gossip addresses that agents ask for the way in
}

// A labNode is one node: its namespace, its address and its agent.
type labNode struct {
	lab    *lab
	name   string
	netns  string
	addr   string
	home   string
	mount  string
	small  string // the mount point for small files, "" without one
	config map[string]any
	agent  *process
	http   http.Client
}

const (
	bucket  = "train"
	s3Addr  = "10.77.0.100"
	s3Port  = "9000"
	command = 60 * time.Second // hard limit of every helper command
)

// newLab builds a lab of n nodes whose agents do not run yet.
func newLab(t testing.TB, n int) *lab {
	t.Helper()
	needs(t)
	l := &lab{dir: t.TempDir(), hub: fmt.Sprintf("shoal-%d-hub", os.Getpid())}
	l.control = filepath.Join(l.dir, "proxy.sock")
	l.secret = filepath.Join(l.dir, "secret")
	if err := os.WriteFile(l.secret, []byte("a secret only this lab knows"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.namespace(t, l.hub)
	l.ip(t, "-n", l.hub, "link", "add", "br0", "type", "bridge")
	l.ip(t, "-n", l.hub, "addr", "add", s3Addr+"/24", "dev", "br0")
	l.ip(t, "-n", l.hub, "link", "set", "br0", "up")
	if n > 1 { // an agent waits a while for seeds that do not answer
		l.seeds = []string{"10.77.0.1:7946", "10.77.0.2:7946"}
	}
	for i := range n {
		l.nodes = append(l.nodes, l.addNode(t, i+1))
	}
	l.s3 = ufstest.StartS3(t, ufstest.S3Config{
		Listen: "127.0.0.1:7070", Command: []string{"nsenter", "--net=/run/netns/" + l.hub}, Buckets: []string{bucket},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialIn(ctx, l.hub, network, address)
		},
	})
	l.startProxy(t, s3Addr+":"+s3Port, l.s3.Endpoint)
	return l
}

// needs skips the test where the machine cannot run it, and says why.
func needs(t testing.TB) {
	t.Helper()
	if os.Getenv("SHOAL_TEST_ALL") == "" {
		t.Skip("SHOAL_TEST_ALL is not set: run `make test-all` for tests with real servers and namespaces")
	}
	if os.Geteuid() != 0 {
		t.Skip("not root: network namespaces and mounts cannot be made")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skipf("no FUSE: %v", err)
	}
}

// namespace makes a network namespace that is removed when the test ends.
func (l *lab) namespace(t testing.TB, name string) {
	t.Helper()
	l.ip(t, "netns", "add", name)
	t.Cleanup(func() { l.ip(t, "netns", "del", name) })
	l.ip(t, "-n", name, "link", "set", "lo", "up")
}

// addNode makes a node's namespace and cables it to the hub.
func (l *lab) addNode(t testing.TB, i int) *labNode {
	t.Helper()
	n := &labNode{
		lab: l, name: fmt.Sprintf("n%d", i), netns: fmt.Sprintf("shoal-%d-n%d", os.Getpid(), i),
		addr: fmt.Sprintf("10.77.0.%d", i),
	}
	n.home = filepath.Join(l.dir, n.name)
	n.mount = filepath.Join(n.home, "mnt")
	if err := os.MkdirAll(n.home, 0o700); err != nil {
		t.Fatal(err)
	}
	l.namespace(t, n.netns)
	l.ip(t, "-n", n.netns, "link", "add", "eth0", "type", "veth", "peer", "name", n.name, "netns", l.hub)
	l.ip(t, "-n", n.netns, "addr", "add", n.addr+"/24", "dev", "eth0")
	l.ip(t, "-n", n.netns, "link", "set", "eth0", "up")
	l.ip(t, "-n", l.hub, "link", "set", n.name, "master", "br0", "up")
	n.http.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", n.socket())
	}}
	n.http.Timeout = 30 * time.Second
	n.config = n.defaultConfig(t)
	return n
}

func (n *labNode) socket() string { return filepath.Join(n.home, "admin.sock") }

// defaultConfig returns the node's config, which a test may change before it starts it.
func (n *labNode) defaultConfig(t testing.TB) map[string]any {
	t.Helper()
	access, secret := filepath.Join(n.lab.dir, "access"), filepath.Join(n.lab.dir, "secretkey")
	for file, text := range map[string]string{access: "shoal-test", secret: "shoal-test-secret"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return map[string]any{
		"cluster": map[string]any{
			"name": "lab", "secret_file": n.lab.secret, "node_name": n.name, "join": n.lab.seeds,
		},
		"listen": map[string]any{"gossip": n.addr + ":7946", "peer": n.addr + ":7947", "admin": "127.0.0.1:7948"},
		"cache":  []any{map[string]any{"path": filepath.Join(n.home, "cache"), "size": "8GiB"}},
		"mount":  map[string]any{"path": n.mount},
		"namespace": []any{map[string]any{
			"path": "/data", "ufs": "s3://" + bucket,
			"s3":       map[string]any{"endpoint": "http://" + s3Addr + ":" + s3Port, "access_key_file": access, "secret_key_file": secret},
			"metadata": map[string]any{"ttl": "60s"},
		}},
		"admin": map[string]any{"socket": n.socket()},
	}
}

// start runs the node's agent and waits until it sees members nodes.
func (n *labNode) start(t testing.TB, members int) {
	t.Helper()
	n.launch(t)
	n.lab.until(t, fmt.Sprintf("%s sees %d members", n.name, members), func() bool {
		if n.agent.ended() {
			t.Fatalf("agent %s ended:\n%s", n.name, n.agent.log)
		}
		s, err := n.tryStatus()
		return err == nil && len(s.Members) == members
	})
}

// launch runs the node's agent and does not wait.
func (n *labNode) launch(t testing.TB) {
	t.Helper()
	text, err := json.Marshal(n.config) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(n.home, "agent.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	n.agent = n.lab.launch(t, n.name, n.netns, nil, binary, "agent", "--config", file)
	t.Cleanup(func() { n.unmount() })
}

// kill ends the agent as a crash would. Its mount stays behind, dead.
func (n *labNode) kill(t testing.TB) {
	t.Helper()
	if err := n.agent.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-n.agent.exited
}

// stop ends the agent in order.
func (n *labNode) stop(t testing.TB) {
	t.Helper()
	if err := n.agent.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-n.agent.exited:
	case <-time.After(command):
		t.Fatalf("agent %s does not end:\n%s", n.name, n.agent.log)
	}
}

// unmount takes away what a killed agent left mounted.
func (n *labNode) unmount() {
	_ = unix.Unmount(n.mount, unix.MNT_DETACH) // fails when there is nothing
	_ = unix.Unmount(n.small, unix.MNT_DETACH)
}

func (n *labNode) path(elem ...string) string {
	return filepath.Join(append([]string{n.mount, "data"}, elem...)...)
}

// mountSmallFiles has the node's agent mount the namespace for small files too.
func (n *labNode) mountSmallFiles() {
	mount, ok := n.config["mount"].(map[string]any)
	if !ok {
		panic("the lab's config mounts nothing")
	}
	n.small = filepath.Join(n.home, "small")
	mount["small_files"] = n.small
}

// smallPath is path on the mount for small files.
func (n *labNode) smallPath(elem ...string) string {
	return filepath.Join(append([]string{n.small, "data"}, elem...)...)
}

func (n *labNode) tryStatus() (s node.Status, err error) {
	err = n.get("/v1/status", nil, &s)
	return s, err
}

func (n *labNode) status(t testing.TB) node.Status {
	t.Helper()
	s, err := n.tryStatus()
	if err != nil {
		t.Fatalf("status of %s: %v\n%s", n.name, err, n.agent.log)
	}
	return s
}

// get asks the node's admin API.
func (n *labNode) get(path string, query url.Values, v any) error {
	return n.call(http.MethodGet, path, query, v)
}

// call has the node's admin API do something.
func (n *labNode) call(method, path string, query url.Values, v any) (err error) {
	req, err := http.NewRequest(method, "http://agent"+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := n.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(v)
}

// A process is a child in a network namespace; it ends when the test does.
type process struct {
	cmd    *exec.Cmd
	log    *syncBuffer
	exited chan struct{}
}

func (p *process) ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// launch starts a process in a namespace. It is killed when the test ends, or dies.
func (l *lab) launch(t testing.TB, name, netns string, env []string, args ...string) *process {
	t.Helper()
	p := &process{log: &syncBuffer{}}
	p.cmd = exec.Command("nsenter", append([]string{"--net=/run/netns/" + netns}, args...)...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.start(t, name)
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.exited
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, p.log)
		}
	})
	return p
}

// start starts the process, which dies with the test's.
func (p *process) start(t testing.TB, name string) {
	t.Helper()
	p.exited = make(chan struct{})
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// Pdeathsig follows the thread that started the child, so that thread stays.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // how it ended is the test's business
		}
		close(p.exited)
	}()
	if err := <-started; err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
}

// until waits for a condition that another process brings about.
func (l *lab) until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	limit := time.After(command)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not within %v: %s", command, what)
		}
	}
}

// ip runs iproute2's ip.
func (l *lab) ip(t testing.TB, args ...string) { l.run(t, "ip", args...) }

// run runs a command to its end.
func (l *lab) run(t testing.TB, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), command)
	defer cancel()
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// dialIn dials from a network namespace.
func dialIn(ctx context.Context, netns, network, address string) (net.Conn, error) {
	return within(netns, func() (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	})
}

// listenIn listens for TCP connections in a network namespace until the test ends.
func listenIn(t testing.TB, netns, address string) net.Listener {
	t.Helper()
	l, err := within(netns, func() (net.Listener, error) { return net.Listen("tcp", address) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // nobody is connected any more
	return l
}

// within makes a socket in a network namespace: it belongs to that of the thread that makes it.
func within[S any](netns string, open func() (S, error)) (S, error) {
	type result struct {
		socket S
		err    error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its namespace
		var r result
		f, err := os.Open("/run/netns/" + netns)
		if err == nil {
			defer func() { _ = f.Close() }() // only a handle
			err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
		}
		if r.err = err; err == nil {
			r.socket, r.err = open()
		}
		done <- r
	}()
	r := <-done
	return r.socket, r.err
}

// A syncBuffer collects a process's output.
type syncBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
