package fleet

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore/policy"
	"github.com/shoal-mesh/shoal/replicas"
)

// A history is a random one of a small fleet, and what it knows of the nodes besides.
type history struct {
	t         *testing.T
	seed      uint64
	step      int
	crashes   bool // nodes may crash, and lose their caches
	rng       *rand.Rand
	f         *Fleet
	forgotten []bool // by node: homes have learned that it is dead
	now       time.Duration
	counts    historyCounts
}

// historyCounts tells what histories have tried.
type historyCounts struct {
	local, peer, ufs                 int64
	evicted, moved, last, resigned   int64
	placed, crashed, back, soon, new int64 // back: with its cache; soon: before it was forgotten; new: empty
	drained, deferred, quotas        int64
}

func (c *historyCounts) add(o historyCounts) {
	c.local, c.peer, c.ufs = c.local+o.local, c.peer+o.peer, c.ufs+o.ufs
	c.evicted, c.moved, c.last, c.resigned = c.evicted+o.evicted, c.moved+o.moved, c.last+o.last, c.resigned+o.resigned
	c.placed, c.crashed, c.back, c.soon, c.new = c.placed+o.placed, c.crashed+o.crashed, c.back+o.back, c.soon+o.soon, c.new+o.new
	c.drained, c.deferred, c.quotas = c.drained+o.drained, c.deferred+o.deferred, c.quotas+o.quotas
}

// newHistory returns a history of a fleet that its seed chooses.
func newHistory(t *testing.T, seed uint64, news time.Duration, crashes bool) *history {
	rng := rand.New(rand.NewPCG(seed, uint64(news)))
	nodes := 2 + rng.IntN(5)
	const unit = 1000 // bytes
	cfg := Config{
		Nodes: nodes, Zones: 1 + rng.IntN(min(3, nodes)), Blocks: uint32(4 + rng.IntN(30)), News: news,
		Capacity: int64(unit * (2 + rng.IntN(10))), Readers: 1 + rng.IntN(4),
		Groups: make([]Group, 1+rng.IntN(3)),
	}
	if rng.IntN(2) == 0 {
		cfg.Limit = cfg.Capacity + int64(rng.IntN(5*unit))
	}
	sizes := make([]Block, cfg.Blocks)
	for i := range sizes {
		sizes[i] = Block{Group: policy.Group(rng.IntN(len(cfg.Groups))), Bytes: uint32(unit/2 + rng.IntN(unit))}
	}
	cfg.Of = func(block uint32) Block { return sizes[block] }
	bases := []policy.Base{policy.BaseAuto, policy.BaseUniform, policy.BaseLRU, policy.BaseLFU, policy.BaseSieve, policy.BaseGDSF}
	for i := range cfg.Groups {
		g := &cfg.Groups[i]
		g.Rules = policy.Rules{Base: bases[rng.IntN(len(bases))], Classes: rng.IntN(4) > 0}
		g.Limits.Min = uint8(1 + rng.IntN(2))
		if rng.IntN(2) == 0 {
			g.Limits.Max = g.Limits.Min + uint8(rng.IntN(3))
		}
		if rng.IntN(3) == 0 {
			g.Quota = unit*2 + rng.Int64N(cfg.Capacity)
		}
	}
	f, err := New(cfg)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	return &history{t: t, seed: seed, crashes: crashes, rng: rng, f: f, forgotten: make([]bool, nodes)}
}

// run makes so many steps, and looks at all that must hold after each of them.
func (h *history) run(steps int) {
	for h.step = range steps {
		h.any()
		h.check()
	}
	for range 1000 { // until no more news is on its way
		if h.f.news.first == len(h.f.news.items) {
			break
		}
		h.advance(h.f.cfg.News)
		h.check()
	}
	if n := len(h.f.news.items) - h.f.news.first; n > 0 {
		h.fail("%d pieces of news are on their way for ever", n)
	}
	h.marks()
	h.summarize()
}

func (h *history) fail(format string, args ...any) {
	h.t.Helper()
	h.t.Fatalf("seed %d, news %v, step %d: %s", h.seed, h.f.cfg.News, h.step, fmt.Sprintf(format, args...))
}

func (h *history) advance(by time.Duration) {
	h.now += by
	h.f.Advance(h.now)
}

// any has something happen.
func (h *history) any() {
	node, block := h.rng.IntN(len(h.f.nodes)), h.rng.Uint32N(h.f.cfg.Blocks)
	n, what := h.f.nodes[node], h.rng.IntN(100)
	switch {
	case what < 15:
		h.advance(time.Duration(h.rng.Int64N(int64(time.Second))))
	case n.state == crashed && !h.forgotten[node] && what < 40:
		h.f.Forget(node)
		h.forgotten[node] = true
	case n.state == crashed && what < 60:
		h.restart(node)
	case n.state == crashed:
	case what < 75:
		h.read(node, block)
	case what < 82:
		h.f.Write(node, block)
	case what < 86 && n.state == draining:
		h.restart(node)
	case what < 85 && n.state == serving && h.crashes:
		h.f.Crash(node)
		h.counts.crashed++
	case what < 87 && n.state == serving:
		h.f.Drain(node)
		h.counts.drained++
	default:
		h.read(node, block%(h.f.cfg.Blocks/2+1)) // some are read more often
	}
}

