package meshtest

import (
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"testing"

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

// tiers returns how many bytes each node read from each tier, and the number of records.
func tiers(t *testing.T, s trace.Source) (bytes map[string]int64, records int) {
	t.Helper()
	bytes = make(map[string]int64)
	batch := make([]trace.Record, 1000)
	for {
		n, err := s.Next(batch)
		for _, r := range batch[:n] {
			bytes[s.About().Nodes[r.Node]+" "+r.Tier.String()] += int64(r.Bytes)
		}
		records += n
		if errors.Is(err, io.EOF) {
			return bytes, records
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
