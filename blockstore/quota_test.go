package blockstore

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"

	"github.com/shoal-mesh/shoal"
)

// watchedFiles calls watch before every write to a container: at moments when blocks are on
// their way.
type watchedFiles struct {
	osFiles
	watch func()
}

type watchedFile struct {
	file
	watch func()
}

func (w watchedFiles) Open(name string) (file, error) {
	f, err := w.osFiles.Open(name)
	if err != nil {
		return nil, err
	}
	return watchedFile{f, w.watch}, nil
}

func (w watchedFile) WriteAt(parts [][]byte, off int64) error {
	w.watch()
	return w.file.WriteAt(parts, off)
}

// putOf puts a whole file of a dataset, and returns its key.
func putOf(s *Store, dataset string, number uint32, size int) (shoal.Key, error) {
	key := shoal.Key{File: shoal.FileID{byte(number), byte(number >> 8), byte(len(dataset)), 0x90}}
	copy(key.File[4:], dataset)
	data := randomBytes(uint64(number), size)
	return key, s.Put(key, File{SizeBytes: int64(size), Dataset: dataset}, data, shoal.ChunkSums(key, data))
}

// dataset returns the statistics of one dataset.
func dataset(s *Store, name string) DatasetStats {
	for _, d := range s.Stats().Datasets {
		if d.Name == name {
			return d
		}
	}
	return DatasetStats{Name: name}
}

// TestQuotaHolds puts blocks of several datasets from several goroutines: none exceeds its
// quota at any moment, with what is being written, and the one without a quota stays whole.
func TestQuotaHolds(t *testing.T) {
	t.Parallel()
	const writers, puts = 4, 150
	for _, tt := range []struct {
		name      string
		high, low float64
		sizes     []int
	}{
		{"no watermarks", 1, 1, []int{100, 5000}},
		{"watermarks", 0.9, 0.7, []int{100, 5000}},
		{"sparse", 0.9, 0.7, []int{100, 20_000}},
		{"a few large ones", 1, 1, []int{13_000}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			quotas := map[string]int64{"a": 41 * pageSize, "b": 29*pageSize + 1}
			cfg := oneDisk(fastDir(t), 64<<20)
			cfg.SlabBytes = 64 * pageSize
			cfg.High, cfg.Low = tt.high, tt.low
			cfg.Quotas = quotas
			var s *Store
			var mu sync.Mutex // guards the fields below
			var over []DatasetStats
			gone := make(map[shoal.Key]bool)
			cfg.OnEvict = func(went []Gone) {
				keys := keysOf(went)
				mu.Lock()
				defer mu.Unlock()
				for _, k := range keys {
					gone[k] = true
				}
			}
			cfg.files = watchedFiles{watch: func() {
				if s == nil {
					return
				}
				for _, d := range s.Stats().Datasets {
					if d.Quota > 0 && d.Bytes > d.Quota {
						mu.Lock()
						over = append(over, d)
						mu.Unlock()
					}
				}
			}}
			s = openTest(t, cfg)
			var wg sync.WaitGroup
			for w := range uint32(writers) {
				wg.Go(func() {
					for i := range uint32(puts) {
						for _, name := range []string{"a", "b", "free"} {
							size := tt.sizes[(w+i)%uint32(len(tt.sizes))]
							if _, err := putOf(s, name, w*1000+i, size); err != nil {
								t.Error(err)
								return
							}
						}
					}
				})
			}
			wg.Wait()
			settled(s)
			mu.Lock()
			defer mu.Unlock()
			if len(over) > 0 {
				t.Errorf("%d times over the quota, first %+v", len(over), over[0])
			}
			if st := dataset(s, "free"); st.Blocks != writers*puts {
				t.Errorf("the dataset without a quota has %d blocks, want all %d", st.Blocks, writers*puts)
			}
			for key := range gone {
				if key.File[4] == 'f' {
					t.Fatalf("OnEvict(%v) of the dataset without a quota", key)
				}
			}
			for name, quota := range quotas {
				st, largest := dataset(s, name), int64(5*pageSize+sumsCell)
				if low := int64(tt.low*float64(quota)) - 2*largest; st.Bytes < low || st.Quota != quota {
					t.Errorf("dataset %q has %+v, want at least %d bytes and quota %d", name, st, low, quota)
				}
			}
		})
	}
}

