package meshtest

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"text/tabwriter"
	"time"
)

// A sample is one side of one round.
type sample struct {
	took time.Duration
	cpu  time.Duration // of the reader and of the agent
}

// A row is one line of the table: two sides, measured in turns.
type row struct {
	name, plain string       // what is read, and by which plain tool
	unit, ratio string       // of the rates, and of their quotient
	work, bytes float64      // bytes are 0 where none are read
	requests    []float64    // the kernel sent to the agent, for each unit of work; none where they are not counted
	rates, cpus [2][]float64 // per round; the plain tool's first. CPU in s per GB
	quotients   []float64    // Shoal's rate by the plain tool's
}

// measure takes the rounds and reports their medians. The sides take turns in being first.
func (r *row) measure(b *testing.B, sides [2]func() sample) {
	b.Helper()
	for round := range rounds {
		var rate [2]float64
		for turn := range sides {
			side := (round + turn) % 2
			s := sides[side]()
			rate[side] = r.work / s.took.Seconds()
			r.rates[side] = append(r.rates[side], rate[side])
			if r.bytes > 0 {
				r.cpus[side] = append(r.cpus[side], s.cpu.Seconds()/r.bytes*1e9)
			}
		}
		r.quotients = append(r.quotients, rate[1]/rate[0])
	}
	b.ReportMetric(0, "ns/op") // of all rounds with all that prepares them: says nothing
	b.ReportMetric(median(r.quotients), r.ratio)
	b.ReportMetric(median(r.rates[1]), r.unit)
	b.ReportMetric(median(r.rates[0]), "plain_"+r.unit)
	if len(r.requests) > 0 {
		b.ReportMetric(median(r.requests), "requests/op")
	}
}

// print prints what has been measured as a table.
func (m *meshBench) print() {
	if len(m.rows) == 0 {
		return
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 3, ' ', 0)
	fmt.Fprintf(w, "\nmedian of %d rounds\tShoal\tbeside it\tratio\tof the rounds\tCPU s/GB\tbeside it\trequests\n", rounds)
	for _, r := range m.rows {
		fmt.Fprintf(w, "%s\t%.0f %s\t%.0f %s (%s)\t%.2f %s\t%.2f to %.2f\t%s\t%s\t%s\n", r.name,
			median(r.rates[1]), r.unit, median(r.rates[0]), r.unit, r.plain, median(r.quotients), r.ratio,
			slices.Min(r.quotients), slices.Max(r.quotients), known(r.cpus[1]), known(r.cpus[0]), known(r.requests))
	}
	fmt.Fprintln(w)
	_ = w.Flush() // a table nobody sees fails nothing
	for _, note := range m.notes {
		fmt.Println(note)
	}
}

// known returns the median of values, "-" without any.
func known(values []float64) string {
	if len(values) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", median(values))
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
