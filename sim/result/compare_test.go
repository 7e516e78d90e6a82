package result

import (
	"bytes"
	"encoding/csv"
	"slices"
	"strings"
	"testing"
)

// two returns two runs of one scenario, under another policy and with other results.
func two() (a, b *Result) {
	of := func(policy string, ufs float64) *Result {
		r := &Result{
			Name: "run", Engine: "time", Sample: 1, Seed: 1, Hash: policy, Nodes: 8, Zones: 1,
			Total:    Counts{Reads: 100, Tiers: Tiers{UFS: Tier{Share: ufs}}, Amplification: 1 + ufs},
			Warm:     Counts{Reads: 50, Tiers: Tiers{UFS: Tier{Share: ufs / 2}}},
			Bound:    Bound{Kind: "capacity", HitShare: 1, Distance: ufs / 2},
			Datasets: []Dataset{{Name: "d", Bytes: 7, Policy: policy}},
			Jobs: []Job{
				{Name: "one", Dataset: "d", Kind: "epochs", Nodes: 8, End: 100 * ufs, Compute: 3, Stall: 1, GPU: 0.75},
				{Name: "two", Dataset: "d", Kind: "epochs", Nodes: 8, End: 200 * ufs, Compute: 1, Stall: 1, GPU: 0.5},
			},
		}
		r.Network.UFSBytes = int64(1000 * ufs)
		return r
	}
	return of("lru", 0.5), of("weighted", 0.25)
}

func row(t *testing.T, c Comparison, metric string) Row {
	t.Helper()
	i := slices.IndexFunc(c.Rows, func(r Row) bool { return r.Metric == metric })
	if i < 0 {
		t.Fatalf("Compare() has no row %s", metric)
	}
	return c.Rows[i]
}

func TestCompare(t *testing.T) {
	c := Compare(two())
	if len(c.Unlike) > 0 {
		t.Errorf("Compare() = unlike in %q, want comparable", c.Unlike)
	}
	if want := []string{"config hash: lru, weighted", "policy of dataset d: lru, weighted"}; !slices.Equal(c.Differs, want) {
		t.Errorf("Compare() differs in %q, want %q", c.Differs, want)
	}
	for _, want := range []Row{
		{"warm.ufs.share", Share, 0.25, 0.125, -0.125, 0.5},
		{"total.ufs.share", Share, 0.5, 0.25, -0.25, 0.5},
		{"total.egress_amplification", Factor, 1.5, 1.25, -0.25, 1.25 / 1.5},
		{"bound.distance", Share, 0.25, 0.125, -0.125, 0.5},
		{"stall", Seconds, 1, 1, 0, 1},
		{"gpu", Share, 0.5, 0.5, 0, 1},
		{"network.ufs_bytes", Bytes, 500, 250, -250, 0.5},
		{"evictions.last_lost", Count, 0, 0, 0, 0},
		{"jobs.one.end_seconds", Seconds, 50, 25, -25, 0.5},
		{"jobs.two.gpu_utilisation", Share, 0.5, 0.5, 0, 1},
	} {
		if got := row(t, c, want.Metric); got != want {
			t.Errorf("Compare() = %+v, want %+v", got, want)
		}
	}
}

func TestCompareUnlike(t *testing.T) {
	tests := []struct {
		change func(r *Result)
		want   string
	}{
		{func(r *Result) { r.Engine = "reads" }, "engine: time, reads"},
		{func(r *Result) { r.Sample = 0.1 }, "sample: 1, 0.1"},
		{func(r *Result) { r.Datasets[0].Bytes = 8 }, "bytes of dataset d: 7, 8"},
		{func(r *Result) { r.Datasets[0].Name = "e" }, "dataset 1: d, e"},
		{func(r *Result) { r.Datasets = nil }, "datasets: 1, 0"},
		{func(r *Result) { r.Jobs = r.Jobs[:1] }, "jobs: 2, 1"},
		{func(r *Result) { r.Jobs[1].Name = "three" }, "job 2: two, three"},
		{func(r *Result) { r.Jobs[0].Kind = "zipf" }, "kind of job one: epochs, zipf"},
		{func(r *Result) { r.Jobs[0].Dataset = "e" }, "dataset of job one: d, e"},
	}
	for _, tt := range tests {
		a, b := two()
		tt.change(b)
		if c := Compare(a, b); !slices.Contains(c.Unlike, tt.want) {
			t.Errorf("Compare() = unlike in %q, want %q", c.Unlike, tt.want)
		}
	}
}

