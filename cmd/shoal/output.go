package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

// jsonFlag adds --json, which every verb that prints has.
func jsonFlag(c *cobra.Command, asJSON *bool) {
	c.Flags().BoolVar(asJSON, "json", false, "print JSON")
}

// output prints v to the command's standard output, as JSON or by text.
func output[T any](c *cobra.Command, asJSON bool, v T, text func(io.Writer, T)) error {
	if !asJSON {
		text(c.OutOrStdout(), v)
		return nil
	}
	enc := json.NewEncoder(c.OutOrStdout())
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// table prints rows under headings in aligned columns.
func table(w io.Writer, rows func(row func(cells ...any))) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	rows(func(cells ...any) {
		for i, cell := range cells {
			if i > 0 {
				fmt.Fprint(t, "\t")
			}
			fmt.Fprint(t, cell)
		}
		fmt.Fprintln(t)
	})
	_ = t.Flush() // as the writes to w: nobody is left to tell
}

// bytes returns n in units of 1024, for people.
func bytes(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

// percent returns part of whole for people.
func percent(part, whole int64) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%d%%", int64(math.Round(100*float64(part)/float64(whole))))
}
