package report

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
)

// The size of a chart, and of its margins, in units of its viewBox.
const (
	chartWidth, chartHeight = 560.0, 250.0
	marginLeft, marginRight = 52.0, 22.0
	marginTop, marginBottom = 30.0, 46.0

	plotWidth  = chartWidth - marginLeft - marginRight
	plotHeight = chartHeight - marginTop - marginBottom
	plotBottom = marginTop + plotHeight
)

// A drawing is an SVG picture in the making. Texts are escaped; classes are ours.
type drawing struct{ b strings.Builder }

// svg returns the picture, of height h, for people who hear about it instead of seeing it.
func (d *drawing) svg(h float64, about string) template.HTML {
	return template.HTML(fmt.Sprintf(`<svg viewBox="0 0 %s %s" role="img" aria-label="%s">%s</svg>`,
		px(chartWidth), px(h), escape(about), d.b.String()))
}

func (d *drawing) line(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(&d.b, `<line class="%s" x1="%s" y1="%s" x2="%s" y2="%s"/>`, class, px(x1), px(y1), px(x2), px(y2))
}

// rect draws a rectangle that says about when it is pointed at, unless that is "".
func (d *drawing) rect(class string, x, y, w, h float64, about string) {
	end := "/>"
	if about != "" {
		end = "><title>" + escape(about) + "</title></rect>"
	}
	fmt.Fprintf(&d.b, `<rect class="%s" x="%s" y="%s" width="%s" height="%s"%s`, class, px(x), px(y), px(max(w, 0)), px(max(h, 0)), end)
}

// text writes s; anchor is start, middle or end.
func (d *drawing) text(class, anchor string, x, y float64, s string) {
	fmt.Fprintf(&d.b, `<text class="%s" text-anchor="%s" x="%s" y="%s">%s</text>`, class, anchor, px(x), px(y), escape(s))
}

func (d *drawing) path(class, data string) {
	fmt.Fprintf(&d.b, `<path class="%s" d="%s"/>`, class, data)
}

// px returns a coordinate with a digit after the point; what is no number is 0.
func px(f float64) string {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		f = 0
	}
	return strconv.FormatFloat(math.Round(f*10)/10+0, 'f', -1, 64)
}

func escape(s string) string { return template.HTMLEscapeString(plain(s)) }

// A scale has values from min to max be drawn on an axis.
type scale struct {
	min, max float64
	ticks    []float64
	// name returns the text of a tick.
	name func(float64) string
}

// upTo returns a scale from 0 that has f on it, with about n ticks at round values.
func upTo(f float64, n int) scale { return between(0, f, n) }

// between returns a scale that has low and high on it, with about n ticks at round values.
func between(low, high float64, n int) scale {
	const far = 1e200 // sums and products of what is nearer are numbers
	low, high = min(max(low, -far), far), min(max(high, -far), far)
	if !(high > low) {
		low, high = min(low, 0), low+1
	}
	step := round((high - low) / float64(n))
	first := math.Floor(low/step + 1e-9)
	s := scale{min: first * step, name: tickName(step)}
	for i := 0; i <= 2*n; i++ {
		s.max = (first + float64(i)) * step
		s.ticks = append(s.ticks, s.max)
		if s.max >= high-step*1e-9 {
			break
		}
	}
	return s
}

// within returns a scale from 0 that ends at f, though no tick does.
func within(f float64, n int) scale {
	s := upTo(f, n)
	if f > 0 && f < s.max {
		s.max = f
	}
	for s.ticks[len(s.ticks)-1] > s.max*(1+1e-9) {
		s.ticks = s.ticks[:len(s.ticks)-1]
	}
	return s
}

// times returns s for values that are f times as large, with the same names of its ticks.
func (s scale) times(f float64) scale {
	name := s.name
	larger := scale{min: s.min * f, max: s.max * f, name: func(t float64) string { return name(t / f) }}
	for _, t := range s.ticks {
		larger.ticks = append(larger.ticks, t*f)
	}
	return larger
}

// percent returns a scale of shares up to f, in per cent.
func percent(f float64) scale { return upTo(f*100, 4).times(0.01) }

// round returns the round number that is next above f.
func round(f float64) float64 {
	ten := math.Pow(10, math.Floor(math.Log10(f)))
	for _, m := range []float64{1, 2, 2.5, 5} {
		if m*ten >= f*(1-1e-9) {
			return m * ten
		}
	}
	return 10 * ten
}

// tickName returns how ticks that are step apart are written.
func tickName(step float64) func(float64) string {
	n := 0
	for n < 9 && math.Abs(step-math.Round(step*math.Pow10(n))/math.Pow10(n)) > step*1e-6 {
		n++
	}
	return func(f float64) string {
		if math.Abs(f) >= 1e7 {
			return strconv.FormatFloat(f, 'g', 3, 64)
		}
		return strconv.FormatFloat(f, 'f', n, 64)
	}
}

// at returns where f lies between 0 and length.
func (s scale) at(f, length float64) float64 {
	if math.IsNaN(f) || !(s.max > s.min) {
		return 0
	}
	return min(max((f-s.min)/(s.max-s.min), 0), 1) * length
}

// yAxis draws the vertical axis and its lines; name says what it shows, and in which unit.
func (d *drawing) yAxis(s scale, name string) {
	for _, t := range s.ticks {
		y := plotBottom - s.at(t, plotHeight)
		d.line("grid", marginLeft, y, chartWidth-marginRight, y)
		d.text("tick", "end", marginLeft-7, y+4, s.name(t))
	}
	d.text("axis", "start", 2, 14, name)
}

// xAxis draws the horizontal axis.
func (d *drawing) xAxis(s scale, name string) {
	d.line("base", marginLeft, plotBottom, chartWidth-marginRight, plotBottom)
	for _, t := range s.ticks {
		x := marginLeft + s.at(t, plotWidth)
		d.line("base", x, plotBottom, x, plotBottom+4)
		d.text("tick", "middle", x, plotBottom+19, s.name(t))
	}
	d.text("axis", "end", chartWidth-marginRight, chartHeight-6, name)
}

// xNames draws a horizontal axis of names, as many as there is room for.
func (d *drawing) xNames(names []string, name string) {
	d.line("base", marginLeft, plotBottom, chartWidth-marginRight, plotBottom)
	const nameLength = 12
	longest := 1
	for _, n := range names {
		longest = max(longest, min(length(n), nameLength))
	}
	step := plotWidth / float64(max(len(names), 1))
	every := max(int(math.Ceil(float64(longest+1)*8/step)), 1)
	for i, n := range names {
		if i%every == 0 {
			d.text("tick", "middle", marginLeft+(float64(i)+0.5)*step, plotBottom+19, cut(n, nameLength))
		}
	}
	d.text("axis", "end", chartWidth-marginRight, chartHeight-6, name)
}

// A clock is the unit of an axis of time.
type clock struct {
	name    string
	seconds float64
}

// clockFor returns the unit for an axis of that many seconds.
func clockFor(seconds float64) clock {
	switch {
	case seconds <= 180:
		return clock{"s", 1}
	case seconds <= 3*3600:
		return clock{"min", 60}
	case seconds <= 4*86400:
		return clock{"h", 3600}
	}
	return clock{"days", 86400}
}

// unitFor returns the unit for an axis of that many bytes, or bytes per second: decimal, as
// links are.
func unitFor(bytes float64) (name string, size float64) {
	names := []string{"B", "kB", "MB", "GB", "TB", "PB"}
	size = 1
	i := 0
	for i < len(names)-1 && bytes >= 1000*size {
		size *= 1000
		i++
	}
	return names[i], size
}
