// Package workload makes the reads of a scenario's jobs: which rank reads which block next,
// the same again for the same seed.
//
// It does not know who holds what, nor how long anything takes: engines ask for the next read
// of a rank when they want it.
package workload

import (
	"fmt"
	"math"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/sim/scenario"
)

// Data numbers the blocks of all datasets: those of one dataset follow one another, one version
// of its files after the other.
type Data struct {
	sets  []Set
	total uint32
}

// A Set is the blocks of one dataset.
type Set struct {
	Name  string
	index int
	first uint32 // its first block
	files uint32
	// perFile is how many blocks a file has. Of more than one all are whole but the last.
	perFile  uint32
	versions uint32

	fileBytes int64
	spread    int64  // files of one block are up to so many bytes longer
	readBytes uint32 // of one read; 0: a block
	perBlock  uint32 // reads that a block takes; 1 where a read takes all of it
}

// NewData numbers the blocks of a scenario, a share of them if it says so: the files of datasets
// of small files are so many fewer, other files so much shorter (policy.md §4.1).
func NewData(s *scenario.Scenario) (*Data, error) {
	d := new(Data)
	total := uint64(0)
	for i := range s.Datasets {
		set := newSet(&s.Datasets[i], s.Sample)
		set.index, set.versions = i, 1
		for _, j := range s.Jobs {
			if j.Dataset == set.Name && j.Versions > 1 {
				set.versions = max(set.versions, uint32(j.Versions))
			}
		}
		set.first = uint32(total)
		total += uint64(set.files) * uint64(set.perFile) * uint64(set.versions)
		if total > math.MaxUint32-1 {
			return nil, fmt.Errorf("datasets: more than %d blocks; take a smaller sample", uint32(math.MaxUint32-1))
		}
		d.sets = append(d.sets, set)
	}
	d.total = uint32(total)
	return d, nil
}

func newSet(ds *scenario.Dataset, sample float64) Set {
	perFile := max(1, float64(shoal.Blocks(int64(ds.File))))
	files := float64(ds.Files)
	set := Set{Name: ds.Name, fileBytes: int64(ds.File), spread: max(0, int64(ds.FileMax-ds.File)), perBlock: 1}
	if sample < 1 {
		blocks := files * perFile * sample
		if perFile = max(1, math.Round(perFile*sample)); perFile > 1 {
			set.fileBytes = int64(perFile) * shoal.BlockSize
		}
		files = max(1, math.Round(blocks/perFile))
	}
	set.files, set.perFile = uint32(min(files, math.MaxUint32)), uint32(perFile)
	block := min(set.fileBytes, shoal.BlockSize)
	if read := int64(ds.Read); read > 0 && read < block {
		set.readBytes, set.perBlock = uint32(read), uint32((block+read-1)/read)
	}
	return set
}

// Blocks returns how many blocks there are.
func (d *Data) Blocks() uint32 { return d.total }

// Sets returns the datasets, in the order of the scenario.
func (d *Data) Sets() []Set { return d.sets }

// Of returns which dataset a block belongs to, and its size in bytes.
func (d *Data) Of(block uint32) (set int, bytes uint32) {
	i := len(d.sets) - 1
	for i > 0 && d.sets[i].first > block {
		i--
	}
	return i, d.sets[i].bytesOf(block - d.sets[i].first)
}

// bytesOf returns the size of a block of the set.
func (s *Set) bytesOf(block uint32) uint32 {
	if s.perFile > 1 {
		return uint32(shoal.BlockLen(s.fileBytes, block%s.perFile))
	}
	if s.spread > 0 {
		return uint32(s.fileBytes + int64(scatter(uint64(block%s.files))%uint64(s.spread+1)))
	}
	return uint32(s.fileBytes)
}

// Blocks returns how many blocks one version has.
func (s *Set) Blocks() uint32 { return s.files * s.perFile }

// Bytes returns how many bytes one version has.
func (s *Set) Bytes() int64 {
	if s.spread == 0 {
		return int64(s.files) * s.fileBytes
	}
	sum := int64(0)
	for b := range s.Blocks() {
		sum += int64(s.bytesOf(b))
	}
	return sum
}

// items returns how many things a shuffled order puts in order: files, or where a read takes
// part of a block only, the reads of one pass.
func (s *Set) items() uint32 {
	if s.perBlock > 1 {
		return s.Blocks() * s.perBlock
	}
	return s.files
}

// scatter returns 64 bits that look random.
func scatter(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
