package sim

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/replicas"
)

const (
	seeds      = 300
	seedsShort = 30
	keyCount   = 60
)

// TestRandomHistories runs a random minute of a mesh of 3 to 9 nodes whose network
// delays, repeats, reorders and loses messages, with crashes, restarts, joins, drains
// and nodes that lose sight of one another. Every read must end, no reader is sent to a
// node twice, and when all is quiet every home knows the truth.
func TestRandomHistories(t *testing.T) {
	n := seeds
	if testing.Short() {
		n = seedsShort
	}
	for from := 0; from < n; from += seedsShort {
		t.Run(fmt.Sprintf("seeds=%d-%d", from, from+seedsShort-1), func(t *testing.T) {
			t.Parallel()
			for seed := from; seed < from+seedsShort; seed++ {
				m := history(uint64(seed), io.Discard)
				if err := m.Check(keys()); err != nil {
					t.Errorf("seed %d: %v\n%+v", seed, err, m.Stats())
				}
			}
		})
	}
}

// TestSeedReproducesRun runs histories twice and compares every line.
func TestSeedReproducesRun(t *testing.T) {
	for seed := range uint64(5) {
		var first, second bytes.Buffer
		history(seed, &first)
		history(seed, &second)
		if first.Len() == 0 || !bytes.Equal(first.Bytes(), second.Bytes()) {
			t.Errorf("seed %d: transcripts of %d and %d bytes differ", seed, first.Len(), second.Len())
		}
	}
}