func (h *history) restart(node int) {
	empty := h.crashes && h.rng.IntN(3) == 0
	switch {
	case empty:
		h.counts.new++
	case h.f.nodes[node].state == crashed && !h.forgotten[node]:
		h.counts.soon++
	default:
		h.counts.back++
	}
	h.forgotten[node] = false
	if err := h.f.Restart(node, empty); err != nil {
		h.fail("Restart(%d) = %v", node, err)
	}
	if used := h.f.Used(node); empty && used != 0 {
		h.fail("Used(%d) = %d after an empty restart, want 0", node, used)
	}
}

// read makes a read, and checks where it was served from.
func (h *history) read(node int, block uint32) {
	f := h.f
	local := f.nodes[node].table.get(block) != nil
	holders := make(map[int]bool)
	for _, number := range f.holders[block].All(block, f.more, nil) {
		if f.nodes[number-1].state != crashed {
			holders[int(number)-1] = true
		}
	}
	all := f.cfg.Of(block).Bytes
	const part = 100
	s := f.Read(node, block, part)
	want := shoal.TierUFS
	switch {
	case local:
		want = shoal.TierLocal
		h.counts.local++
	case len(holders) > 0:
		want = shoal.TierPeer
		h.counts.peer++
	default:
		h.counts.ufs++
	}
	if s.Tier != want {
		h.fail("Read(%d, %d) from %v, want %v", node, block, s.Tier, want)
	}
	if s.Tier == shoal.TierPeer && (!holders[s.From] || s.Far != (f.Zone(node) != f.Zone(s.From))) {
		h.fail("Read(%d, %d) from %d, far %v; the holders that are alive are %v", node, block, s.From, s.Far, holders)
	}
	if s.Moved != part && (local || s.Moved != all) {
		h.fail("Read(%d, %d) moved %d bytes, want %d or all %d", node, block, s.Moved, part, all)
	}
}

func (h *history) summarize() {
	s := h.f.Stats()
	h.counts.moved, h.counts.last, h.counts.resigned, h.counts.placed = s.Moved, s.Last, s.Resigned, s.Placed
	for i := range h.f.nodes {
		h.counts.evicted += h.f.NodeStats(i).Evicted
	}
}

// TestHistories runs random histories of reads, writes, crashes, restarts and drains, with and
// without a delay of the news, and checks all that must hold at every step: see check.
func TestHistories(t *testing.T) {
	for _, news := range []time.Duration{0, 100 * time.Millisecond, 2 * time.Second} {
		for _, crashes := range []bool{false, true} {
			t.Run(fmt.Sprintf("news=%v/crashes=%v", news, crashes), func(t *testing.T) {
				t.Parallel()
				var sum historyCounts
				for seed := range uint64(150) {
					h := newHistory(t, seed, news, crashes)
					h.run(500)
					sum.add(h.counts)
				}
				t.Logf("%+v", sum)
				if sum.moved == 0 || sum.last == 0 || sum.placed == 0 || sum.drained == 0 || sum.quotas == 0 ||
					news > 0 && sum.deferred == 0 || crashes && (sum.crashed == 0 || sum.soon == 0 || sum.back == 0 || sum.new == 0) {
					t.Errorf("%+v: not all was tried", sum)
				}
			})
		}
	}
}

// TestBaselines runs histories where the block that came first goes, or any block.
func TestBaselines(t *testing.T) {
	for _, b := range []Baseline{FIFO, Random} {
		f, err := New(Config{
			Nodes: 1, Capacity: 4, Blocks: 16, Of: func(uint32) Block { return Block{Bytes: 1} },
			Groups: make([]Group, 1), Baseline: b,
		})
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, uint64(b)))
		var queue []uint32 // what FIFO would hold
		gone := make(map[int]int)
		for i := range 20_000 {
			f.Advance(time.Duration(i) * time.Second)
			block := rng.Uint32N(16)
			at := -1
			for j, q := range queue {
				if q == block {
					at = j
				}
			}
			if got := f.Read(0, block, 1).Tier == shoal.TierLocal; got != (at >= 0) {
				t.Fatalf("baseline %d, read %d of block %d: a hit is %v, with %v in the cache", b, i, block, got, queue)
			}
			if at >= 0 {
				continue
			}
			for j, q := range queue {
				if f.nodes[0].table.get(q) == nil {
					gone[j]++
					queue = append(queue[:j], queue[j+1:]...)
					break
				}
			}
			queue = append(queue, block)
		}
		total := gone[0] + gone[1] + gone[2] + gone[3]
		for place := range 4 { // by age, the oldest first
			least, most := total/4*9/10, total/4*11/10
			if b == FIFO {
				least, most = 0, 0
				if place == 0 {
					least, most = 1, total
				}
			}
			if n := gone[place]; n < least || n > most {
				t.Errorf("baseline %d: the block of age %d went %d times, want %d to %d", b, place, n, least, most)
			}
		}
	}
	classes := []Group{{Rules: policy.Rules{Classes: true}, Limits: replicas.Limits{}}}
	if _, err := New(Config{Nodes: 1, Blocks: 1, Of: func(uint32) Block { return Block{} }, Groups: classes, Baseline: FIFO}); err == nil {
		t.Error("New(classes, FIFO) = nil, want an error")
	}
}
