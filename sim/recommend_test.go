package sim

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/shoal-mesh/shoal/node/config"
	"github.com/shoal-mesh/shoal/sim/result"
	"github.com/shoal-mesh/shoal/sim/scenario"
)

// recommended returns what is recommended for a ready scenario of shuffled epochs.
func recommended(t *testing.T, cfg RecommendConfig, set ...scenario.Setting) *result.Recommendation {
	t.Helper()
	s, err := scenario.Load("shuffled-epochs", set...)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Recommend(t.Context(), s, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// shuffled makes the ready scenario of a shuffled dataset smaller.
func shuffled(policy string) []scenario.Setting {
	return []scenario.Setting{
		{Key: "datasets.imagenet.files", Value: "400"},
		{Key: "fleet.cache", Value: "400MiB"},
		{Key: "datasets.imagenet.policy", Value: policy},
	}
}

func TestRecommendUniform(t *testing.T) {
	r := recommended(t, RecommendConfig{}, shuffled("lru")...)
	want := []result.Change{{Key: "datasets.imagenet.policy", Current: "lru", Recommended: "uniform"}}
	if !r.Better || !slices.Equal(r.Changes, want) {
		t.Fatalf("Recommend(lru on shuffled epochs) = better %v, %v, want %v", r.Better, r.Changes, want)
	}
	if row := r.Rows[0]; row.Metric != r.Objective || row.Ratio < 0.7 || row.Ratio > 0.85 { // 0.75 to 0.965
		t.Errorf("Recommend(lru on shuffled epochs).Rows[0] = %+v, want a ratio of about 0.78", row)
	}
	if want := []uint64{2, 3}; !slices.Equal(r.Seeds, want) {
		t.Errorf("Recommend().Seeds = %v, want %v", r.Seeds, want)
	}
}

// TestRecommendNothing begins with what cannot be bettered.
func TestRecommendNothing(t *testing.T) {
	r := recommended(t, RecommendConfig{}, shuffled("uniform")...)
	if r.Better || len(r.Changes) > 0 || r.Config != "" {
		t.Errorf("Recommend(uniform on shuffled epochs) = better %v, changes %v, config %q; want none", r.Better, r.Changes, r.Config)
	}
	if r.Runs < 6 {
		t.Errorf("Recommend(uniform on shuffled epochs).Runs = %d, want all that there is to try", r.Runs)
	}
}

// TestRecommendCopies begins with nodes that each keep blocks as if they were alone.
func TestRecommendCopies(t *testing.T) {
	set := append(shuffled("uniform"), scenario.Setting{Key: "fleet.nodes", Value: "4"}, scenario.Setting{Key: "jobs.train.shared", Value: "false"},
		scenario.Setting{Key: "datasets.imagenet.replicas.classes", Value: "false"})
	r := recommended(t, RecommendConfig{}, set...)
	if !r.Better || !slices.ContainsFunc(r.Changes, func(c result.Change) bool {
		return c.Key == "datasets.imagenet.replicas.classes" && c.Recommended == "true"
	}) {
		t.Errorf("Recommend(classes: false) = better %v, %v, want classes: true", r.Better, r.Changes)
	}
}

// TestRecommendClasses begins with a policy that loses by itself, where classes gain nothing: they are
// recommended with it, but not alone.
func TestRecommendClasses(t *testing.T) {
	for policy, want := range map[string]int{"lru": 2, "uniform": 0} {
		set := append(shuffled(policy), scenario.Setting{Key: "fleet.nodes", Value: "2"}, scenario.Setting{Key: "datasets.imagenet.replicas.classes", Value: "false"})
		if r := recommended(t, RecommendConfig{}, set...); r.Better != (want > 0) || len(r.Changes) != want {
			t.Errorf("Recommend(%s, classes: false) = better %v, %v, want %d changes", policy, r.Better, r.Changes, want)
		}
	}
}

// TestConclude has a search find what is worse: it is not recommended, and was compared with other
// seeds and the scenario's own sample.
func TestConclude(t *testing.T) {
	s, err := scenario.Load("shuffled-epochs", shuffled("uniform")...)
	if err != nil {
		t.Fatal(err)
	}
	small, best := clone(s), clone(s)
	small.Sample, best.Sample, best.Datasets[0].Policy = 0.5, 0.5, "lru"
	q := &search{budget: 100, seen: make(map[string]*result.Result)}
	r := &result.Recommendation{Seeds: []uint64{2, 3}}
	if err := q.conclude(t.Context(), r, s, small, best); err != nil {
		t.Fatal(err)
	}
	if r.Better || r.Config != "" || len(r.Changes) != 1 || r.Rows[0].Difference <= 0 {
		t.Errorf("conclude(lru for uniform) = %+v, want one change that is not better", r)
	}
	for _, one := range q.seen {
		if one.Seed != 1 && one.Sample != 1 {
			t.Errorf("conclude() ran seed %d with a sample of %v, want 1", one.Seed, one.Sample)
		}
	}
}

func TestRecommendIsStable(t *testing.T) {
	var first string
	for _, jobs := range []int{1, 3} {
		var b bytes.Buffer
		if err := result.WriteRecommendation(&b, recommended(t, RecommendConfig{Jobs: jobs}, shuffled("sieve")...)); err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = b.String()
		}
		if b.String() != first {
			t.Errorf("Recommend() with %d jobs = %s, want as with 1: %s", jobs, b.String(), first)
		}
	}
}

// TestRecommendSamples searches a scenario of 48,000 reads with about 16,000.
func TestRecommendSamples(t *testing.T) {
	r := recommended(t, RecommendConfig{Reads: 16_000}, scenario.Setting{Key: "datasets.imagenet.policy", Value: "lru"})
	if r.SearchSample < 0.3 || r.SearchSample > 0.35 || r.Sample != 1 || !r.Better {
		t.Errorf("Recommend(16,000 reads) = search sample %v, sample %v, better %v; want 1/3, 1, true", r.SearchSample, r.Sample, r.Better)
	}
}

func TestRecommendBudget(t *testing.T) {
	var last Progress
	r := recommended(t, RecommendConfig{Budget: 7, Progress: func(p Progress) { last = p }}, shuffled("lru")...)
	if !r.Unfinished || !r.Better {
		t.Errorf("Recommend(7 runs) = unfinished %v, better %v, want both: the policies are the first 6", r.Unfinished, r.Better)
	}
	if r.Runs != last.Done-last.Kept || r.Runs < 10 || r.Runs > 11 {
		t.Errorf("Recommend(7 runs).Runs = %d, progress %+v; want 6 or 7 of the search and 4 that confirm", r.Runs, last)
	}
	s, err := scenario.Load("shuffled-epochs")
	if err != nil {
		t.Fatal(err)
	}
	s.Datasets = nil
	if _, err := Recommend(t.Context(), s, RecommendConfig{}); !errors.Is(err, ErrScenario) {
		t.Errorf("Recommend(no datasets) = %v, want ErrScenario", err)
	}
}

// TestRecommendConfig has an agent's config read the mounts, with a UFS for each.
func TestRecommendConfig(t *testing.T) {
	s, err := scenario.Load("mixed-jobs", scenario.Setting{Key: "datasets.large.quota", Value: "2GiB"}, scenario.Setting{Key: "datasets.small.forward", Value: "1MiB"})
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(configOf(&result.Recommendation{}, s), "    policy:", "    ufs: \"file:///data\"\n    policy:")
	c, err := config.Parse("config", []byte("cluster: {secret_file: /secret}\ncache: [{path: /nvme}]\n"+text), os.LookupEnv)
	if err != nil {
		t.Fatalf("config.Parse(%s) = %v", text, err)
	}
	m := c.Namespace[0]
	if m.Path != "/large" || m.Policy != "uniform" || m.Quota != 2<<30 || !m.Replicas.Classes || c.Namespace[1].Forward != 1<<20 {
		t.Errorf("config.Parse(%s).Namespace = %+v, want the settings of the scenario", text, c.Namespace)
	}
}

// TestSiloDQuotas divides 300 GB between the jobs of policy.md §3.7, G9.
func TestSiloDQuotas(t *testing.T) {
	s, err := scenario.Parse("g9", []byte(`{version: 1, name: g9, fleet: {nodes: 10, cache: 30GB},
datasets: [{name: a, files: 100000, file: 1MB}, {name: b, files: 1000000, file: 1MB}],
jobs: [{kind: epochs, dataset: a, rate: 100}, {kind: epochs, dataset: b, rate: 50}]}`))
	if err != nil {
		t.Fatal(err)
	}
	got := siloDQuotas(s)
	if got[0] != 0 || got[1] < 20e9 || got[1] > 20e9+1<<20 { // a whole, and 200 GB on 10 nodes
		t.Errorf("siloDQuotas(G9) = %d, want none for a, and 20 GB for b", got)
	}
}

func TestCostOf(t *testing.T) {
	r := &result.Result{
		Engine: "reads", Sample: 0.5,
		Total: result.Counts{Reads: 9, Bytes: 9000}, Warm: result.Counts{Reads: 4, Bytes: 4000, Tiers: result.Tiers{UFS: result.Tier{Bytes: 1000}}},
		Jobs: []result.Job{{Start: 0, End: 10, Stall: 2}, {Start: 5, End: 15, Stall: 4}},
	}
	if got := costOf(r); got.main != 100 || got.whole != 400 { // 1,000 of half of the blocks in 20 s
		t.Errorf("costOf(reads) = %+v, want 100 of 400 bytes per second", got)
	}
	r.Engine, r.Sample = "time", 1
	if got := costOf(r); got.main != 3 || got.whole != 10 {
		t.Errorf("costOf(time) = %+v, want 3 of 10 seconds", got)
	}
}

func TestCostBeats(t *testing.T) {
	base := cost{main: 100, whole: 1000, peer: 50, written: 200}
	tests := []struct {
		name string
		cost cost
		want bool
	}{
		{"less of main", cost{main: 90, whole: 1000, peer: 500, written: 2000}, true},
		{"less, but not worth it", cost{main: 99.5, whole: 1000, peer: 50, written: 200}, false},
		{"little of the whole", cost{main: 98, whole: 100_000, peer: 50, written: 200}, false},
		{"as much, and less written", cost{main: 100, whole: 1000, peer: 50, written: 100}, true},
		{"as much, less written, more from peers", cost{main: 100, whole: 1000, peer: 60, written: 100}, false},
		{"more, and less written", cost{main: 102, whole: 1000, peer: 50, written: 100}, false},
		{"the same", base, false},
	}
	for _, tt := range tests {
		o := base
		o.whole = tt.cost.whole
		if got := tt.cost.beats(o); got != tt.want {
			t.Errorf("%s: %+v.beats(%+v) = %v, want %v", tt.name, tt.cost, o, got, tt.want)
		}
	}
}
