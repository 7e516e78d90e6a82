package report

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"

	"github.com/shoal-mesh/shoal/sim/result"
)

// The heat map's colours are classes h0 to h8; lines have the classes s0 to s5.
const (
	heats  = 9
	series = 6
)

// A plane is a sweep of one or two keys, laid out by their values.
type plane struct {
	s    result.Sweep
	keys []string // for people
	x, y []string // values of the first key and of the second, in their order
}

func newPlane(s result.Sweep) plane {
	p := plane{s: s, keys: shortKeys(s.Keys)}
	for i := range s.Results {
		if v := s.Value(i, 0); !slices.Contains(p.x, v) {
			p.x = append(p.x, v)
		}
		if v := s.Value(i, 1); !slices.Contains(p.y, v) {
			p.y = append(p.y, v)
		}
	}
	return p
}

// at returns m of the run with the i-th value of the first key and the j-th of the second.
func (p plane) at(m result.Measure, i, j int) (f float64, known bool) {
	for k, r := range p.s.Results {
		if p.s.Value(k, 0) == p.x[i] && p.s.Value(k, 1) == p.y[j] {
			f, known = m.Of(r)
			return f, known && !math.IsNaN(f) && !math.IsInf(f, 0)
		}
	}
	return 0, false
}

// ends returns the least and the largest m of the runs.
func (p plane) ends(m result.Measure) (low, high float64, known bool) {
	low, high = math.Inf(1), math.Inf(-1)
	for i := range p.x {
		for j := range p.y {
			if f, ok := p.at(m, i, j); ok {
				low, high, known = min(low, f), max(high, f), true
			}
		}
	}
	return low, high, known
}

// sweepCharts are the charts of a sweep over one key or two, for each of the measures that
// its runs have.
func sweepCharts(s result.Sweep, all []result.Measure) []chart {
	if n := len(s.Keys); n < 1 || n > 2 || len(s.Results) < 2 {
		return nil
	}
	p := newPlane(s)
	var charts []chart
	for _, m := range all {
		low, high, known := p.ends(m)
		if !known {
			continue
		}
		if len(s.Keys) == 2 {
			charts = append(charts, p.heat(m, low, high))
		}
		if len(p.y) <= series {
			charts = append(charts, p.lines(m, low, high))
		}
	}
	return charts
}

// heat draws a cell for each run, darker for more (on a dark page: brighter).
func (p plane) heat(m result.Measure, low, high float64) chart {
	const left, top, row = 96.0, 34.0, 34.0
	height := top + row*float64(len(p.y)) + marginBottom
	wide := (chartWidth - left - marginRight) / float64(len(p.x))
	best := bestOf(p.s, m)
	var d drawing
	d.text("axis", "start", 2, 14, p.keys[1])
	for j, name := range p.y {
		y := top + row*float64(j)
		d.text("tick", "end", left-8, y+row/2+4, cut(name, 12))
		for i, column := range p.x {
			f, known := p.at(m, i, j)
			if !known {
				continue
			}
			text, class := value(f, m.Unit), hotness(f, low, high)
			if text == best {
				class += " best"
			}
			x := left + wide*float64(i)
			d.rect("cell "+class, x+1, y+1, wide-2, row-2, fmt.Sprintf("%s = %s, %s = %s: %s %s", p.keys[0], column, p.keys[1], name, m.Name, text))
			d.text("on "+class, "middle", x+wide/2, y+row/2+4.5, text)
		}
	}
	for i, name := range p.x {
		d.text("tick", "middle", left+wide*(float64(i)+0.5), height-marginBottom+18, cut(name, max(int(wide/8), 3)))
	}
	d.text("axis", "end", chartWidth-marginRight, height-6, p.keys[0])
	return chart{
		Title:  p.title(m, low, high),
		Legend: []entry{{"h0", value(low, m.Unit)}, {"h4", value((low+high)/2, m.Unit)}, {"h8", value(high, m.Unit)}},
		SVG:    d.svg(height, p.title(m, low, high)),
		Note:   bestNote(best),
	}
}

