package blockstore

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// errQuota reports that a dataset has no room within its quota on a disk.
var errQuota = errors.New("dataset is at its quota")

// datasets numbers the datasets of a disk and counts their blocks. Number 0 is of blocks
// without one. The names are kept in a file of their own, which outlives the index.
type datasets struct {
	path    string
	quotas  map[string]int64 // bytes on this disk, by name
	names   []string
	numbers map[string]uint16
	counts  []datasetCount
	saved   int // names that are in the file
}

type datasetCount struct {
	blocks int // leaving ones included
	bytes  int64
	quota  int64 // 0 is none
	wanted int64 // what a put waits for that exceeds the quota

	refused uint64 // how often there was nothing to give up for it
}

func newDatasets(root string, quotas map[string]int64) *datasets {
	s := &datasets{path: filepath.Join(root, "DATASETS"), quotas: quotas}
	s.forget()
	return s
}

// forget makes s as of an empty disk.
func (s *datasets) forget() {
	s.names, s.numbers, s.counts = nil, make(map[string]uint16), nil
	s.enter("")
	s.saved = len(s.names)
}

// enter gives a dataset the next number; ok is false when there are none left.
func (s *datasets) enter(name string) (number uint16, ok bool) {
	if len(s.names) == math.MaxUint16 { // the last number is no group: see policy.Group
		return 0, false
	}
	number = uint16(len(s.names))
	s.names = append(s.names, name)
	s.numbers[name] = number
	s.counts = append(s.counts, datasetCount{quota: s.quotas[name]})
	return number, true
}

// load reads the names.
func (s *datasets) load() error {
	b, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		s.enter(strings.TrimSuffix(line, "\n"))
	}
	s.saved = len(s.names)
	return nil
}

// save writes the names, durably.
func (s *datasets) save(names []string) error {
	return writeFile(s.path, strings.Join(names[1:], "\n")+"\n")
}

// add counts a block that came, or, with negative bytes, went.
func (s *datasets) add(number uint16, bytes int64) {
	c := &s.counts[number]
	c.bytes += bytes
	if bytes < 0 {
		c.blocks--
	} else {
		c.blocks++
	}
}

// want notes that a put waits for a dataset to give up blocks. It returns false when the quota
// has no room for so many bytes at all.
func (s *datasets) want(number uint16, bytes int64) bool {
	c := &s.counts[number]
	if bytes > c.quota {
		return false
	}
	c.wanted = max(c.wanted, bytes)
	return true
}

// excess returns the bytes a dataset is to give up: what a put waits for, and above the high
// watermark all above the low one.
func (s *datasets) excess(number uint16, high, low float64) int64 {
	c := &s.counts[number]
	over := s.over(number, c.wanted, 1)
	if s.over(number, 0, high) > 0 {
		over = max(over, s.over(number, 0, low))
	}
	if over == 0 {
		c.wanted = 0
	}
	return over
}

// over returns by how many bytes a dataset that gets so many more would exceed a share of
// its quota.
func (s *datasets) over(number uint16, more int64, share float64) int64 {
	c := s.counts[number]
	if c.quota == 0 {
		return 0
	}
	return max(0, c.bytes+more-int64(share*float64(c.quota)))
}
