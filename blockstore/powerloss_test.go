package blockstore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/shoal-mesh/shoal"
)

const (
	powerLimit  = 1 << 20
	powerSlab   = 128 << 10
	powerWindow = 500  // numbers of the blocks of one run
	powerSteps  = 250  // of the load in one run
	powerRuns   = 2    // of a seed, each after the power loss of the one before
	powerWrites = 1200 // among which the power fails, or at the end
)

// TestPowerLoss has the power fail at any write of a store whose index and containers are in
// memory: what was not synced is lost, or half of it, or nothing, page by page. Each block
// the store then shows must be right or dropped when it is read, and none may be lost that
// was there when a Sync began that returned.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	seeds := crashCount(t, "SHOAL_SOAK_SEEDS", 500)
	if !thorough() {
		seeds = min(seeds, 24)
	}
	begun := time.Now()
	var sum powerTally
	var mu sync.Mutex
	var workers sync.WaitGroup
	queue := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		dir := fastDir(t)
		workers.Go(func() {
			for seed := range queue {
				p := &powerLoss{seed: seed, dir: dir, truth: newCrashTruth(), rnd: rand.New(rand.NewPCG(uint64(seed), 1))}
				p.pages = rand.New(rand.NewPCG(uint64(seed), 2))
				p.percent = []int{0, 50, 100}[seed%3]
				if err := p.run(); err != nil {
					t.Errorf("seed %d: %v", seed, err)
				}
				mu.Lock()
				sum.add(p)
				mu.Unlock()
			}
		})
	}
	for seed := range seeds {
		queue <- seed
	}
	close(queue)
	workers.Wait()
	t.Logf("%d seeds in %v: %+v", seeds, time.Since(begun).Round(time.Second), sum)
	if sum.Cut < seeds || sum.Durable == 0 || sum.Missed == 0 || sum.Evicted == 0 || sum.Moved == 0 {
		t.Error("the power losses did not meet what they were to meet")
	}
}

// powerTally counts what the power losses met.
type powerTally struct {
	Losses, Cut                    int // of the power, and those of them amid the load
	Durable, Have, Missed, Dropped int // blocks after them
	Puts, Evicted, Moved, Syncs    int
}

func (s *powerTally) add(p *powerLoss) {
	s.Losses += powerRuns
	s.Cut += p.cut
	s.Durable += p.durable
	s.Have += p.have
	s.Missed += p.missed
	s.Dropped += p.dropped
	s.Puts += p.truth.puts
	s.Evicted += p.truth.evicted
	s.Moved += p.truth.moved
	s.Syncs += p.truth.syncs
}

// A powerLoss is the history of one seed. The few small files that a disk keeps beside its
// index and containers lie in a real directory: each is written durably before the store goes
// on, so a power loss never finds them older than what refers to them.
type powerLoss struct {
	seed    int
	dir     string
	percent int        // of what was not synced that is there all the same
	rnd     *rand.Rand // of the load

	mu    sync.Mutex // guards the fields below
	pages *rand.Rand // chooses what is there all the same
	truth *crashTruth
	left  int        // writes until the power fails
	after *vfs.MemFS // what it left; nil until then
	mem   *vfs.MemFS // of this run

	cut, durable, have, missed, dropped int
}

// run lets the power fail a few times.
func (p *powerLoss) run() error {
	if err := os.RemoveAll(p.dir); err != nil {
		return err
	}
	p.mem = vfs.NewCrashableMem()
	for n := range powerRuns {
		if err := p.live(n); err != nil {
			return fmt.Errorf("run %d: %w", n, err)
		}
		p.mem, p.after = p.after, nil
	}
	s, err := p.open(&crashTeller{say: p.hear})
	if err != nil {
		return err
	}
	return errors.Join(p.check(s), s.Close())
}

