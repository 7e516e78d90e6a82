package report

import (
	"fmt"
	"io"

	"github.com/shoal-mesh/shoal/sim/result"
)

// CompareTable writes c for a terminal of width characters; 0 means 80.
func CompareTable(w io.Writer, c result.Comparison, width int) {
	width = fit(width)
	for _, one := range []struct {
		letter string
		r      *result.Result
	}{{"A", c.A}, {"B", c.B}} {
		wrap(w, width, "", fmt.Sprintf("%s  %s  (seed %d, shoal %s, config %s)", one.letter, one.r.Name, one.r.Seed,
			origin(one.r.Shoal, width), origin(one.r.Hash, width)))
	}
	if len(c.Unlike) > 0 {
		fmt.Fprintln(w)
		wrap(w, width, "", "These two cannot be compared: they are answers to different questions.")
		for _, s := range c.Unlike {
			wrap(w, width, gap, s)
		}
	}
	if len(c.Differs) > 0 {
		fmt.Fprintln(w, "\nDifferent in A, B")
		for _, s := range c.Differs {
			wrap(w, width, gap, s)
		}
	}
	g := grid{Title: "Measure", Head: []string{"A", "B", "B - A", "B / A"}}
	for _, row := range c.Rows {
		g.Rows = append(g.Rows, []string{row.Metric, value(row.A, row.Unit), value(row.B, row.Unit), signed(row), over(row)})
	}
	fmt.Fprintln(w)
	g.print(w, width)
}

// signed returns a row's difference; that of shares is in percentage points.
func signed(row result.Row) string {
	s := value(row.Difference, row.Unit)
	if row.Unit == result.Share {
		s = points(row.Difference)
	}
	switch {
	case row.Difference == 0:
		return "="
	case row.Difference > 0:
		return "+" + s
	}
	return s
}

// over returns a row's ratio, if there is one.
func over(row result.Row) string {
	if row.A == 0 {
		return none
	}
	return factor(row.Ratio)
}
