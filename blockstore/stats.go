package blockstore

import (
	"maps"
	"slices"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore/policy"
)

// Stats is a snapshot of a Store's counters. Counts are since Open.
type Stats struct {
	Blocks        int   // visible now
	Bytes         int64 // what blocks take: slots, and whole pages of sparse containers
	CapacityBytes int64
	Hits, Misses  uint64 // reads and sections that found their block, and that did not
	Puts          uint64 // blocks written
	Evictions     uint64 // blocks given up for room
	LastEvictions uint64 // of these, replicas that were the last as far as their homes had told
	Moved         uint64 // blocks moved to empty a slab
	Corrupt       uint64 // blocks dropped because they were bad
	Disks         []DiskStats
	Datasets      []DatasetStats       // those with blocks or a quota
	Pinned        map[string]int       // keys by owner
	ByClass       [shoal.Classes]Usage // blocks by what their replicas here are worth to the fleet
	AskedBytes    int64                // of replicas whose homes have been asked whether they may go
	Forwards      ForwardStats
}

// Usage is some blocks.
type Usage struct {
	Blocks int
	Bytes  int64 // what they take
}

// add counts a block that came, or, with negative bytes, went.
func (u *Usage) add(bytes int64) {
	u.Bytes += bytes
	if bytes < 0 {
		u.Blocks--
	} else {
		u.Blocks++
	}
}

// DiskStats is the part of Stats that is of one disk.
type DiskStats struct {
	Path           string
	Blocks         int
	Bytes          int64 // as in Stats
	ContainerBytes int64 // what its containers take on the disk, free slots included
	Slabs, Files   int   // slab files, and sparse containers
	CapacityBytes  int64
	LimitBytes     int64 // less than the capacity while the file system is full
	UnusableBytes  int64 // of slots that held bad blocks
	Scrub          ScrubStats
	Classes        []ClassStats // those with slabs
	Err            error        // why the disk admits nothing; nil when it does
}

// ClassStats is one size class of a disk's slabs.
type ClassStats struct {
	SlotBytes   int64
	Slabs       int
	Slots, Free int
}

// DatasetStats is one dataset.
type DatasetStats struct {
	Name   string
	Blocks int
	Bytes  int64
	Quota  int64 // bytes; 0 is none
}

// Stats returns the counters.
func (s *Store) Stats() Stats {
	st := Stats{Hits: s.hits.Load(), Misses: s.misses.Load(), Puts: s.puts.Load(), Pinned: s.pins.stats()}
	byName := make(map[string]int)
	for _, d := range s.disks {
		ds, sets := d.stats()
		st.Blocks += ds.Blocks
		st.Bytes += ds.Bytes
		st.CapacityBytes += ds.CapacityBytes
		st.Evictions += d.evictions.Load()
		st.LastEvictions += d.lastGone.Load()
		d.mu.Lock()
		for class, u := range d.classes {
			st.ByClass[class].Blocks += u.Blocks
			st.ByClass[class].Bytes += u.Bytes
		}
		st.AskedBytes += d.asked
		st.Forwards.add(d.forwards)
		d.mu.Unlock()
		st.Moved += d.moved.Load()
		st.Corrupt += d.corrupt.Load()
		st.Disks = append(st.Disks, ds)
		for _, set := range sets {
			i, ok := byName[set.Name]
			if !ok {
				i = len(st.Datasets)
				byName[set.Name] = i
				st.Datasets = append(st.Datasets, DatasetStats{Name: set.Name, Quota: s.cfg.Quotas[set.Name]})
			}
			st.Datasets[i].Blocks += set.Blocks
			st.Datasets[i].Bytes += set.Bytes
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.cfg.Quotas)) {
		if _, ok := byName[name]; !ok {
			st.Datasets = append(st.Datasets, DatasetStats{Name: name, Quota: s.cfg.Quotas[name]})
		}
	}
	return st
}

func (d *disk) stats() (DiskStats, []DatasetStats) {
	d.mu.Lock()
	defer d.mu.Unlock()
	st := DiskStats{Path: d.path, CapacityBytes: d.capacity, LimitBytes: d.limit, Err: d.err, Scrub: d.scrubbed.get()}
	if !d.ready {
		return st, nil
	}
	st.Blocks, st.Bytes, st.ContainerBytes = d.places.used, d.places.taken, d.places.bytes()
	st.Slabs, st.Files, st.Classes = d.places.slabCount, len(d.places.names), d.places.classStats()
	st.UnusableBytes, st.Scrub.Total = d.unusable, st.Blocks
	var sets []DatasetStats
	for i, c := range d.datasets.counts {
		if c.blocks > 0 || c.quota > 0 {
			sets = append(sets, DatasetStats{Name: d.datasets.names[i], Blocks: c.blocks, Bytes: c.bytes})
		}
	}
	return st, sets
}

// classStats counts the slabs and slots of each class that has any.
func (p *places) classStats() []ClassStats {
	var used []ClassStats
	for i := range p.slabs.Classes() {
		c := policy.Class(i)
		if n := p.slabs.Count(c); n > 0 {
			used = append(used, ClassStats{SlotBytes: p.slotBytes(c), Slabs: n, Slots: n * p.slabs.Slots(c), Free: p.slabs.Free(c)})
		}
	}
	return used
}
