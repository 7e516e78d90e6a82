package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/shoal-mesh/shoal/sim/result"
)

// shown is how many jobs and datasets a table has at most.
const shown = 20

// cold returns what r read before it was warm.
func cold(r *result.Result) result.Counts {
	a, b := r.Total, r.Warm
	less := func(a, b result.Tier) result.Tier {
		t := result.Tier{Reads: a.Reads - b.Reads, Bytes: a.Bytes - b.Bytes}
		if n := r.Total.Reads - r.Warm.Reads; n > 0 {
			t.Share = float64(t.Reads) / float64(n)
		}
		return t
	}
	return result.Counts{Reads: a.Reads - b.Reads, Bytes: a.Bytes - b.Bytes, Tiers: result.Tiers{
		Local:   less(a.Tiers.Local, b.Tiers.Local),
		Peer:    less(a.Tiers.Peer, b.Tiers.Peer),
		FarPeer: less(a.Tiers.FarPeer, b.Tiers.FarPeer),
		UFS:     less(a.Tiers.UFS, b.Tiers.UFS),
	}}
}

// tierGrid is where reads were served from. Of is told each warm share, and gives its bar.
func tierGrid(r *result.Result, of func(float64) string) grid {
	before := cold(r)
	g := grid{Title: "Reads", Head: []string{"warm", "cold", "all", "bytes"}}
	row := func(name string, t func(result.Tiers) result.Tier) {
		g.Rows = append(g.Rows, []string{
			left(name, 14) + of(t(r.Warm.Tiers).Share), shareOf(r.Warm, t), shareOf(before, t), shareOf(r.Total, t),
			size(float64(t(r.Total.Tiers).Bytes)),
		})
	}
	row("local", func(t result.Tiers) result.Tier { return t.Local })
	row("peer", func(t result.Tiers) result.Tier { return t.Peer })
	if r.Zones > 1 {
		row("  other zone", func(t result.Tiers) result.Tier { return t.FarPeer })
	}
	row("UFS", func(t result.Tiers) result.Tier { return t.UFS })
	g.Rows = append(g.Rows,
		[]string{"reads", count(float64(r.Warm.Reads)), count(float64(before.Reads)), count(float64(r.Total.Reads)), size(float64(r.Total.Bytes))},
		[]string{"egress amplification", times(r.Warm), none, times(r.Total), ""})
	return g
}

func shareOf(c result.Counts, t func(result.Tiers) result.Tier) string {
	if c.Reads == 0 {
		return none
	}
	return share(t(c.Tiers).Share)
}

// times returns the amplification of c, if it is known: not where UFS bytes were read and nobody
// has counted the distinct ones.
func times(c result.Counts) string {
	if c.Reads == 0 || c.Amplification == 0 && c.Tiers.UFS.Bytes > 0 {
		return none
	}
	return factor(c.Amplification)
}

func ufsOf(t result.Tiers) result.Tier   { return t.UFS }
func peerOf(t result.Tiers) result.Tier  { return t.Peer }
func localOf(t result.Tiers) result.Tier { return t.Local }

// jobGrid is what each job got once the caches were warm.
func jobGrid(r *result.Result) grid {
	g := grid{Title: "Jobs, warm", Head: []string{"reads", "local", "peer", "UFS", "egress"}}
	if r.Engine == "time" {
		g.Head = append(g.Head, "GPU", "waited")
	}
	g.Head = append(g.Head, "end")
	for _, j := range r.Jobs[:min(len(r.Jobs), shown)] {
		c := j.Warm
		row := []string{j.Name, count(float64(c.Reads)), shareOf(c, localOf), shareOf(c, peerOf), shareOf(c, ufsOf), times(c)}
		if r.Engine == "time" {
			row = append(row, share(j.GPU), seconds(j.Stall))
		}
		end := seconds(j.End)
		if !j.Done {
			end = ">" + end
		}
		g.Rows = append(g.Rows, append(row, end))
	}
	g.Note = more(len(r.Jobs))
	return g
}

