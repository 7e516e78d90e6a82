package report

import (
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/shoal-mesh/shoal/sim/result"
)

// A chart is a picture, with what it says.
type chart struct {
	Title  string
	Legend []entry
	SVG    template.HTML
	Note   string
}

// An entry is one colour of a legend.
type entry struct {
	Class string // of the style sheet
	Name  string
}

// A band is one tier of a stack.
type band struct {
	entry
	of func(result.Tiers) result.Tier
}

// bands are the tiers from the bottom of a stack to its top, none within another.
func bands(zones int) []band {
	near := band{entry{"peer", "peer"}, func(t result.Tiers) result.Tier {
		return result.Tier{Reads: t.Peer.Reads - t.FarPeer.Reads, Bytes: t.Peer.Bytes - t.FarPeer.Bytes, Share: t.Peer.Share - t.FarPeer.Share}
	}}
	all := []band{{entry{"local", "local"}, localOf}, near}
	if zones > 1 {
		all[1].Name = "peer, same zone"
		all = append(all, band{entry{"far", "peer, other zone"}, func(t result.Tiers) result.Tier { return t.FarPeer }})
	}
	return append(all, band{entry{"ufs", "UFS"}, ufsOf})
}

func legend(all []band) []entry {
	var l []entry
	for _, b := range all {
		l = append(l, b.entry)
	}
	return l
}

// steps is how many intervals a chart has at most.
const steps = 200

// thin returns intervals, neighbours taken together until they are at most steps.
func thin(all []result.Interval) []result.Interval {
	per := (len(all) + steps - 1) / steps
	if per <= 1 {
		return all
	}
	var thinner []result.Interval
	for group := range slices.Chunk(all, per) {
		thinner = append(thinner, merge(group))
	}
	return thinner
}

// merge returns one interval for a group of neighbours.
func merge(group []result.Interval) result.Interval {
	last := group[len(group)-1]
	m := result.Interval{Start: group[0].Start, End: last.End, Alive: last.Alive, Copies: last.Copies, Blocks: last.Blocks}
	for _, i := range group {
		m.Reads += i.Reads
		m.Bytes += i.Bytes
		add(&m.Tiers.Local, i.Tiers.Local)
		add(&m.Tiers.Peer, i.Tiers.Peer)
		add(&m.Tiers.FarPeer, i.Tiers.FarPeer)
		add(&m.Tiers.UFS, i.Tiers.UFS)
		if m.End > m.Start {
			m.Stall += i.Stall * (i.End - i.Start) / (m.End - m.Start)
		}
	}
	for _, t := range []*result.Tier{&m.Tiers.Local, &m.Tiers.Peer, &m.Tiers.FarPeer, &m.Tiers.UFS} {
		if m.Reads > 0 {
			t.Share = float64(t.Reads) / float64(m.Reads)
		}
	}
	return m
}

func add(t *result.Tier, u result.Tier) {
	t.Reads += u.Reads
	t.Bytes += u.Bytes
}

// A timeline is a chart over time in the making: each interval is a step.
type timeline struct {
	drawing
	all  []result.Interval
	time scale
	unit clock
}

func newTimeline(all []result.Interval) *timeline {
	end := all[len(all)-1].End
	unit := clockFor(end)
	return &timeline{all: all, unit: unit, time: within(end/unit.seconds, 7)}
}

// x returns where moment t, in seconds, is.
func (l *timeline) x(t float64) float64 { return marginLeft + l.time.at(t/l.unit.seconds, plotWidth) }

// area draws the steps from low to high of interval i, as shares of the height.
func (l *timeline) area(class string, low, high func(i int) float64) {
	var there, back strings.Builder
	y := func(f float64) string { return px(plotBottom - min(max(f, 0), 1)*plotHeight) }
	for i, v := range l.all {
		j := len(l.all) - 1 - i
		fmt.Fprintf(&there, "L%s %sH%s", px(l.x(v.Start)), y(high(i)), px(l.x(v.End)))
		fmt.Fprintf(&back, "L%s %sH%s", px(l.x(l.all[j].End)), y(low(j)), px(l.x(l.all[j].Start)))
	}
	l.path(class, "M"+there.String()[1:]+back.String()+"Z")
}

// curve draws a value from 0 to 1 of each interval i.
func (l *timeline) curve(class string, of func(i int) float64) {
	l.area("pale "+class, func(int) float64 { return 0 }, of)
	var line strings.Builder
	for i, v := range l.all {
		fmt.Fprintf(&line, "L%s %sH%s", px(l.x(v.Start)), px(plotBottom-min(max(of(i), 0), 1)*plotHeight), px(l.x(v.End)))
	}
	l.path("edge "+class, "M"+line.String()[1:])
}

