package protocol

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/replicas"
)

const (
	seeds      = 1000
	seedsShort = 40
	keyCount   = 60
)

// TestRandomHistories runs random histories of a mesh of 3 to 9 nodes of little room, whose
// network delays, repeats, reorders and loses messages, with crashes, restarts, joins,
// drains and nodes that lose sight of one another. At every step: no reader is sent to a node
// twice; no node drops a block that it is to keep; none drops the last replica of a block
// unless its home said that it is the last, or a node that was to keep it has died; and no
// block is without a keeper but for the same reasons. Every read ends, and within three
// digest periods after the last event every home knows the truth, blocks have the keepers
// they should, and holders know what their replicas are worth.
func TestRandomHistories(t *testing.T) {
	n := seedsShort
	if os.Getenv("SHOAL_TEST_ALL") != "" && !testing.Short() {
		n = seeds
	}
	for from := 0; from < n; from += seedsShort {
		t.Run(fmt.Sprintf("seeds=%d-%d", from, from+seedsShort-1), func(t *testing.T) {
			t.Parallel()
			var sum Stats
			for seed := from; seed < from+seedsShort; seed++ {
				m := history(uint64(seed), io.Discard)
				if err := m.rest(3 * brisk().Refresh); err != nil {
					t.Errorf("seed %d: %v\n%+v", seed, err, m.Stats())
				}
				sum.add(m.Stats())
			}
			t.Logf("%d messages, %d orders, %d replicas dropped, %d resignations of which %d stayed, %d last replicas let go, %d lost with their keeper",
				sum.Messages, sum.Orders, sum.Dropped, sum.Resigned, sum.Stayed, sum.LastDropped, sum.LastLost)
			t.Logf("%d reads that follow others, %d that come to wait for each other", sum.Followed, sum.Circles)
		})
	}
}

func (s *Stats) add(o Stats) {
	s.Messages, s.Orders, s.Dropped = s.Messages+o.Messages, s.Orders+o.Orders, s.Dropped+o.Dropped
	s.Resigned, s.Stayed = s.Resigned+o.Resigned, s.Stayed+o.Stayed
	s.LastDropped, s.LastLost = s.LastDropped+o.LastDropped, s.LastLost+o.LastLost
	s.Followed, s.Circles = s.Followed+o.Followed, s.Circles+o.Circles
}

// TestSeedsOnceWrong runs histories that did not come to rest: a holder that had resigned was made
// keeper again each time it refused to be relieved as of an old version, or was not though it
// was alone.
func TestSeedsOnceWrong(t *testing.T) {
	for _, seed := range []uint64{372, 374, 418, 454, 456, 460, 509, 947} {
		m := history(seed, io.Discard)
		if err := m.rest(3 * brisk().Refresh); err != nil {
			t.Errorf("seed %d: %v\n%+v", seed, err, m.Stats())
		}
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
		m := New(Config{Seed: seed, Rules: replicas.Rules{Refresh: 4_000}, Faults: Faults{Delay: 30}})
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
				m.Lose(n.member.ID, key)
			case 1:
				m.node(name((i + 1) % 4)).store[key] = &replica{standing: shoal.Untold()}
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

// rest lets at most ms milliseconds pass until all is well: there is hardly a moment in
// which nobody asks.
func (m *Mesh) rest(ms replicas.Tick) error {
	for end := m.Now() + ms; ; m.Run(200) {
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
		// A filler that does not keep the block may have ended when a reader comes for it.
		s := m.Stats()
		if s.DoubleFills > 0 || s.FailOpen > 0 || s.Circles > 0 || s.WrongHints > s.Filled/20 {
			t.Errorf("seed %d: %d double fills, %d fail-open fills, %d circles, %d wrong hints in %d fills, want none, none, none and few",
				seed, s.DoubleFills, s.FailOpen, s.Circles, s.WrongHints, s.Filled)
		}
		if s.Followed < s.Filled/2 {
			t.Errorf("seed %d: %d readers followed others in %d fills, want many", seed, s.Followed, s.Filled)
		}
		if err := m.Check(keys()); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

// history is some random seconds.
func history(seed uint64, transcript io.Writer) *Mesh {
	rng := rand.New(rand.NewPCG(seed, 2))
	m := New(Config{
		Seed: seed, ViewDelay: 800, Fill: 1_500, Transcript: transcript,
		Rules: brisk(), Capacity: 5 + rng.IntN(20), Limits: limits,
		Faults: Faults{Loss: rng.Float64() * 0.2, Duplicate: rng.Float64() * 0.2, Delay: replicas.Tick(1 + rng.IntN(400))},
	})
	all := 3 + min(rng.IntN(7), rng.IntN(7)) // large meshes take long, and show little more
	var first []shoal.NodeID
	for i := range 3 + rng.IntN(all-2) {
		first = append(first, name(i))
	}
	m.Begin(first, zone)
	m.Run(replicas.Tick(rng.IntN(5_000))) // some find a mesh that has settled
	for end := m.Now() + 9_000; m.Now() < end; {
		for range rng.IntN(8) {
			use(m, rng)
		}
		if rng.IntN(14) == 0 {
			disturb(m, rng, all)
		}
		m.Run(replicas.Tick(rng.IntN(300)))
	}
	m.Run(2_000) // the network is as bad as before
	m.Faults = Faults{Delay: 20}
	return m
}

// brisk are Rules under which seconds do for what takes minutes otherwise. Nodes that see
// different members (ViewDelay, Hide) agree again within Settle, as the protocol asks.
func brisk() replicas.Rules {
	return replicas.Rules{
		Lease: 5_000, BatchChanges: 8, QueueChanges: 64, Settle: 3_000, Grace: 4_000, Warm: 2_000, WantAfter: 500,
		RetryAfter: 300, DropDelay: 300, ResignPatience: 15_000, Refresh: 8_000, MaxKept: 64,
	}
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
		m.Hide(id, nodes[rng.IntN(len(nodes))], replicas.Tick(rng.IntN(2_000)))
	case 4:
		if rng.IntN(4) == 0 {
			m.Drain(id)
		}
	}
}

func keys() []shoal.Key {
	all := make([]shoal.Key, keyCount)
	for i := range all {
		all[i].Index = uint32(i)
	}
	return all
}

// limits are different for every eight blocks.
func limits(key shoal.Key) replicas.Limits {
	return []replicas.Limits{
		{}, {Max: 2}, {Min: 2}, {Min: 1, Max: 3}, {Min: 3, Max: 2}, {Max: 1}, {Min: 2, Max: 6}, {},
	}[key.Index%8]
}

func name(i int) shoal.NodeID { return shoal.NodeID(fmt.Sprintf("n%d", i+1)) }

func zone(i int) string { return []string{"a", "b"}[i%2] }
