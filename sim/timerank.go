package sim

import (
	"time"

	"github.com/shoal-mesh/shoal/sim/workload"
)

// A timedRank is a rank of a job. It takes its reads in order: it computes on one, then takes the
// next, for which it waits if need be. Reads that it has not taken are under way or there, at
// most prefetch of them beyond the next one.
type timedRank struct {
	job, number uint32 // its team, and its place in it
	node        int
	state       rankState
	generation  uint32 // events of an earlier one are void
	since       time.Duration

	issued, took int64 // reads
	epoch        int   // the last one it has taken a read of
	on           int   // that of the read it has taken last
	met          bool  // it has waited for the others at the end of epoch
	worked       int64 // reads it has computed on
	slots        uint32
	room         int64 // slots

	last    bool          // it has asked for all its reads
	pending bool          // next is not there yet
	called  bool          // it will be woken when it is
	next    workload.Read // that it asks for next
}

// A rankState is what a rank does.
type rankState uint8

const (
	rankIdle      rankState = iota // it has not begun, or there is nothing to read yet
	rankComputing                  //
	rankWaiting                    // for a read
	rankMeeting                    // for other ranks
	rankAway                       // its node has crashed
	rankEnded                      //
)

// A slot is a read that a rank has asked for, or the place for one.
type slot struct {
	read  workload.Read
	rank  uint32
	next  uint32        // slot + 1 that waits for the same fetch
	asked time.Duration // when
	ready bool
}

// A team is the ranks of a job.
type team struct {
	job     *running
	first   uint32 // rank
	compute int64  // nanoseconds for each read
	active  int    // ranks that others wait for: neither ended nor away
	arrived int    // of these, those that wait for the others
}

// recruit makes the ranks of a job.
func (t *timed) recruit(j *running) {
	index := uint32(len(t.teams))
	room := int64(j.Spec.Prefetch) + 1
	t.teams = append(t.teams, team{job: j, first: uint32(len(t.ranks)), compute: max(1, int64(1e9/j.Rate())), active: j.Ranks()})
	for i := range j.Ranks() {
		id := uint32(len(t.ranks))
		t.ranks = append(t.ranks, timedRank{
			job: index, number: uint32(i), node: j.Node(i), slots: uint32(len(t.slots)), room: room,
		})
		for range room {
			t.slots = append(t.slots, slot{rank: id})
		}
		t.queue.Push(int64(j.Spec.Start+t.late(id)), evBegin, id, 0, 0)
	}
}

// late returns how much later than others a rank begins: ranks are spread over the job's jitter
// evenly.
func (t *timed) late(id uint32) time.Duration {
	r := &t.ranks[id]
	j := t.teams[r.job].job
	return time.Duration(float64(j.Spec.Jitter) * float64(r.number) / float64(j.Ranks()))
}

// wake has a rank go on that had nothing to do.
func (t *timed) wake(id uint32) {
	t.ranks[id].called = false
	t.issue(id)
	if t.ranks[id].state == rankIdle {
		t.take(id)
	}
}

// issue asks for reads as far ahead as the rank may.
func (t *timed) issue(id uint32) {
	r := &t.ranks[id]
	j := t.teams[r.job].job
	for !r.last && r.issued-r.took < r.room {
		if !r.pending {
			if j.Meets() && j.Turns(int(r.number)) && j.Epoch(int(r.number)) > r.epoch {
				return // the orders of no more than two epochs are there
			}
			if r.next, r.pending = j.Next(int(r.number)); !r.pending {
				r.last = true
				return
			}
		}
		if when := t.readable(id, &r.next); when > t.now {
			if !r.called {
				r.called = true
				t.queue.Push(int64(when), evBegin, id, r.generation, 0)
			}
			return
		}
		at := t.slotOf(r, r.issued)
		s := &t.slots[at]
		s.read, s.ready = r.next, false
		r.pending = false
		r.issued++
		t.ask(at)
	}
}

// readable returns when a rank may make a read: 0 when there is nothing to wait for.
func (t *timed) readable(id uint32, read *workload.Read) time.Duration {
	if read.NotBefore == 0 {
		return 0
	}
	return read.NotBefore + t.late(id)
}

// slotOf returns the slot of a rank's n-th read.
func (t *timed) slotOf(r *timedRank, n int64) uint32 { return r.slots + uint32(n%r.room) }

// take has a rank compute on its next read, or wait for it.
func (t *timed) take(id uint32) {
	t.issue(id)
	r := &t.ranks[id]
	if r.took == r.issued {
		t.be(r, rankIdle)
		if r.last {
			t.be(r, rankEnded)
			t.leave(r)
		}
		return
	}
	s := &t.slots[t.slotOf(r, r.took)]
	team := &t.teams[r.job]
	switch {
	case s.read.Epoch > r.epoch && team.job.Meets() && !r.met:
		r.met = true
		t.meet(r)
		return
	case !s.ready:
		t.be(r, rankWaiting)
		return
	}
	r.epoch, r.on, r.met = max(r.epoch, s.read.Epoch), s.read.Epoch, false
	r.took++
	t.be(r, rankComputing)
	t.queue.Push(t.at(team.compute), evComputed, id, r.generation, 0)
	t.issue(id)
}

// computed has a rank take its next read, or wait for the others first.
func (t *timed) computed(id uint32) {
	r := &t.ranks[id]
	r.worked++
	t.tally.taken(int(r.job), r.on)
	if step := int64(t.teams[r.job].job.Spec.Step); step > 0 && r.worked%step == 0 {
		t.meet(r)
		return
	}
	t.take(id)
}

// meet has a rank wait until all of its job have come as far.
func (t *timed) meet(r *timedRank) {
	t.be(r, rankMeeting)
	t.teams[r.job].arrived++
	t.release(r.job)
}

// release lets ranks go on that wait for one another, when all of them do.
func (t *timed) release(job uint32) {
	team := &t.teams[job]
	if team.arrived == 0 || team.arrived < team.active {
		return
	}
	team.arrived = 0
	for id := team.first; id < team.first+uint32(team.job.Ranks()); id++ {
		if t.ranks[id].state == rankMeeting {
			t.be(&t.ranks[id], rankIdle)
			t.take(id)
		}
	}
}

// leave has the others not wait for a rank any more: it has ended or is away.
func (t *timed) leave(r *timedRank) {
	team := &t.teams[r.job]
	team.active--
	if r.state == rankEnded {
		if team.job.left--; team.job.left == 0 {
			t.tally.ended(team.job.index, t.now)
			t.left--
		}
	}
	t.release(r.job)
}

// be changes what a rank does, and counts what it did until now.
func (t *timed) be(r *timedRank, s rankState) {
	t.clock.pass(t.now)
	job := &t.clock.jobs[r.job]
	switch r.state {
	case rankComputing:
		t.clock.computing--
		job.spent += int64(t.now - r.since)
	case rankWaiting, rankMeeting:
		t.clock.waiting--
		job.waited += int64(t.now - r.since)
	}
	switch s {
	case rankComputing:
		t.clock.computing++
	case rankWaiting, rankMeeting:
		t.clock.waiting++
	}
	r.state, r.since = s, t.now
}

// stop counts what ranks did that have not ended.
func (t *timed) stop() {
	for i := range t.ranks {
		if r := &t.ranks[i]; r.state != rankEnded {
			t.be(r, rankIdle)
		}
	}
}
