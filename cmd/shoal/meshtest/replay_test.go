package meshtest

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/shoal-mesh/shoal"
	live "github.com/shoal-mesh/shoal/node/trace"
	"github.com/shoal-mesh/shoal/sim"
	"github.com/shoal-mesh/shoal/sim/scenario"
	"github.com/shoal-mesh/shoal/sim/trace"
)

// record has the lab's agents record all reads, in directories of this name. They must not run.
func (l *lab) record(name string) {
	for _, n := range l.nodes {
		n.config["trace"] = map[string]any{"path": filepath.Join(n.home, name), "share": 1}
	}
}

// recorded returns what the agents have recorded in directories of this name, as one trace. They
// must have been stopped.
func (l *lab) recorded(t testing.TB, name string) trace.Source {
	t.Helper()
	var dirs []string
	for _, n := range l.nodes {
		dirs = append(dirs, filepath.Join(n.home, name))
	}
	s, err := trace.OpenAll(dirs, trace.Shoal, trace.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestRecordedTraces compares what agents record of cold and warm reads, of small files and of
// one that the kernel reads in pieces, with what they count.
func TestRecordedTraces(t *testing.T) {
	l := newLab(t, 3)
	objects := l.upload(t, 1, func(i int) string { return fmt.Sprintf("small/%04d", i) }, small(400)...)
	objects = append(objects, l.upload(t, 2, func(int) string { return "big.bin" }, 64*mib)...)
	l.record("traces")
	l.startAll(t, "", 2)
	for pass := range uint64(2) {
		for _, p := range readTogether(l.nodes, objects, 10*pass) {
			p.mustBe(t, len(objects))
		}
		dropCaches(t)
	}
	counted := make(map[string]int64) // bytes by node and tier
	for _, n := range l.nodes {
		s := n.status(t)
		if s.Trace.Dropped != 0 || s.Trace.Error != "" {
			t.Errorf("%s: trace %+v, want nothing dropped, and no error", n.name, *s.Trace)
		}
		for tier, bytes := range s.Reads.Bytes {
			counted[n.name+" "+tier] += bytes
		}
	}
	for _, n := range l.nodes {
		n.stop(t)
	}
	got, records := tiers(t, l.recorded(t, "traces"))
	t.Logf("recorded %v bytes in %d records, counted %v", got, records, counted)
	for what, want := range counted {
		if math.Abs(float64(got[what]-want)) > 0.01*float64(2*total(objects)) {
			t.Errorf("%s: %d bytes recorded, want the %d that were counted, within 1 %% of what the node read", what, got[what], want)
		}
	}
	// Each node read each block twice, in pieces of up to 1 MiB.
	if want := 2 * len(l.nodes) * (len(objects) - 1 + 64/4); records < want || records > want*101/100 {
		t.Errorf("%d records, want %d, one for each read of a block", records, want)
	}
}

// TestSimulated trains as TestEpochs does, on smaller datasets, with the policies and sizes that
// are not there: what the simulator makes of each is compared with what the agents did. With LRU and
// classes it matters how an epoch's length compares with the tenths of a second in which homes
// answer, so there are more files.
func TestSimulated(t *testing.T) {
	l := newLab(t, 3)
	objects := l.upload(t, epochSeed, func(i int) string { return fmt.Sprintf("train/%05d.jpg", i) }, mixed(4000)...)
	number := 0
	for _, share := range []float64{0.183, 0.367, 0.5} {
		for _, policy := range []string{"uniform", "lru"} {
			for _, classes := range []bool{true, false} {
				if share < 0.5 && classes == (policy == "uniform") {
					continue // see TestEpochs
				}
				c, files := epochCase{policy: policy, classes: classes, share: share, readers: 3, most: 1}, objects[:1500]
				if policy == "lru" && classes {
					files = objects
				}
				t.Run(c.String(), func(t *testing.T) { l.train(t, c, number, files) })
				number++
			}
		}
	}
}

// simulate replays what the agents have recorded of a case with the simulator, which must serve
// the same shares of the reads from each tier, within two percentage points. room is how many
// bytes of files each cache has room for; stale is how many seconds homes were late, at the
// median.
func (l *lab) simulate(t *testing.T, c epochCase, number int, room int64, stale float64) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "fleet.trace")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := trace.Convert(f, l.recorded(t, fmt.Sprintf("traces%d", number))); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := scenario.Parse("replay", fmt.Appendf(nil, `
version: 1
name: %q
fleet:
  nodes: 3
  cache: %d
  spare: 0.025 # what agents keep free: blockstore.Config.High and Low
  directory: %.0fms
datasets: [{name: train, files: 1, file: 1B, policy: %s, replicas: {classes: %v}}]
jobs: [{name: replay, kind: trace, dataset: train, trace: %q, format: shoal}]
`, c.String(), room, 1000*stale, c.policy, c.classes, name))
	if err != nil {
		t.Fatal(err)
	}
	r, err := sim.Run(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	agents, records := readShares(t, name)
	simulated := [shoal.Tiers]float64{r.Total.Tiers.Local.Share, r.Total.Tiers.Peer.Share, r.Total.Tiers.UFS.Share}
	for tier := range shoal.Tiers {
		t.Logf("%-5v of %d reads: real %.2f%%, simulated %.2f%%", tier, records, 100*agents[tier], 100*simulated[tier])
		if math.Abs(agents[tier]-simulated[tier]) > 0.02 {
			t.Errorf("%v: %v: %.2f%% of the reads, simulated %.2f%%, want no more than 2 percentage points between", c, tier, 100*agents[tier], 100*simulated[tier])
		}
	}
}

// readShares returns the share of a trace's reads that came from each tier.
func readShares(t *testing.T, name string) (shares [shoal.Tiers]float64, records int) {
	t.Helper()
	s, err := trace.Open(name, trace.Shoal, trace.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	batch := make([]trace.Record, 1000)
	for {
		n, err := s.Next(batch)
		for _, r := range batch[:n] {
			if r.Op != live.Costs {
				shares[r.Tier]++
				records++
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range shares {
		shares[i] /= float64(records)
	}
	return shares, records
}

// tiers returns how many bytes each node read from each tier, and the number of records.
func tiers(t *testing.T, s trace.Source) (bytes map[string]int64, records int) {
	t.Helper()
	bytes = make(map[string]int64)
	batch := make([]trace.Record, 1000)
	for {
		n, err := s.Next(batch)
		for _, r := range batch[:n] {
			if r.Op == live.Costs {
				continue
			}
			records++
			bytes[s.About().Nodes[r.Node]+" "+r.Tier.String()] += int64(r.Bytes)
		}
		if errors.Is(err, io.EOF) {
			return bytes, records
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
