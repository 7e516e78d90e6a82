package workload

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/shoal-mesh/shoal/sim/scenario"
)

// A Read is one read of part of a block, or all of it, or with Write one write of a block.
type Read struct {
	Block     uint32
	Bytes     uint32
	Epoch     int // or version, from 0
	Write     bool
	NotBefore time.Duration // since the simulation began: a new version is not there earlier
}

// A Job is the reads of one job, by rank: the ranks of its first node come first, then those of
// the next.
type Job struct {
	Spec  *scenario.Job
	Set   *Set // nil for a trace
	ranks []rank
	make  func(j *Job, r *rank) (Read, bool)

	items  uint32 // that are put in order: files, or reads of one pass
	reads  int64  // of each rank (zipf)
	rate   float64
	shared *pair // of epochs that all ranks share
	seed   uint64
}

// A rank is one reader of a job.
type rank struct {
	number uint32
	node   int

	epoch int
	at    uint32 // items or blocks of the epoch that it has begun
	left  int64  // reads still to be made (zipf)

	within  uint32 // of the item that is being read: blocks done
	item    uint32
	reading bool
	own     *pair
	zipf    *zipf
	rng     *rand.PCG
	open    []shard // windows
	turn    int
	start   uint32 // of an order of its own (stream)
	stride  uint32
}

// NewJob returns the reads of a job of a scenario.
func NewJob(s *scenario.Scenario, d *Data, job *scenario.Job, number int) (*Job, error) {
	j := &Job{
		Spec: job, seed: scatter(s.Seed) + uint64(number), rate: job.Rate * s.Sample,
		reads: int64(math.Ceil(float64(job.Reads) * s.Sample)),
	}
	for i := range d.sets {
		if d.sets[i].Name == job.Dataset {
			j.Set = &d.sets[i]
		}
	}
	if j.Set == nil {
		return nil, fmt.Errorf("job %s: no dataset %q", job.Name, job.Dataset)
	}
	for _, node := range job.Nodes {
		for range job.Ranks {
			j.ranks = append(j.ranks, rank{number: uint32(len(j.ranks)), node: node})
		}
	}
	switch job.Kind {
	case scenario.Epochs:
		j.make = (*Job).nextOfEpochs
	case scenario.Windows:
		j.make = (*Job).nextOfWindows
	case scenario.Stream:
		j.make = (*Job).nextOfStream
	case scenario.Zipf:
		j.make = (*Job).nextOfZipf
	case scenario.Write:
		j.make = (*Job).nextOfWrite
	default:
		return nil, fmt.Errorf("job %s: kind %q has no reads of its own", job.Name, job.Kind)
	}
	j.prepare()
	return j, nil
}

// prepare makes the random orders of the ranks.
func (j *Job) prepare() {
	if j.items = j.Set.Items(); j.Spec.Kind == scenario.Windows {
		j.items = j.Set.files
	}
	n := j.items
	ordered := j.Spec.Kind == scenario.Epochs || j.Spec.Kind == scenario.Windows
	if ordered && j.Spec.Shared {
		j.shared = newPair(n, j.seed, 1)
	}
	for i := range j.ranks {
		r := &j.ranks[i]
		r.rng = rand.NewPCG(j.seed, 1000+uint64(i))
		switch {
		case ordered && !j.Spec.Shared:
			r.own = newPair(n, j.seed, 1_000_000+uint64(i))
		case j.Spec.Kind == scenario.Zipf:
			r.left = j.reads
			r.zipf = newZipf(j.Spec.Skew, n, r.rng)
		case j.Spec.Kind == scenario.Stream:
			r.start, r.stride = 0, 1
			if j.Spec.Random {
				r.start, r.stride = below(r.rng, j.Set.fileReads), coprime(r.rng, j.Set.fileReads)
			}
		}
	}
}

// Rate returns how many reads per second a rank makes if none takes time: fewer in a sample.
func (j *Job) Rate() float64 { return j.rate }

// Ahead returns how many reads of each rank may be asked for before those of others, if n of all
// together are wanted: within an epoch, as the orders of no more than two are known.
func (j *Job) Ahead(n int) int {
	return max(1, min(n/len(j.ranks), int(j.mine()/2)))
}

// Ranks returns how many ranks there are.
func (j *Job) Ranks() int { return len(j.ranks) }

// Node returns the node that a rank runs on.
func (j *Job) Node(rank int) int { return j.ranks[rank].node }

// Next returns the next read of a rank; false: it has made all.
func (j *Job) Next(rank int) (Read, bool) { return j.make(j, &j.ranks[rank]) }

// Epoch returns the epoch or version that a rank is in.
func (j *Job) Epoch(rank int) int { return j.ranks[rank].epoch }

// share returns how many of n items are a rank's where ranks share them: with padding, as
// PyTorch's DistributedSampler has it, so that all have as many.
func (j *Job) share(n uint32) uint32 {
	ranks := uint32(len(j.ranks))
	return (n + ranks - 1) / ranks
}

// mine returns how many items of an epoch a rank reads.
func (j *Job) mine() uint32 {
	if j.shared != nil {
		return j.share(j.items)
	}
	return j.items
}

// nextItem returns the next item of a rank's shuffled epoch.
func (j *Job) nextItem(r *rank) (item uint32, ok bool) {
	n := j.items
	if r.at == j.mine() {
		r.at = 0
		r.epoch++
	}
	if j.shared != nil && r.epoch < j.shared.epoch-1 {
		r.epoch, r.at = j.shared.epoch, 0 // its node was away: the others have read the rest
	}
	if r.epoch >= j.Spec.Epochs {
		return 0, false
	}
	i := r.at
	r.at++
	if j.shared == nil {
		return r.own.of(r.epoch).at(i), true
	}
	return j.shared.of(r.epoch).at((i*uint32(len(j.ranks)) + r.number) % n), true
}

// read returns one of the reads of a file in a version, in their order.
func (j *Job) read(file, number uint32, version int) Read {
	block, bytes := j.Set.read(file, number)
	return Read{Block: j.Set.first + uint32(version)*j.Set.Blocks() + block, Bytes: bytes}
}

// write returns the write of a block of a version, counted from the first of the version.
func (j *Job) write(block uint32, version int) Read {
	return Read{Block: j.Set.first + uint32(version)*j.Set.Blocks() + block, Bytes: j.Set.bytesOf(block), Write: true}
}
