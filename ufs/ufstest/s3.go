package ufstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// BinEnv names the environment variable that holds the path of the versitygw binary.
const BinEnv = "SHOAL_TEST_S3_BIN"

// startTimeout bounds the wait for a server to answer. It is long because many tests
// start at once on small machines.
const startTimeout = 20 * time.Second

// S3Config holds the settings of a Server. The zero value of each field means its default.
type S3Config struct {
	// Listen is the "host:port" the server binds. Default: a free port of 127.0.0.1.
	Listen string
	// Command is put before the server's command line, for example "nsenter",
	// "--net=/run/netns/s3". It must become the server by exec, not fork it. Default: none.
	Command []string
	// Args are options of versitygw, put before its "posix" verb. Default: none.
	Args []string
	// Buckets are made. Default: "shoal".
	Buckets []string
	// Dir is where the server keeps its buckets. Default: a temporary directory.
	Dir string
	// Dial connects to the server for StartS3 to see that it is up, where it cannot be
	// reached from this network namespace. Default: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// A Server is a real S3 server that runs as a process of its own.
type Server struct {
	Endpoint             string // "http://host:port"
	AccessKey, SecretKey string
	Region               string
	Dir                  string // a bucket is a directory in it, an object a file

	cfg    S3Config
	client *http.Client
	cmd    *exec.Cmd
	log    *bytes.Buffer // what the process wrote; to be read when it has ended
	exited chan struct{} // closed when the process has ended
}

// StartS3 starts a real S3 server, versitygw on a directory, and stops it when the test
// ends. Without the binary it skips the test and says how to get it.
func StartS3(t testing.TB, cfg S3Config) *Server {
	t.Helper()
	bin := os.Getenv(BinEnv)
	if bin == "" {
		t.Skipf("%s is not set, so there is no real S3 server to test with: run "+
			"'go install github.com/versity/versitygw/cmd/versitygw@v1.8.0' and set it to that binary", BinEnv)
	}
	if cfg.Listen == "" {
		cfg.Listen = freeAddress(t)
	}
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	if len(cfg.Buckets) == 0 {
		cfg.Buckets = []string{"shoal"}
	}
	for _, b := range cfg.Buckets {
		if err := os.MkdirAll(filepath.Join(cfg.Dir, b), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := &Server{
		Endpoint: "http://" + cfg.Listen, AccessKey: "shoal-test", SecretKey: "shoal-test-secret",
		Region: "us-east-1", Dir: cfg.Dir, cfg: cfg,
	}
	transport := &http.Transport{DialContext: cfg.Dial, MaxIdleConnsPerHost: 64}
	s.client = &http.Client{Transport: transport, Timeout: time.Minute}
	t.Cleanup(func() {
		s.Stop()
		transport.CloseIdleConnections()
	})
	s.Start(t)
	return s
}

// Start starts the process again after Stop, on the same address and directory, and
// returns when it answers.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	args := append([]string{}, s.cfg.Command...)
	args = append(args, os.Getenv(BinEnv), "--port", s.cfg.Listen, "--region", s.Region,
		"--keep-alive", "--quiet", "--health", "/health")
	args = append(append(args, s.cfg.Args...), "posix", s.Dir)
	s.log, s.exited = &bytes.Buffer{}, make(chan struct{})
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s.AccessKey, "ROOT_SECRET_KEY="+s.SecretKey)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	s.cmd.SysProcAttr = dieWithParent()
	started := make(chan error, 1)
	go func() {
		// The kernel kills the process with the thread that started it, so this
		// thread must live as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(s.exited)
		err := s.cmd.Start()
		started <- err
		if err == nil {
			_ = s.cmd.Wait() // it is killed in the end: the error says nothing
		}
	}()
	if err := <-started; err != nil {
		t.Fatalf("start S3 server: %v", err)
	}
	if err := s.waitReady(); err != nil {
		s.Stop()
		t.Fatalf("start S3 server %s: %v\n%s", strings.Join(args, " "), err, s.log)
	}
}

// Stop kills the process and waits for its end. It may be called more than once.
func (s *Server) Stop() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Kill() // fails only when it has ended
	<-s.exited
}

// waitReady asks the server until it answers. A process of another program gives no
// event to wait for, so this is the one place that asks again and again.
func (s *Server) waitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := s.health(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-again.C:
		case <-s.exited:
			return errors.New("it ended")
		case <-ctx.Done():
			return fmt.Errorf("no answer in %v: %w", startTimeout, err)
		}
	}
}

func (s *Server) health(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint+"/health", nil)
	if err != nil {
		return err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("health: %s", resp.Status)
	}
	return nil
}

// freeAddress returns an address of the loopback interface no one listens on now.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
