package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/shoal-mesh/shoal/node"
	"github.com/shoal-mesh/shoal/ufs/ufstest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"shoal": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := run(ctx, os.Args[1:])
		stop()
		os.Exit(code)
	}})
}

// TestScripts runs the command line as a user does. Scripts may use $PORT1 to $PORT3,
// free ports, $BUSY, a port in use, and, on the condition [s3], $S3, the endpoint of a
// real S3 server with the bucket "train".
func TestScripts(t *testing.T) {
	var server *ufstest.Server
	if os.Getenv(ufstest.BinEnv) != "" {
		server = ufstest.StartS3(t, ufstest.S3Config{Buckets: []string{"train"}})
	}
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(env *testscript.Env) error {
			var free []net.Listener // all are taken before any is given back, so that they differ
			for _, name := range []string{"PORT1", "PORT2", "PORT3", "BUSY"} {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					return err
				}
				_, port, err := net.SplitHostPort(l.Addr().String())
				if err != nil {
					return err
				}
				env.Setenv(name, port)
				if name == "BUSY" {
					env.Defer(func() { _ = l.Close() }) // at the end of the script
				} else {
					free = append(free, l)
				}
			}
			for _, l := range free {
				if err := l.Close(); err != nil {
					return err
				}
			}
			if server != nil {
				env.Setenv("S3", server.Endpoint)
			}
			return os.WriteFile(filepath.Join(env.WorkDir, "secret"), []byte("a secret of these scripts"), 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"waitready": waitReady, "waitagents": waitAgents, "nothingleft": nothingLeft,
			"fillcache": fillCache, "flip": flip,
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "s3":
				return server != nil, nil
			case "root":
				return os.Geteuid() == 0, nil
			}
			_, err := exec.LookPath(cond)
			return err == nil, nil
		},
	})
}

// waitReady waits until the agent at $SHOAL_SOCKET answers.
func waitReady(ts *testscript.TestScript, _ bool, _ []string) {
	agent := newClient(ts.Getenv("SHOAL_SOCKET"))
	wait(ts, "the agent answers", func() bool {
		var s node.Status
		return agent.get(context.Background(), "/v1/status", nil, &s) == nil
	})
}

// waitAgents waits until a demo in the directory d has started its agents.
func waitAgents(ts *testscript.TestScript, _ bool, _ []string) {
	wait(ts, "the demo's agents serve", func() bool {
		found, err := filepath.Glob(ts.MkAbs("d/*/node-3/cache/state/identity.key"))
		return err == nil && len(found) == 1
	})
}

// nothingLeft fails when a demo in the directory d left a file, a mount or a process.
func nothingLeft(ts *testscript.TestScript, _ bool, _ []string) {
	left, err := os.ReadDir(ts.MkAbs("d"))
	ts.Check(err)
	if len(left) > 0 {
		ts.Fatalf("left on disk: %v", left)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	ts.Check(err)
	if strings.Contains(string(mounts), ts.MkAbs("d")) {
		ts.Fatalf("left mounted:\n%s", mounts)
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	ts.Check(err)
	for _, p := range processes {
		line, err := os.ReadFile(p)
		if err == nil && strings.Contains(string(line), ts.MkAbs("d")+"/shoal-demo") {
			ts.Fatalf("left running: %q", line)
		}
	}
}

// wait waits for what another process brings about.
func wait(ts *testscript.TestScript, what string, ok func() bool) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			ts.Fatalf("not within 30s: %s", what)
		}
	}
}
