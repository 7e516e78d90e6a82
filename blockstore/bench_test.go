package blockstore

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
)

// The device benchmarks measure the store beside the shortest way to move the same bytes: a
// pwrite or pread of the same places of preallocated files. Both take turns in the same run,
// and what is reported is the median of the rounds' ratios.

const benchRounds = 7

type benchSize struct {
	name   string
	length int
	file   int64 // bytes of a file; a file of one block is packed
	blocks int   // of a full store
	ops    int   // in a round
}

func benchSizes(short bool) []benchSize {
	sizes := []benchSize{
		{"100KB", 100_000, 100_000, 12_000, 8000},
		{"4MiB", 4 << 20, 64 << 20, 384, 96},
	}
	if short {
		for i := range sizes {
			sizes[i].blocks /= 4
			sizes[i].ops /= 4
		}
	}
	return sizes
}

// key returns the key of block number i: those of a file follow one another.
func (s benchSize) key(i int) (shoal.Key, File) {
	perFile := int(shoal.Blocks(s.file))
	n := i / perFile
	return shoal.Key{File: shoal.FileID{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24), 0xbe}, Index: uint32(i % perFile)}, File{SizeBytes: s.file}
}

// bytes returns what the blocks of a full store take.
func (s benchSize) bytes() int64 {
	if s.file <= shoal.BlockSize {
		return int64(s.blocks) * packedBytes(s.length)
	}
	return int64(s.blocks) * sparseBytes(s.length)
}

// BenchmarkStorePut puts into a full store, so that each put evicts a block.
func BenchmarkStorePut(b *testing.B) {
	for _, size := range benchSizes(testing.Short()) {
		for _, threads := range []int{1, 32} {
			b.Run(fmt.Sprintf("%s/threads=%d", size.name, threads), func(b *testing.B) {
				p := newPutBench(b, size)
				for b.Loop() {
					compare(b, size, threads, unix.Sync, p.raw, p.store)
				}
			})
		}
	}
}

// A putBench writes blocks into a full store, and the same amount into files as large.
type putBench struct {
	size  benchSize
	s     *Store
	file  *osFile
	next  atomic.Int64
	datas [][]byte
	order []int
}

func newPutBench(b *testing.B, size benchSize) *putBench {
	b.Helper()
	p := &putBench{size: size, datas: benchData(size)}
	p.s = openBench(b, size, 1.08)
	for range size.blocks + size.blocks/8 {
		p.store(b, 0)
	}
	p.file = rawFile(b, size)
	p.order = rand.New(rand.NewPCG(1, 1)).Perm(size.blocks)
	return p
}

// benchData returns contents for blocks, page-aligned as the fetcher's are.
func benchData(size benchSize) (datas [][]byte) {
	for i := range 4 {
		data := (*alignedPages(int(pages(int64(size.length)))))[:size.length]
		copy(data, randomBytes(uint64(i), size.length))
		datas = append(datas, data)
	}
	return datas
}

// openBench opens a store with room for so many times the blocks of a full one.
func openBench(b *testing.B, size benchSize, room float64) *Store {
	b.Helper()
	limit := int64(float64(size.bytes()) * room)
	cfg := oneDisk(b.TempDir(), limit)
	cfg.SlabBytes = 16 << 20
	s, err := Open(cfg)
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

// rawFile returns a file with a place for each block of a full store, all written once.
func rawFile(b *testing.B, size benchSize) *osFile {
	b.Helper()
	name := filepath.Join(b.TempDir(), "raw")
	slot := pages(int64(size.length))
	if err := (osFiles{}).Create(name, int64(size.blocks)*slot, false); err != nil {
		b.Fatal(err)
	}
	f, err := osFiles{}.Open(name)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = f.Close() })
	raw, _ := f.(*osFile)
	data := *alignedPages(int(slot))
	for i := range size.blocks {
		if err := raw.WriteAt([][]byte{data}, int64(i)*slot); err != nil {
			b.Fatal(err)
		}
	}
	return raw
}

// raw writes one block to a random place, whole pages past the page cache.
func (p *putBench) raw(b *testing.B, i int) {
	data := p.datas[i%len(p.datas)]
	data = data[:pages(int64(len(data)))]
	at := int64(p.order[i%p.size.blocks]) * int64(len(data))
	if err := p.file.WriteAt([][]byte{data}, at); err != nil {
		b.Error(err)
	}
}

