package sim

import (
	"context"
	"time"

	"github.com/shoal-mesh/shoal/sim/fleet"
	"github.com/shoal-mesh/shoal/sim/scenario"
	"github.com/shoal-mesh/shoal/sim/workload"
)

// never is after all that happens.
const never = time.Duration(1<<63 - 1)

// An engine is one run of a scenario in which no read takes time (engine A of policy.md §4.1):
// each job's ranks make one read each in a round, and a round comes every 1 / rate.
type engine struct {
	scenario *scenario.Scenario
	data     *workload.Data
	fleet    *fleet.Fleet
	jobs     []*running
	happen   []happening
	crashes  map[int]int // the last one of each node
	tally    *tally
	now      time.Duration
	rounds   int
}

// running is a job and where it is.
type running struct {
	*workload.Job
	index  int
	start  time.Duration
	step   float64 // nanoseconds from one round to the next
	rounds int64
	next   time.Duration
	ranks  []atRank
	left   int // ranks that have reads
	ahead  int // reads of each rank that are known before they are made
	expect []fleet.Access

	recorded *recording // nil but for a job of kind trace, which has no ranks
}

// atRank is a rank and its reads to come.
type atRank struct {
	node  int
	from  int64 // the round it begins with
	ended bool
	reads []workload.Read // to come
	room  []workload.Read // where reads is
}

// aheadReads is how many reads of all ranks together are known before they are made: see
// fleet.Expect.
const aheadReads = 64

func newRunning(job *workload.Job, index int) *running {
	r := &running{
		Job: job, index: index, start: job.Spec.Start, next: job.Spec.Start, step: 1e9 / job.Rate(),
		ranks: make([]atRank, job.Ranks()), left: job.Ranks(), ahead: job.Ahead(aheadReads),
	}
	for i := range r.ranks {
		r.ranks[i].node = job.Node(i)
		r.ranks[i].room = make([]workload.Read, r.ahead)
		if spread := float64(job.Spec.Jitter) / r.step; spread >= 1 {
			r.ranks[i].from = int64(spread * float64(i) / float64(len(r.ranks)))
		}
	}
	return r
}

// newReplayed returns a job of kind trace.
func newReplayed(job *workload.Job, index int, r *recording) *running {
	j := &running{Job: job, index: index, recorded: r}
	if len(r.reads) > 0 {
		j.left, j.next = 1, r.reads[0].at
	}
	return j
}

// run goes through all that happens, in the order of time, until all jobs have ended.
func (e *engine) run(ctx context.Context) error {
	for {
		job := e.soonest()
		if job == nil || e.scenario.Duration > 0 && job.next > e.scenario.Duration {
			break
		}
		for len(e.happen) > 0 && e.happen[0].at <= job.next {
			if err := e.occur(e.happen[0]); err != nil {
				return err
			}
			e.happen = e.happen[1:]
		}
		e.advance(job.next)
		if job.recorded != nil {
			e.replay(job)
		} else {
			e.round(job)
		}
		if e.rounds++; e.rounds%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	e.advance(max(e.now, e.scenario.Duration))
	e.tally.close(e.now, e.fleet)
	return nil
}

// soonest returns the job whose next round comes first; nil when all have ended.
func (e *engine) soonest() (first *running) {
	for _, j := range e.jobs {
		if j.left > 0 && (first == nil || j.next < first.next) {
			first = j
		}
	}
	return first
}

func (e *engine) advance(now time.Duration) {
	e.now = now
	e.fleet.Advance(now)
	e.tally.advance(now, e.fleet)
}

// round has each rank of a job make a read, but for those that wait or whose node is away.
func (e *engine) round(j *running) {
	idle, earliest := true, never
	for i := range j.ranks {
		r := &j.ranks[i]
		switch {
		case r.ended || !e.fleet.Alive(r.node):
			continue
		case r.from > j.rounds:
			idle = false
			continue
		case len(r.reads) == 0:
			e.foresee(j)
		}
		if len(r.reads) == 0 {
			r.ended = true
			j.left--
			continue
		}
		if at := r.reads[0].NotBefore; at > e.now {
			earliest = min(earliest, at)
			continue
		}
		idle = false
		e.read(j.index, r.node, &r.reads[0])
		r.reads = r.reads[1:]
	}
	if j.left == 0 {
		e.tally.ended(j.index, e.now)
	}
	j.rounds++
	j.next = j.start + time.Duration(float64(j.rounds)*j.step)
	if idle {
		e.skip(j, earliest)
	}
}

// foresee finds out what the ranks of a job will read next, where that is not known.
func (e *engine) foresee(j *running) {
	j.expect = j.expect[:0]
	for i := range j.ranks {
		r := &j.ranks[i]
		if len(r.reads) > 0 {
			continue
		}
		n := 0
		for n < len(r.room) {
			read, ok := j.Next(i)
			if !ok {
				break
			}
			r.room[n] = read
			n++
			j.expect = append(j.expect, fleet.Access{Node: r.node, Block: read.Block})
		}
		r.reads = r.room[:n]
	}
	e.fleet.Expect(j.expect)
	e.tally.expect(j.expect)
}

// skip passes the time in which no rank of a job can read: until its next version comes, or
// something happens to nodes. If nothing will it is over.
func (e *engine) skip(j *running, until time.Duration) {
	if len(e.happen) > 0 {
		until = min(until, e.happen[0].at)
	}
	switch {
	case until == never:
		j.left = 0
	case until > j.next:
		j.start, j.rounds, j.next = until, 0, until
	}
}

// read makes one read of a job on a node.
func (e *engine) read(job, node int, r *workload.Read) {
	if r.Write {
		e.fleet.Write(node, r.Block)
		e.tally.write(*r)
		return
	}
	e.tally.read(job, node, r, e.fleet.Read(node, r.Block, r.Bytes))
}
