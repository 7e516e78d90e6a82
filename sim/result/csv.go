package result

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
)

// A Sweep is what a scenario gave with other values of some of its keys.
type Sweep struct {
	// Keys were swept, as they are written in a scenario. None if Results are just several.
	Keys []string
	// Values are those of Keys, for each of Results.
	Values [][]string
	// Results are the runs, in the order in which they are shown.
	Results []*Result
}

// Value returns what key k was in run i, "" if there is no such key or it is not known.
func (s Sweep) Value(i, k int) string {
	if k >= len(s.Keys) || i >= len(s.Values) || k >= len(s.Values[i]) {
		return ""
	}
	return s.Values[i][k]
}

// WriteCSV writes the intervals of r, one row each, under a row of names that do not change.
// Fractions are rounded as Write does.
func WriteCSV(w io.Writer, r *Result) error {
	out := csv.NewWriter(w)
	rows := [][]string{intervalNames()}
	for _, i := range r.Intervals {
		rows = append(rows, intervalRow(i))
	}
	if err := out.WriteAll(rows); err != nil {
		return fmt.Errorf("write intervals of %q: %w", r.Name, err)
	}
	return nil
}

// WriteSummaryCSV writes one row per run of s: its name, the swept keys, and all Measures.
// What a run does not know is empty.
func WriteSummaryCSV(w io.Writer, s Sweep) error {
	out := csv.NewWriter(w)
	rows := [][]string{summaryNames(s)}
	for i := range s.Results {
		rows = append(rows, summaryRow(s, i))
	}
	if err := out.WriteAll(rows); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}

func intervalNames() []string {
	names := []string{"start_seconds", "end_seconds", "reads", "bytes"}
	for _, tier := range []string{"local", "peer", "peer_other_zone", "ufs"} {
		names = append(names, tier+"_reads", tier+"_bytes", tier+"_share", tier+"_byte_share")
	}
	return append(names, "egress_amplification", "stall", "alive", "copies", "blocks")
}

func intervalRow(i Interval) []string {
	row := []string{number(i.Start), number(i.End), whole(i.Reads), whole(i.Bytes)}
	for _, t := range []Tier{i.Tiers.Local, i.Tiers.Peer, i.Tiers.FarPeer, i.Tiers.UFS} {
		row = append(row, whole(t.Reads), whole(t.Bytes), number(t.Share), number(t.ByteShare))
	}
	return append(row, number(i.Amplification), number(i.Stall), strconv.Itoa(i.Alive), whole(i.Copies), whole(i.Blocks))
}

func summaryNames(s Sweep) []string {
	names := append([]string{"name"}, s.Keys...)
	names = append(names, "engine", "seed", "config_hash", "sample", "nodes", "cache_bytes", "reads", "warm_reads")
	for _, m := range Measures() {
		names = append(names, m.Name)
	}
	return names
}

func summaryRow(s Sweep, i int) []string {
	r := s.Results[i]
	row := []string{r.Name}
	for k := range s.Keys {
		row = append(row, s.Value(i, k))
	}
	row = append(row, r.Engine, strconv.FormatUint(r.Seed, 10), r.Hash, number(r.Sample), strconv.Itoa(r.Nodes),
		whole(r.CacheBytes), whole(r.Total.Reads), whole(r.Warm.Reads))
	for _, m := range Measures() {
		text := ""
		if v, known := m.Of(r); known {
			text = number(v)
		}
		row = append(row, text)
	}
	return row
}

// number returns f as JSON has it, without an exponent.
func number(f float64) string { return strconv.FormatFloat(round(f), 'f', -1, 64) }

func whole(n int64) string { return strconv.FormatInt(n, 10) }
