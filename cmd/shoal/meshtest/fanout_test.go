package meshtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shoal-mesh/shoal/sim"
	"github.com/shoal-mesh/shoal/sim/bound"
	"github.com/shoal-mesh/shoal/sim/scenario"
)

// The links are slow enough for two cores to fill them, and fast enough for what agents take for
// slow: docs/read-path.md says what they do over links of 40 Mbit/s.
const (
	fanNodes = 4
	fanBytes = 640 * mib
	fanNIC   = 160 // Mbit/s of each node's interface, each way
	fanUFS   = 320 // Mbit/s of the UFS
	fanAhead = 8   // blocks: read.readahead of agents
)

// TestFanOut has all nodes read one cold file at the same moment, in the same order, over links
// whose bandwidth is limited. The UFS sends it once, and no node sends much more than once what
// it takes in: who receives a block passes it on (cut-through at every hop). The time is printed
// beside the one that no way is faster than and the one that the simulator finds.
func TestFanOut(t *testing.T) {
	l := newLab(t, fanNodes)
	objects := l.upload(t, 9, func(int) string { return "model.bin" }, fanBytes)
	l.shape(t)
	l.startAll(t, "", 1)
	nic, ring, ufs := l.plain(t, l.ring()[:1]), l.plain(t, l.ring())/fanNodes, l.plain(t, l.star())
	before, sentBefore := l.counts(t), l.sent(t)
	begun := time.Now()
	for _, p := range readTogether(l.nodes, objects, 1) {
		p.mustBe(t, 1)
	}
	took := time.Since(begun).Seconds()
	egress := float64(l.counts(t).since(before).Bytes) / fanBytes
	if egress > 1.05 {
		t.Errorf("the UFS sent %.2f times the file, want once", egress)
	}
	most := int64(0)
	for i, bytes := range l.sent(t) {
		most = max(most, bytes-sentBefore[i])
	}
	// If those that fill a block sent it to all, two who fill half of the file each would send it 1.5 times.
	if most > 1.4*fanBytes {
		t.Errorf("a node sent %.2f times the file, want about once", float64(most)/fanBytes)
	}
	least := bound.FanOut(fanBytes, ufs, nic, fanNodes)
	simulated := simulateFanOut(t, nic, ufs)
	t.Logf("plain TCP: %.1f MB/s between nodes (%.1f when all send and receive over a few connections), %.1f MB/s from the UFS", nic/1e6, ring/1e6, ufs/1e6)
	t.Logf("%d nodes took %.1f s; simulated %.1f s: %.2f of it; no way is faster than %.1f s: %.2f of it", fanNodes, took, simulated, took/simulated, least, took/least)
	t.Logf("egress %.3f; the node that sent the most sent %.2f times the file", egress, float64(most)/fanBytes)
}

// shape limits the bandwidth of every node's interface, both ways, and of the UFS.
func (l *lab) shape(t *testing.T) {
	t.Helper()
	l.limit(t, l.hub, "br0", fanUFS)
	for _, n := range l.nodes {
		l.limit(t, n.netns, "eth0", fanNIC)
		l.limit(t, l.hub, n.name, fanNIC)
	}
}

// limit has an interface send no more than so many Mbit/s.
func (l *lab) limit(t *testing.T, netns, dev string, mbit int) {
	t.Helper()
	l.run(t, "tc", "-n", netns, "qdisc", "add", "dev", dev, "root", "tbf", "rate", fmt.Sprintf("%dmbit", mbit), "burst", "32kb", "latency", "10ms")
}

// sent returns how many bytes each node has sent.
func (l *lab) sent(t *testing.T) []int64 {
	t.Helper()
	bytes := make([]int64, len(l.nodes))
	for i, n := range l.nodes {
		ctx, cancel := context.WithTimeout(t.Context(), command)
		out, err := exec.CommandContext(ctx, "ip", "-n", n.netns, "-s", "-j", "link", "show", "eth0").Output()
		cancel()
		var links []struct {
			Stats struct {
				TX struct{ Bytes int64 } `json:"tx"`
			} `json:"stats64"`
		}
		if err == nil {
			err = json.Unmarshal(out, &links)
		}
		if err != nil || len(links) != 1 {
			t.Fatalf("statistics of %s: %v\n%s", n.name, err, out)
		}
		bytes[i] = links[0].Stats.TX.Bytes
	}
	return bytes
}

// A flow is one TCP connection: from a server in one namespace to a node.
type flow struct {
	netns, address string
	to             *labNode
}

// ring are flows from every node to the next, a few for each as when agents read from peers and from
// the UFS at once: every node sends and receives.
func (l *lab) ring() (flows []flow) {
	for i, n := range l.nodes {
		for c := range 4 {
			flows = append(flows, flow{n.netns, fmt.Sprintf("%s:%d", n.addr, 7950+c), l.nodes[(i+1)%len(l.nodes)]})
		}
	}
	return flows
}

// star are flows from the UFS to every node.
func (l *lab) star() (flows []flow) {
	for i, n := range l.nodes {
		flows = append(flows, flow{l.hub, fmt.Sprintf("%s:%d", s3Addr, 7950+i), n})
	}
	return flows
}

// plain returns how many bytes a second go over plain TCP connections that are all used at once.
func (l *lab) plain(t *testing.T, flows []flow) float64 {
	t.Helper()
	const size = 16 * mib
	listeners := make([]net.Listener, len(flows))
	for i, f := range flows {
		listeners[i] = listenIn(t, f.netns, f.address)
	}
	begun := time.Now()
	var g errgroup.Group
	for i, f := range flows {
		g.Go(func() error {
			c, err := dialIn(t.Context(), f.to.netns, "tcp", f.address)
			if err != nil {
				return err
			}
			got, err := io.Copy(io.Discard, c)
			if err == nil && got != size {
				err = io.ErrUnexpectedEOF
			}
			return errors.Join(err, c.Close())
		})
		g.Go(func() error {
			c, err := listeners[i].Accept()
			if err != nil {
				return err
			}
			_, err = c.Write(make([]byte, size))
			return errors.Join(err, c.Close(), listeners[i].Close())
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatalf("plain TCP: %v", err)
	}
	return float64(len(flows)*size) / time.Since(begun).Seconds()
}

// simulateFanOut returns how many seconds the simulator takes it to take, with links of so many
// bytes a second.
func simulateFanOut(t *testing.T, nic, ufs float64) float64 {
	t.Helper()
	s, err := scenario.Parse("fanout", fmt.Appendf(nil, `
version: 1
name: fan-out
engine: time
fleet:
  nodes: %d
  cache: 8GiB
  nic: %.0fB/s
  nvme: {read: 1GB/s, write: 1GB/s}
  ufs: {bandwidth: %.0fB/s, latency: 5ms}
datasets: [{name: model, files: 1, file: %dB, policy: uniform}]
jobs: [{name: load, kind: stream, dataset: model, rate: 1000, prefetch: %d}]
`, fanNodes, nic, ufs, fanBytes, fanAhead))
	if err != nil {
		t.Fatal(err)
	}
	r, err := sim.Run(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return r.Jobs[0].End
}
