package report

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/shoal-mesh/shoal/sim/result"
)

// SweepTable writes a row per run of s, for a terminal of width characters; 0 means 80. The
// best of each column that can be judged is marked with a star.
func SweepTable(w io.Writer, s result.Sweep, width int) {
	if len(s.Results) == 0 {
		fmt.Fprintln(w, "No results.")
		return
	}
	width = fit(width)
	sweepGrid(s).print(w, width)
	origins(w, s, width)
}

// origins writes where the runs of s come from: what all have in common in lines as Table has them,
// the rest as a table.
func origins(w io.Writer, s result.Sweep, width int) {
	g := grid{Title: "Origin"}
	for i := range s.Results {
		g.Rows = append(g.Rows, []string{runName(s, i)})
	}
	var common []string
	for _, o := range []struct {
		name string
		of   func(*result.Result) string
	}{
		{"seed", func(r *result.Result) string { return strconv.FormatUint(r.Seed, 10) }},
		{"shoal", func(r *result.Result) string { return origin(r.Shoal, width-8) }},
		{"config", func(r *result.Result) string { return origin(r.Hash, width-8) }},
	} {
		first := o.of(s.Results[0])
		if !slices.ContainsFunc(s.Results, func(r *result.Result) bool { return o.of(r) != first }) {
			common = append(common, left(o.name, 8)+first)
			continue
		}
		g.Head = append(g.Head, o.name)
		for i, r := range s.Results {
			g.Rows[i] = append(g.Rows[i], o.of(r))
		}
	}
	fmt.Fprintln(w)
	if len(g.Head) > 0 {
		g.print(w, width)
		fmt.Fprintln(w)
	}
	for _, line := range common {
		fmt.Fprintln(w, line)
	}
}

// sweepGrid is a row per run of s: the keys, and what tells the runs apart, the most telling
// first.
func sweepGrid(s result.Sweep) grid {
	g := grid{Title: "run"}
	if keys := shortKeys(s.Keys); len(keys) > 0 {
		g.Title, g.Head = keys[0], keys[1:]
	}
	for i := range s.Results {
		row := []string{runName(s, i)}
		for k := range s.Keys {
			row = append(row[:k], s.Value(i, k))
		}
		g.Rows = append(g.Rows, row)
	}
	var same []string
	for _, m := range measures("warm.ufs.share", "total.egress_amplification", "gpu", "seconds", "warm.local.share", "bound.distance", "network.ufs_bytes", "evictions.last_lost") {
		column, best := sweepColumn(s, m)
		if one := slices.Compact(slices.Clone(column)); len(one) == 1 {
			if one[0] != none+" " {
				same = append(same, m.About+" "+strings.TrimSpace(one[0]))
			}
			continue
		}
		if best {
			g.Note = "* the best of its column."
		}
		g.Head = append(g.Head, m.About)
		for i := range g.Rows {
			g.Rows[i] = append(g.Rows[i], column[i])
		}
	}
	if len(same) > 0 {
		g.Note = strings.TrimSpace(g.Note + " The same in all: " + strings.Join(same, ", ") + ".")
	}
	return g
}

// sweepColumn returns m of each run of s as text, and whether one is marked as the best.
func sweepColumn(s result.Sweep, m result.Measure) (column []string, marked bool) {
	best := bestOf(s, m)
	for _, r := range s.Results {
		f, known := m.Of(r)
		switch {
		case !known:
			column = append(column, none+" ")
		case best != "" && value(f, m.Unit) == best:
			column = append(column, best+"*")
		default:
			column = append(column, value(f, m.Unit)+" ")
		}
	}
	return column, best != ""
}

// bestOf returns the best m of s as text; "" if m is not judged or is the same in all runs.
func bestOf(s result.Sweep, m result.Measure) string {
	var known []float64
	for _, r := range s.Results {
		if f, ok := m.Of(r); ok {
			known = append(known, f)
		}
	}
	if len(known) == 0 || !m.Less && !m.More {
		return ""
	}
	low, high := value(slices.Min(known), m.Unit), value(slices.Max(known), m.Unit)
	switch {
	case low == high:
		return ""
	case m.Less:
		return low
	}
	return high
}

// shortKeys returns the last part of each key, or the keys if these are not told apart by it.
func shortKeys(keys []string) []string {
	var short []string
	for _, k := range keys {
		last := k[strings.LastIndexByte(k, '.')+1:]
		if last == "" || slices.Contains(short, last) {
			return keys
		}
		short = append(short, last)
	}
	return short
}

// runName names run i by the values that are its own, or else by its name, with its origin if
// others have the same.
func runName(s result.Sweep, i int) string {
	if r := s.Results[i]; len(s.Keys) == 0 {
		if slices.ContainsFunc(s.Results, func(o *result.Result) bool { return o != r && o.Name == r.Name }) {
			return fmt.Sprintf("%s, seed %d, config %s", r.Name, r.Seed, r.Hash)
		}
		return r.Name
	}
	var values []string
	for k, key := range shortKeys(s.Keys) {
		values = append(values, key+" "+s.Value(i, k))
	}
	return strings.Join(values, ", ")
}
