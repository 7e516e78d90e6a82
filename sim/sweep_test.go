package sim

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/shoal-mesh/shoal/sim/result"
)

// quick is a scenario that takes no time.
const quick = `version: 1
name: quick
fleet: {nodes: 1, cache: 40MiB}
datasets: [{name: data, files: 40, file: 4MiB, policy: uniform}]
jobs: [{kind: epochs, dataset: data, epochs: 4}]
`

func quickGrid(sets ...string) Grid {
	g := Grid{Name: "quick.yaml", Data: []byte(quick)}
	for _, set := range sets {
		a, err := ParseAxis(set)
		if err != nil {
			panic(err)
		}
		g.Axes = append(g.Axes, a)
	}
	return g
}

// written is a sweep as JSON.
func written(t *testing.T, s result.Sweep) string {
	t.Helper()
	var b bytes.Buffer
	if err := result.WriteSweep(&b, s); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestSweepOrder(t *testing.T) {
	g := quickGrid("datasets.data.policy=uniform,lru", "fleet.nodes=1", "fleet.cache=20MiB,40MiB,80MiB")
	var first string
	for _, jobs := range []int{1, 4} {
		s, err := Sweep(t.Context(), g, SweepConfig{Jobs: jobs, Shoal: "test"})
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"datasets.data.policy", "fleet.cache"}; !slices.Equal(s.Keys, want) {
			t.Errorf("Sweep().Keys = %q, want %q", s.Keys, want)
		}
		if got, want := s.Values[4], []string{"lru", "40MiB"}; !slices.Equal(got, want) {
			t.Errorf("Sweep().Values[4] = %q, want %q", got, want)
		}
		r := s.Results[4]
		if r.CacheBytes != 40<<20 || r.Datasets[0].Policy != "lru" || r.Shoal != "test" {
			t.Errorf("Sweep().Results[4] has cache %d, policy %s, shoal %s; want 40 MiB, lru, test", r.CacheBytes, r.Datasets[0].Policy, r.Shoal)
		}
		if first == "" {
			first = written(t, s)
		}
		if written(t, s) != first {
			t.Errorf("Sweep() with %d jobs has other bytes than with 1", jobs)
		}
	}
}

func TestSweepResumes(t *testing.T) {
	g := quickGrid("seed=1,2,3,4")
	var results []*result.Result // of the last sweep
	made := func(cfg SweepConfig, g Grid) (string, int) {
		var last Progress
		cfg.Progress = func(p Progress) { last = p }
		s, err := Sweep(t.Context(), g, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if last.Done != len(s.Results) || last.Total != len(s.Results) {
			t.Errorf("Sweep() came to %+v, want all of %d", last, len(s.Results))
		}
		results = s.Results
		return written(t, s), last.Done - last.Kept
	}
	whole, _ := made(SweepConfig{Shoal: "a"}, g)
	atOnce := results
	cfg := SweepConfig{Dir: filepath.Join(t.TempDir(), "results"), Shoal: "a"}
	if _, n := made(cfg, quickGrid("seed=2,3")); n != 2 {
		t.Errorf("the first sweep made %d runs, want 2", n)
	}
	resumed, n := made(cfg, g)
	if n != 2 || resumed != whole {
		t.Errorf("the resumed sweep made %d runs, want 2; the same bytes as at once: %v", n, resumed == whole)
	}
	if !reflect.DeepEqual(results, atOnce) {
		t.Error("the resumed sweep has other results than one at once")
	}
	files, err := filepath.Glob(filepath.Join(cfg.Dir, "*.json"))
	if err != nil || len(files) != 4 {
		t.Fatalf("%d files are kept (%v), want 4", len(files), err)
	}
	if err := os.WriteFile(files[0], []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if again, n := made(cfg, g); n != 1 || again != whole {
		t.Errorf("with a damaged file %d runs were made, want 1; the same bytes: %v", n, again == whole)
	}
	cfg.Shoal = "b"
	if _, n := made(cfg, g); n != 4 {
		t.Errorf("with another version %d runs were made, want 4", n)
	}
}

// TestSweepInterrupted ends the context after the first run.
func TestSweepInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	stop := func(p Progress) {
		if p.Done == 1 {
			cancel()
		}
	}
	_, err := Sweep(ctx, quickGrid("seed=1,2,3"), SweepConfig{Jobs: 1, Dir: dir, Progress: stop})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "1 of 3 runs done") {
		t.Errorf("Sweep() = %v, want that it was cancelled after 1 of 3 runs", err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("%d files are kept, want 1", len(files))
	}
}

func TestSweepTellsTheSetting(t *testing.T) {
	_, err := Sweep(t.Context(), quickGrid("datasets.data.policy=lru,fifo", "fleet.nodes=1,0"), SweepConfig{})
	if !errors.Is(err, ErrScenario) || !strings.Contains(err.Error(), "fifo") || !strings.Contains(err.Error(), "fleet.nodes") {
		t.Errorf("Sweep() = %v, want what is wrong with fifo and fleet.nodes", err)
	}
	_, err = Sweep(t.Context(), quickGrid("datasets.data.policy=lru,uniform", "expect=[nonsense < 1]"), SweepConfig{Jobs: 1})
	if !errors.Is(err, ErrScenario) || !strings.Contains(err.Error(), "datasets.data.policy=lru expect=[nonsense < 1]: ") {
		t.Errorf("Sweep() = %v, want the settings of the run that failed", err)
	}
	if _, err = Sweep(t.Context(), quickGrid("seed=1,2", "seed=3"), SweepConfig{}); !errors.Is(err, ErrScenario) {
		t.Errorf("Sweep() with a key twice = %v, want ErrScenario", err)
	}
	if _, err = Sweep(t.Context(), quickGrid("seed="+strings.Repeat("1,", 200)+"1", "sample="+strings.Repeat("1,", 200)+"1"), SweepConfig{}); !errors.Is(err, ErrScenario) {
		t.Errorf("Sweep() of 40,401 runs = %v, want ErrScenario", err)
	}
}

func TestParseAxis(t *testing.T) {
	tests := []struct {
		text string
		want []string
	}{
		{"a.b=1,2,3", []string{"1", "2", "3"}},
		{"a.b=x", []string{"x"}},
		{"a.b=", []string{""}},
		{"a.b=[1, 2],[3]", []string{"[1, 2]", "[3]"}},
		{`a.b="0-7,9",3`, []string{`"0-7,9"`, "3"}},
		{"a.b={c: 1, d: 2},x=y", []string{"{c: 1, d: 2}", "x=y"}},
	}
	for _, tt := range tests {
		if a, err := ParseAxis(tt.text); err != nil || a.Key != "a.b" || !slices.Equal(a.Values, tt.want) {
			t.Errorf("ParseAxis(%q) = %q, %v, want values %q", tt.text, a, err, tt.want)
		}
	}
	for _, text := range []string{"", "a", "=1"} {
		if a, err := ParseAxis(text); err == nil {
			t.Errorf("ParseAxis(%q) = %q, want an error", text, a)
		}
	}
}
