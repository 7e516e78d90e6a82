package meshtest

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A side is one of those compared: a directory with the files of the bucket.
type side struct {
	name   string
	dir    string
	daemon *process // that serves the directory, nil for the plain one
}

// The sides that each contest has. Those after them are the rivals.
const (
	plainSide = iota
	shoalSide
	firstRival
)

// A contest is one row of the table: every side, measured in turns.
type contest struct {
	name, unit string
	work       float64                 // of a sample, in units
	bytes      int64                   // of files that a sample reads
	sample     func(dir string) sample // prepares the machine and measures one side
	rates      [][]float64             // of each side, per round
}

// measure takes the rounds and reports their medians. Another side is the first in each.
// It fails if a side that has a copy of the files takes more than a twentieth of their
// bytes from the S3 server.
func (c *contest) measure(b *testing.B, n *labNode, sides []side) {
	b.Helper()
	c.rates = make([][]float64, len(sides))
	received := make([]int64, len(sides))
	for round := range rounds {
		for turn := range sides {
			i := (round + turn) % len(sides)
			before := n.received(b)
			release := guard(sides[i].daemon)
			s := c.sample(sides[i].dir)
			release()
			received[i] += n.received(b) - before
			c.rates[i] = append(c.rates[i], c.work/s.took.Seconds())
		}
	}
	b.ReportMetric(0, "ns/op") // of all rounds with all that prepares them: says nothing
	for i, s := range sides {
		b.ReportMetric(median(c.rates[i]), s.name+"_"+c.unit)
		if c.bytes > 0 && received[i] > rounds*c.bytes/20 {
			b.Errorf("%s took %d bytes from the S3 server while it read %d, want them to be in its cache",
				s.name, received[i], rounds*c.bytes)
		}
	}
	b.ReportMetric(median(c.by(plainSide)), "x_plain")
	b.ReportMetric(median(c.by(c.rivals()...)), "x_best")
}

// by returns Shoal's rate by that of the fastest of the sides given, for each round.
func (c *contest) by(sides ...int) []float64 {
	quotients := make([]float64, len(c.rates[shoalSide]))
	for round, rate := range c.rates[shoalSide] {
		best := 0.0
		for _, i := range sides {
			best = max(best, c.rates[i][round])
		}
		quotients[round] = rate / best
	}
	return quotients
}

// ahead reports whether Shoal is the faster one in most rounds, and its median the higher.
func (c *contest) ahead() bool {
	ahead := median(c.by(c.rivals()...)) > 1
	for _, i := range c.rivals() {
		ahead = ahead && median(c.rates[shoalSide]) > median(c.rates[i])
	}
	return ahead
}

// rivals returns the indexes of the sides that are neither the disk nor Shoal.
func (c *contest) rivals() (sides []int) {
	for i := firstRival; i < len(c.rates); i++ {
		sides = append(sides, i)
	}
	return sides
}

// writeContests writes the contests as a table in Markdown, and below it where Shoal is
// behind a rival.
func writeContests(w io.Writer, sides []side, contests []contest, machine string) {
	head := []string{fmt.Sprintf("median of %d rounds", rounds)}
	for _, s := range sides {
		head = append(head, s.name)
	}
	head = append(head, "Shoal / "+sides[plainSide].name, "Shoal / best rival")
	fmt.Fprintf(w, "\n| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat(" --- |", len(head)))
	var behind []string
	for _, c := range contests {
		cells := []string{c.name}
		for i := range sides {
			cells = append(cells, fmt.Sprintf("%.0f %s", median(c.rates[i]), c.unit))
		}
		rivals := c.by(c.rivals()...)
		cells = append(cells, fmt.Sprintf("%.2f", median(c.by(plainSide))),
			fmt.Sprintf("%.2f (%.2f to %.2f)", median(rivals), slices.Min(rivals), slices.Max(rivals)))
		if !c.ahead() {
			cells[len(cells)-1] += " **behind**"
			behind = append(behind, c.name)
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
	}
	verdict := "Shoal is ahead of the others in every row above."
	if len(behind) > 0 {
		verdict = fmt.Sprintf("Shoal is NOT ahead of the others in %d of %d rows: %s.", len(behind), len(contests), strings.Join(behind, "; "))
	}
	fmt.Fprintf(w, "\n%s\n%s\n\n", machine, verdict)
}

// received returns how many bytes have come to the node over its only link.
func (n *labNode) received(b *testing.B) int64 {
	b.Helper()
	text, err := within(n.netns, func() ([]byte, error) { return os.ReadFile("/proc/thread-self/net/dev") })
	if err != nil {
		b.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		name, counts, _ := strings.Cut(string(line), ":")
		if strings.TrimSpace(name) != "eth0" {
			continue
		}
		count, err := strconv.ParseInt(strings.Fields(counts)[0], 10, 64)
		if err != nil {
			b.Fatalf("/proc/net/dev %q: %v", line, err)
		}
		return count
	}
	b.Fatalf("no eth0 in /proc/net/dev:\n%s", text)
	return 0
}

// TestContests writes a table of three rows: Shoal wins one, has the higher median but
// loses most rounds of another, and the other way round.
func TestContests(t *testing.T) {
	sides := []side{{name: "disk"}, {name: "Shoal"}, {name: "s3fs"}, {name: "rclone"}}
	contests := []contest{
		{name: "won", unit: "MB/s", rates: [][]float64{{10, 10, 20}, {8, 9, 30}, {2, 3, 5}, {4, 1, 10}}},
		{name: "lost in rounds", unit: "files/s", rates: [][]float64{{10, 10, 10}, {5, 5, 9}, {6, 2, 2}, {2, 6, 2}}},
		{name: "lost in medians", unit: "files/s", rates: [][]float64{{10, 10, 10}, {5, 3, 9}, {6, 2, 8}, {6, 2, 7}}},
	}
	var got strings.Builder
	writeContests(&got, sides, contests, "This machine.")
	want := `
| median of 5 rounds | disk | Shoal | s3fs | rclone | Shoal / disk | Shoal / best rival |
| --- | --- | --- | --- | --- | --- | --- |
| won | 10 MB/s | 9 MB/s | 3 MB/s | 4 MB/s | 0.90 | 3.00 (2.00 to 3.00) |
| lost in rounds | 10 files/s | 5 files/s | 2 files/s | 2 files/s | 0.50 | 0.83 (0.83 to 4.50) **behind** |
| lost in medians | 10 files/s | 5 files/s | 6 files/s | 6 files/s | 0.50 | 1.12 (0.83 to 1.50) **behind** |

This machine.
Shoal is NOT ahead of the others in 2 of 3 rows: lost in rounds; lost in medians.

`
	if got.String() != want {
		t.Errorf("writeContests: got\n%s\nwant\n%s", &got, want)
	}
	got.Reset()
	if writeContests(&got, sides, contests[:1], ""); !strings.Contains(got.String(), "ahead of the others in every row") {
		t.Errorf("writeContests of a won row: got\n%s\nwant it to say that Shoal is ahead in every row", &got)
	}
}
