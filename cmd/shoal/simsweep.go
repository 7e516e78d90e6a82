package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoal-mesh/shoal/sim"
	"github.com/shoal-mesh/shoal/sim/report"
	"github.com/shoal-mesh/shoal/sim/result"
	"github.com/shoal-mesh/shoal/sim/scenario"
)

func simSweepCmd() *cobra.Command {
	var set []string
	var cfg sim.SweepConfig
	var out simOutput
	c := &cobra.Command{
		Use: "sweep SCENARIO --set KEY=A,B,C", Short: "Simulate a scenario with several values of some of its keys", Args: cobra.ExactArgs(1),
		Long: `Simulate a scenario with each value of a key, or of several keys with each other, and
compare. Runs go on in parallel; the report is the same whichever ends first.

With --resume each result is kept in a directory as soon as it is there, and what is kept is
not simulated again: a sweep that was interrupted goes on where it was. Results are known by
config hash and version of shoal; that the contents of a trace have changed is not noticed.

Exit code 2 when the scenario or a value is wrong, 3 when in any run an expectation of the
scenario does not hold.`,
		Example: `  shoal sim sweep shuffled-epochs --set datasets.imagenet.policy=uniform,lru,sieve --set fleet.cache=2GiB,4GiB,8GiB
  shoal sim sweep mine.yaml --set seed=1,2,3 --resume mine.results --html sweep.html`,
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := out.check(c); err != nil {
			return err
		}
		grid, err := simGrid(c, args[0], set)
		if err != nil {
			return err
		}
		return simSweep(c, grid, cfg, out)
	}
	f := c.Flags()
	f.StringArrayVar(&set, "set", nil, "the values of one key, with commas between; may be repeated")
	f.IntVar(&cfg.Jobs, "jobs", 0, "runs at a time; 0: as many as there are processors")
	f.StringVar(&cfg.Dir, "resume", "", "keep results in this directory, and do not make those again that are there")
	f.StringVar(&out.json, "json", "", `write all results as JSON to this file ("-": standard output, instead of the table)`)
	f.StringVar(&out.csv, "csv", "", "write a row per run as CSV to this file, or -")
	f.StringVar(&out.html, "html", "", "write the report as one HTML page to this file, or -")
	return c
}

// simGrid reads a scenario and what is to be swept of it.
func simGrid(c *cobra.Command, name string, set []string) (sim.Grid, error) {
	text, err := scenario.Read(name)
	if err != nil {
		return sim.Grid{}, usageError{simError(c, err)}
	}
	g := sim.Grid{Name: name, Data: text}
	for _, one := range set {
		axis, err := sim.ParseAxis(one)
		if err != nil {
			return sim.Grid{}, usageError{fmt.Errorf("%s: --set %w", strings.TrimPrefix(c.CommandPath(), "shoal "), err)}
		}
		g.Axes = append(g.Axes, axis)
	}
	return g, nil
}

// simSweep makes the runs and writes what they found.
func simSweep(c *cobra.Command, g sim.Grid, cfg sim.SweepConfig, out simOutput) error {
	show, done := simProgress(c.ErrOrStderr())
	var at sim.Progress
	cfg.Shoal = buildInfo().Version
	cfg.Progress = func(now sim.Progress) {
		at = now
		show(now)
	}
	s, err := sim.Sweep(c.Context(), g, cfg)
	done()
	if cfg.Dir != "" {
		fmt.Fprintf(c.ErrOrStderr(), "%d runs made, %d were in %s\n", at.Done-at.Kept, at.Kept, cfg.Dir)
	}
	if err != nil {
		return simError(c, err)
	}
	err = out.write(c, func(w io.Writer, width int) { report.SweepTable(w, s, width) },
		simForm{out.json, func(w io.Writer) error { return result.WriteSweep(w, s) }},
		simForm{out.csv, func(w io.Writer) error { return result.WriteSummaryCSV(w, s) }},
		simForm{out.html, func(w io.Writer) error { return report.HTML(w, report.Page{Sweep: s}) }})
	if err != nil {
		return err
	}
	return expectations(c, s.Results...)
}
