package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal/sim"
	"github.com/shoal-mesh/shoal/sim/result"
	"github.com/shoal-mesh/shoal/sim/scenario"
)

func simCmd() *cobra.Command {
	c := &cobra.Command{
		Use: "sim", Short: "Predict what a fleet's cache will do, before anything is changed", Args: cobra.NoArgs,
		Long: `Simulate a fleet: where reads are served from, what that costs the under file system, how
long jobs wait, and what happens when nodes fail. Evictions and replicas are decided by the
agents' own code. It needs no agent and no dataset, only a scenario: a file
(docs/simulator.md), or the name of a ready one ("shoal sim run --list").

The same scenario and seed give the same report, byte for byte.`,
		RunE: func(*cobra.Command, []string) error {
			return usageError{errors.New(`sim: what is to be done? see "shoal sim --help"`)}
		},
	}
	c.AddCommand(
		simRunCmd(),
		simTraceCmd(),
		simSweepCmd(),
		simCompareCmd(),
		simConvertCmd(),
		simRecommendCmd(),
	)
	return c
}

// simError adds the verb to an error of package sim, and tells a wrong scenario from work that
// could not be done.
func simError(c *cobra.Command, err error) error {
	wrapped := fmt.Errorf("%s: %w", strings.TrimPrefix(c.CommandPath(), "shoal "), err)
	if errors.Is(err, sim.ErrScenario) {
		return usageError{wrapped}
	}
	return wrapped
}

// simSettings are the flags that change keys of a scenario.
type simSettings struct {
	set          []string
	seed, sample string
}

func (s *simSettings) flags(c *cobra.Command) {
	c.Flags().StringArrayVar(&s.set, "set", nil, "change one key of the scenario, like fleet.nodes=16; may be repeated")
	c.Flags().StringVar(&s.seed, "seed", "", "the same as --set seed=")
	c.Flags().StringVar(&s.sample, "sample", "", "the same as --set sample=: the share of blocks that is simulated")
}

// load reads a scenario with the settings in place.
func (s *simSettings) load(c *cobra.Command, name string) (*scenario.Scenario, error) {
	var set []scenario.Setting
	for _, one := range s.set {
		key, value, ok := strings.Cut(one, "=")
		if !ok {
			return nil, usageError{fmt.Errorf("%s: --set %s: write it as key=value", strings.TrimPrefix(c.CommandPath(), "shoal "), one)}
		}
		set = append(set, scenario.Setting{Key: key, Value: value})
	}
	for _, one := range []scenario.Setting{{Key: "seed", Value: s.seed}, {Key: "sample", Value: s.sample}} {
		if one.Value != "" {
			set = append(set, one)
		}
	}
	sc, err := scenario.Load(name, set...)
	if err != nil {
		return nil, usageError{simError(c, err)}
	}
	return sc, nil
}

// A simOutput is where a verb writes what it found, besides its table. "-" is standard output,
// instead of the table.
type simOutput struct{ json, csv, html string }

// A simForm is one form of what was found.
type simForm struct {
	file  string
	write func(io.Writer) error
}

// check refuses what cannot be written, before anything is done.
func (o simOutput) check(c *cobra.Command) error {
	dashes := 0
	for _, file := range []string{o.json, o.csv, o.html} {
		if file == "-" {
			dashes++
		}
	}
	if dashes > 1 {
		return usageError{simError(c, errors.New("only one of the files may be -"))}
	}
	return nil
}

// write writes the table, unless a form takes its place, and the forms that have a file.
func (o simOutput) write(c *cobra.Command, table func(w io.Writer, width int), forms ...simForm) error {
	if o.json != "-" && o.csv != "-" && o.html != "-" {
		table(c.OutOrStdout(), terminalWidth(c.OutOrStdout()))
	}
	for _, f := range forms {
		if err := f.to(c.OutOrStdout()); err != nil {
			return simError(c, err)
		}
	}
	return nil
}

// to writes the form to its file, if it has one, or to standard output.
func (f simForm) to(stdout io.Writer) error {
	switch f.file {
	case "":
		return nil
	case "-":
		return f.write(stdout)
	}
	file, err := os.Create(f.file)
	if err != nil {
		return err
	}
	return errors.Join(f.write(file), file.Close())
}

// terminalWidth returns how many characters a line of w has if it is a terminal, else 0.
func terminalWidth(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}

// simProgress returns what shows runs on a terminal, and what ends it. Elsewhere it shows
// nothing.
func simProgress(w io.Writer) (show func(sim.Progress), done func()) {
	p := newProgress(w)
	if !p.tty {
		return func(sim.Progress) {}, func() {}
	}
	at := 0
	show = func(now sim.Progress) {
		if p.bar == nil {
			p.Phase("runs", int64(now.Total), false)
			_ = p.bar.RenderBlank() // as in Add
		}
		p.bar.ChangeMax(now.Total)
		p.Add(int64(now.Done - at))
		at = now.Done
	}
	return show, p.finish
}

// expectations fails when one of any result does not hold.
func expectations(c *cobra.Command, results ...*result.Result) error {
	failed, all := 0, 0
	first := ""
	for _, r := range results {
		for _, v := range r.Expect {
			all++
			if v.Holds {
				continue
			}
			if failed++; failed == 1 {
				first = fmt.Sprintf("%s (got %.6g)", v.Expect, v.Got)
			}
		}
	}
	if failed == 0 {
		return nil
	}
	return expectError{simError(c, fmt.Errorf("%d of %d expectations do not hold: the first is %s", failed, all, first))}
}
