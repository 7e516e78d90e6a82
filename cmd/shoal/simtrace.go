package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/shoal-mesh/shoal/sim/solo"
	"github.com/shoal-mesh/shoal/sim/trace"
)

// A simTraceReport is what `shoal sim trace` prints.
type simTraceReport struct {
	Shoal string     `json:"shoal"`
	Trace string     `json:"trace"`
	Rows  []solo.Row `json:"rows"`
}

func simTraceCmd() *cobra.Command {
	var format, columns string
	var policies, sizes []string
	var asJSON bool
	grid := solo.Grid{}
	c := &cobra.Command{
		Use: "trace FILE", Short: "Replay a trace through one cache, by policy and size", Args: cobra.ExactArgs(1),
		Long: `Replay the requests of a trace through one cache of each size with each policy, and print
the share of requests, and of bytes, that miss. "shoal" is the policy that agents have by
default; fifo and random are for comparison.

Sizes are shares of all that the trace asks for, like 10%, or bytes, like 64GiB. The
formats are shoal, oracleGeneral, lcs, csv and webcachesim, packed with gzip or zstd too.

A fleet that reads what a trace says is a job of kind trace in a scenario.`,
		Example: `  shoal sim trace day.oracleGeneral -p lru,sieve,shoal -c 1%,10%,50%
  shoal sim trace day.csv --columns "time-col=1,obj-id-col=3,obj-size-col=2" -c 64GiB`,
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		cols, err := trace.ParseColumns(columns)
		if err != nil && columns != "" {
			return usageError{simError(c, fmt.Errorf("--columns: %w", err))}
		}
		if grid.Policies, grid.Sizes, err = simTraceGrid(policies, sizes); err != nil {
			return usageError{simError(c, err)}
		}
		grid.Open = func() (trace.Source, error) { return trace.Open(args[0], format, trace.Options{Columns: cols}) }
		bar := newProgress(c.ErrOrStderr())
		bar.Phase("replaying", int64(len(grid.Policies)*len(grid.Sizes)), false)
		grid.Done = func() { bar.Add(1) }
		rows, err := grid.Run(c.Context())
		bar.finish()
		if err != nil && rows == nil {
			return simError(c, err)
		}
		report := simTraceReport{Shoal: buildInfo().Version, Trace: args[0], Rows: rows}
		return errors.Join(output(c, asJSON, report, simTraceTable), err)
	}
	f := c.Flags()
	f.StringVarP(&format, "format", "t", "", "the format of FILE (default: what it looks like)")
	f.StringVar(&columns, "columns", "", "the columns of a csv, like time-col=1,obj-id-col=2,obj-size-col=3 (these are the default)")
	f.StringSliceVarP(&policies, "policies", "p", []string{"lru", "sieve", "shoal"}, "any of "+strings.Join(solo.Policies(), ", "))
	f.StringSliceVarP(&sizes, "sizes", "c", []string{"10%"}, "sizes of the cache")
	f.BoolVar(&grid.Unit, "ignore-size", false, "count each block as one; sizes are numbers of blocks then")
	f.Int64VarP(&grid.Requests, "requests", "n", 0, "replay so many requests only (default: all)")
	f.DurationVar(&grid.Warmup, "warmup", 0, "count nothing for so long from the first request")
	f.IntVar(&grid.Jobs, "jobs", runtime.NumCPU(), "caches to replay at a time")
	jsonFlag(c, &asJSON)
	return c
}

// simTraceGrid checks policies and sizes.
func simTraceGrid(policies, sizes []string) ([]string, []solo.Size, error) {
	for _, p := range policies {
		if !slices.Contains(solo.Policies(), p) {
			return nil, nil, fmt.Errorf("policy %q: want any of %s", p, strings.Join(solo.Policies(), ", "))
		}
	}
	var parsed []solo.Size
	for _, text := range sizes {
		size, err := solo.ParseSize(text)
		if err != nil {
			return nil, nil, err
		}
		parsed = append(parsed, size)
	}
	return policies, parsed, nil
}

func simTraceTable(w io.Writer, r simTraceReport) {
	table(w, func(row func(cells ...any)) {
		row("POLICY", "SIZE", "CAPACITY", "REQUESTS", "MISSES", "BYTES MISSED", "EVICTED", "MILLION/S")
		for _, one := range r.Rows {
			row(one.Policy, one.Size, humanize.Comma(one.Capacity), humanize.Comma(one.Stats.Requests),
				fmt.Sprintf("%.4f", one.Misses), fmt.Sprintf("%.4f", one.Bytes), humanize.Comma(one.Stats.Evicted),
				fmt.Sprintf("%.1f", one.Speed/1e6))
		}
	})
}
