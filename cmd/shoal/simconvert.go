package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/shoal-mesh/shoal/sim/trace"
)

func simConvertCmd() *cobra.Command {
	var from, to, columns string
	c := &cobra.Command{
		Use: "convert IN OUT", Short: "Write a trace in another format", Args: cobra.ExactArgs(2),
		Long: `Read a trace in any format and write it as oracleGeneral, which libCacheSim reads, or as
shoal, what agents record. Formats that are read: shoal, oracleGeneral, lcs, csv and
webcachesim, each packed with gzip or zstd too if the name ends in .gz or .zst.

oracleGeneral knows neither nodes nor datasets nor writes: all become requests. It needs a
temporary file of 24 bytes a record.`,
		Example: `  shoal sim convert day.csv day.oracleGeneral --columns "time-col=1,obj-id-col=3,obj-size-col=2,has-header=true"
  shoal sim convert day.lcs.zst day.trace --to shoal`,
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		cols, err := trace.ParseColumns(columns)
		if err != nil && columns != "" {
			return usageError{simError(c, fmt.Errorf("--columns: %w", err))}
		}
		write := map[string]func(io.Writer, trace.Source) (int64, error){trace.OracleGeneral: trace.Export, trace.Shoal: trace.Convert}[to]
		if write == nil {
			return usageError{simError(c, fmt.Errorf("--to %s: it can be %s or %s", to, trace.OracleGeneral, trace.Shoal))}
		}
		src, err := trace.Open(args[0], from, trace.Options{Columns: cols})
		if err != nil {
			return simError(c, err)
		}
		defer func() { _ = src.Close() }() // what was only read loses nothing
		n, err := convertTo(args[0], args[1], src, write)
		if err != nil {
			return simError(c, err)
		}
		about := src.About()
		fmt.Fprintf(c.OutOrStdout(), "%s records: %s to %s\n", humanize.Comma(n), about.Format, to)
		if about.Skipped > 0 {
			fmt.Fprintf(c.OutOrStdout(), "%s requests left out: they have no bytes, or delete\n", humanize.Comma(about.Skipped))
		}
		if about.Clipped > 0 {
			fmt.Fprintf(c.OutOrStdout(), "%s records are larger than 4 GiB, and have that size now\n", humanize.Comma(about.Clipped))
		}
		return nil
	}
	f := c.Flags()
	f.StringVarP(&from, "format", "t", "", "the format of IN (default: what it looks like)")
	f.StringVar(&to, "to", trace.OracleGeneral, "the format of OUT: oracleGeneral or shoal")
	f.StringVar(&columns, "columns", "", "the columns of a csv, like time-col=1,obj-id-col=2,obj-size-col=3 (these are the default)")
	return c
}

// convertTo writes a source to a file. When it fails there is no file: one that lacks records
// looks like a whole one.
func convertTo(in, out string, src trace.Source, write func(io.Writer, trace.Source) (int64, error)) (int64, error) {
	a, aErr := os.Stat(in)
	b, bErr := os.Stat(out)
	if aErr == nil && bErr == nil && os.SameFile(a, b) {
		return 0, fmt.Errorf("%s would be written over itself", in)
	}
	f, err := os.Create(out)
	if err != nil {
		return 0, err
	}
	n, err := write(f, src)
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, errors.Join(err, os.Remove(out))
	}
	return n, nil
}