// TestWrongBeliefEnds lets blocks come and go without a word. Nothing changes in the
// membership, and nobody reads: homes find out because they ask.
func TestWrongBeliefEnds(t *testing.T) {
	for seed := range uint64(10) {
		m := New(Config{Seed: seed, Rules: replicas.Rules{Refresh: 4_000, RefreshChanges: 20}, Faults: Faults{Delay: 30}})
		for i := range 4 {
			m.Join(name(i), "")
		}
		m.Run(5_000)
		for i, key := range keys() {
			m.Store(name(i%4), key)
		}
		m.Run(2_000)
		for i, key := range keys() {
			n := m.node(name(i % 4))
			switch i % 3 {
			case 0:
				delete(n.store, key)
			case 1:
				m.node(name((i + 1) % 4)).store[key] = sumOf(key)
			}
		}
		if err := m.rest(1_000); err == nil {
			t.Errorf("seed %d: no home is wrong after blocks came and went in silence", seed)
		}
		if err := m.rest(120_000); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

// TestRandomHistoriesWithRefresh is TestRandomHistories with homes that ask all the time.
func TestRandomHistoriesWithRefresh(t *testing.T) {
	n := uint64(seedsShort)
	if testing.Short() {
		n = 4
	}
	for seed := range n {
		m := historyUnder(seed, replicas.Rules{BatchChanges: 8, QueueChanges: 64, Refresh: 3_000}, io.Discard)
		if err := m.rest(3_000); err != nil {
			t.Errorf("seed %d: %v\n%+v", seed, err, m.Stats())
		}
	}
}

// rest lets at most ms milliseconds pass until all is well: there is hardly a moment in
// which nobody asks.
func (m *Mesh) rest(ms replicas.Tick) error {
	for end := m.Now() + ms; ; m.Run(20) {
		if err := m.Check(keys()); err == nil || m.Now() >= end {
			return err
		}
	}
}

// TestOneFillerPerBlock lets all nodes read everything at the same time, in a stable
// mesh that loses nothing: each block is read from the UFS once.
func TestOneFillerPerBlock(t *testing.T) {
	for seed := range uint64(20) {
		m := New(Config{Seed: seed, Fill: 45_000, Faults: Faults{Delay: 40, Duplicate: 0.1}})
		for i := range 5 {
			m.Join(name(i), "")
		}
		m.Run(5_000)
		rng := rand.New(rand.NewPCG(seed, 1))
		for range 3 * keyCount {
			for _, i := range rng.Perm(5) {
				m.Read(name(i), keys()[rng.IntN(keyCount)])
			}
			m.Run(replicas.Tick(rng.IntN(300)))
		}
		m.Run(120_000)
		if s := m.Stats(); s.DoubleFills > 0 || s.FailOpen > 0 || s.WrongHints > 0 {
			t.Errorf("seed %d: %d double fills, %d fail-open fills, %d wrong hints in %d fills, want none",
				seed, s.DoubleFills, s.FailOpen, s.WrongHints, s.Filled)
		}
		if err := m.Check(keys()); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

// TestMembershipChangeAnnouncesWhatMoved counts announcements: after a join and after a
// crash, each holder tells of a block only a home that is new to it.
func TestMembershipChangeAnnouncesWhatMoved(t *testing.T) {
	const blocks = 2000
	m := New(Config{Seed: 1})
	for i := range 5 {
		m.Join(name(i), "")
	}
	m.Run(1_000)
	for i := range blocks {
		m.Store(name(i%5), shoal.Key{Index: uint32(i)})
	}
	m.Run(5_000)

	for _, change := range []struct {
		name string
		do   func()
	}{
		{"join", func() { m.Join(name(5), "") }},
		{"crash", func() { m.Crash(name(0)) }},
		{"restart", func() { m.Join(name(0), "") }},
	} {
		before, announced := homes(m, blocks), m.Stats().Announced
		change.do()
		m.Run(10_000)
		want := 0
		for i, now := range homes(m, blocks) {
			for id := range now {
				self := strings.HasPrefix(id, string(name(i%5))+"/") // needs no message
				if !before[i][id] && !self && len(m.holders(shoal.Key{Index: uint32(i)})) > 0 {
					want++
				}
			}
		}
		got := m.Stats().Announced - announced
		if change.name == "restart" {
			// The node that is back tells of all its blocks: its old bits went with it.
			want += blocks / 5 * 2
			if got > want {
				t.Errorf("%s: %d blocks announced, want at most %d", change.name, got, want)
			}
			continue
		}
		if got != want {
			t.Errorf("%s: %d blocks announced, want %d", change.name, got, want)
		}
	}
}

// history is one random minute and what follows until all is quiet.
func history(seed uint64, transcript io.Writer) *Mesh {
	return historyUnder(seed, replicas.Rules{BatchChanges: 8, QueueChanges: 64}, transcript)
}

func historyUnder(seed uint64, rules replicas.Rules, transcript io.Writer) *Mesh {
	rng := rand.New(rand.NewPCG(seed, 2))
	m := New(Config{
		Seed: seed, ViewDelay: 2_000, Fill: 3_000, Transcript: transcript,
		Rules:  rules,
		Faults: Faults{Loss: rng.Float64() * 0.2, Duplicate: rng.Float64() * 0.2, Delay: replicas.Tick(1 + rng.IntN(800))},
	})
	all := 3 + rng.IntN(7)
	for i := range all {
		if i < 3 || rng.IntN(2) == 0 {
			m.Join(name(i), zone(i))
		}
	}
	for end := replicas.Tick(60_000); m.Now() < end; {
		for range rng.IntN(6) {
			use(m, rng)
		}
		if rng.IntN(10) == 0 {
			disturb(m, rng, all)
		}
		m.Run(replicas.Tick(rng.IntN(400)))
	}
	m.Run(30_000) // the network is as bad as before
	m.Faults = Faults{Delay: 20}
	m.Run(60_000)
	return m
}

// use lets a node read or evict a block.
func use(m *Mesh, rng *rand.Rand) {
	nodes := m.Nodes()
	id := nodes[rng.IntN(len(nodes))]
	key := keys()[rng.IntN(keyCount)]
	if rng.IntN(4) == 0 {
		m.Evict(id, key)
		return
	}
	m.Read(id, key)
}

// disturb does something to the membership.
func disturb(m *Mesh, rng *rand.Rand, all int) {
	nodes := m.Nodes()
	id := nodes[rng.IntN(len(nodes))]
	switch rng.IntN(5) {
	case 0:
		if len(nodes) > 2 {
			m.Crash(id)
		}
	case 1, 2:
		i := rng.IntN(all)
		if n := m.node(name(i)); n == nil || n.dead {
			m.Join(name(i), zone(i))
		}
	case 3:
		m.Hide(id, nodes[rng.IntN(len(nodes))], replicas.Tick(rng.IntN(10_000)))
	case 4:
		if rng.IntN(4) == 0 {
			m.Drain(id)
		}
	}
}

// homes returns, for each block, its homes under the view of the first node, each with
// its boot.
func homes(m *Mesh, blocks int) []map[string]bool {
	t := m.node(m.Nodes()[0]).core.Table()
	all := make([]map[string]bool, blocks)
	for i := range all {
		home, backup := t.Homes(replicas.ShardOf(shoal.Key{Index: uint32(i)}))
		all[i] = make(map[string]bool)
		for _, id := range []shoal.NodeID{home, backup} {
			member, _ := t.Member(id)
			all[i][fmt.Sprintf("%s/%d", id, member.Boot)] = true
		}
	}
	return all
}

func keys() []shoal.Key {
	all := make([]shoal.Key, keyCount)
	for i := range all {
		all[i].Index = uint32(i)
	}
	return all
}

func name(i int) shoal.NodeID { return shoal.NodeID(fmt.Sprintf("n%d", i+1)) }

func zone(i int) string { return []string{"a", "b"}[i%2] }