// TestCompareLeavesOut checks that what one of them does not know is no row.
func TestCompareLeavesOut(t *testing.T) {
	a, b := two()
	b.Engine, b.Warm.Reads, b.Bound.Kind = "reads", 0, ""
	for _, r := range Compare(a, b).Rows {
		if strings.HasPrefix(r.Metric, "warm.") || slices.Contains([]string{"stall", "gpu", "bound.distance", "jobs.one.stall_seconds"}, r.Metric) {
			t.Errorf("Compare() has %s, want what both know", r.Metric)
		}
	}
	if got := Compare(&Result{}, &Result{}); len(got.Unlike)+len(got.Differs) > 0 || len(got.Rows) == 0 {
		t.Errorf("Compare(empty, empty) = %+v, want rows alone", got)
	}
}

func TestMeasures(t *testing.T) {
	var names []string
	for _, m := range Measures() {
		if err := KnownMetric(m.Name); err != nil {
			t.Errorf("measure %s: %v", m.Name, err)
		}
		if slices.Contains(names, m.Name) {
			t.Errorf("measure %s is there twice", m.Name)
		}
		if m.About == "" || len(m.About) > 12 || m.Less && m.More {
			t.Errorf("measure %+v wants a short heading and one better side", m)
		}
		names = append(names, m.Name)
	}
}

func rows(t *testing.T, text string) [][]string {
	t.Helper()
	all, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatalf("csv = %v, want rows as long as the first", err)
	}
	return all
}

func TestWriteCSV(t *testing.T) {
	r := filled()
	r.Intervals[1].Tiers.UFS.Share = 1.0 / 3
	var b bytes.Buffer
	if err := WriteCSV(&b, r); err != nil {
		t.Fatal(err)
	}
	got := rows(t, b.String())
	const head = "start_seconds,end_seconds,reads,bytes,local_reads,local_bytes,local_share,local_byte_share," +
		"peer_reads,peer_bytes,peer_share,peer_byte_share,peer_other_zone_reads,peer_other_zone_bytes,peer_other_zone_share,peer_other_zone_byte_share," +
		"ufs_reads,ufs_bytes,ufs_share,ufs_byte_share,egress_amplification,stall,alive,copies,blocks"
	if len(got) != 3 || strings.Join(got[0], ",") != head {
		t.Fatalf("WriteCSV() = %d rows under %q, want 2 under %q", len(got)-1, got[0], head)
	}
	i := slices.Index(got[0], "ufs_share")
	if got[2][i] != "0.333333" {
		t.Errorf("WriteCSV() ufs_share = %s, want 0.333333", got[2][i])
	}
	for i, cell := range got[1] {
		if slices.Index(got[1], cell) != i {
			t.Errorf("WriteCSV() has %s in two columns of one row, want each field once", cell)
		}
	}
}

func TestWriteSummaryCSV(t *testing.T) {
	a, b := two()
	b.Engine, b.Name = "reads", `say "b", please`
	s := Sweep{Keys: []string{"fleet.cache", "policy"}, Values: [][]string{{"1TiB", "lru"}, {"2TiB"}}, Results: []*Result{a, b}}
	var out bytes.Buffer
	if err := WriteSummaryCSV(&out, s); err != nil {
		t.Fatal(err)
	}
	got := rows(t, out.String())
	cell := func(row int, name string) string { return got[row][slices.Index(got[0], name)] }
	for _, tt := range []struct {
		row        int
		name, want string
	}{
		{1, "fleet.cache", "1TiB"},
		{1, "policy", "lru"},
		{1, "warm.ufs.share", "0.25"},
		{1, "gpu", "0.5"},
		{2, "name", `say "b", please`},
		{2, "fleet.cache", "2TiB"},
		{2, "policy", ""},
		{2, "network.ufs_bytes", "250"},
		{2, "gpu", ""},
		{2, "engine", "reads"},
	} {
		if c := cell(tt.row, tt.name); c != tt.want {
			t.Errorf("WriteSummaryCSV() row %d %s = %q, want %q", tt.row, tt.name, c, tt.want)
		}
	}
}
