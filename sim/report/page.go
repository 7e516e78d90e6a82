package report

import (
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/shoal-mesh/shoal/sim/result"
)

// A Page is what is to be shown of one run or of several.
type Page struct {
	// Title heads the page. Default: the name of the first run.
	Title string
	// Sweep are the runs; one may stand alone, without keys.
	result.Sweep
	// Measures are the names of those that a sweep's charts show. Default: warm.ufs.share,
	// total.egress_amplification and gpu.
	Measures []string
	// Scenario is the text that was run, with its defaults. Default: it is left out.
	Scenario string
}

// inFull is how many runs of a page are shown in full; the others are rows of its table.
const inFull = 24

// HTML writes p as one file that refers to no other: nothing is fetched when it is opened.
func HTML(w io.Writer, p Page) error {
	t, err := template.New("page").Funcs(template.FuncMap{"swatch": swatch, "plain": plain}).Parse(pageTemplate)
	if err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	if err := t.Execute(w, newView(p)); err != nil {
		return fmt.Errorf("write page %q: %w", p.Title, err)
	}
	return nil
}

// A view is what the template shows.
type view struct {
	Title    string
	Style    template.CSS
	Summary  []string
	Charts   []chart // of the sweep
	Runs     *grid   // nil for one run
	Full     []run
	Scenario string
	Note     string
}

// A run is one result in full.
type run struct {
	Name, About, Setup string
	Open               bool
	Summary            []string
	Charts             []chart
	Grids              []grid
	Pairs              []pairList
	Expect             []expectation
	Seed               uint64
	Shoal, Hash        string
}

// An expectation is a verdict for people.
type expectation struct {
	Verdict, Expect, Got string
	Holds                bool
}

// A pairList is a list of names and numbers.
type pairList struct {
	Title string
	Pairs [][2]string
}

func newView(p Page) view {
	v := view{Title: plain(p.Title), Style: template.CSS(style), Scenario: plainLines(p.Scenario)}
	if v.Title == "" && len(p.Results) > 0 {
		v.Title = plain(p.Results[0].Name)
	}
	if v.Title == "" {
		v.Title = "No results"
	}
	if len(p.Results) > 1 {
		names := p.Measures
		if len(names) == 0 {
			names = []string{"warm.ufs.share", "total.egress_amplification", "gpu"}
		}
		g := sweepGrid(p.Sweep)
		v.Runs = &g
		v.Charts = sweepCharts(p.Sweep, measures(names...))
		v.Summary = sweepSummary(p.Sweep)
	}
	for i, r := range p.Results[:min(len(p.Results), inFull)] {
		name := r.Name
		if len(p.Results) > 1 {
			name = runName(p.Sweep, i)
		}
		v.Full = append(v.Full, newRun(r, plain(name), len(p.Results) == 1))
	}
	if n := len(p.Results) - inFull; n > 0 {
		v.Note = fmt.Sprintf("The first %d runs are shown in full; %d more are in the table.", inFull, n)
	}
	return v
}

// sweepSummary tells what the runs of s have in common and which is the best.
func sweepSummary(s result.Sweep) []string {
	text := []string{fmt.Sprintf("%d runs.", len(s.Results))}
	if len(s.Keys) > 0 {
		text[0] = fmt.Sprintf("%d runs with other values of %s.", len(s.Results), strings.Join(s.Keys, " and "))
	}
	for _, m := range measures("warm.ufs.share", "gpu") {
		best := bestOf(s, m)
		if best == "" {
			continue
		}
		var where []string
		for i, r := range s.Results {
			if f, known := m.Of(r); known && value(f, m.Unit) == best {
				where = append(where, runName(s, i))
			}
		}
		if len(where) > 3 {
			where = append(where[:3], fmt.Sprintf("and %d more", len(where)-3))
		}
		text = append(text, fmt.Sprintf("%s: best %s, with %s.", upper(describe(m)), best, strings.Join(where, "; ")))
	}
	return text
}

func newRun(r *result.Result, name string, open bool) run {
	v := run{
		Name: name, About: plain(r.About), Setup: setup(r), Open: open, Summary: summary(r),
		Seed: r.Seed, Shoal: plain(r.Shoal), Hash: plain(r.Hash),
		Pairs: []pairList{{"Evictions", evictionPairs(r)}, {"Directory", directoryPairs(r)}, {"Network", networkPairs(r)}},
	}
	v.Charts = overTime(r)
	for _, draw := range []func(*result.Result) (chart, bool){boundChart, replicaChart, nodeChart} {
		if c, ok := draw(r); ok {
			v.Charts = append(v.Charts, c)
		}
	}
	v.Charts = append(v.Charts, epochCharts(r)...)
	noBar := func(float64) string { return "" }
	for _, g := range []grid{tierGrid(r, noBar), jobGrid(r), datasetGrid(r)} {
		if len(g.Rows) > 0 {
			v.Grids = append(v.Grids, g)
		}
	}
	for _, e := range r.Expect {
		v.Expect = append(v.Expect, expectation{verdict(e), plain(e.Expect), number(e.Got), e.Holds})
	}
	return v
}
