package blockstore

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/shoal-mesh/shoal/blockstore/policy"
)

// maxDatasets is how many a disk tells apart: the last number is no group, see policy.Group.
const maxDatasets = math.MaxUint16

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
	rules   func(name string) policy.Rules
	policy  policy.Policy
}

type datasetCount struct {
	blocks int // leaving ones included
	bytes  int64
	quota  int64 // 0 is none
	wanted int64 // what a put waits for that exceeds the quota

	refused uint64 // how often there was nothing to give up for it
	asked   int64  // bytes of replicas whose homes have been asked whether they may go
	rules   policy.Rules
	unknown bool // its name is lost
}

func newDatasets(root string, quotas map[string]int64, rules func(string) policy.Rules) *datasets {
	return &datasets{path: filepath.Join(root, "DATASETS"), quotas: quotas, rules: rules}
}

// forget makes s as of an empty disk, with a policy that knows nothing.
func (s *datasets) forget(p policy.Policy) {
	s.policy = p
	s.names, s.numbers, s.counts = nil, make(map[string]uint16), nil
	s.enter("")
	s.saved = len(s.names)
}

// enter gives a dataset the next number; ok is false when there are none left.
func (s *datasets) enter(name string) (number uint16, ok bool) {
	if len(s.names) == maxDatasets {
		return 0, false
	}
	number = uint16(len(s.names))
	s.names = append(s.names, name)
	s.numbers[name] = number
	s.count(datasetCount{quota: s.quotas[name], rules: s.rules(name)})
	return number, true
}

// enterUnknown gives the next number to a dataset whose name is lost. Who comes with that name has
// another number from then on.
func (s *datasets) enterUnknown() {
	s.names = append(s.names, unknownDataset)
	s.count(datasetCount{unknown: true, rules: s.rules(unknownDataset)})
}

// count begins to count for the dataset whose name was entered last.
func (s *datasets) count(c datasetCount) {
	s.policy.SetRules(policy.Group(len(s.counts)), c.rules)
	s.counts = append(s.counts, c)
}

// unknownDataset is what the datasets are called, all of them, whose names are lost.
const unknownDataset = "unknown"

// reach makes the numbers below n known, which blocks have.
func (s *datasets) reach(n int) {
	for len(s.names) < n {
		s.enterUnknown()
	}
}

// parse enters the names that are in the file. A line that cannot be one that was written, since
// it is torn, noise, or there twice, keeps its number: the names behind it must keep theirs. damaged:
// there is such a line.
func (s *datasets) parse(contents string) (damaged bool) {
	for line := range strings.Lines(contents) {
		name, whole := strings.CutSuffix(line, "\n")
		_, twice := s.numbers[name]
		switch {
		case len(s.names) == maxDatasets:
			return true
		case whole && !twice && utf8.ValidString(name) && !strings.Contains(name, "\x00"):
			s.enter(name)
		default:
			s.enterUnknown()
			damaged = damaged || line != "\n"
		}
	}
	if !damaged {
		s.saved = len(s.names)
	}
	return damaged
}

// lines returns what is to be in the file: the name of one whose name is lost is an empty line,
// which no other is.
func (s *datasets) lines() []string {
	lines := slices.Clone(s.names)
	for i, c := range s.counts {
		if c.unknown {
			lines[i] = ""
		}
	}
	return lines
}

// loadDatasets reads the names of the datasets. If they cannot be read the blocks are there all
// the same, under numbers without a name.
func (d *disk) loadDatasets() error {
	b, err := os.ReadFile(d.datasets.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !unreadable(err) {
		return err
	}
	d.mu.Lock()
	damaged := d.datasets.parse(string(b))
	d.mu.Unlock()
	if damaged || unreadable(err) {
		d.log.Error("names of datasets are lost", "file", d.datasets.path, "err", err)
	}
	return nil
}

// keepDatasets writes the names if there are more than the file has: numbers that blocks have are
// given to no other dataset.
func (d *disk) keepDatasets() error {
	d.naming.Lock()
	defer d.naming.Unlock()
	d.mu.Lock()
	names, saved := d.datasets.lines(), d.datasets.saved
	d.mu.Unlock()
	if len(names) == saved {
		return nil
	}
	if err := d.datasets.save(names); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.datasets.saved = len(names)
	return nil
}

// save writes the names that lines returned, durably.
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
