package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/shoal-mesh/shoal/sim/result"
)

// RecommendTable writes r for a terminal of width characters; 0 means 80.
func RecommendTable(w io.Writer, r *result.Recommendation, width int) {
	width = fit(width)
	fmt.Fprintln(w, cut(plain(r.Name), width))
	wrap(w, width, gap, fmt.Sprintf("%d runs of engine %s. Wanted: less %s.", r.Runs, r.Engine, r.Objective))
	if r.SearchSample < r.Sample {
		wrap(w, width, gap, fmt.Sprintf("Searched with a sample, %s of the blocks; confirmed with %s.", ofWhole(r.SearchSample), ofWhole(r.Sample)))
	}
	if r.Unfinished {
		wrap(w, width, gap, "The search ended before it had tried all: give it a larger budget.")
	}
	fmt.Fprintln(w)
	wrap(w, width, "", outcome(r))
	if len(r.Changes) > 0 {
		g := grid{Title: "Setting", Head: []string{"current", "recommended"}}
		if !r.Better {
			g.Head[1] = "tried"
		}
		for _, c := range r.Changes {
			g.Rows = append(g.Rows, []string{c.Key, c.Current, c.Recommended})
		}
		fmt.Fprintln(w)
		g.print(w, width)
		g = grid{Title: "Mean of seeds " + list(r.Seeds), Head: append(g.Head, "difference")}
		for _, row := range r.Rows {
			g.Rows = append(g.Rows, []string{row.Metric, value(row.A, row.Unit), value(row.B, row.Unit), signed(row)})
		}
		fmt.Fprintln(w)
		g.print(w, width)
	}
	if len(r.Notes) > 0 {
		fmt.Fprintln(w)
	}
	for _, note := range r.Notes {
		wrap(w, width, "", note)
	}
	if r.Config != "" {
		fmt.Fprintf(w, "\nTo paste into each agent's config:\n\n%s", plainLines(r.Config))
	}
	fmt.Fprintf(w, "\nseed    %d\nshoal   %s\nconfig  %s\n", r.Seed, origin(r.Shoal, width-8), origin(r.Hash, width-8))
}

// outcome says whether anything is better, and by how much.
func outcome(r *result.Recommendation) string {
	switch {
	case len(r.Changes) == 0:
		return "Nothing that was tried beats the current settings."
	case !r.Better:
		return "Nothing beats the current settings: what looked better in the search is not with other seeds, or not by more than these differ."
	}
	objective := r.Rows[0]
	if less := objective.A - objective.B; less > 0 && objective.A > 0 && less/objective.A >= 0.0005 {
		return fmt.Sprintf("There are better settings: %s less %s.", ofWhole(less/objective.A), r.Objective)
	}
	return "There are better settings: as good in that, and less is written to the caches."
}

// ofWhole returns f, a part of a whole, with as many digits as tell it from others.
func ofWhole(f float64) string { return digits(f*100) + " %" }

// list returns numbers with an "and" before the last.
func list(numbers []uint64) string {
	var all []string
	for _, n := range numbers {
		all = append(all, fmt.Sprint(n))
	}
	return strings.Join(all, " and ")
}