// datasetGrid is what became of each dataset once the caches were warm.
func datasetGrid(r *result.Result) grid {
	g := grid{Title: "Datasets, warm", Head: []string{"policy", "size", "cached", "reads", "UFS", "egress"}}
	for _, d := range r.Datasets[:min(len(r.Datasets), shown)] {
		c := d.Warm
		g.Rows = append(g.Rows, []string{
			d.Name, d.Policy, size(float64(d.Bytes)), size(float64(d.Cached)),
			count(float64(c.Reads)), shareOf(c, ufsOf), times(c),
		})
	}
	g.Note = more(len(r.Datasets))
	return g
}

func more(n int) string {
	if n <= shown {
		return ""
	}
	return fmt.Sprintf("and %d more, in the JSON", n-shown)
}

// A bin is one bar of the histogram of replicas.
type bin struct {
	label  string
	blocks int64
	share  float64
}

// bins returns r's histogram in the order of copies.
func bins(r *result.Result) []bin {
	var all []bin
	sum := int64(0)
	for label, n := range r.Replicas.Histogram {
		all = append(all, bin{label: label, blocks: n})
		sum += n
	}
	first := func(b bin) int {
		digits, _, _ := strings.Cut(b.label, "-")
		n, _ := strconv.Atoi(strings.TrimRight(digits, "+"))
		return n
	}
	slices.SortFunc(all, func(a, b bin) int {
		return cmp.Or(cmp.Compare(first(a), first(b)), cmp.Compare(a.label, b.label))
	})
	for i := range all {
		if sum > 0 {
			all[i].share = float64(all[i].blocks) / float64(sum)
		}
	}
	return all
}

// replicaGrid is the histogram of replicas. Of is told each share, and gives its bar.
func replicaGrid(r *result.Result, of func(float64) string) grid {
	g := grid{Title: "Copies of a block", Head: []string{"blocks", "share"}, Note: replicaNote(r)}
	for _, b := range bins(r) {
		g.Rows = append(g.Rows, []string{left(b.label, 14) + of(b.share), count(float64(b.blocks)), share(b.share)})
	}
	return g
}

func replicaNote(r *result.Result) string {
	c := r.Replicas
	if c.Blocks == 0 {
		return "The caches are empty at the end."
	}
	return fmt.Sprintf("%s copies of %s blocks; %s of %s are used, %s by surplus copies.",
		count(float64(c.Copies)), count(float64(c.Blocks)), size(float64(c.Bytes)), size(float64(c.Capacity)), share(c.Surplus))
}

func evictionPairs(r *result.Result) [][2]string {
	e := r.Evictions
	n := func(v int64) string { return count(float64(v)) }
	return [][2]string{
		{"evicted", n(e.Evicted)},
		{"last copies", n(e.Last)},
		{"lost, races", n(e.LastLost)},
		{"keepers moved", n(e.Moved)},
		{"forwarded", n(e.Forwarded)},
		{"lost, crashes", n(e.Crashed)},
		{"placed", n(e.Placed)},
		{"bypassed", n(e.Bypassed)},
		{"written", size(float64(e.WrittenBytes))},
		{"age, p50", seconds(e.AgeP50)},
		{"age, p99", seconds(e.AgeP99)},
	}
}

func directoryPairs(r *result.Result) [][2]string {
	d := r.Directory
	n := func(v int64) string { return count(float64(v)) }
	return [][2]string{
		{"lookups", n(d.Lookups)},
		{"deltas", n(d.Deltas)},
		{"orders", n(d.Orders)},
		{"resigned", n(d.Resigned)},
		{"wrong hints", n(d.WrongHints)},
		{"sent", size(float64(d.Bytes))},
		{"stale, p50", seconds(d.StaleP50)},
		{"stale, p99", seconds(d.StaleP99)},
	}
}

func networkPairs(r *result.Result) [][2]string {
	n := r.Network
	b := func(v int64) string { return size(float64(v)) }
	p := [][2]string{
		{"from the UFS", b(n.UFSBytes)},
		{"from peers", b(n.PeerBytes)},
		{"between zones", b(n.ZoneBytes)},
		{"node sent, p50", b(n.OutP50)},
		{"node sent, p99", b(n.OutP99)},
		{"node sent, max", b(n.OutMax)},
	}
	if r.Engine == "time" {
		p = append(p, [2]string{"UFS link busy", share(n.UFSBusy)}, [2]string{"busiest NIC", share(n.NICBusiest)})
	}
	return p
}
