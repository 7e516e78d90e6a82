package sim

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/sim/result"
	"github.com/shoal-mesh/shoal/sim/scenario"
)

// TestTimeLinks has each link that may limit a job do so.
func TestTimeLinks(t *testing.T) {
	const bytes = 4e9
	stream := scenario.Job{Kind: scenario.Stream, Versions: 1}
	tests := []struct {
		name  string
		nodes int
		job   scenario.Job
		set   func(s *scenario.Scenario)
		want  float64 // seconds
	}{
		{"interface", 1, stream, func(*scenario.Scenario) {}, bytes / (25 * gbit)},
		{"slow interface", 1, stream, func(s *scenario.Scenario) {
			s.Fleet.Slow = []scenario.Slow{{Nodes: scenario.Nodes{0}, Share: 0.25}}
		}, bytes / (25 * gbit / 4)},
		{"UFS", 1, stream, func(s *scenario.Scenario) { s.Fleet.UFS.Bandwidth = 1e9 }, bytes / 1e9},
		{"requests", 1, stream, func(s *scenario.Scenario) { s.Fleet.UFS.Requests = 50 }, bytes / shoal.BlockSize / 50},
		{"latency", 1, stream, func(s *scenario.Scenario) {
			s.Fleet.UFS.Latency, s.Jobs[0].Prefetch = time.Second, 63 // 64 at a time
		}, bytes / shoal.BlockSize / 64},
		{"zone link", 2, stream, func(s *scenario.Scenario) {
			s.Fleet.Zones, s.Fleet.ZoneLink = 2, 0.5e9
		}, bytes / 0.5e9}, // one is ahead, and fills nearly all of it
		{"NVMe", 1, scenario.Job{Kind: scenario.Epochs, Epochs: 3, Shared: true}, func(s *scenario.Scenario) {
			s.Datasets[0].Files, s.Datasets[0].File = 950, shoal.BlockSize
			s.Fleet.UFS.Bandwidth, s.Fleet.NIC, s.Fleet.NVMe.Read = 100e9, 100e9, 1e9
		}, shoal.BlockSize * (950/100e9 + 2*700/1e9)}, // about 250 blocks are in the page cache
		{"write", 1, scenario.Job{Kind: scenario.Write, Versions: 1}, func(s *scenario.Scenario) { s.Fleet.NVMe.Write = 1e9 }, bytes / 1e9},
		{"write to the UFS", 4, scenario.Job{Kind: scenario.Write, Versions: 1}, func(s *scenario.Scenario) {
			s.Datasets[0].Files, s.Fleet.UFS.Bandwidth = 4, 1e9
		}, 4 * bytes / 1e9},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := clocked(tt.nodes, 4000, 1, bytes, tt.job)
			s.Fleet.UFS.Latency, s.Jobs[0].Prefetch = time.Millisecond, 64
			tt.set(s)
			r := simulate(t, s)
			near(t, "seconds to what the link allows", r.Jobs[0].End/tt.want, 1.01, 0.07)
		})
	}
}

// TestTimeFillsOnce has two readers of one file at once cost the UFS no more than one.
func TestTimeFillsOnce(t *testing.T) {
	r := simulate(t, fanOut(2, 1e9))
	near(t, "egress", r.Total.Amplification, 1, 0)
	near(t, "bytes of the UFS", float64(r.Network.UFSBytes), 1e9, 0)
	near(t, "share of peers", r.Total.Tiers.Peer.Share, 0.5, 0.01)
	near(t, "share of the UFS", r.Total.Tiers.UFS.Share, 0.5, 0.01)
	near(t, "use of the UFS", r.Network.UFSBusy, 1e9/10e9/r.Seconds, 1e-6)
	near(t, "use of the interface", r.Network.NICBusiest, 1e9/(25*gbit)/r.Seconds, 1e-6)
}

