package blockstore

import (
	"errors"
	"io/fs"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/shoal-mesh/shoal"
)

// TestConcurrent puts, reads, checks and removes the same few blocks from many goroutines
// in a store too small for them, and holds every answer against what may be.
func TestConcurrent(t *testing.T) {
	const keys, room, workers, rounds = 40, 12, 8, 150
	var losses atomic.Int64
	cfg := oneDisk(fastDir(t), room*120_000)
	cfg.SlabBytes = 256 << 10
	cfg.High, cfg.Low = 0.9, 0.8
	cfg.OpenFiles = 4
	cfg.OnEvict = func(went []Gone) { keys := keysOf(went); losses.Add(int64(len(keys))) }
	s := openTest(t, cfg)
	contents := make([][]byte, keys)
	for i := range contents {
		contents[i] = randomBytes(uint64(i), 100_000-i*1000)
	}
	var removed atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for r := range rounds {
				i := (w*31 + r*17 + r*r) % keys
				key, data := pageKey(uint32(i)), contents[i]
				if i%3 == 0 {
					key.Index = 1 // in a sparse container
				}
				switch (w + r) % 8 {
				case 0, 1, 2:
					put(t, s, key, data)
				case 3:
					if s.Remove(key) == nil {
						removed.Add(1)
					}
				case 4:
					readSection(t, s, key, data)
				default:
					if _, err := s.ReadAt(key, make([]byte, 10), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
						t.Errorf("ReadAt() = %v, want bytes or %v", err, fs.ErrNotExist)
					} else if err == nil && s.Has(key) {
						got := make([]byte, len(data))
						if n, err := s.ReadAt(key, got, 0); err == nil && string(got[:n]) != string(data) {
							t.Errorf("ReadAt(%v): wrong bytes", key)
						}
					}
				}
			}
		})
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	if st.Corrupt != 0 || int64(st.Puts) != int64(st.Blocks)+losses.Load()+removed.Load() || losses.Load() != int64(st.Evictions) {
		t.Errorf("Stats() = %+v, want puts = blocks + %d told + %d removed, none corrupt", st, losses.Load(), removed.Load())
	}
	if st.Bytes > st.CapacityBytes {
		t.Errorf("bytes = %d, above the limit of %d", st.Bytes, st.CapacityBytes)
	}
}

func readSection(t *testing.T, s *Store, key shoal.Key, data []byte) {
	c, err := s.Section(key)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		t.Errorf("Section() = %v, want bytes or %v", err, fs.ErrNotExist)
		return
	}
	defer func() { _ = c.Close() }()
	buf := make([]byte, shoal.ChunkSize)
	for i := range c.Sums {
		b, err := c.ReadChunk(i, buf)
		if err != nil || string(b) != string(data[i*shoal.ChunkSize:][:len(b)]) {
			t.Errorf("ReadChunk(%d) of %v: %v or wrong bytes", i, key, err)
		}
	}
}
