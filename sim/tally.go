package sim

import (
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/sim/fleet"
	"github.com/shoal-mesh/shoal/sim/scenario"
	"github.com/shoal-mesh/shoal/sim/workload"
)

// The places that a read may be served from.
const (
	local = iota
	peer
	farPeer
	ufs
	places
)

// A cell counts reads by where they were served from.
type cell struct {
	reads, bytes, moved [places]int64
}

func (c *cell) add(place int, bytes, moved uint32) {
	c.reads[place]++
	c.bytes[place] += int64(bytes)
	c.moved[place] += int64(moved)
}

// minus returns what was counted since c was o.
func (c cell) minus(o cell) cell {
	for i := range places {
		c.reads[i] -= o.reads[i]
		c.bytes[i] -= o.bytes[i]
		c.moved[i] -= o.moved[i]
	}
	return c
}

// plus returns the sum of both.
func (c cell) plus(o cell) cell {
	for i := range places {
		c.reads[i] += o.reads[i]
		c.bytes[i] += o.bytes[i]
		c.moved[i] += o.moved[i]
	}
	return c
}

// A tally counts what an engine does.
type tally struct {
	data     *workload.Data
	warmup   time.Duration
	interval time.Duration
	now      time.Duration

	all, warm cell
	seen      bitmap  // blocks that were read
	seenWarm  bitmap  // the same after the warm-up
	distinct  []int64 // bytes of them, by dataset
	warmBytes int64

	jobs      []jobTally
	sets      []setTally
	nodes     []cell
	written   int64   // bytes that jobs wrote to the UFS
	clock     *timing // of engine "time"
	last      cell    // all, when the current interval began
	waited    int64   // of clock, then
	computed  int64
	begun     time.Duration
	merge     bool // intervals, when there are many
	intervals []span
	expected  uint64 // of no use
}

// A span is what happened between two moments.
type span struct {
	start, end     time.Duration
	cell           cell
	alive          int // at its end
	copies, blocks int64
	// waited and computed are what ranks did, in nanoseconds of ranks (engine "time").
	waited, computed int64
}

// setTally counts for one dataset.
type setTally struct{ all, warm cell }

// jobTally counts for one job.
type jobTally struct {
	epochs   []cell
	ends     []time.Duration // of epochs: the last read
	warm     cell
	warmFrom int // epoch
	end      time.Duration
	done     bool
}

// mostEpochs is how many epochs of a job are counted one by one; later ones count for the last.
const mostEpochs = 100

func newTally(s *scenario.Scenario, data *workload.Data) *tally {
	t := &tally{
		data: data, warmup: s.Warmup, interval: s.Interval, nodes: make([]cell, s.Fleet.Nodes),
		seen: newBitmap(data.Blocks()), seenWarm: newBitmap(data.Blocks()), distinct: make([]int64, len(s.Datasets)),
		jobs: make([]jobTally, len(s.Jobs)), sets: make([]setTally, len(s.Datasets)),
	}
	if t.interval == 0 {
		t.interval, t.merge = time.Millisecond, true
	}
	for i, j := range s.Jobs {
		t.jobs[i].warmFrom = j.WarmupEpochs
	}
	return t
}

// read counts a read of a job.
func (t *tally) read(job, node int, r *workload.Read, s fleet.Served) {
	place := int(s.Tier)
	switch {
	case s.Tier == shoal.TierUFS:
		place = ufs
	case s.Far:
		place = farPeer
	}
	t.all.add(place, r.Bytes, s.Moved)
	t.nodes[node].add(place, r.Bytes, s.Moved)
	j := &t.jobs[job]
	e := j.epoch(r.Epoch)
	j.epochs[e].add(place, r.Bytes, s.Moved)
	j.ends[e] = t.now
	set, bytes := t.data.Of(r.Block)
	t.sets[set].all.add(place, r.Bytes, s.Moved)
	if t.seen.set(r.Block) {
		t.distinct[set] += int64(bytes)
	}
	if r.Epoch >= j.warmFrom && t.now >= t.warmup {
		t.warm.add(place, r.Bytes, s.Moved)
		t.sets[set].warm.add(place, r.Bytes, s.Moved)
		j.warm.add(place, r.Bytes, s.Moved)
		if t.seenWarm.set(r.Block) {
			t.warmBytes += int64(bytes)
		}
	}
}

// expect is fleet.Expect for what a tally looks at.
func (t *tally) expect(reads []fleet.Access) {
	sum := uint64(0)
	for _, r := range reads {
		sum += t.seen[r.Block/64] + t.seenWarm[r.Block/64]
	}
	t.expected += sum
}

// epoch returns the index at which an epoch is counted.
func (j *jobTally) epoch(e int) int {
	e = min(e, mostEpochs-1)
	for len(j.epochs) <= e {
		j.epochs, j.ends = append(j.epochs, cell{}), append(j.ends, 0)
	}
	return e
}

// write counts a write of a job.
func (t *tally) write(r workload.Read) { t.written += int64(r.Bytes) }

// lost counts bytes that came from the UFS and were lost on their way.
func (t *tally) lost(bytes int64) { t.all.moved[ufs] += bytes }

// taken notes that a rank of a job has done with a read of an epoch.
func (t *tally) taken(job, epoch int) {
	j := &t.jobs[job]
	if e := min(epoch, mostEpochs-1); e < len(j.ends) { // writes are of none
		j.ends[e] = t.now
	}
}

// ended notes that a job has ended.
func (t *tally) ended(job int, now time.Duration) {
	t.jobs[job].end, t.jobs[job].done = now, true
}

// mostSpans is how many points a curve has at most where the scenario does not say how many: when
// there are as many, every two become one.
const mostSpans = 200

// advance sets the time, and ends the interval that is over.
func (t *tally) advance(now time.Duration, f *fleet.Fleet) {
	t.now = now
	if now-t.begun >= t.interval {
		t.close(t.begun+(now-t.begun)/t.interval*t.interval, f)
	}
}

// close ends the interval at a moment.
func (t *tally) close(end time.Duration, f *fleet.Fleet) {
	if end == t.begun && t.all == t.last {
		return
	}
	s := span{start: t.begun, end: end, cell: t.all.minus(t.last)}
	for n := range t.nodes {
		if f.Alive(n) {
			s.alive++
		}
	}
	s.copies, s.blocks = f.Copies()
	if t.clock != nil {
		t.clock.pass(end)
		s.waited, s.computed = t.clock.waited-t.waited, t.clock.computed-t.computed
		t.waited, t.computed = t.clock.waited, t.clock.computed
	}
	t.intervals = append(t.intervals, s)
	t.last, t.begun = t.all, end
	if t.merge && len(t.intervals) == mostSpans {
		t.halve()
	}
}

// halve makes one interval of every two, and of what comes.
func (t *tally) halve() {
	n := len(t.intervals) / 2
	for i := range n {
		a, b := t.intervals[2*i], t.intervals[2*i+1]
		b.start, b.cell = a.start, a.cell.plus(b.cell)
		b.waited, b.computed = a.waited+b.waited, a.computed+b.computed
		t.intervals[i] = b
	}
	t.intervals = t.intervals[:n]
	t.interval *= 2
	for _, s := range t.intervals {
		t.interval = max(t.interval, s.end-s.start) // where less happens than there were intervals
	}
}

// A bitmap is a set of blocks.
type bitmap []uint64

func newBitmap(n uint32) bitmap { return make(bitmap, n/64+1) }

// set adds a block and reports whether it is new.
func (b bitmap) set(block uint32) bool {
	bit := uint64(1) << (block % 64)
	word := &b[block/64]
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}
