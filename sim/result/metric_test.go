package result

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/shoal-mesh/shoal/sim/scenario"
)

// sampleRun is a Result in which every number that the tests look up is another one.
func sampleRun() *Result {
	counts := func(n float64) Counts {
		return Counts{Reads: int64(n), Tiers: Tiers{
			Local: Tier{Share: n + 0.1}, Peer: Tier{Share: n + 0.2}, FarPeer: Tier{Share: n + 0.3}, UFS: Tier{Share: n + 0.4},
		}, Amplification: n + 0.5}
	}
	return &Result{
		Nodes: 8, Total: counts(1), Warm: counts(2),
		Evictions: Evictions{LastLost: 3, Crashed: 4},
		Replicas:  Replicas{Histogram: map[string]int64{"1": 5, "3-4": 6}},
		Jobs: []Job{
			{Name: "train", Total: counts(10), Warm: counts(11), Stall: 12, Compute: 1, GPU: 0.9, Done: true, Epochs: []Counts{counts(13), counts(14)}, EpochEnds: []float64{15, 16}},
			{Name: "a/b.total", Total: counts(20), Stall: 21, Compute: 1, GPU: 0.8},
			{Name: "a/b", Total: counts(30), Stall: 5},
		},
		Datasets:  []Dataset{{Name: "d", Bytes: 40, Total: counts(41)}},
		PerNode:   []Node{{Node: 7}, {Node: 50, Zone: 1}},
		Intervals: []Interval{{End: 60}, {Counts: counts(61), Alive: 62, Stall: 63}},
	}
}

func TestLookup(t *testing.T) {
	for path, want := range map[string]float64{
		"nodes":                            8,
		"reads":                            1,
		"total.reads":                      1,
		"total.tiers.ufs.share":            1.4,
		"total.ufs.share":                  1.4,
		"ufs.share":                        1.4,
		"local.share":                      1.1,
		"peer.share":                       1.2,
		"peer_other_zone.share":            1.3,
		"warm.ufs.share":                   2.4,
		"warm.tiers.ufs.share":             2.4,
		"egress":                           1.5,
		"warm.egress":                      2.5,
		"egress_amplification":             1.5,
		"lost_last":                        3,
		"evictions.last_lost":              3,
		"evictions.crashed":                4,
		"replicas.histogram.1":             5,
		"replicas.histogram.3-4":           6,
		"replicas.histogram.9-16":          0,
		"stall":                            21,
		"gpu":                              0.8,
		"jobs.train.stall":                 12,
		"jobs.train.stall_seconds":         12,
		"jobs.train.gpu":                   0.9,
		"jobs.train.gpu_utilisation":       0.9,
		"jobs.train.done":                  1,
		"jobs.a/b.done":                    0,
		"jobs.train.reads":                 10,
		"jobs.train.ufs.share":             10.4,
		"jobs.train.warm.ufs.share":        11.4,
		"jobs[0].stall":                    12,
		"jobs.train.epochs[1].reads":       14,
		"jobs.train.epochs[0].ufs.share":   13.4,
		"jobs.train.epoch_end_seconds[1]":  16,
		"jobs.a/b.reads":                   30,
		"jobs.a/b.total.reads":             20, // of the names that fit, the longest
		"jobs.a/b.total.total.reads":       20,
		"datasets.d.bytes":                 40,
		"datasets.d.reads":                 41,
		"datasets.d.total.tiers.ufs.share": 41.4,
		"per_node[1].node":                 50,
		"per_node[1].zone":                 1,
		"intervals[0].end_seconds":         60,
		"intervals[1].reads":               61,
		"intervals[1].ufs.share":           61.4,
		"intervals[1].alive":               62,
		"intervals[1].stall":               63,
	} {
		got, err := Lookup(sampleRun(), path)
		if err != nil || got != want {
			t.Errorf("Lookup(%s) = %v, %v, want %v", path, got, err, want)
		}
		if err := KnownMetric(path); err != nil {
			t.Errorf("KnownMetric(%s) = %v, want nil", path, err)
		}
	}
	if got, err := Lookup(&Result{}, "gpu"); err != nil || got != 0 {
		t.Errorf("Lookup(gpu) without jobs = %v, %v, want 0", got, err)
	}
}

