package sim

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
	live "github.com/shoal-mesh/shoal/node/trace"
	"github.com/shoal-mesh/shoal/sim/scenario"
	"github.com/shoal-mesh/shoal/sim/workload"
)

// TestRecorded checks that a trace of a scenario's own reads gives the same shares as the
// scenario.
func TestRecorded(t *testing.T) {
	for _, policy := range []string{"uniform", "lru"} {
		s := lab(3, 200, scenario.Dataset{Files: 1000, Policy: policy, Replicas: aware}, scenario.Job{Kind: scenario.Epochs, Epochs: 6, Shared: true})
		want := simulate(t, s).Total.Tiers
		s.Jobs = []scenario.Job{{Name: "again", Kind: scenario.Trace, Trace: record(t, s), Nodes: scenario.Nodes{0, 1, 2}}}
		got := simulate(t, s).Total.Tiers
		near(t, policy+", recorded: local", got.Local.Share, want.Local.Share, 1e-9)
		near(t, policy+", recorded: ufs", got.UFS.Share, want.UFS.Share, 1e-9)
	}
}

// record writes the reads of a scenario's first job as its agents would.
func record(t *testing.T, s *scenario.Scenario) string {
	data, err := workload.NewData(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	job, err := workload.NewJob(s, data, &s.Jobs[0], 0)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "fleet.trace")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w, err := live.NewWriter(f, live.Header{})
	if err != nil {
		t.Fatal(err)
	}
	dataset, err := w.Dataset("/data")
	if err != nil {
		t.Fatal(err)
	}
	var nodes []uint32
	for i := range job.Ranks() {
		n, err := w.Node(fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
	}
	for _, n := range nodes { // what agents measure; these are the costs of the scenario
		if err := w.Append(live.Record{Op: live.Costs, Node: n, Bytes: 100_000, Size: 300_000}); err != nil {
			t.Fatal(err)
		}
	}
	step := time.Duration(1e9 / job.Rate())
	for round, left := 0, true; left; round++ {
		left = false
		for i := range job.Ranks() {
			if r, ok := job.Next(i); ok {
				left = true
				if err := w.Append(live.Record{
					Time: (time.Duration(round) * step).Microseconds(), Block: uint64(r.Block) * 0x9e3779b97f4a7c15,
					Node: nodes[i], Dataset: dataset, Size: r.Bytes, Bytes: r.Bytes, Tier: shoal.TierLocal,
				}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestRecordedRefuses checks what is said of traces that cannot be replayed.
func TestRecordedRefuses(t *testing.T) {
	s := lab(3, 200, scenario.Dataset{Files: 1000, Replicas: aware}, scenario.Job{Kind: scenario.Epochs, Epochs: 2, Shared: true})
	name := record(t, s)
	for _, tt := range []struct {
		job  scenario.Job
		want string
	}{
		{scenario.Job{Name: "a", Kind: scenario.Trace, Trace: "absent.trace", Nodes: scenario.Nodes{0}}, "no such file"},
		{scenario.Job{Name: "a", Kind: scenario.Trace, Trace: name, Format: "lcs", Nodes: scenario.Nodes{0}}, "lcs"},
		{scenario.Job{Name: "a", Kind: scenario.Trace, Trace: name, Nodes: scenario.Nodes{0}}, "no other job can read it"},
	} {
		with := *s
		with.Jobs = append([]scenario.Job{tt.job}, s.Jobs...)
		if _, err := Run(t.Context(), &with); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Run(a job of %s as %q) = %v, want an error with %q", filepath.Base(tt.job.Trace), tt.job.Format, err, tt.want)
		}
	}
}