// TestQuotaGivesUpItsOwn checks which blocks go, for blocks that are a large part of the quota:
// the oldest of the dataset, one for one, though the rest of the store is older.
func TestQuotaGivesUpItsOwn(t *testing.T) {
	const room = 5 // blocks of 3 pages in the quota, which is not a multiple of them
	var gone []shoal.Key
	cfg := oneDisk(fastDir(t), 64<<20)
	cfg.SlabBytes = 64 * pageSize
	cfg.Quotas = map[string]int64{"a": room*3*pageSize + pageSize}
	cfg.OnEvict = func(went []Gone) { keys := keysOf(went); gone = append(gone, keys...) }
	s := openTest(t, cfg)
	if _, err := putOf(s, "old", 0, 3000); err != nil {
		t.Fatal(err)
	}
	var keys []shoal.Key
	for i := range uint32(4 * room) {
		key, err := putOf(s, "a", i, 3*pageSize-100)
		if err != nil {
			t.Fatalf("Put of block %d = %v, want the oldest to go", i, err)
		}
		keys = append(keys, key)
		settled(s)
		wantGone := max(0, len(keys)-room)
		if fmt.Sprint(gone) != fmt.Sprint(keys[:wantGone]) {
			t.Fatalf("OnEvict after %d puts = %v, want %v", len(keys), gone, keys[:wantGone])
		}
	}
	if st := dataset(s, "a"); st.Blocks != room || st.Bytes != room*3*pageSize {
		t.Errorf("dataset has %+v, want %d blocks", st, room)
	}
}

// TestQuotaAhead checks that a dataset is trimmed to its low watermark before it is full, and
// that no put waits for it when there is time in between.
func TestQuotaAhead(t *testing.T) {
	cfg := oneDisk(fastDir(t), 64<<20)
	cfg.SlabBytes = 64 * pageSize
	cfg.High, cfg.Low = 0.9, 0.8
	cfg.Quotas = map[string]int64{"a": 100 * pageSize}
	s := openTest(t, cfg)
	for i := range uint32(500) {
		if st := dataset(s, "a"); st.Bytes+pageSize > st.Quota {
			t.Fatalf("put %d finds %d of %d bytes taken, want room made ahead", i, st.Bytes, st.Quota)
		}
		if _, err := putOf(s, "a", i, 100); err != nil {
			t.Fatal(err)
		}
		settled(s)
		if st := dataset(s, "a"); st.Bytes > 90*pageSize || i > 90 && st.Bytes < 79*pageSize {
			t.Fatalf("after put %d: %d pages, want 80 to 90", i, st.Bytes/pageSize)
		}
	}
}

// TestQuotaRefuses checks what has no room within a quota, and that nothing is given up for it.
func TestQuotaRefuses(t *testing.T) {
	cfg := oneDisk(fastDir(t), 64<<20)
	cfg.SlabBytes = 64 * pageSize
	cfg.Quotas = map[string]int64{"a": 10 * pageSize}
	s := openTest(t, cfg)
	pins := s.NewPins("test")
	defer func() { _ = pins.Close() }()
	for i := range uint32(10) {
		key, err := putOf(s, "a", i, 100)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			pins.Add(key)
		}
	}
	// Larger than the quota, packed or sparse: the one that could go stays.
	for _, size := range []int{10*pageSize + 1, 5 * shoal.ChunkSize} {
		if _, err := putOf(s, "a", 100, size); !errors.Is(err, ErrFull) {
			t.Errorf("Put of %d bytes = %v, want %v", size, err, ErrFull)
		}
	}
	settled(s)
	if st := dataset(s, "a"); st.Blocks != 10 {
		t.Errorf("%d blocks of the dataset after a put that cannot fit, want 10", st.Blocks)
	}
	// One can go, and then none.
	if _, err := putOf(s, "a", 101, 100); err != nil {
		t.Error(err)
	}
	key, err := putOf(s, "a", 102, 100)
	if err != nil {
		t.Error(err)
	}
	pins.Add(key)
	if _, err := putOf(s, "a", 103, 100); !errors.Is(err, ErrFull) {
		t.Errorf("Put with all of the quota pinned = %v, want %v", err, ErrFull)
	}
	// Others have room, and the dataset again once a pin is gone.
	if _, err := putOf(s, "b", 1, 100); err != nil {
		t.Error(err)
	}
	pins.Remove(key)
	if _, err := putOf(s, "a", 103, 100); err != nil {
		t.Error(err)
	}
	settled(s)
	if s.Has(key) || dataset(s, "a").Blocks != 10 {
		t.Errorf("after the unpin: the block is there %v of %d, want it gone of 10", s.Has(key), dataset(s, "a").Blocks)
	}
}

