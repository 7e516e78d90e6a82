package sim

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/shoal-mesh/shoal"
	live "github.com/shoal-mesh/shoal/node/trace"
	"github.com/shoal-mesh/shoal/sim/fleet"
	"github.com/shoal-mesh/shoal/sim/scenario"
	"github.com/shoal-mesh/shoal/sim/trace"
	"github.com/shoal-mesh/shoal/sim/workload"
)

// A recording is the reads of a job of kind trace, in memory: 24 bytes each.
type recording struct {
	reads []recordedRead
	next  int // the first that was not made yet
}

type recordedRead struct {
	at    time.Duration
	block uint32 // in its dataset, until place has it among all
	bytes uint32
	node  uint16
	set   uint16
	op    live.Op // with live.Costs, block and bytes are millionths
}

// load reads the traces of a scenario's jobs. It returns the scenario with the datasets that
// traces bring and with the share of blocks that they have; a recording for each job, nil for
// those of other kinds; and the sizes of the blocks of datasets that were recorded.
func load(s *scenario.Scenario) (*scenario.Scenario, []*recording, map[string][]uint32, error) {
	recordings := make([]*recording, len(s.Jobs))
	if !slices.ContainsFunc(s.Jobs, func(j scenario.Job) bool { return j.Kind == scenario.Trace }) {
		return s, recordings, nil, nil
	}
	with := *s
	with.Datasets = slices.Clone(s.Datasets)
	l := loader{scenario: &with, sample: s.Sample, sets: make(map[string]int), sizes: make(map[string][]uint32)}
	for i := range s.Jobs {
		if s.Jobs[i].Kind != scenario.Trace {
			continue
		}
		var err error
		if recordings[i], err = l.load(&s.Jobs[i]); err != nil {
			return nil, nil, nil, fmt.Errorf("job %s: %w", s.Jobs[i].Name, err)
		}
	}
	for _, j := range s.Jobs {
		if l.sizes[j.Dataset] != nil && j.Kind != scenario.Trace {
			return nil, nil, nil, fmt.Errorf("%w: job %s: a trace brings the blocks of %s, so no other job can read it", ErrScenario, j.Name, j.Dataset)
		}
	}
	return &with, recordings, l.sizes, nil
}

// A loader reads traces.
type loader struct {
	scenario *scenario.Scenario
	sample   float64 // what the scenario asks for
	sets     map[string]int
	sizes    map[string][]uint32
	blocks   map[uint64]blockID
	sized    bool
}

// A blockID is a block of a recorded dataset.
type blockID struct {
	set   uint16
	block uint32
}

// load reads the trace of a job.
func (l *loader) load(job *scenario.Job) (*recording, error) {
	src, err := openTrace(job)
	if err != nil {
		return nil, err
	}
	defer func() { _ = src.Close() }() // it was only read
	share := src.About().Share
	if l.sized && share != l.scenario.Sample/l.sample {
		return nil, fmt.Errorf("%w: its trace has another share of the blocks than that of another job", ErrScenario)
	}
	l.sized, l.scenario.Sample = true, l.sample*share
	if l.blocks == nil {
		l.blocks = make(map[uint64]blockID)
	}
	r := new(recording)
	batch := make([]trace.Record, 4096)
	first := int64(math.MinInt64)
	for {
		n, err := src.Next(batch)
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, trace.ErrTruncated) {
				return nil, err
			}
			r.sort()
			return r, nil
		}
		about := src.About()
		for i := range batch[:n] {
			if first == math.MinInt64 {
				first = batch[i].Time
			}
			if batch[i].Op == live.Costs {
				r.costs(job, &batch[i], first)
				continue
			}
			if !live.Sampled(batch[i].Block, l.sample) {
				continue
			}
			if err := l.add(r, job, &batch[i], first, about); err != nil {
				return nil, err
			}
		}
	}
}

// openTrace opens the trace of a job: a file, or the directory of a fleet's traces.
func openTrace(job *scenario.Job) (trace.Source, error) {
	info, err := os.Stat(job.Trace)
	if err == nil && info.IsDir() {
		return trace.OpenAll([]string{job.Trace}, job.Format, trace.Options{})
	}
	return trace.Open(job.Trace, job.Format, trace.Options{})
}

