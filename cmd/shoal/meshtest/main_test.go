// Package meshtest runs the real binary as users do: three agents in three network
// namespaces, three FUSE mounts, a real S3 server behind a proxy that counts what it
// sends. Each test is one promise of the project, kept or broken before witnesses.
//
// It needs root, /dev/fuse and the S3 server's binary, and runs with `make test-all`.
// The test process only reads the mounts: agents, server and proxy are processes of
// their own, and end with it.
package meshtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if spec := os.Getenv(proxyEnv); spec != "" {
		fmt.Fprintln(os.Stderr, proxyMain(spec))
		os.Exit(1)
	}
	if spec := os.Getenv(sdkEnv); spec != "" {
		os.Exit(sdkMain(spec))
	}
	if os.Getenv(loaderEnv) != "" {
		os.Exit(loaderMain())
	}
	if os.Getenv(readerEnv) != "" {
		readerMain(os.Stdin, os.Stdout)
		return
	}
	os.Exit(testMain(m))
}

// binary is where testMain has put the shoal binary.
var binary string

func testMain(m *testing.M) int {
	if os.Getenv("SHOAL_TEST_ALL") == "" {
		return m.Run() // every test skips, loudly
	}
	dir, err := os.MkdirTemp("", "shoal-meshtest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }() // temporary files are not worth a failure
	binary = filepath.Join(dir, "shoal")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	args := []string{"build", "-o", binary}
	if raceEnabled {
		args = append(args, "-race")
	}
	if out, err := exec.CommandContext(ctx, "go", append(args, "github.com/shoal-mesh/shoal/cmd/shoal")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build shoal: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
