package blockstore

import (
	"math"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore/policy"
)

// Miss says that a block was read that is not here. It returns what a replica of it would be
// worth here (policy.md §5.1; comparable between nodes), and whether Put would be worth it:
// there is free room, or the replica that would go for it is worth less.
func (s *Store) Miss(key shoal.Key, file File) (weight float32, ok bool) {
	return s.weigh(key, file, true)
}

// Admits reports what Miss does, without a read.
func (s *Store) Admits(key shoal.Key, file File) bool {
	_, ok := s.weigh(key, file, false)
	return ok
}

// weigh asks the disk that a Put of the block would try first.
func (s *Store) weigh(key shoal.Key, file File, read bool) (weight float32, ok bool) {
	if s.enter() != nil {
		return 0, false
	}
	defer s.calls.Done()
	return s.rank(key)[0].weigh(putting{key: key, fileSize: file.SizeBytes, dataset: datasetName(file.Dataset), class: file.Class}, read)
}

func (d *disk) weigh(p putting, read bool) (weight float32, ok bool) {
	number, err := d.datasetNumber(p.dataset)
	if err != nil {
		return 0, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil || !d.ready {
		return 0, false
	}
	d.policy.Advance(d.tick())
	if read {
		d.policy.Miss(policy.Group(number), hashKey(p.key))
	}
	a := d.asking(p)
	room := policy.Room{
		Never: d.takes(a) > d.limit,
		Quota: d.datasets.over(number, a.bytes, d.high) > 0,
		Free:  d.spare(a.size)-a.bytes >= d.ahead(a)+d.slack(),
	}
	return room.Admit(d.policy, policy.Item{SizeBytes: a.bytes, Group: policy.Group(number), Class: p.class})
}

// slack is how much of the room above what prepareRoom wants is not taken for free: what is
// put at once by those who were told that there is room. Were it taken, what the store decided
// to keep would be given up for blocks that are worth no more. Holds mu.
func (d *disk) slack() int64 { return d.headroom(d.high) / 4 }

// SetCosts says what a read from a peer of this zone, and of another, costs where one from the
// UFS costs 1. Defaults 0.1 and 0.3.
func (s *Store) SetCosts(near, far float64) {
	for _, d := range s.disks {
		d.mu.Lock()
		d.policy.SetCosts(near, far)
		d.mu.Unlock()
	}
}

// Frontier returns what the store would give up next, and how much it can take without.
func (s *Store) Frontier() shoal.Frontier {
	f := shoal.Frontier{Surplus: float32(math.Inf(1)), Last: float32(math.Inf(1))}
	for _, d := range s.disks {
		free, surplus, last := d.frontier()
		f.FreeBytes += free
		f.Surplus, f.Last = min(f.Surplus, surplus), min(f.Last, last)
	}
	return f
}

func (d *disk) frontier() (free int64, surplus, last float32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil || !d.ready {
		return 0, float32(math.Inf(1)), float32(math.Inf(1))
	}
	d.policy.Advance(d.tick())
	surplus, last = d.policy.Frontier()
	return max(0, d.limit-d.places.taken-d.headroom(d.high)-d.slack()), surplus, last
}