// TestTimeNoStall has a job that computes for longer than its reads take not wait.
func TestTimeNoStall(t *testing.T) {
	s := clocked(1, 10, 2000, shoal.BlockSize, scenario.Job{Kind: scenario.Epochs, Epochs: 2, Shared: true})
	s.Jobs[0].Rate, s.Fleet.UFS.Bandwidth = 100, 200*shoal.BlockSize // blocks per second
	j := simulate(t, s).Jobs[0]
	near(t, "compute", j.Compute, 40, 1e-6)
	near(t, "stall", j.Stall, 0.1, 0.1) // until the first read has come
	near(t, "GPU", j.GPU, 1, 0.005)
}

// TestTimeStall has a job that reads faster than the UFS sends wait for as long as that takes
// beyond its computing.
func TestTimeStall(t *testing.T) {
	const nodes, files, rate, ufs = 4, 4000, 50.0, 100.0
	s := clocked(nodes, 0, files, shoal.BlockSize, scenario.Job{Kind: scenario.Epochs, Epochs: 1, Shared: true}) // nothing is kept
	s.Jobs[0].Rate, s.Fleet.UFS.Bandwidth, s.Interval = rate, ufs*shoal.BlockSize, 5*time.Second
	r := simulate(t, s)
	j := r.Jobs[0]
	near(t, "share of the UFS", j.Total.Tiers.UFS.Share, 1, 0)
	want := files/ufs - files/nodes/rate
	near(t, "stall to what it must be", j.Stall/want, 1, 0.02)
	near(t, "GPU", j.GPU, 0.5, 0.01)
	for _, i := range r.Intervals[:7] {
		if i.Stall < 0.4 || i.Stall > 0.6 {
			t.Errorf("from %v s to %v s: stall = %v, want about 0.5", i.Start, i.End, i.Stall)
		}
	}
}

// TestTimeStep has ranks that wait for one another be as slow as the slowest.
func TestTimeStep(t *testing.T) {
	for _, step := range []int{0, 10} {
		s := clocked(4, 0, 4000, shoal.BlockSize, scenario.Job{Kind: scenario.Epochs, Epochs: 1, Shared: true, Step: step})
		s.Fleet.UFS.Latency, s.Fleet.NIC = 0, 100*shoal.BlockSize
		s.Fleet.Slow = []scenario.Slow{{Nodes: scenario.Nodes{3}, Share: 0.5}}
		j := simulate(t, s).Jobs[0]
		near(t, "end", j.End, 20, 0.5)
		want := 20.0 // all wait for node 3
		if step == 0 {
			want = (3*10.0 + 20) / 4
		}
		near(t, fmt.Sprintf("step %d: stall", step), j.Stall, want, 0.5)
	}
}

// TestTimeCrash has the filler of a block crash while it comes in: the block is read from the
// UFS once more, and no read is lost.
func TestTimeCrash(t *testing.T) {
	s := clocked(2, 100, 1, shoal.BlockSize, scenario.Job{Kind: scenario.Stream, Versions: 1})
	s.Fleet.UFS.Bandwidth = shoal.BlockSize // one second
	fillers := 0
	for node := range 2 {
		s.Events = []scenario.Event{{At: time.Second / 2, Crash: scenario.Nodes{node}}, {At: 10 * time.Second, Restart: scenario.Nodes{node}}}
		r := simulate(t, s)
		near(t, "reads", float64(r.Total.Reads), 2, 0)
		near(t, "end", r.Jobs[0].End, 10, 0.1)
		if !r.Jobs[0].Done {
			t.Errorf("the job has not ended")
		}
		if r.Network.UFSBytes > shoal.BlockSize {
			fillers++
			near(t, "egress", r.Total.Amplification, 1.48, 0.01) // 0.48 of it were lost
		}
	}
	if fillers != 1 {
		t.Errorf("%d of the two nodes filled the block, want 1", fillers)
	}
}

// TestTimeRelays has half of the nodes of a fan-out crash while they serve others: every read is
// made, and nothing comes twice from the UFS but what its fillers lost.
func TestTimeRelays(t *testing.T) {
	s := fanOut(40, 1e9)
	var half scenario.Nodes
	for n := range 20 {
		half = append(half, 2*n)
	}
	s.Events = []scenario.Event{{At: 200 * time.Millisecond, Crash: half}, {At: time.Minute, Restart: half}}
	r := simulate(t, s)
	near(t, "reads", float64(r.Total.Reads), 40*239, 0)
	near(t, "egress", r.Total.Amplification, 1.1, 0.1)
	if !r.Jobs[0].Done {
		t.Errorf("the job has not ended")
	}
}