func bestNote(best string) string {
	if best == "" {
		return ""
	}
	return "Framed: the best, " + best + "."
}

// hotness returns the class of f's colour.
func hotness(f, low, high float64) string {
	n := 0
	if high > low {
		n = min(int((f-low)/(high-low)*heats), heats-1)
	}
	return fmt.Sprintf("h%d", n)
}

// lines draws a line over the values of the first key for each value of the second.
func (p plane) lines(m result.Measure, low, high float64) chart {
	var d drawing
	y, unit := axisOf(m.Unit, low, high)
	d.yAxis(y, describe(m)+", "+unit)
	var entries []entry
	for j, name := range p.y {
		class := fmt.Sprintf("s%d", j)
		p.series(&d, class, m, j, y)
		if len(p.s.Keys) == 2 {
			entries = append(entries, entry{class, p.keys[1] + " = " + name})
		}
	}
	d.xNames(p.x, p.keys[0])
	title := p.title(m, low, high)
	return chart{Title: title, Legend: entries, SVG: d.svg(chartHeight, title)}
}

// axisOf returns the axis for lines of values from low to high, and the name of its unit. It
// begins at 0 unless that would leave more than half of it empty.
func axisOf(unit result.Unit, low, high float64) (scale, string) {
	if low > 0 && (low < high/2 || high-low < high*1e-3) {
		low = 0
	}
	high = max(high, 0)
	switch unit {
	case result.Share:
		return between(low*100, high*100, 4).times(0.01), "%"
	case result.Bytes:
		name, size := unitFor(high)
		return between(low/size, high/size, 4).times(size), name
	case result.Seconds:
		c := clockFor(high)
		return between(low/c.seconds, high/c.seconds, 4).times(c.seconds), c.name
	case result.Factor:
		return between(low, high, 4), "times"
	}
	return between(low, high, 4), string(unit)
}

// series draws the line of the j-th value of the second key.
func (p plane) series(d *drawing, class string, m result.Measure, j int, y scale) {
	step := plotWidth / float64(len(p.x))
	var path, marks strings.Builder
	draw := "M"
	for i, column := range p.x {
		f, known := p.at(m, i, j)
		if !known {
			draw = "M"
			continue
		}
		cx, cy := px(marginLeft+(float64(i)+0.5)*step), px(plotBottom-y.at(f, plotHeight))
		fmt.Fprintf(&path, "%s%s %s", draw, cx, cy)
		about := fmt.Sprintf("%s = %s: %s", p.keys[0], column, value(f, m.Unit))
		if len(p.s.Keys) == 2 {
			about = p.keys[1] + " = " + p.y[j] + ", " + about
		}
		fmt.Fprintf(&marks, `<circle class="dot %s" cx="%s" cy="%s" r="4.5"><title>%s</title></circle>`, class, cx, cy, escape(about))
		draw = "L"
	}
	d.path("series "+class, path.String())
	d.b.WriteString(marks.String())
}

func (p plane) title(m result.Measure, low, high float64) string {
	return fmt.Sprintf("%s by %s: %s to %s", upper(describe(m)), strings.Join(p.keys, " and "), value(low, m.Unit), value(high, m.Unit))
}

// describe names m in a sentence.
func describe(m result.Measure) string {
	switch m.Name {
	case "warm.ufs.share":
		return "warm reads by the UFS"
	case "total.egress_amplification":
		return "egress amplification"
	case "gpu":
		return "least GPU utilisation of a job"
	}
	return m.Name
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// swatch is the sign of an entry in a legend.
func swatch(e entry) template.HTML {
	if strings.HasPrefix(e.Class, "s") && len(e.Class) == 2 {
		return template.HTML(`<svg class="key" viewBox="0 0 30 12" aria-hidden="true"><path class="series ` + e.Class + `" d="M1 6L29 6"/><circle class="dot ` + e.Class + `" cx="15" cy="6" r="4"/></svg>`)
	}
	return template.HTML(`<svg class="key" viewBox="0 0 12 12" aria-hidden="true"><rect class="` + e.Class + `" width="12" height="12"/></svg>`)
}