// TestQuotaOfNothing checks that a quota that is no quota is refused by Open, and that a dataset
// without one may have the whole store.
func TestQuotaOfNothing(t *testing.T) {
	for _, bytes := range []int64{0, -1} {
		cfg := oneDisk(fastDir(t), 64<<20)
		cfg.Quotas = map[string]int64{"a": bytes}
		if s, err := Open(cfg); err == nil {
			t.Errorf("Open with a quota of %d bytes = nil, want an error", bytes)
			_ = s.Close()
		}
	}
	cfg := oneDisk(fastDir(t), 5*64*pageSize)
	cfg.SlabBytes = 64 * pageSize
	cfg.Quotas = map[string]int64{"other": pageSize}
	s := openTest(t, cfg)
	for i := range uint32(400) {
		if _, err := putOf(s, "a", i, 100); err != nil {
			t.Fatal(err)
		}
	}
	if st := dataset(s, "a"); st.Quota != 0 || st.Blocks != 5*63 {
		t.Errorf("dataset without a quota has %+v, want all %d blocks", st, 5*63)
	}
}

// TestDatasetNames checks that datasets are told apart after a restart, whatever they are
// called, and that a quota is of the name, on each disk its share.
func TestDatasetNames(t *testing.T) {
	names := []string{"", "a", " a", "a ", "a\nb", "\n", "ä/b c", "\r", "x\r\ny", "a\n"}
	cfg := Config{
		Disks:     []Disk{{fastDir(t), 3 << 20}, {fastDir(t), 1 << 20}},
		SlabBytes: 64 * pageSize, High: 1, Low: 1,
		Quotas: map[string]int64{"a": 16 * pageSize, "\r": 8 * pageSize},
	}
	var before map[string]DatasetStats
	for run := range 3 {
		s := openTest(t, cfg)
		after := make(map[string]DatasetStats)
		for _, d := range s.Stats().Datasets {
			after[d.Name] = d
		}
		if run > 0 && !maps.Equal(before, after) {
			t.Errorf("datasets after restart %d = %v, want %v", run, after, before)
		}
		for i := range uint32(200) {
			name := names[i%uint32(len(names))]
			if _, err := putOf(s, name, i+uint32(run)*1000, 100); err != nil {
				t.Fatal(err)
			}
		}
		settled(s)
		before = make(map[string]DatasetStats)
		for _, d := range s.Stats().Datasets {
			before[d.Name] = d
		}
		for name, quota := range cfg.Quotas {
			if d := before[name]; d.Bytes > quota || d.Bytes < quota/2 || d.Quota != quota {
				t.Errorf("dataset %q has %+v, want it full to its quota of %d", name, d, quota)
			}
		}
		blocks := 0
		for _, d := range before {
			blocks += d.Blocks
		}
		if total := s.Stats().Blocks; blocks != total {
			t.Errorf("%d blocks in all datasets, want %d", blocks, total)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(before) != len(names)-1 {
		t.Errorf("%d datasets, want %d: a newline is a space", len(before), len(names)-1)
	}
}
