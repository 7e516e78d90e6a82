// Package report draws what simulations have found: as text for a terminal, and as one HTML
// page that needs no network.
//
// The same results give the same bytes. Who counts is package sim; what the numbers mean is
// said in package result.
package report

import (
	"fmt"
	"io"
	"strconv"

	"github.com/shoal-mesh/shoal/sim/result"
)

// The widths that tables are made for; others are taken for the nearest of them.
const (
	narrowest = 64
	widest    = 120
	usual     = 80
)

// Table writes r for a terminal of width characters; 0 means 80. Shares are of reads once the
// caches were warm, where nothing else is said.
func Table(w io.Writer, r *result.Result, width int) {
	width = fit(width)
	fmt.Fprintln(w, cut(plain(r.Name), width))
	wrap(w, width, gap, r.About)
	wrap(w, width, gap, setup(r))
	fmt.Fprintln(w)
	for _, s := range summary(r) {
		wrap(w, width, "", s)
	}
	bars := func(f float64) string { return left(bar(f, width-58), width-58) }
	fmt.Fprintln(w)
	tierGrid(r, bars).print(w, width)
	bound(w, r, width)
	copies := func(f float64) string { return left(bar(f, width-40), width-40) }
	for _, g := range []grid{jobGrid(r), datasetGrid(r), replicaGrid(r, copies)} {
		if len(g.Rows) > 0 {
			fmt.Fprintln(w)
			g.print(w, width)
		}
	}
	pairs(w, width, "Evictions", evictionPairs(r))
	pairs(w, width, "Directory", directoryPairs(r))
	pairs(w, width, "Network", networkPairs(r))
	expectations(w, r, width)
	fmt.Fprintf(w, "\nseed    %d\nshoal   %s\nconfig  %s\n", r.Seed, origin(r.Shoal, width-8), origin(r.Hash, width-8))
}

// origin returns at most n characters of s, or a sign that there are none.
func origin(s string, n int) string {
	if s == "" {
		return none
	}
	return cut(plain(s), n)
}

// fit returns the width that is drawn for one of width characters.
func fit(width int) int {
	if width == 0 {
		width = usual
	}
	return min(max(width, narrowest), widest)
}

// bound writes how much of what can be served by the fleet was.
func bound(w io.Writer, r *result.Result, width int) {
	if r.Bound.Kind == "" || r.Warm.Reads == 0 {
		return
	}
	n := width - 28
	row := func(name string, f float64, text string) {
		fmt.Fprintf(w, "%s%s%s%s\n", gap, left(name, 14), left(bar(f, n), n), right(text, width-n-16))
	}
	fmt.Fprintf(w, "\nBound: %s\n", cut(plain(r.Bound.Kind), width-7))
	reached := r.Bound.HitShare - r.Bound.Distance
	row("fleet served", reached, share(reached))
	row("at most", r.Bound.HitShare, share(r.Bound.HitShare))
	row("distance", r.Bound.Distance, points(r.Bound.Distance))
}

// expectations writes the verdicts.
func expectations(w io.Writer, r *result.Result, width int) {
	if len(r.Expect) == 0 {
		return
	}
	fmt.Fprintln(w, "\nExpectations")
	for _, v := range r.Expect {
		got := "got " + number(v.Got)
		fmt.Fprintf(w, "%s%s%s%s\n", gap, left(verdict(v), 9), left(plain(v.Expect), width-11-length(got)), got)
	}
}

func verdict(v result.Verdict) string {
	if v.Holds {
		return "holds"
	}
	return "FAILS"
}

// number returns f as an expectation has it, not in a unit.
func number(f float64) string { return strconv.FormatFloat(f, 'g', 6, 64) }
