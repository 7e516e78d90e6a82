package namespace

import "sync/atomic"

// Stats counts what a Namespace did since Open.
type Stats struct {
	Lookups      int64 // calls of Lookup and Attr
	Hits         int64 // of them, answered with an entry without asking the UFS
	NegativeHits int64 // of them, answered with "no such file" without asking the UFS
	StaleServed  int64 // entries served because the UFS did not answer, listings' included
	UFSStats     int64 // Stat requests to UFSs
	UFSListPages int64 // List requests to UFSs
	Skipped      int64 // names of UFSs that cannot be names here, each time they are met
	Entries      int64 // names kept, in all directories, now
}

type counters struct {
	lookups, hits, negativeHits, staleServed atomic.Int64
	ufsStats, ufsListPages, skipped          atomic.Int64
}

// Stats returns the counts.
func (n *Namespace) Stats() Stats {
	return Stats{
		Lookups:      n.count.lookups.Load(),
		Hits:         n.count.hits.Load(),
		NegativeHits: n.count.negativeHits.Load(),
		StaleServed:  n.count.staleServed.Load(),
		UFSStats:     n.count.ufsStats.Load(),
		UFSListPages: n.count.ufsListPages.Load(),
		Skipped:      n.count.skipped.Load(),
		Entries:      n.entries.Load(),
	}
}
