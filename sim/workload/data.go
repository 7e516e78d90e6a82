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
	first uint32 // its first block
	files uint32
	// perFile is how many blocks a file has. Of more than one all are whole but the last.
	perFile  uint32
	versions uint32

	fileBytes int64
	spread    int64    // files of one block are up to so many bytes longer
	readBytes uint32   // of one read; 0: a block
	perBlock  uint32   // reads that a whole block takes; 1 where a read takes all of it
	fileReads uint32   // reads that a file takes: the last one of a block takes what is left
	sizes     []uint32 // by block, of a dataset that was recorded; else nil
}

// NewData numbers the blocks of a scenario, a share of them if it says so: the files of datasets
// of small files are so many fewer, other files so much shorter, and the mean of their blocks is
// as it was (policy.md §4.1). Of datasets whose names recorded has the blocks are those that a
// trace brings, with their sizes.
func NewData(s *scenario.Scenario, recorded map[string][]uint32) (*Data, error) {
	d := new(Data)
	total := uint64(0)
	for i := range s.Datasets {
		set := newSet(&s.Datasets[i], s.Sample)
		if sizes := recorded[set.Name]; sizes != nil {
			set = Set{Name: set.Name, files: uint32(len(sizes)), perFile: 1, perBlock: 1, fileReads: 1, sizes: sizes}
		}
		set.versions = 1
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
		if uint64(set.files)*uint64(set.fileReads) > math.MaxUint32 {
			return nil, fmt.Errorf("dataset %s: more than %d reads; take a smaller sample", set.Name, uint32(math.MaxUint32))
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
		shorter := max(1, math.Round(perFile*sample))
		set.fileBytes = int64(math.Ceil(float64(ds.File) / perFile * shorter))
		perFile = shorter
		files = max(1, math.Round(blocks/perFile))
	}
	set.files, set.perFile = uint32(min(files, math.MaxUint32)), uint32(perFile)
	set.fileReads = set.perFile
	block := min(set.fileBytes, shoal.BlockSize)
	if read := int64(ds.Read); read > 0 && read < block {
		reads := func(bytes int64) uint32 { return uint32((bytes + read - 1) / read) }
		set.readBytes, set.perBlock = uint32(read), reads(block)
		set.fileReads = (set.perFile-1)*set.perBlock + reads(set.fileBytes-int64(set.perFile-1)*shoal.BlockSize)
	}
	return set
}

// Blocks returns how many blocks there are.
func (d *Data) Blocks() uint32 { return d.total }

// Sets returns the datasets, in the order of the scenario.
func (d *Data) Sets() []Set { return d.sets }

// First returns the first block of a dataset.
func (d *Data) First(set int) uint32 { return d.sets[set].first }

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
	if s.sizes != nil {
		return s.sizes[block]
	}
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
	if s.spread == 0 && s.sizes == nil {
		return int64(s.files) * s.fileBytes
	}
	sum := int64(0)
	for b := range s.Blocks() {
		sum += int64(s.bytesOf(b))
	}
	return sum
}

// ReadsPerBlock returns how many reads a block takes in one pass.
func (s *Set) ReadsPerBlock() float64 { return float64(s.perBlock) }

// Items returns how many things a shuffled order puts in order: files, or where a read takes
// part of a block only, the reads of one pass.
func (s *Set) Items() uint32 {
	if s.perBlock > 1 {
		return s.files * s.fileReads
	}
	return s.files
}

// read returns which block one of the reads of a file takes, in their order, and how many bytes.
func (s *Set) read(file, number uint32) (block, bytes uint32) {
	block = file*s.perFile + number/s.perBlock
	bytes = s.bytesOf(block)
	if s.perBlock == 1 {
		return block, bytes
	}
	part := number % s.perBlock
	if number+1 == s.fileReads || part+1 == s.perBlock {
		return block, bytes - part*s.readBytes
	}
	return block, s.readBytes
}

// scatter returns 64 bits that look random.
func scatter(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
