package blockstore

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/shoal-mesh/shoal"
)

// The raw benchmarks stand beside the store's: the same bytes in the same number of system
// calls by the shortest way, so that a ratio can be read. Both hit the page cache.

type benchSize struct {
	name   string
	length int
	piece  int // bytes of one read
	blocks int
}

func benchSizes() []benchSize {
	return []benchSize{
		{"100KiB", 100 << 10, 100 << 10, 2000},
		{"4MiB", 4 << 20, 1 << 20, 50},
	}
}

// BenchmarkStorePut puts into a store that is full after a while, so that puts evict.
func BenchmarkStorePut(b *testing.B) {
	for _, size := range benchSizes() {
		b.Run(size.name, func(b *testing.B) {
			s := openBench(b, int64(size.blocks)*occupied(size.length))
			data := randomBytes(1, size.length)
			b.SetBytes(int64(size.length))
			b.ReportAllocs()
			for i := uint32(0); b.Loop(); i++ {
				key := testKey(i)
				b.StopTimer()
				sums := shoal.ChunkSums(key, data)
				b.StartTimer()
				if err := s.Put(key, data, sums); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRawWrite creates, writes and closes a file per block, and removes the one that
// is as many blocks older as the store of BenchmarkStorePut holds.
func BenchmarkRawWrite(b *testing.B) {
	for _, size := range benchSizes() {
		b.Run(size.name, func(b *testing.B) {
			dir := b.TempDir()
			for i := range containerDirs {
				if err := os.MkdirAll(filepath.Join(dir, containersDir, subfolder(i)), 0o700); err != nil {
					b.Fatal(err)
				}
			}
			data := randomBytes(1, size.length)
			b.SetBytes(int64(size.length))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := (osFiles{}).Write(containerPath(dir, uint64(i)), data, nil); err != nil {
					b.Fatal(err)
				}
				if i >= size.blocks {
					if err := (osFiles{}).Remove(containerPath(dir, uint64(i-size.blocks))); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func BenchmarkStoreReadAt(b *testing.B) {
	for _, size := range benchSizes() {
		b.Run(size.name, func(b *testing.B) {
			s := openBench(b, 2*int64(size.blocks)*occupied(size.length))
			fillBench(b, s, size)
			b.SetBytes(int64(size.piece))
			b.ReportAllocs()
			p := make([]byte, size.piece)
			order := rand.New(rand.NewPCG(1, 1)).Perm(size.blocks)
			for i := 0; b.Loop(); i++ {
				readBenchPiece(b, s, size, order, i, p)
			}
		})
		b.Run(size.name+"/parallel", func(b *testing.B) {
			s := openBench(b, 2*int64(size.blocks)*occupied(size.length))
			fillBench(b, s, size)
			b.SetBytes(int64(size.piece))
			b.ReportAllocs()
			b.SetParallelism(16)
			order := rand.New(rand.NewPCG(1, 1)).Perm(size.blocks)
			var seq atomic.Int64
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				p := make([]byte, size.piece)
				for pb.Next() {
					readBenchPiece(b, s, size, order, int(seq.Add(1)), p)
				}
			})
		})
	}
}

func readBenchPiece(b *testing.B, s *Store, size benchSize, order []int, i int, p []byte) {
	pieces := size.length / size.piece
	key := testKey(uint32(order[i/pieces%size.blocks]))
	if _, err := s.ReadAt(key, p, i%pieces*size.piece); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkRawRead opens a block's file, reads it in the same pieces, and closes it.
func BenchmarkRawRead(b *testing.B) {
	for _, size := range benchSizes() {
		b.Run(size.name, func(b *testing.B) {
			dir := b.TempDir()
			data := randomBytes(1, size.length)
			for i := range size.blocks {
				if err := (osFiles{}).Write(filepath.Join(dir, fmt.Sprint(i)), data, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(size.piece))
			b.ReportAllocs()
			p := make([]byte, size.piece)
			order := rand.New(rand.NewPCG(1, 1)).Perm(size.blocks)
			pieces := size.length / size.piece
			var f file
			for i := 0; b.Loop(); i++ {
				if i%pieces == 0 {
					if f != nil {
						_ = f.Close()
					}
					var err error
					f, err = (osFiles{}).Open(filepath.Join(dir, fmt.Sprint(order[i/pieces%size.blocks])))
					if err != nil {
						b.Fatal(err)
					}
				}
				if _, err := f.ReadAt(p, int64(i%pieces*size.piece)); err != nil {
					b.Fatal(err)
				}
			}
			_ = f.Close()
		})
	}
}

// BenchmarkOpen opens a store of many blocks.
func BenchmarkOpen(b *testing.B) {
	const blocks = 10_000
	dir := b.TempDir()
	cfg := Config{Disks: []Disk{{Path: dir, SizeBytes: 1 << 30}}}
	s, err := Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	data := randomBytes(1, 4000)
	for i := range uint32(blocks) {
		if err := s.Put(testKey(i), data, shoal.ChunkSums(testKey(i), data)); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, err := Open(cfg)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if got := s.Stats().Blocks; got != blocks {
			b.Fatalf("blocks after open = %d, want %d", got, blocks)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkStoreHas(b *testing.B) {
	s := openBench(b, 1<<30)
	data := randomBytes(1, 100)
	for i := range uint32(10_000) {
		if err := s.Put(testKey(i), data, shoal.ChunkSums(testKey(i), data)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for i := uint32(0); b.Loop(); i++ {
		s.Has(testKey(i % 20_000))
	}
}

func openBench(b *testing.B, sizeBytes int64) *Store {
	b.Helper()
	s, err := Open(Config{Disks: []Disk{{Path: b.TempDir(), SizeBytes: sizeBytes}}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

func fillBench(b *testing.B, s *Store, size benchSize) {
	b.Helper()
	for i := range uint32(size.blocks) {
		data := randomBytes(uint64(i), size.length)
		if err := s.Put(testKey(i), data, shoal.ChunkSums(testKey(i), data)); err != nil {
			b.Fatal(err)
		}
	}
}