// add adds a record to a recording.
func (l *loader) add(r *recording, job *scenario.Job, rec *trace.Record, first int64, about trace.About) error {
	set, err := l.set(job, about, rec.Dataset)
	if err != nil {
		return err
	}
	id, known := l.blocks[rec.Block]
	if !known {
		name := l.scenario.Datasets[set].Name
		id = blockID{uint16(set), uint32(len(l.sizes[name]))}
		l.blocks[rec.Block] = id
		l.sizes[name] = append(l.sizes[name], max(1, min(rec.Size, shoal.BlockSize)))
	}
	r.reads = append(r.reads, recordedRead{
		at: job.Start + time.Duration(rec.Time-first)*time.Microsecond, block: id.block, bytes: min(rec.Bytes, max(1, rec.Size)),
		node: nodeOf(job, rec), set: id.set, op: rec.Op,
	})
	return nil
}

// costs adds what a node has measured that reads cost.
func (r *recording) costs(job *scenario.Job, rec *trace.Record, first int64) {
	r.reads = append(r.reads, recordedRead{
		at: job.Start + time.Duration(rec.Time-first)*time.Microsecond, block: rec.Size, bytes: rec.Bytes,
		node: nodeOf(job, rec), op: live.Costs,
	})
}

// nodeOf returns the node of the fleet that stands for that of a record.
func nodeOf(job *scenario.Job, rec *trace.Record) uint16 {
	return uint16(job.Nodes[int(rec.Node)%len(job.Nodes)])
}

// set returns which dataset of the scenario a record is of: that of the job, that of its own
// name, with or without a slash, or a new one with the settings that agents have by default.
func (l *loader) set(job *scenario.Job, about trace.About, index uint32) (int, error) {
	name := job.Dataset
	if name == "" {
		name = "all"
		if int(index) < len(about.Datasets) {
			name = strings.Trim(about.Datasets[index], "/")
		}
	}
	if set, ok := l.sets[name]; ok {
		return set, nil
	}
	set := slices.IndexFunc(l.scenario.Datasets, func(d scenario.Dataset) bool { return strings.Trim(d.Name, "/") == name })
	if set < 0 {
		set = len(l.scenario.Datasets)
		l.scenario.Datasets = append(l.scenario.Datasets, scenario.NewDataset(name))
	}
	if set > math.MaxUint16-1 {
		return 0, fmt.Errorf("more than %d datasets", math.MaxUint16-1)
	}
	l.sets[name] = set
	return set, nil
}

// sort puts reads in the order of time: agents note them when they end.
func (r *recording) sort() {
	slices.SortStableFunc(r.reads, func(a, b recordedRead) int { return int(min(1, max(-1, a.at-b.at))) })
}

// place numbers the blocks of a recording among all.
func (r *recording) place(data *workload.Data) {
	for i := range r.reads {
		if read := &r.reads[i]; read.op != live.Costs {
			read.block += data.First(int(read.set))
		}
	}
}

// replay makes the reads of a recording that are due.
func (e *engine) replay(j *running) {
	r := j.recorded
	if r.next%aheadReads == 0 {
		j.expect = j.expect[:0]
		for _, read := range r.reads[r.next:min(len(r.reads), r.next+aheadReads)] {
			if read.op == live.Costs {
				continue
			}
			j.expect = append(j.expect, fleet.Access{Node: int(read.node), Block: read.block})
		}
		e.fleet.Expect(j.expect)
	}
	switch read := &r.reads[r.next]; {
	case read.op == live.Costs:
		e.fleet.SetCosts(int(read.node), float64(read.bytes)/1e6, float64(read.block)/1e6)
	case e.fleet.Alive(int(read.node)):
		e.read(j.index, int(read.node), &workload.Read{Block: read.block, Bytes: read.bytes, Write: read.op == live.Write})
	}
	if r.next++; r.next == len(r.reads) {
		j.left = 0
		e.tally.ended(j.index, e.now)
		return
	}
	j.next = r.reads[r.next].at
}