func TestLookupRefuses(t *testing.T) {
	tests := []struct {
		path, want string
		known      bool // it is only this Result that has it not
	}{
		{path: "", want: "not a number"},
		{path: "ufs", want: "ufs: not a number; go on with one of reads, bytes, share, byte_share"},
		{path: "ufs.shar", want: `ufs.shar: unknown metric: there is no "shar"; the nearest are share, `},
		{path: "usf.share", want: `there is no "usf"; the nearest are ufs, `},
		{path: "evictions.last_lots", want: "the nearest are last_lost, "},
		{path: "name", want: "name: not a number"},
		{path: "jobs", want: "jobs: not a number"},
		{path: "jobs.", want: "unknown metric"},
		{path: "jobs.train", want: "unknown metric"},
		{path: "jobs.train.", want: "unknown metric"},
		{path: "jobs.train.name", want: "not a number"},
		{path: "jobs.train.stal", want: "the nearest are "},
		{path: "jobs.train.epochs.first.reads", want: "write jobs.train.epochs[0] for the first", known: true},
		{path: "jobs[x].stall", want: "unknown metric"},
		{path: "jobs[-1].stall", want: "unknown metric"},
		{path: "jobs[0]stall", want: "unknown metric"},
		{path: ".reads", want: "unknown metric"},
		{path: "reads.", want: "reads has no parts"},
		{path: "reads[0]", want: "reads has no parts"},
		{path: "replicas.histogram", want: "not a number"},
		{path: "replicas.histogram.", want: "no parts"},
		{path: "jobs.load.stall", want: `there is no "load.stall"; the nearest are `, known: true},
		{path: "jobs[3].stall", want: "jobs has 3 elements", known: true},
		{path: "intervals[2].alive", want: "intervals has 2 elements", known: true},
	}
	for _, tt := range tests {
		if got, err := Lookup(sampleRun(), tt.path); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Lookup(%s) = %v, %v, want the error %q", tt.path, got, err, tt.want)
		}
		if err := KnownMetric(tt.path); (err == nil) != tt.known {
			t.Errorf("KnownMetric(%s) = %v, want an error: %v", tt.path, err, !tt.known)
		}
	}
}

// TestLookupFindsAllOfTheJSON looks up every number of a Result by its path in the JSON.
func TestLookupFindsAllOfTheJSON(t *testing.T) {
	r := sampleRun()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	numbers := make(map[string]float64)
	collect(numbers, "", tree)
	if len(numbers) < 200 {
		t.Fatalf("the JSON has %d numbers, want hundreds", len(numbers))
	}
	for path, want := range numbers {
		if got, err := Lookup(r, path); err != nil || got != want {
			t.Errorf("Lookup(%s) = %v, %v, want %v", path, got, err, want)
		}
		if err := KnownMetric(path); err != nil {
			t.Errorf("KnownMetric(%s) = %v, want nil", path, err)
		}
	}
}

// collect puts the numbers in the JSON node into numbers, by their paths.
func collect(numbers map[string]float64, path string, node any) {
	switch n := node.(type) {
	case map[string]any:
		for name, next := range n {
			collect(numbers, strings.TrimPrefix(path+"."+name, "."), next)
		}
	case []any:
		for i, next := range n {
			collect(numbers, path+"["+strconv.Itoa(i)+"]", next)
		}
	case float64:
		numbers[path] = n
	}
}

func TestJudge(t *testing.T) {
	var expect []scenario.Expectation
	for _, text := range []string{"ufs.share < 1.5", "ufs.share<1", "jobs.train.stall <= 12s", "jobs.none.stall >= 0", "lost_last == 3"} {
		var e scenario.Expectation
		if err := e.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		expect = append(expect, e)
	}
	got, err := Judge(sampleRun(), expect)
	if err == nil || strings.Count(err.Error(), "\n") != 0 || !strings.Contains(err.Error(), `expect "jobs.none.stall >= 0"`) {
		t.Errorf("Judge = %v, want one error, of the job that is not there", err)
	}
	want := []Verdict{
		{"ufs.share < 1.5", 1.4, true},
		{"ufs.share < 1", 1.4, false},
		{"jobs.train.stall <= 12s", 12, true},
		{"jobs.none.stall >= 0", 0, false},
		{"lost_last == 3", 3, true},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Judge = %v, want %v", got, want)
	}
	if got, err := Judge(sampleRun(), nil); err != nil || fmt.Sprint(got) != "[]" || got == nil {
		t.Errorf("Judge of no expectations = %v, %v, want an empty list", got, err)
	}
}

func TestKnownExpectations(t *testing.T) {
	s := &scenario.Scenario{
		Jobs:     []scenario.Job{{Name: "train"}, {Name: "train.2"}},
		Datasets: []scenario.Dataset{{Name: "d"}},
	}
	known := func(metric string) error {
		s.Expect = []scenario.Expectation{{Metric: "gpu", Op: ">"}, {Metric: metric, Op: "<", Value: 1}}
		return KnownExpectations(s)
	}
	for _, metric := range []string{"ufs.share", "jobs.train.stall", "jobs.train.2.warm.ufs.share", "jobs[7].gpu", "datasets.d.reads", "intervals[9].alive"} {
		if err := known(metric); err != nil {
			t.Errorf("KnownExpectations with %s = %v, want nil", metric, err)
		}
	}
	for _, metric := range []string{"ufs.shar", "jobs.train.wram.ufs.share", "jobs.train.3.gpu", "jobs.load.gpu", "datasets.e.reads"} {
		if err := known(metric); err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), `expect "`+metric+` < 1": `+metric+": unknown metric") {
			t.Errorf("KnownExpectations with %s = %v, want one error, of it", metric, err)
		}
	}
	s.Jobs[1].Kind = scenario.Trace
	if err := known("datasets.e.reads"); err != nil {
		t.Errorf("KnownExpectations on a dataset of a trace = %v, want nil", err)
	}
	if err := known("jobs.load.gpu"); err == nil {
		t.Error("KnownExpectations on no job, with a trace = nil, want an error")
	}
}

// TestReadyScenariosExpectKnownMetrics holds what comes with the scenarios to what there is.
func TestReadyScenariosExpectKnownMetrics(t *testing.T) {
	for _, name := range scenario.Ready() {
		s, err := scenario.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := KnownExpectations(s); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
