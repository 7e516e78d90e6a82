package result

import (
	"fmt"
	"slices"
)

// A Comparison is how two runs differ.
type Comparison struct {
	A, B *Result
	// Unlike says why the two cannot be compared; empty if they can. Their rows are there all
	// the same.
	Unlike []string
	// Differs is what else is not the same in them: what the comparison is about.
	Differs []string
	// Rows are the measures that both have.
	Rows []Row
}

// A Row is one measure of two runs.
type Row struct {
	Metric     string  `json:"metric"` // a Measure's name, or of a job: "jobs.NAME.end_seconds"
	Unit       Unit    `json:"unit"`
	A          float64 `json:"a"`
	B          float64 `json:"b"`
	Difference float64 `json:"difference"` // B - A
	Ratio      float64 `json:"ratio"`      // B / A; 0 if A is 0
}

// Compare returns how b differs from a.
func Compare(a, b *Result) Comparison {
	c := Comparison{A: a, B: b, Unlike: unlike(a, b), Differs: differs(a, b)}
	for _, m := range Measures() {
		x, inA := m.Of(a)
		y, inB := m.Of(b)
		if inA && inB {
			c.add(m.Name, m.Unit, x, y)
		}
	}
	for _, j := range a.Jobs {
		i := slices.IndexFunc(b.Jobs, func(k Job) bool { return k.Name == j.Name })
		if i < 0 {
			continue
		}
		k := b.Jobs[i]
		c.add("jobs."+j.Name+".end_seconds", Seconds, j.End, k.End)
		if a.Engine == "time" && b.Engine == "time" {
			c.add("jobs."+j.Name+".stall_seconds", Seconds, j.Stall, k.Stall)
			c.add("jobs."+j.Name+".gpu_utilisation", Share, j.GPU, k.GPU)
		}
	}
	return c
}

func (c *Comparison) add(metric string, unit Unit, a, b float64) {
	c.Rows = append(c.Rows, Row{Metric: metric, Unit: unit, A: a, B: b, Difference: b - a, Ratio: ratio(b, a)})
}

// unlike returns why a and b are answers to different questions: another engine, sample or
// work. A result has no hash of its work alone, so this is told by datasets and jobs.
func unlike(a, b *Result) []string {
	var l list
	l.add("engine", a.Engine, b.Engine)
	l.add("sample", a.Sample, b.Sample)
	l.add("datasets", len(a.Datasets), len(b.Datasets))
	l.add("jobs", len(a.Jobs), len(b.Jobs))
	for i := range min(len(a.Datasets), len(b.Datasets)) {
		d, e := a.Datasets[i], b.Datasets[i]
		l.add(fmt.Sprintf("dataset %d", i+1), d.Name, e.Name)
		l.add("bytes of dataset "+d.Name, d.Bytes, e.Bytes)
	}
	for i := range min(len(a.Jobs), len(b.Jobs)) {
		j, k := a.Jobs[i], b.Jobs[i]
		l.add(fmt.Sprintf("job %d", i+1), j.Name, k.Name)
		l.add("dataset of job "+j.Name, j.Dataset, k.Dataset)
		l.add("kind of job "+j.Name, j.Kind, k.Kind)
	}
	return l
}

// differs returns in what the settings of a and b differ, as far as results know them.
func differs(a, b *Result) []string {
	var l list
	l.add("shoal", a.Shoal, b.Shoal)
	l.add("seed", a.Seed, b.Seed)
	l.add("config hash", a.Hash, b.Hash)
	l.add("nodes", a.Nodes, b.Nodes)
	l.add("zones", a.Zones, b.Zones)
	l.add("cache bytes", a.CacheBytes, b.CacheBytes)
	l.add("reads", a.Total.Reads, b.Total.Reads)
	for i := range min(len(a.Datasets), len(b.Datasets)) {
		l.add("policy of dataset "+a.Datasets[i].Name, a.Datasets[i].Policy, b.Datasets[i].Policy)
	}
	for i := range min(len(a.Jobs), len(b.Jobs)) {
		l.add("nodes of job "+a.Jobs[i].Name, a.Jobs[i].Nodes, b.Jobs[i].Nodes)
	}
	return l
}

// A list is what is not the same.
type list []string

func (l *list) add(what string, a, b any) {
	if a != b {
		*l = append(*l, fmt.Sprintf("%s: %v, %v", what, a, b))
	}
}
