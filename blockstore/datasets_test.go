package blockstore

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
)

// TestDatasetNamesLost loses or damages the names of the datasets: the blocks are kept, those of
// a name that is lost count for none that comes later, and quotas hold for those that come.
func TestDatasetNamesLost(t *testing.T) {
	t.Parallel()
	for _, index := range []bool{true, false} {
		for _, contents := range []string{"", "a\nb", "a\n", "\x00\x00\x00\x00", "\xff\nb\nc\n", "a\na\nc\n", "gone"} {
			t.Run(fmt.Sprintf("%q index %v", contents, index), func(t *testing.T) {
				l := newLostIndex(t)
				dir := l.cfg.Disks[0].Path
				if err := os.WriteFile(filepath.Join(dir, "DATASETS"), []byte(contents), 0o600); err != nil {
					t.Fatal(err)
				}
				if contents == "gone" {
					offlineRemove(t, filepath.Join(dir, "DATASETS"))
				}
				if !index {
					if err := os.RemoveAll(filepath.Join(dir, "index")); err != nil {
						t.Fatal(err)
					}
				}
				var before []DatasetStats
				for run := range 3 {
					s := l.check(t, !index)
					checkNames(t, s, l, contents)
					if run > 0 && !equalSets(before, s.Stats().Datasets) {
						t.Errorf("datasets after a restart = %+v, want %+v", s.Stats().Datasets, before)
					}
					for i := range uint32(150) {
						key, data := pageKey(2000+1000*uint32(run)+i), randomBytes(uint64(i), 3000)
						set := []string{"a", "d"}[i%2]
						if err := s.Put(key, File{SizeBytes: 3000, Dataset: set}, data, shoal.ChunkSums(key, data)); err != nil {
							t.Fatal(err)
						}
					}
					settled(s)
					before = s.Stats().Datasets
					if got := dataset(s, "a"); got.Bytes > l.cfg.Quotas["a"] || got.Bytes < l.cfg.Quotas["a"]/2 {
						t.Errorf("dataset a = %+v, want it full to its quota", got)
					}
					for key := range l.data {
						if !s.Has(key) && l.sets[key] == "a" {
							delete(l.data, key) // by its quota, if its name is known
						}
					}
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
					l.want = s.Stats()
				}
			})
		}
	}
}

// TestDatasetNamesOfFailedDisk puts blocks of new datasets while a disk has failed whose names have
// not been read: they are not written over.
func TestDatasetNamesOfFailedDisk(t *testing.T) {
	l := newLostIndex(t)
	bad := l.cfg.Disks[0].Path
	l.cfg.Disks = append(l.cfg.Disks, Disk{fastDir(t), 128 << 20})
	l.cfg.Quotas = nil
	l.cfg.RetryInterval = time.Hour
	var broken atomic.Bool
	broken.Store(true)
	l.cfg.indexFS = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken.Load() && strings.HasPrefix(op.Path, bad) {
			return unix.EIO
		}
		return nil
	}))
	s := openTest(t, l.cfg)
	p := putting{key: pageKey(9000), fileSize: 100, dataset: "x", data: make([]byte, 100), sums: make([]shoal.Sum, 1)}
	if err := s.disks[0].put(p); !errors.Is(err, errAdmitsNothing) {
		t.Errorf("put() on a disk that failed = %v, want %v", err, errAdmitsNothing)
	}
	broken.Store(false)
	s.disks[0].retry()
	if err := s.Stats().Disks[0].Err; err != nil {
		t.Fatal(err)
	}
	for key, want := range l.sets {
		if got := datasetOf(s, key); got != want && l.data[key] != nil {
			t.Errorf("dataset of %v = %q, want %q", key, got, want)
		}
	}
	checkSums(t, s)
}

// checkNames checks that each block is of the dataset it was put for, or of an unknown one if the
// name was lost.
func checkNames(t *testing.T, s *Store, l *lostIndex, contents string) {
	t.Helper()
	if n, ok := s.disks[0].datasets.numbers[unknownDataset]; ok {
		t.Errorf("a dataset called %q has number %d, want none", unknownDataset, n)
	}
	for key := range l.data {
		got, want := datasetOf(s, key), l.sets[key]
		kept := want == "" || bytes.Contains([]byte("\n"+contents), []byte("\n"+want+"\n"))
		if kept && got != want || !kept && got != unknownDataset {
			t.Errorf("dataset of a block of %q = %q, want it, or %q if the name is lost", want, got, unknownDataset)
		}
	}
}

func equalSets(a, b []DatasetStats) bool {
	byName := make(map[string]DatasetStats)
	for _, d := range a {
		byName[d.Name] = d
	}
	for _, d := range b {
		if byName[d.Name] != d {
			return false
		}
		delete(byName, d.Name)
	}
	return len(byName) == 0
}