// hear is told what happens to blocks.
func (p *powerLoss) hear(word string, i uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch word {
	case "have":
		p.have++
		word = "shown"
	case "missed":
		p.missed++
		word = "leaving"
	case "dropped":
		p.dropped++
		word = "leaving"
	}
	if p.after == nil {
		p.truth.hear(word, i)
	}
}

// write is called before each write: at one of them the power fails.
func (p *powerLoss) write() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left--; p.left == 0 {
		p.fail()
		p.cut++
	}
}

// fail has the power fail now. Holds mu, so that nothing is given up in the meantime.
func (p *powerLoss) fail() {
	p.truth.forgetUnlessDurable()
	p.after = p.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: p.percent, RNG: p.pages})
}

func (p *powerLoss) failed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.after != nil
}

// open opens the store on what there is.
func (p *powerLoss) open(t *crashTeller) (*Store, error) {
	files, err := newMemFiles(p.mem, p.dir)
	if err != nil {
		return nil, err
	}
	files.before = p.write
	cfg := oneDisk(p.dir, powerLimit)
	cfg.SlabBytes, cfg.High, cfg.Low = powerSlab, 0.9, 0.8
	cfg.policy, cfg.OnEvict = t.policy, t.evicted
	cfg.FlushInterval, cfg.RetryInterval = time.Hour, time.Hour
	cfg.files = files
	cfg.indexFS = errorfs.Wrap(p.mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			p.write()
		}
		return nil
	}))
	return Open(cfg)
}

// live opens the store, checks what is in it, loads it until the power has failed, and closes
// it: if it comes so far, the power fails after that.
func (p *powerLoss) live(n int) error {
	p.mu.Lock()
	p.left = 1 + p.rnd.IntN(powerWrites)
	p.truth.restart()
	p.mu.Unlock()
	t := &crashTeller{say: p.hear}
	s, err := p.open(t)
	if err != nil {
		return err
	}
	err = p.check(s)
	t.disk.Store(s.disks[0])
	base := uint32(p.seed*crashPhase/3 + n*crashPhase/2)
	for step := 0; err == nil && step < powerSteps && !p.failed(); step++ {
		err = p.step(s, base)
	}
	err = errors.Join(err, s.Close())
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.after != nil { // it was not closed
		return errors.Join(err, os.WriteFile(runningPath(p.dir), nil, 0o600))
	}
	p.truth.hear("sync", 0) // what is closed is durable
	p.truth.hear("synced", 0)
	p.left = 0
	p.fail()
	return err
}

// check reads all there is and looks for the blocks that must be.
func (p *powerLoss) check(s *Store) error {
	p.mu.Lock()
	durable := p.truth.durable()
	p.durable += len(durable)
	p.mu.Unlock()
	seen := make(map[uint32]bool)
	c := crashCheck{store: s, memory: true, power: true, say: func(word string, i uint32) {
		seen[i] = word == "have"
		p.hear(word, i)
	}}
	err := c.run()
	for _, i := range durable {
		if !seen[i] {
			_, there := seen[i]
			err = errors.Join(err, fmt.Errorf("block %d is lost (visible at open: %v), of %d that were synced", i, there, len(durable)))
		}
	}
	return err
}

// step does one thing.
func (p *powerLoss) step(s *Store, base uint32) error {
	i := base + p.rnd.Uint32N(powerWindow)
	b := crashBlockOf(i, false)
	switch op := p.rnd.IntN(100); {
	case op < 3:
		p.hear("sync", 0)
		if err := s.Sync(); err != nil {
			return err
		}
		p.hear("synced", 0)
		return nil
	case op < 6:
		s.disks[0].flush() // as it is from time to time
		return nil
	case op < 15:
		if err := s.Remove(b.key); err == nil {
			p.hear("removed", i)
		}
		return nil
	}
	p.hear("begin", i)
	data := b.data()
	if err := s.Put(b.key, b.file, data, shoal.ChunkSums(b.key, data)); err != nil {
		return err
	}
	p.hear("end", i)
	return nil
}
