package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal/node"
)

// A fleet is the demo's agents.
type fleet struct {
	agents  []*agent
	mounted bool
	sockets string        // directory; beside the rest, since the path of a socket must be short
	starter chan struct{} // closed to let the thread that started the agents go
	done    chan struct{} // closed when it has
}

// An agent is one process of the fleet.
type agent struct {
	name   string
	mount  string // "" without FUSE
	socket string
	cmd    *exec.Cmd
	log    *logTail
	http   http.Client
	exited chan struct{}
	killed atomic.Bool
	last   node.Summary // as it was when last asked
}

// startFleet starts the agents and waits until each sees all of them.
func startFleet(ctx context.Context, dir string, set *dataset, cfg Config) (*fleet, error) {
	f := &fleet{mounted: !cfg.NoFUSE, starter: make(chan struct{}), done: make(chan struct{})}
	if err := canMount(); err != nil && f.mounted {
		f.mounted = false
		cfg.Progress.Say("no FUSE here (%v): reading through the agents' API instead", err)
	}
	var err error
	if f.sockets, err = os.MkdirTemp("", "shoal-demo-"); err != nil {
		return nil, err
	}
	configs, err := f.configure(dir, set)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(f.sockets))
	}
	started := make(chan error)
	go f.start(cfg, configs, started)
	if err := <-started; err != nil {
		return nil, errors.Join(err, f.stop())
	}
	context.AfterFunc(ctx, f.signal)
	for _, a := range f.agents {
		if err := a.await(ctx, len(f.agents)); err != nil {
			return nil, errors.Join(fmt.Errorf("agent %s: %w\n%s", a.name, err, a.log), f.stop())
		}
	}
	return f, nil
}

// start runs the agents from one thread, and keeps that thread: the kernel ends them
// should this process die without having stopped them (PR_SET_PDEATHSIG).
func (f *fleet) start(cfg Config, configs []string, started chan<- error) {
	defer close(f.done)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for i, a := range f.agents {
		a.log = &logTail{logger: cfg.Logger, name: a.name}
		a.cmd = exec.Command(cfg.Binary, "agent", "--config", configs[i])
		a.cmd.Stderr = a.log
		a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
		if err := a.cmd.Start(); err != nil {
			started <- err
			return
		}
		a.exited = make(chan struct{})
		go func() {
			_ = a.cmd.Wait() // how it ended is in its log
			close(a.exited)
		}()
	}
	close(started)
	<-f.starter
}

// configure writes a config file for each agent.
func (f *fleet) configure(dir string, set *dataset) ([]string, error) {
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte(rand.Text()+rand.Text()), 0o600); err != nil {
		return nil, err
	}
	ports, err := freePorts(2 * nodes)
	if err != nil {
		return nil, err
	}
	configs := make([]string, nodes)
	for i := range nodes {
		home := filepath.Join(dir, fmt.Sprintf("node-%d", i+1))
		a := &agent{name: fmt.Sprintf("node-%d", i+1), socket: filepath.Join(f.sockets, fmt.Sprint(i+1))}
		if f.mounted {
			a.mount = filepath.Join(home, "mnt")
		}
		a.http.Transport = &http.Transport{MaxIdleConnsPerHost: 64, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", a.socket)
		}}
		f.agents = append(f.agents, a)
		configs[i] = filepath.Join(home, "agent.yaml")
		if err := os.MkdirAll(home, 0o700); err != nil {
			return nil, err
		}
		doc := map[string]any{
			"cluster": map[string]any{
				"name": "demo", "secret_file": secret, "node_name": a.name,
				"join": []string{fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[2])},
			},
			"listen": map[string]any{
				"gossip": fmt.Sprintf("127.0.0.1:%d", ports[2*i]), "peer": fmt.Sprintf("127.0.0.1:%d", ports[2*i+1]), "admin": "off",
			},
			"cache":     []any{map[string]any{"path": filepath.Join(home, "cache"), "size": fmt.Sprint(max(64<<20, 2*set.bytes()))}},
			"mount":     map[string]any{"path": a.mount},
			"namespace": []any{map[string]any{"path": "/data", "ufs": "file://" + set.dir}},
			"admin":     map[string]any{"socket": a.socket},
			"log":       map[string]any{"level": "warn"},
		}
		text, err := json.MarshalIndent(doc, "", "  ") // JSON is YAML
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(configs[i], text, 0o600); err != nil {
			return nil, err
		}
	}
	return configs, nil
}

