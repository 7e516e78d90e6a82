package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/shoal-mesh/shoal/sim/report"
	"github.com/shoal-mesh/shoal/sim/result"
)

func simCompareCmd() *cobra.Command {
	var out simOutput
	c := &cobra.Command{
		Use: "compare A.json B.json", Short: "Show how two results differ", Args: cobra.ExactArgs(2),
		Long: `Show how two results of "shoal sim run --json" differ, measure by measure, and in which
settings. Results of other work are compared too, but are said to be that.`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := out.check(c); err != nil {
				return err
			}
			var runs []*result.Result
			for _, name := range args {
				r, err := readResult(name)
				if err != nil {
					return simError(c, fmt.Errorf("%s: %w", name, err))
				}
				runs = append(runs, r)
			}
			cmp := result.Compare(runs[0], runs[1])
			return out.write(c, func(w io.Writer, width int) { report.CompareTable(w, cmp, width) },
				simForm{out.json, func(w io.Writer) error { return result.WriteComparison(w, cmp) }},
				simForm{out.html, func(w io.Writer) error { return report.HTML(w, report.Page{Sweep: result.Sweep{Results: runs}}) }})
		},
	}
	c.Flags().StringVar(&out.json, "json", "", `write the comparison as JSON to this file ("-": standard output, instead of the table)`)
	c.Flags().StringVar(&out.html, "html", "", "write both as one HTML page to this file, or -")
	return c
}

func readResult(name string) (*result.Result, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, errors.Unwrap(err) // the caller names the file
	}
	r, err := result.Read(f)
	return r, errors.Join(err, f.Close())
}
