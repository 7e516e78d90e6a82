package meshtest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

// loaders is how many processes a loader has.
const loaders = 8

// loader has eight processes read all small files for two epochs, the first page-cold,
// through the mount, whose blocks are all local, and in a plain directory. Then an agent
// just started serves five epochs, and its memory is looked at.
func (m *meshBench) loader(b *testing.B) {
	m.fill(b, m.small...)
	m.copyPlain(b, m.small...)
	before := m.node.status(b).Fetches.UFSBytes
	r := row{
		name: m.loaderName(), plain: "plain directory", unit: "files/s", ratio: "x_plain",
		work: float64(2 * len(m.small)), bytes: float64(2 * total(m.small)),
	}
	side := func(dir string) func() sample {
		return func() sample {
			defer guard(m.node.agent)()
			m.prepare(b)
			return m.load(b, dir, 2, func(int) {})
		}
	}
	r.measure(b, [2]func() sample{side(m.plain), side(m.node.smallPath())})
	m.mustBeLocal(b, before)
	m.rows = append(m.rows, r)
	m.loaderMemory(b)
}

func (m *meshBench) loaderName() string {
	return fmt.Sprintf("%d x 100 KB, loader of %d processes, 2 epochs", len(m.small), loaders)
}

// loaderMemory prints how much memory an agent just started takes after each of the
// epochs 2 to 5.
func (m *meshBench) loaderMemory(b *testing.B) {
	b.Helper()
	m.node.stop(b)
	m.node.start(b, 1)
	defer guard(m.node.agent)()
	m.prepare(b)
	var taken []int
	m.load(b, m.node.smallPath(), 5, func(epoch int) {
		if epoch >= 2 {
			taken = append(taken, m.node.residentKiB(b))
		}
	})
	m.mustBeLocal(b, 0)
	grown := taken[len(taken)-1] - taken[0]
	b.ReportMetric(float64(grown), "agent_RSS_growth_KiB")
	m.notes = append(m.notes, fmt.Sprintf("loader: resident memory of the agent after epochs 2 to 5: %d KiB; growth %+d KiB", taken, grown))
}

// load starts a loader and has it read all small files below dir, every epoch in an order
// of its own; after is called when an epoch has been read. It returns the sum of the epochs,
// without the start of the processes.
func (m *meshBench) load(b *testing.B, dir string, epochs int, after func(epoch int)) (sum sample) {
	b.Helper()
	l := startLoader(b, loaders)
	defer l.stop()
	names := make([]string, len(m.small))
	for i, o := range m.small {
		names[i] = o.key
	}
	for epoch := 1; epoch <= epochs; epoch++ {
		m.shuffles++
		rand.New(rand.NewPCG(m.shuffles, 3)).Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		agent := m.node.agentCPU(b)
		bytes, s, err := l.epoch(dir, names)
		if err != nil {
			b.Fatal(err)
		}
		if bytes != total(m.small) {
			b.Fatalf("loaded %d bytes below %s, want %d", bytes, dir, total(m.small))
		}
		sum.took += s.took
		sum.cpu += s.cpu + m.node.agentCPU(b) - agent
		after(epoch)
	}
	return sum
}

// residentKiB returns how much memory the node's agent takes.
func (n *labNode) residentKiB(b *testing.B) int {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.agent.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		if value, ok := strings.CutPrefix(string(line), "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB")) // the kernel's kB is KiB
			if err != nil {
				b.Fatalf("/proc/pid/status %q: %v", line, err)
			}
			return kib
		}
	}
	b.Fatalf("/proc/pid/status has no VmRSS:\n%s", text)
	return 0
}