// freePorts returns ports of the loopback interface that are free for TCP and UDP now.
func freePorts(n int) (ports []int, err error) {
	for len(ports) < n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, l.Close()) }()
		addr, ok := l.Addr().(*net.TCPAddr)
		if !ok {
			return nil, fmt.Errorf("listener has address %v", l.Addr())
		}
		u, err := net.ListenUDP("udp", &net.UDPAddr{IP: addr.IP, Port: addr.Port})
		if err != nil {
			continue // taken for UDP: the next one
		}
		ports = append(ports, addr.Port)
		if err := u.Close(); err != nil {
			return nil, err
		}
	}
	return ports, nil
}

// canMount says why this machine cannot mount FUSE, or nil.
func canMount() error {
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		return nil
	}
	_, err = exec.LookPath("fusermount3")
	return err
}

// await returns once the agent is ready and sees members nodes.
func (a *agent) await(ctx context.Context, members int) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := a.status(ctx)
		if err == nil && len(s.Members) >= members && s.Mount == a.mount {
			return nil
		}
		select {
		case <-tick.C:
		case <-a.exited:
			return errors.New("ended")
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", errors.Join(err, ctx.Err()))
		}
	}
}

// status asks the agent for its status and remembers it.
func (a *agent) status(ctx context.Context) (node.Status, error) {
	var s node.Status
	body, err := a.get(ctx, "/v1/status", nil)
	if err != nil {
		return s, err
	}
	defer func() { _ = body.Close() }() // only read from
	if err := json.NewDecoder(body).Decode(&s); err != nil {
		return s, err
	}
	a.last = s.Summary
	return s, nil
}

func (a *agent) get(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent"+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		text, err := io.ReadAll(resp.Body)
		return nil, errors.Join(fmt.Errorf("%s: %s", resp.Status, text), err, resp.Body.Close())
	}
	return resp.Body, nil
}

// open opens a file of the dataset as a user of this node would.
func (a *agent) open(ctx context.Context, name string) (io.ReadCloser, error) {
	if a.mount != "" {
		return os.Open(filepath.Join(a.mount, "data", filepath.FromSlash(name)))
	}
	return a.get(ctx, "/v1/file", url.Values{"path": {"/data/" + name}})
}

// kill ends the agent as a crash would, after noting what it had done.
func (a *agent) kill(ctx context.Context) error {
	_, err := a.status(ctx)
	a.killed.Store(true)
	err = errors.Join(err, a.cmd.Process.Kill())
	<-a.exited
	return errors.Join(err, a.unmount())
}

// unmount takes away what a killed agent left mounted.
func (a *agent) unmount() error {
	if a.mount == "" {
		return nil
	}
	err := unix.Unmount(a.mount, unix.MNT_DETACH)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil // it had unmounted itself
	}
	if errors.Is(err, unix.EPERM) {
		return exec.Command("fusermount3", "-u", "-z", a.mount).Run()
	}
	return err
}

// signal asks every agent to end, which frees readers that hang on its mount.
func (f *fleet) signal() {
	for _, a := range f.agents {
		if a.exited != nil && !a.killed.Load() {
			_ = a.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
		}
	}
}

// stop ends every agent: with a signal first, after five seconds without mercy.
func (f *fleet) stop() error {
	f.signal()
	var errs []error
	limit := time.After(5 * time.Second)
	for _, a := range f.agents {
		if a.exited == nil {
			continue
		}
		select {
		case <-a.exited:
		case <-limit:
			_ = a.cmd.Process.Kill()
			<-a.exited
		}
		errs = append(errs, a.unmount())
	}
	close(f.starter)
	<-f.done
	return errors.Join(append(errs, os.RemoveAll(f.sockets))...)
}

// A logTail passes an agent's log on and keeps its end for the case that it fails.
type logTail struct {
	logger *slog.Logger
	name   string

	mu   sync.Mutex // guards the fields below
	tail []byte
}

func (t *logTail) Write(p []byte) (int, error) {
	t.logger.Warn(string(bytes.TrimSpace(p)), "agent", t.name)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tail = append(t.tail, p...)
	if over := len(t.tail) - 4096; over > 0 {
		t.tail = t.tail[over:]
	}
	return len(p), nil
}

func (t *logTail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.tail)
}
