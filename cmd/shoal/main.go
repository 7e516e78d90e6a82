// Command shoal runs an agent of the mesh and speaks to running ones.
//
// Each verb is one file of this package with its help text inside. A verb parses its
// flags, calls the package that does the work and prints: what an agent decides is below.
//
// Exit codes: 0 done, 1 it could not be done, 2 the command line, the config or the scenario is
// wrong, 3 a simulation ran, and what its scenario expects does not hold.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal, a second later, kills the process at once. The same signal sent
	// twice, to the process and to its group, does not.
	context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, stop) })
	os.Exit(run(ctx, os.Args[1:]))
}

// A usageError says that the command line or the config is wrong, not the work.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// An expectError says that a simulation ran, and that what its scenario expects does not hold.
type expectError struct{ error }

func (e expectError) Unwrap() error { return e.error }

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "shoal: %v\n", err)
	var expect expectError
	if errors.As(err, &expect) {
		return 3
	}
	var usage usageError
	// Cobra has no type for an unknown verb.
	if errors.As(err, &usage) || strings.HasPrefix(err.Error(), "unknown command") {
		return 2
	}
	return 1
}

// newRoot returns the command tree.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "shoal",
		Short: "The NVMe of a GPU fleet as one masterless cache",
		Long: `Shoal turns the NVMe of a GPU fleet into one cache of S3, HDFS and NAS. One agent
runs on every node; none of them is a master. Users read one shared path.`,
		SilenceUsage: true, SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %q", err, c.CommandPath()+" --help")}
	})
	root.AddCommand(agentCmd(), demoCmd(), statusCmd(), lsCmd(), statCmd(), storeCmd(), freeCmd(), syncCmd(), drainCmd(), doctorCmd(), simCmd(), versionCmd())
	refuseArgs(root)
	for _, v := range later() {
		root.AddCommand(v)
	}
	return root
}

// refuseArgs makes arguments that a verb does not take a usageError.
func refuseArgs(parent *cobra.Command) {
	for _, c := range parent.Commands() {
		if check := c.Args; check != nil {
			c.Args = func(c *cobra.Command, args []string) error {
				if err := check(c, args); err != nil {
					return usageError{fmt.Errorf("%s: %w", strings.TrimPrefix(c.CommandPath(), "shoal "), err)}
				}
				return nil
			}
		}
		refuseArgs(c)
	}
}

// later returns the verbs of the design that this version refuses by name.
func later() []*cobra.Command {
	verbs := []struct{ name, what string }{
		{"top", "the live view of the mesh"},
		{"explain", "the account of why reads were local, peer or ufs"},
		{"load", "preloading"},
		{"pin", "pinning"},
		{"unpin", "pinning"},
		{"hold", "the mount holder"},
	}
	out := make([]*cobra.Command, len(verbs))
	for i, v := range verbs {
		out[i] = &cobra.Command{
			Use: v.name, Short: "Not in this version: " + v.what, Hidden: true, DisableFlagParsing: true,
			RunE: func(*cobra.Command, []string) error {
				return usageError{fmt.Errorf("%s: %s is not in this version", v.name, v.what)}
			},
		}
	}
	return out
}