// hover lays a strip over each interval that says about when it is pointed at.
func (l *timeline) hover(about func(i int) string) {
	for i, v := range l.all {
		text := fmt.Sprintf("%s to %s: %s", seconds(v.Start), seconds(v.End), about(i))
		l.rect("hover", l.x(v.Start), marginTop, l.x(v.End)-l.x(v.Start), plotHeight, text)
	}
}

func (l *timeline) done(title string, entries []entry) chart {
	l.xAxis(l.time, "simulated time, "+l.unit.name)
	return chart{Title: title, Legend: entries, SVG: l.svg(chartHeight, title)}
}

// overTime are the charts of r over time; none if r has no intervals.
func overTime(r *result.Result) []chart {
	all := thin(r.Intervals)
	if len(all) == 0 {
		return nil
	}
	charts := []chart{tiersOverTime(all, r.Zones), egressOverTime(all)}
	if r.Engine == "time" {
		charts = append(charts, stallOverTime(all))
	}
	if slices.ContainsFunc(all, func(i result.Interval) bool { return i.Alive != all[0].Alive }) {
		charts = append(charts, aliveOverTime(all))
	}
	return charts
}

func tiersOverTime(all []result.Interval, zones int) chart {
	l := newTimeline(all)
	stack := bands(zones)
	below := make([]float64, len(all))
	for _, b := range stack {
		top := slices.Clone(below)
		for i, v := range all {
			top[i] += b.of(v.Tiers).Share
		}
		low := below
		l.area(b.Class, func(i int) float64 { return low[i] }, func(i int) float64 { return top[i] })
		below = top
	}
	l.yAxis(percent(1), "share of reads, %")
	l.hover(func(i int) string { return stackText(stack, all[i].Counts) })
	return l.done("Where reads were served from: "+fromTo(all, func(i result.Interval) float64 { return i.Tiers.UFS.Share }, "of them by the UFS"), legend(stack))
}

// stackText says what part of c each band of a stack is.
func stackText(stack []band, c result.Counts) string {
	if c.Reads == 0 {
		return "no reads"
	}
	var s []string
	for _, b := range stack {
		s = append(s, b.Name+" "+share(b.of(c.Tiers).Share))
	}
	return strings.Join(s, "; ")
}

// fromTo says what a share was in the first and the last interval with reads.
func fromTo(all []result.Interval, of func(result.Interval) float64, what string) string {
	read := slices.DeleteFunc(slices.Clone(all), func(i result.Interval) bool { return i.Reads == 0 })
	if len(read) == 0 {
		return "there were none"
	}
	return fmt.Sprintf("%s %s at first, %s at the end", share(of(read[0])), what, share(of(read[len(read)-1])))
}

func egressOverTime(all []result.Interval) chart {
	rates := make([]float64, len(all))
	for i, v := range all {
		if v.End > v.Start {
			rates[i] = float64(v.Tiers.UFS.Bytes) / (v.End - v.Start)
		}
	}
	unit, size := unitFor(slices.Max(rates))
	y := upTo(slices.Max(rates)/size, 4)
	l := newTimeline(all)
	l.yAxis(y, "from the UFS, "+unit+"/s")
	l.curve("ufs", func(i int) float64 { return y.at(rates[i]/size, 1) })
	rate := func(f float64) string { return digits(f/size) + " " + unit + "/s" }
	l.hover(func(i int) string { return rate(rates[i]) })
	return l.done("Egress from the UFS: at most "+rate(slices.Max(rates)), nil)
}

func stallOverTime(all []result.Interval) chart {
	most := 0.0
	for _, v := range all {
		most = max(most, v.Stall)
	}
	l := newTimeline(all)
	y := percent(most)
	l.yAxis(y, "share of time, %")
	l.curve("stall", func(i int) float64 { return y.at(all[i].Stall, 1) })
	l.hover(func(i int) string { return share(all[i].Stall) + " of the time ranks waited" })
	return l.done("Time that ranks waited for reads: "+fromTo(all, func(i result.Interval) float64 { return i.Stall }, "of it"), nil)
}

func aliveOverTime(all []result.Interval) chart {
	most, least := 0, all[0].Alive
	for _, v := range all {
		most, least = max(most, v.Alive), min(least, v.Alive)
	}
	l := newTimeline(all)
	y := upTo(float64(most), 4)
	l.yAxis(y, "nodes")
	l.curve("peer", func(i int) float64 { return y.at(float64(all[i].Alive), 1) })
	l.hover(func(i int) string { return commas(int64(all[i].Alive)) + " nodes" })
	return l.done(fmt.Sprintf("Nodes that were serving: at least %s, at most %s", commas(int64(least)), commas(int64(most))), nil)
}
