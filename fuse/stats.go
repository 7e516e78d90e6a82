package fuse

import "sync/atomic"

// Stats is what a mount has done since it was mounted. Requests that the kernel answers
// from its caches are not in it.
type Stats struct {
	Lookups   uint64 // names asked for
	Negatives uint64 // of these, names that do not exist
	Attrs     uint64 // attributes asked for by id
	Opens     uint64
	Reads     uint64
	ReadBytes uint64
	Releases  uint64
	ReadDirs  uint64 // pages of listings
	XAttrs    uint64 // extended attributes asked for, and lists of them

	Passthrough        string // PassthroughOn, or why no file is passed through
	PassthroughOpens   uint64 // of Opens, those whose reads the kernel serves: they are not in Reads
	PassthroughRefused uint64 // files that could not be passed through, though they were whole

	Errors     uint64 // requests answered with a failure (not "no such file" and the like)
	Interrupts uint64 // requests ended because their caller stopped
	Panics     uint64 // requests whose handler panicked
	BadNames   uint64 // listed names left out because no path can hold them

	OpenFiles int64 // open now; where opens are elided, those kept open
	OpenDirs  int64 // open now

	Invalidations        uint64 // given to the kernel
	InvalidationsDropped uint64 // of stale names, left out because the queue was full
}

// counters are the counted half of Stats.
type counters struct {
	lookups, negatives, attrs, opens, reads, readBytes, releases, readDirs, xattrs atomic.Uint64
	errors, interrupts, panics, badNames                                           atomic.Uint64
}

// Requests returns how many requests for data and names there were, by kind.
func (s Stats) Requests() map[string]uint64 {
	return map[string]uint64{
		"lookup": s.Lookups, "getattr": s.Attrs, "open": s.Opens, "read": s.Reads, "release": s.Releases, "readdir": s.ReadDirs,
		"xattr": s.XAttrs,
	}
}

func (r *raw) stats() Stats {
	s := Stats{
		Lookups:   r.n.lookups.Load(),
		Negatives: r.n.negatives.Load(),
		Attrs:     r.n.attrs.Load(),
		Opens:     r.n.opens.Load(),
		Reads:     r.n.reads.Load(),
		ReadBytes: r.n.readBytes.Load(),
		Releases:  r.n.releases.Load(),
		ReadDirs:  r.n.readDirs.Load(),
		XAttrs:    r.n.xattrs.Load(),

		Passthrough:        r.through.state(),
		PassthroughOpens:   r.through.opens.Load(),
		PassthroughRefused: r.through.refused.Load(),

		Errors:     r.n.errors.Load(),
		Interrupts: r.n.interrupts.Load(),
		Panics:     r.n.panics.Load(),
		BadNames:   r.n.badNames.Load(),
		OpenFiles:  r.open.open.Load(),
		OpenDirs:   r.dirs.open.Load(),
	}
	if r.kept != nil {
		s.OpenFiles += r.kept.open.Load()
	}
	return s
}
