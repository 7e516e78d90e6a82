package report

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/shoal-mesh/shoal/sim/result"
)

// drawnJobs is how many jobs have a chart of their epochs.
const drawnJobs = 8

// stack draws a bar of bands for each of names. Of returns how high band b of bar i is, of 1.
func (d *drawing) stack(names []string, classes []string, of func(i, b int) float64, about func(i int) string) {
	step := plotWidth / float64(max(len(names), 1))
	wide := min(step*0.82, 64)
	for i := range names {
		x := marginLeft + (float64(i)+0.5)*step
		y := plotBottom
		for b, class := range classes {
			h := min(max(of(i, b), 0), 1) * plotHeight
			y -= h
			if h > 0 {
				d.rect(class, x-wide/2, y, wide, h, "")
			}
		}
		d.rect("hover", x-step/2, marginTop, step, plotHeight, names[i]+": "+about(i))
	}
}

// boundChart is what was reached of what can be.
func boundChart(r *result.Result) (chart, bool) {
	b := r.Bound
	if b.Kind == "" || r.Warm.Reads == 0 {
		return chart{}, false
	}
	const top, high, height = 44.0, 46.0, 150.0
	var d drawing
	all := percent(1)
	x := func(f float64) float64 { return marginLeft + all.at(f, plotWidth) }
	d.rect("never", x(b.HitShare), top, x(1)-x(b.HitShare), high, "no policy can serve these from the fleet: "+share(1-b.HitShare))
	from := 0.0
	for _, t := range bands(r.Zones) {
		if t.Class == "ufs" {
			continue
		}
		f := t.of(r.Warm.Tiers).Share
		d.rect(t.Class, x(from), top, x(from+f)-x(from), high, t.Name+": "+share(f))
		from += f
	}
	d.line("mark", x(b.HitShare), top-8, x(b.HitShare), top+high+8)
	side, gap := "end", -4.0
	if b.HitShare < 0.5 {
		side, gap = "start", 4
	}
	d.text("tick", side, x(b.HitShare)+gap, top-12, "at most "+share(b.HitShare))
	for _, t := range all.ticks {
		d.text("tick", "middle", x(t), top+high+24, all.name(t))
	}
	d.text("axis", "end", chartWidth-marginRight, height-8, "share of warm reads, %")
	title := fmt.Sprintf("What the fleet served of what it can: %s of %s", share(b.HitShare-b.Distance), share(b.HitShare))
	entries := legend(bands(r.Zones))
	entries = append(entries[:len(entries)-1], entry{"never", "out of reach of any policy"})
	return chart{Title: title, Legend: entries, SVG: d.svg(height, title), Note: "Bound: " + b.Kind}, true
}

// replicaChart is the histogram of replicas.
func replicaChart(r *result.Result) (chart, bool) {
	all := bins(r)
	if len(all) == 0 {
		return chart{}, false
	}
	var names []string
	most, few := 0.0, 0.0
	for _, b := range all {
		names = append(names, b.label)
		most = max(most, b.share)
		if b.label == "1" {
			few = b.share
		}
	}
	var d drawing
	y := percent(min(most*1.1, 1))
	d.yAxis(y, "share of blocks, %")
	d.stack(names, []string{"peer"}, func(i, _ int) float64 { return y.at(all[i].share, 1) },
		func(i int) string { return count(float64(all[i].blocks)) + " blocks, " + share(all[i].share) })
	for i, b := range all {
		x := marginLeft + (float64(i)+0.5)*plotWidth/float64(len(all))
		d.text("on", "middle", x, plotBottom-y.at(b.share, plotHeight)-6, share(b.share))
	}
	d.xNames(names, "nodes that hold the block")
	title := fmt.Sprintf("Copies of a block at the end: %s of blocks have one alone", share(few))
	return chart{Title: title, SVG: d.svg(chartHeight, title), Note: replicaNote(r)}, true
}

// epochCharts are the tiers of each epoch, for the first jobs that have several.
func epochCharts(r *result.Result) []chart {
	var charts []chart
	for _, j := range r.Jobs {
		if len(j.Epochs) < 2 || len(charts) == drawnJobs {
			continue
		}
		charts = append(charts, epochChart(j, bands(r.Zones)))
	}
	return charts
}

func epochChart(j result.Job, tiers []band) chart {
	var names, classes []string
	for i := range j.Epochs {
		names = append(names, strconv.Itoa(i+1))
	}
	for _, b := range tiers {
		classes = append(classes, b.Class)
	}
	var d drawing
	d.yAxis(percent(1), "share of reads, %")
	d.stack(names, classes, func(i, b int) float64 { return tiers[b].of(j.Epochs[i].Tiers).Share },
		func(i int) string { return stackText(tiers, j.Epochs[i]) + ended(j, i) })
	d.xNames(names, "epoch")
	last := j.Epochs[len(j.Epochs)-1]
	title := fmt.Sprintf("Epochs of job %s: %s by the UFS in the first, %s in the last", middle(j.Name, 40), shareOf(j.Epochs[0], ufsOf), shareOf(last, ufsOf))
	return chart{Title: title, Legend: legend(tiers), SVG: d.svg(chartHeight, title)}
}

// ended says when epoch i of j ended, if that is known.
func ended(j result.Job, i int) string {
	if i >= len(j.EpochEnds) {
		return ""
	}
	return "; ended at " + seconds(j.EpochEnds[i])
}

// nodeChart is what nodes got from the UFS and from peers.
func nodeChart(r *result.Result) (chart, bool) {
	most := 0.0
	var names []string
	sums := make([]int64, 0, len(r.PerNode))
	for _, n := range r.PerNode {
		t := n.Total.Tiers
		names = append(names, strconv.Itoa(n.Node))
		sums = append(sums, t.UFS.Bytes+t.Peer.Bytes)
		most = max(most, float64(t.UFS.Bytes+t.Peer.Bytes))
	}
	if most == 0 {
		return chart{}, false
	}
	unit, size := unitFor(most)
	y := upTo(most/size, 4)
	tiers := bands(r.Zones)[1:]
	slices.Reverse(tiers) // what comes from the UFS stands on the axis
	var classes []string
	for _, b := range tiers {
		classes = append(classes, b.Class)
	}
	var d drawing
	text := func(n int64) string { return digits(float64(n)/size) + " " + unit }
	d.yAxis(y, "bytes got, "+unit)
	d.stack(names, classes, func(i, b int) float64 {
		return y.at(float64(tiers[b].of(r.PerNode[i].Total.Tiers).Bytes)/size, 1)
	}, func(i int) string {
		n := r.PerNode[i]
		return fmt.Sprintf("%s from the UFS, %s from peers; sent %s", text(n.Total.Tiers.UFS.Bytes), text(n.Total.Tiers.Peer.Bytes), text(n.SentBytes))
	})
	d.xNames(names, "node")
	title := fmt.Sprintf("What nodes got from elsewhere: %s to %s", text(slices.Min(sums)), text(slices.Max(sums)))
	note := ""
	if r.Nodes > len(r.PerNode) {
		note = fmt.Sprintf("%d of %s nodes, at quantiles of what they got from the UFS.", len(r.PerNode), commas(int64(r.Nodes)))
	}
	return chart{Title: title, Legend: legend(tiers), SVG: d.svg(chartHeight, title), Note: note}, true
}
