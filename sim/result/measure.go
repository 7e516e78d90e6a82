package result

// A Unit is what a number counts.
type Unit string

// The units of measures.
const (
	Share   Unit = "share"   // of a whole: 0 to 1
	Factor  Unit = "factor"  // how many times
	Bytes   Unit = "bytes"   //
	Seconds Unit = "seconds" //
	Count   Unit = "count"   //
)

// A Measure is one number of a run by which it is told from others.
type Measure struct {
	// Name is its path, as Lookup takes it. It is stable: it is a column of the CSV.
	Name string
	// About is a heading for people, of at most 12 characters.
	About string
	Unit  Unit
	// Less says that less is better, More that more is. With neither, it is not judged.
	Less, More bool
	// has reports whether a run has it.
	has func(r *Result) bool
}

// Of returns m of r, and whether r has it: there are no warm shares without warm reads, and
// engine "time" alone knows who waited.
func (m Measure) Of(r *Result) (value float64, known bool) {
	if m.has != nil && !m.has(r) {
		return 0, false
	}
	f, err := Lookup(r, m.Name)
	return f, err == nil
}

// Measures returns what runs are compared by, in the order in which it is shown.
func Measures() []Measure {
	read := func(r *Result) bool { return r.Total.Reads > 0 }
	warm := func(r *Result) bool { return r.Warm.Reads > 0 }
	bound := func(r *Result) bool { return r.Bound.Kind != "" && r.Warm.Reads > 0 }
	timed := func(r *Result) bool { return r.Engine == "time" }
	return []Measure{
		{"warm.ufs.share", "UFS", Share, true, false, warm},
		{"warm.peer.share", "peer", Share, false, false, warm},
		{"warm.peer_other_zone.share", "other zone", Share, true, false, warm},
		{"warm.local.share", "local", Share, false, true, warm},
		{"total.ufs.share", "UFS, all", Share, true, false, read},
		{"total.peer.share", "peer, all", Share, false, false, read},
		{"total.peer_other_zone.share", "zone, all", Share, true, false, read},
		{"total.local.share", "local, all", Share, false, true, read},
		{"bound.distance", "to bound", Share, true, false, bound},
		{"warm.egress_amplification", "egress", Factor, true, false, warm},
		{"total.egress_amplification", "egress, all", Factor, true, false, read},
		{"stall", "longest wait", Seconds, true, false, timed},
		{"gpu", "least GPU", Share, false, true, timed},
		{"seconds", "took", Seconds, true, false, timed},
		{"network.ufs_bytes", "from UFS", Bytes, true, false, nil},
		{"network.peer_bytes", "from peers", Bytes, false, false, nil},
		{"evictions.evicted", "evicted", Count, false, false, nil},
		{"evictions.last", "last copies", Count, false, false, nil},
		{"evictions.last_lost", "lost", Count, true, false, nil},
		{"evictions.written_bytes", "written", Bytes, true, false, nil},
		{"directory.bytes", "directory", Bytes, true, false, nil},
	}
}

// ratio returns a/b, 0 for no b.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