// TestTimeSame has the same scenario and seed give the same bytes, and another seed others.
func TestTimeSame(t *testing.T) {
	run := func(seed uint64) string {
		s := clocked(8, 60, 1000, shoal.BlockSize, scenario.Job{Kind: scenario.Epochs, Epochs: 3, WarmupEpochs: 1, Shared: true, Step: 7, Ranks: 2})
		s.Seed, s.Jobs[0].Rate, s.Jobs[0].Jitter = seed, 50, time.Second
		s.Datasets[0].Policy = "sieve"
		s.Events = []scenario.Event{{At: 2 * time.Second, Crash: scenario.Nodes{1, 2}}, {At: 9 * time.Second, Restart: scenario.Nodes{1, 2}}, {At: 10 * time.Second, Drain: scenario.Nodes{5}}}
		text, err := json.Marshal(simulate(t, s))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	first := run(1)
	if again := run(1); again != first {
		t.Errorf("the second run is not as the first:\n%s\n%s", again, first)
	}
	if other := run(2); other == first {
		t.Errorf("another seed gives the same")
	}
}

// TestTimeAgrees has both engines serve reads from the same places, where no read waits long.
func TestTimeAgrees(t *testing.T) {
	small := clocked(4, 125, 125, 8*shoal.BlockSize, scenario.Job{Kind: scenario.Windows, Epochs: 4, WarmupEpochs: 2, Shared: true, Window: 4})
	small.Datasets[0].Read = shoal.BlockSize / 4
	whole := clocked(8, 275, 4000, shoal.BlockSize, scenario.Job{Kind: scenario.Epochs, Epochs: 6, WarmupEpochs: 2, Shared: true})
	for _, s := range []*scenario.Scenario{small, whole} {
		s.Jobs[0].Rate, s.Jobs[0].Prefetch = 20, 4
		timed := simulate(t, s).Warm
		s.Engine = scenario.Reads
		reads := simulate(t, s).Warm
		near(t, "reads", float64(timed.Reads), float64(reads.Reads), 0)
		near(t, "local", timed.Tiers.Local.Share, reads.Tiers.Local.Share, 0.01)
		near(t, "peer", timed.Tiers.Peer.Share, reads.Tiers.Peer.Share, 0.01)
		near(t, "ufs", timed.Tiers.UFS.Share, reads.Tiers.UFS.Share, 0.01)
		near(t, "egress", timed.Amplification, reads.Amplification, 0.03)
	}
}

// TestTimeReady has the ready scenarios of engine "time" find what they expect.
func TestTimeReady(t *testing.T) {
	ran := 0
	for _, name := range scenario.Ready() {
		file, err := scenario.ReadyFile(name)
		if err != nil {
			t.Fatal(err)
		}
		s, err := scenario.Parse(name, file)
		if err != nil {
			t.Fatal(err)
		}
		if s.Engine != scenario.Time {
			continue
		}
		ran++
		verdicts, err := result.Judge(simulate(t, s), s.Expect)
		if err != nil {
			t.Error(err)
		}
		for _, v := range verdicts {
			t.Logf("%s: %s: %v", name, v.Expect, v.Got)
			if !v.Holds {
				t.Errorf("%s: %s: got %v", name, v.Expect, v.Got)
			}
		}
	}
	if ran < 3 {
		t.Errorf("%d ready scenarios are of engine time, want 3", ran)
	}
}

func TestLatencies(t *testing.T) {
	var l latencies
	for i := range int64(1000) {
		l.add((i + 1) * 1e6)
	}
	near(t, "median", l.quantile(0.5), 0.5, 0.015)
	near(t, "99th percentile", l.quantile(0.99), 0.99, 0.03)
	l = latencies{}
	l.add(0)
	l.add(31)
	l.add(32)
	near(t, "least", l.quantile(0.3), 0, 0)
	near(t, "middle", l.quantile(0.6), 31e-9, 0)
	near(t, "most", l.quantile(1), 32.5e-9, 1e-12)
}
