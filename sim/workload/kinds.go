package workload

import (
	"math/rand/v2"
	"time"
)

// nextOfEpochs reads every item once per epoch, in a new order each time.
func (j *Job) nextOfEpochs(r *rank) (Read, bool) {
	if !r.reading {
		item, ok := j.nextItem(r)
		if !ok {
			return Read{}, false
		}
		r.item, r.within, r.reading = item, 0, true
	}
	return j.ofItem(r), true
}

// ofItem returns the next read of the item that a rank reads: of a file each block in turn.
func (j *Job) ofItem(r *rank) Read {
	s := j.Set
	if s.perBlock > 1 {
		r.reading = false
		read := j.read(r.item/s.fileReads, r.item%s.fileReads, 0)
		read.Epoch = r.epoch
		return read
	}
	read := j.read(r.item, r.within, 0)
	read.Epoch = r.epoch
	r.within++
	r.reading = r.within < s.perFile
	return read
}

// A shard is a file that a rank reads among others.
type shard struct {
	file, reads uint32 // reads done
	epoch       int
}

// nextOfWindows reads files of a shuffled order from their beginnings, some at a time: those of an
// epoch once all of the one before have been read.
func (j *Job) nextOfWindows(r *rank) (Read, bool) {
	for len(r.open) == 0 || len(r.open) < j.Spec.Window && r.at < j.mine() {
		file, ok := j.nextItem(r)
		if !ok {
			break
		}
		r.open = append(r.open, shard{file: file, epoch: r.epoch})
	}
	if len(r.open) == 0 {
		return Read{}, false
	}
	r.turn %= len(r.open)
	s := &r.open[r.turn]
	read := j.read(s.file, s.reads, 0)
	read.Epoch = s.epoch
	if s.reads++; s.reads == j.Set.fileReads {
		r.open = append(r.open[:r.turn], r.open[r.turn+1:]...)
	} else {
		r.turn++
	}
	return read, true
}

// nextOfStream reads all files once per version, from the first to the last, and each from its
// beginning or in an order of the rank's own.
func (j *Job) nextOfStream(r *rank) (Read, bool) {
	n := j.Set.files * j.Set.fileReads
	if r.at == n {
		r.at = 0
		r.epoch++
	}
	if r.epoch >= j.Spec.Versions {
		return Read{}, false
	}
	file, number := r.at/j.Set.fileReads, r.at%j.Set.fileReads
	number = uint32((uint64(r.start) + uint64(number)*uint64(r.stride)) % uint64(j.Set.fileReads))
	r.at++
	read := j.read(file, number, r.epoch)
	read.Epoch, read.NotBefore = r.epoch, j.versionAt(r.epoch)
	return read, true
}

// nextOfZipf reads files independently of one another, some more often than others.
func (j *Job) nextOfZipf(r *rank) (Read, bool) {
	if r.left == 0 {
		return Read{}, false
	}
	r.left--
	if !r.reading {
		r.item, r.within, r.reading = j.popular(r.zipf.next(), j.reads-r.left), 0, true
	}
	return j.ofItem(r), true
}

// popular returns the item that has a place in the order of popularity, after so many reads of
// the rank. With Drift the order turns: each new item is first the most popular one and then
// less and less so.
func (j *Job) popular(place uint32, reads int64) uint32 {
	n := uint64(j.items)
	turned := uint64(0)
	if j.Spec.Drift > 0 {
		turned = uint64(float64(reads) / j.Spec.Rate * j.Spec.Drift) // both as if all blocks were there
	}
	return uint32((uint64(place) + n - turned%n) % n)
}

// nextOfWrite writes the rank's files once per version.
func (j *Job) nextOfWrite(r *rank) (Read, bool) {
	s := j.Set
	for {
		if r.epoch >= j.Spec.Versions {
			return Read{}, false
		}
		file := r.at*uint32(len(j.ranks)) + r.number
		if file >= s.files {
			r.at, r.within = 0, 0
			r.epoch++
			continue
		}
		read := j.write(file*s.perFile+r.within, r.epoch)
		read.Epoch, read.NotBefore = r.epoch, j.versionAt(r.epoch)
		if r.within++; r.within == s.perFile {
			r.within = 0
			r.at++
		}
		return read, true
	}
}

// versionAt returns when a version is there.
func (j *Job) versionAt(version int) time.Duration {
	return j.Spec.Start + time.Duration(version)*j.Spec.Every
}

// coprime returns a random number below n that has no divisor in common with it.
func coprime(rng *rand.PCG, n uint32) uint32 {
	for n > 2 {
		k := 1 + below(rng, n-1)
		a, b := k, n
		for b != 0 {
			a, b = b, a%b
		}
		if a == 1 {
			return k
		}
	}
	return 1
}
