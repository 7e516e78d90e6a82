package report

import (
	"io"
	"strings"
	"testing"

	"github.com/shoal-mesh/shoal/sim/result"
)

// advice returns a recommendation for a sample of a scenario.
func advice() *result.Recommendation {
	return &result.Recommendation{
		Shoal: "0.4.0", Name: "two-jobs-one-fleet", Engine: "reads", Seed: 7, Hash: "9f86d081884c7d65",
		Objective: "UFS bytes per second of job time", Runs: 42, Unfinished: true, SearchSample: 0.004, Sample: 0.01,
		Seeds: []uint64{8, 9}, Better: true,
		Changes: []result.Change{
			{Key: "datasets.imagenet.policy", Current: "lru", Recommended: "uniform"},
			{Key: "datasets.a-dataset-with-a-long-name-of-some-words.replicas.max", Current: "unlimited", Recommended: "2"},
		},
		Rows: []result.Row{
			{Metric: "UFS bytes per second of job time", Unit: result.Bytes, A: 4e8, B: 3e8, Difference: -1e8, Ratio: 0.75},
			{Metric: "warm.ufs.share", Unit: result.Share, A: 0.4, B: 0.3, Difference: -0.1, Ratio: 0.75},
		},
		Notes:  []string{"It has its price: 2.00 times as much is read from peers."},
		Config: "namespace:\n  - path: \"/imagenet\"\n    policy: uniform\n",
	}
}

func TestRecommendTableGolden(t *testing.T) {
	golden(t, "recommend.txt", text(func(w io.Writer) { RecommendTable(w, advice(), 80) }))
}

func TestRecommendTableSays(t *testing.T) {
	nothing, unconfirmed, wear := advice(), advice(), advice()
	nothing.Changes, nothing.Rows, nothing.Better, nothing.Config = nil, nil, false, ""
	unconfirmed.Better, unconfirmed.Config = false, ""
	wear.Rows[0].B = wear.Rows[0].A
	tests := []struct {
		r    *result.Recommendation
		want string
	}{
		{nothing, "\nNothing that was tried beats the current settings.\n"},
		{unconfirmed, "\nNothing beats the current settings: what looked better in the search is not"},
		{wear, "\nThere are better settings: as good in that, and less is written to the caches.\n"},
		{advice(), "\nThere are better settings: 25 % less UFS bytes per second of job time.\n"},
	}
	for _, tt := range tests {
		got := text(func(w io.Writer) { RecommendTable(w, tt.r, 80) })
		if !strings.Contains(got, tt.want) || strings.Contains(got, "namespace:") != (tt.r.Config != "") {
			t.Errorf("RecommendTable() = %s, want %q, and a config only if it is better", got, tt.want)
		}
		for _, width := range []int{64, 80, 120} {
			checkLines(t, "RecommendTable", text(func(w io.Writer) { RecommendTable(w, tt.r, width) }), width)
		}
	}
}
