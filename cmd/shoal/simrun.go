package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/shoal-mesh/shoal/sim"
	"github.com/shoal-mesh/shoal/sim/report"
	"github.com/shoal-mesh/shoal/sim/result"
	"github.com/shoal-mesh/shoal/sim/scenario"
)

func simRunCmd() *cobra.Command {
	var settings simSettings
	var out simOutput
	var list, show bool
	c := &cobra.Command{
		Use: "run SCENARIO", Short: "Simulate a scenario and report", Args: cobra.MaximumNArgs(1),
		Long: `Simulate a scenario, a file or the name of a ready one, and report: where reads were served
from, how far that is from what is possible, evictions, the directory, the network, and what
each job and dataset got.

Exit code 2 when the scenario is wrong, 3 when an expectation of it ("expect:") does not
hold.`,
		Example: `  shoal sim run --list
  shoal sim run shuffled-epochs --set datasets.imagenet.policy=lru
  shoal sim run --print shuffled-epochs > mine.yaml
  shoal sim run mine.yaml --html report.html`,
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := out.check(c); err != nil {
			return err
		}
		switch {
		case list && len(args) == 0:
			return simList(c)
		case list || len(args) == 0:
			return usageError{fmt.Errorf("sim run: name one scenario, or give --list alone")}
		}
		s, err := settings.load(c, args[0])
		if err != nil {
			return err
		}
		text, err := scenario.Effective(s)
		if err != nil {
			return simError(c, err)
		}
		if show {
			_, err := c.OutOrStdout().Write(text)
			return err
		}
		return simRun(c, s, string(text), out)
	}
	settings.flags(c)
	f := c.Flags()
	f.StringVar(&out.json, "json", "", `write the result as JSON to this file ("-": standard output, instead of the table)`)
	f.StringVar(&out.csv, "csv", "", "write the curves as CSV to this file, or -")
	f.StringVar(&out.html, "html", "", "write the report as one HTML page to this file, or -")
	f.BoolVar(&list, "list", false, "list the ready scenarios")
	f.BoolVar(&show, "print", false, "print the scenario with its defaults instead of simulating it")
	return c
}

// simRun simulates a scenario and writes what it found.
func simRun(c *cobra.Command, s *scenario.Scenario, text string, out simOutput) error {
	p := newProgress(c.ErrOrStderr())
	if p.tty {
		p.Phase(s.Name, -1, false)
		_ = p.bar.RenderBlank() // a bar that cannot be drawn stops nothing
	}
	r, err := sim.Run(c.Context(), s)
	p.finish()
	if err != nil {
		return simError(c, err)
	}
	r.Shoal = buildInfo().Version
	page := report.Page{Sweep: result.Sweep{Results: []*result.Result{r}}, Scenario: text}
	err = out.write(c, func(w io.Writer, width int) { report.Table(w, r, width) },
		simForm{out.json, func(w io.Writer) error { return result.Write(w, r) }},
		simForm{out.csv, func(w io.Writer) error { return result.WriteCSV(w, r) }},
		simForm{out.html, func(w io.Writer) error { return report.HTML(w, page) }})
	if err != nil {
		return err
	}
	return expectations(c, r)
}

// simList prints the ready scenarios and what they ask.
func simList(c *cobra.Command) error {
	var ready []*scenario.Scenario
	for _, name := range scenario.Ready() {
		text, err := scenario.ReadyFile(name)
		if err != nil {
			return simError(c, err)
		}
		s, err := scenario.Parse(name, text)
		if err != nil {
			return simError(c, err)
		}
		ready = append(ready, s)
	}
	table(c.OutOrStdout(), func(row func(...any)) {
		row("NAME", "ENGINE", "ASKS")
		for _, s := range ready {
			row(s.Name, s.Engine, s.About)
		}
	})
	return nil
}