// store puts one new block.
func (p *putBench) store(b *testing.B, _ int) {
	i := int(p.next.Add(1))
	key, file := p.size.key(i)
	data := p.datas[i%len(p.datas)]
	if err := p.s.Put(key, file, data, make([]shoal.Sum, shoal.Chunks(len(data)))); err != nil {
		b.Error(err)
	}
}

// BenchmarkStoreGet reads whole blocks in random order, with the page cache dropped before.
func BenchmarkStoreGet(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("SKIP: needs root to drop the page cache")
	}
	for _, size := range benchSizes(testing.Short()) {
		for _, threads := range []int{1, 32} {
			b.Run(fmt.Sprintf("%s/threads=%d", size.name, threads), func(b *testing.B) {
				g := newGetBench(b, size)
				for b.Loop() {
					compare(b, size, threads, dropPages, g.raw, g.store)
				}
			})
		}
	}
}

// A getBench reads blocks of a store, and the same amount from a file as large.
type getBench struct {
	size  benchSize
	s     *Store
	file  *osFile
	order []int
	bufs  sync.Pool
}

func newGetBench(b *testing.B, size benchSize) *getBench {
	b.Helper()
	g := &getBench{size: size, s: openBench(b, size, 1.5), order: rand.New(rand.NewPCG(1, 1)).Perm(size.blocks)}
	g.bufs.New = func() any { return alignedPages(int(pages(int64(size.length)))) }
	datas := benchData(size)
	for i := range size.blocks {
		key, file := size.key(i)
		data := datas[i%len(datas)]
		if err := g.s.Put(key, file, data, shoal.ChunkSums(key, data)); err != nil {
			b.Fatal(err)
		}
	}
	g.file = rawFile(b, size)
	return g
}

func (g *getBench) raw(b *testing.B, i int) {
	buf, _ := g.bufs.Get().(*[]byte)
	defer g.bufs.Put(buf)
	at := int64(g.order[i%g.size.blocks]) * pages(int64(g.size.length))
	if err := g.file.ReadAt([][]byte{(*buf)[:g.size.length]}, at, false); err != nil {
		b.Error(err)
	}
}

func (g *getBench) store(b *testing.B, i int) {
	buf, _ := g.bufs.Get().(*[]byte)
	defer g.bufs.Put(buf)
	key, _ := g.size.key(g.order[i%g.size.blocks])
	if _, err := g.s.ReadAt(key, (*buf)[:g.size.length], 0); err != nil {
		b.Error(err)
	}
}

// compare has raw and store each do a round of operations by so many goroutines, in turns and
// each after prepare, and reports the medians.
func compare(b *testing.B, size benchSize, threads int, prepare func(), raw, store func(b *testing.B, i int)) {
	b.Helper()
	var ratios, rates, raws []float64
	for round := range benchRounds {
		var took [2]time.Duration
		for turn := range 2 {
			which := (turn + round) % 2
			do := raw
			if which == 1 {
				do = store
			}
			prepare()
			took[which] = spread(size.ops, threads, func(i int) { do(b, round*size.ops+i) })
		}
		mb := float64(size.ops*size.length) / 1e6
		raws = append(raws, mb/took[0].Seconds())
		rates = append(rates, mb/took[1].Seconds())
		ratios = append(ratios, took[0].Seconds()/took[1].Seconds())
	}
	b.ReportMetric(median(rates), "MB/s")
	b.ReportMetric(median(raws), "raw_MB/s")
	b.ReportMetric(median(ratios), "x_raw")
	b.ReportMetric(slices.Min(ratios), "x_raw_min")
	b.ReportMetric(slices.Max(ratios), "x_raw_max")
	b.ReportMetric(0, "ns/op") // of no use here
}

// spread calls do with 0 to n-1 from so many goroutines, and returns how long that took.
func spread(n, threads int, do func(i int)) time.Duration {
	var next atomic.Int64
	var group sync.WaitGroup
	begun := time.Now()
	for range threads {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	group.Wait()
	return time.Since(begun)
}

// dropPages writes back and drops the page cache, where this process may.
func dropPages() {
	unix.Sync()
	_ = os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0) // without root the cache stays
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
