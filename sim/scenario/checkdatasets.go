package scenario

import (
	"fmt"
	"time"

	"github.com/shoal-mesh/shoal"
)

func (k *checker) datasets(s *Scenario) {
	if len(s.Datasets) == 0 && !onlyTraces(s.Jobs) {
		k.refuse("datasets", "", "no dataset; write datasets: [{name: imagenet, files: 1000, file: 4MiB}]")
	}
	for i, d := range s.Datasets {
		key := fmt.Sprintf("datasets[%d]", i)
		k.called(key+".name", d.Name)
		for j, other := range s.Datasets[:i] {
			if d.Name != "" && d.Name == other.Name {
				k.refuse(key+".name", d.Name, fmt.Sprintf("is the name of datasets[%d] too; give each its own", j))
			}
		}
		k.files(key, d)
		k.kept(key, d)
		if !k.refused(key + ".file") {
			k.fits(key, d, s)
		}
	}
}

// files checks what a dataset is made of.
func (k *checker) files(key string, d Dataset) {
	if !k.given(key + ".files") {
		k.refuse(key+".files", "", "required; say how many there are")
	}
	if d.Files < 1 {
		k.refuse(key+".files", text(d.Files), "out of limits; give 1 or more")
	}
	if !k.given(key + ".file") {
		k.refuse(key+".file", "", "required; say how large each is, like 4MiB")
	}
	between(k, key+".file", d.File, 1, maxCache)
	switch {
	case d.FileMax == 0 || k.refused(key+".file"):
	case d.File > shoal.BlockSize:
		k.refuse(key+".file_max", text(d.FileMax), "files of more than a block are all of one size; leave file_max out")
	default:
		between(k, key+".file_max", d.FileMax, d.File, shoal.BlockSize)
	}
	if d.Read != 0 && !k.refused(key+".file") {
		between(k, key+".read", d.Read, 1, min(d.File, shoal.BlockSize))
	}
}

// kept checks what of a dataset stays in the caches, with the limits of an agent's config.
func (k *checker) kept(key string, d Dataset) {
	k.oneOf(key+".policy", d.Policy, "auto", "uniform", "lru", "lfu", "sieve", "gdsf")
	between(k, key+".replicas.min", d.Replicas.Min, 1, mostKept)
	switch most := d.Replicas.Max; {
	case most != shoal.Unlimited && most > mostCopies:
		k.refuse(key+".replicas.max", text(most), fmt.Sprintf("out of limits; give 1 to %d, or unlimited", mostCopies))
	case most != shoal.Unlimited && int64(most) < d.Replicas.Min:
		k.refuse(key+".replicas.max", text(most), fmt.Sprintf("less than replicas.min; give at least %d", d.Replicas.Min))
	}
	switch {
	case d.Forward != 0 && (d.Forward < minForward || d.Forward > maxForward):
		k.refuse(key+".forward", text(d.Forward), fmt.Sprintf("out of limits; give %v to %v, or 0 to hand nothing over", minForward, maxForward))
	case d.Forward != 0 && !d.Replicas.Classes:
		k.refuse(key+".forward", text(d.Forward), "without replicas.classes no copy is known to be the last; leave forward out, or set classes to true")
	}
	between(k, key+".half_life", d.HalfLife, time.Second, maxTime)
}

// fits refuses caches and quotas that hold no block of d: nothing would ever be cached.
func (k *checker) fits(key string, d Dataset, s *Scenario) {
	block := d.largestBlock()
	needed := float64(block) * (1 - 1e-9) // shares are not exact
	if d.Quota > maxCache || (d.Quota != 0 && d.Quota < block) {
		k.refuse(key+".quota", text(d.Quota), fmt.Sprintf("out of limits; give %v to %v, or 0 for none", block, maxCache))
	}
	if k.refused("sample") || k.refused("fleet.spare") {
		return
	}
	if d.Quota != 0 && float64(d.Quota)*s.Sample < needed {
		k.refuse(key+".quota", text(d.Quota), fmt.Sprintf("impossible: a quota of %v%s holds no block of %s (%v); raise quota", d.Quota, reduced(0, s.Sample), d.Name, block))
	}
	if float64(s.Fleet.Cache)*(1-s.Fleet.Spare)*s.Sample < needed {
		k.refuse("fleet.cache", text(s.Fleet.Cache), fmt.Sprintf("impossible: cache of %v%s holds no block of %s (%v); raise fleet.cache", s.Fleet.Cache, reduced(s.Fleet.Spare, s.Sample), d.Name, block))
	}
}

// reduced says by what a cache is less than it seems.
func reduced(spare, sample float64) string {
	switch {
	case spare > 0 && sample < 1:
		return fmt.Sprintf(" less spare %s, times sample %s,", text(spare), text(sample))
	case spare > 0:
		return fmt.Sprintf(" less spare %s", text(spare))
	case sample < 1:
		return fmt.Sprintf(" times sample %s", text(sample))
	}
	return ""
}

// blocks refuses more blocks in all than can be numbered.
func (k *checker) blocks(s *Scenario) {
	left := int64(maxBlocks)
	for i, d := range s.Datasets {
		key := fmt.Sprintf("datasets[%d]", i)
		if k.refused(key+".files") || k.refused(key+".file") || k.refused(key+".file_max") {
			continue
		}
		versions := int64(1)
		for _, j := range s.Jobs {
			if j.Dataset == d.Name {
				versions = max(versions, min(int64(j.Versions), maxVersions))
			}
		}
		each := int64(shoal.Blocks(int64(max(d.File, d.FileMax)))) * versions
		if d.Files > left/each {
			k.refuse(key+".files", text(d.Files), fmt.Sprintf("more than %d blocks in all; lower files or file, or the versions of its jobs", int64(maxBlocks)))
			return
		}
		left -= d.Files * each
	}
}

// largestBlock returns the size of the largest block of d.
func (d Dataset) largestBlock() shoal.Bytes {
	return min(max(d.File, d.FileMax), shoal.BlockSize)
}

// onlyTraces reports whether all jobs are of kind trace, and there are some.
func onlyTraces(jobs []Job) bool {
	for _, j := range jobs {
		if j.Kind != Trace {
			return false
		}
	}
	return len(jobs) > 0
}
