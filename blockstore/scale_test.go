package blockstore

import (
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
)

// BenchmarkStoreScale opens a store of ten million blocks of 100 KB (a tenth with -short),
// of which there is only the index, and reports what a block costs in memory, how long the
// open took, and how long the collector stops the program with all of it loaded.
func BenchmarkStoreScale(b *testing.B) {
	blocks := 10_000_000
	if testing.Short() {
		blocks /= 10
	}
	cfg := scaleStore(b, blocks)
	for b.Loop() {
		before := residentBytes(b)
		cpu := cpuTime(b)
		begun := time.Now()
		s, err := Open(cfg)
		if err != nil {
			b.Fatal(err)
		}
		took := time.Since(begun)
		b.ReportMetric((cpuTime(b) - cpu).Seconds(), "cpu-s/open")
		if got := s.Stats().Blocks; got != blocks {
			b.Fatalf("%d blocks, want %d", got, blocks)
		}
		b.ReportMetric(took.Seconds(), "s/open")
		b.ReportMetric(float64(gcPause(b, s, blocks).Microseconds()), "µs/gc-p99")
		b.ReportMetric(float64(residentBytes(b)-before)/float64(blocks), "B/block")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// scaleStore makes the index of a store of so many blocks, and empty slab files.
func scaleStore(b *testing.B, blocks int) Config {
	b.Helper()
	const length, perBatch = 100_000, 5000
	cfg := oneDisk(b.TempDir(), 2*int64(blocks)*packedBytes(length))
	cfg.files = emptyFiles{}
	s, err := Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	d := s.disks[0]
	class, _ := d.places.classOf(length)
	slots := d.places.slabs.Slots(class)
	for number := range (blocks + slots - 1) / slots {
		name := fileName{slabFile, uint64(number)}
		if err := d.files.Create(name.path(d.path), d.slabBytes, false); err != nil {
			b.Fatal(err)
		}
		if err := d.index.setContainer(header{name: uint64(number) + 1, slot: d.places.slotBytes(class), size: d.slabBytes}); err != nil {
			b.Fatal(err)
		}
	}
	order := rand.New(rand.NewPCG(1, 2)).Perm(blocks)
	batch := make([]indexed, 0, perBatch)
	for i, at := range order {
		batch = append(batch, indexed{
			place: place{uint64(at/slots) + 1, uint32(at % slots)}, key: scaleKey(i), length: length,
			stamp: uint32(1_700_000_000 + i/1000), sum: shoal.Sum(i),
		})
		if len(batch) == perBatch || i == blocks-1 {
			if err := d.index.set(batch...); err != nil {
				b.Fatal(err)
			}
			batch = batch[:0]
		}
	}
	// As after some hours: what was written has found its level.
	if err := d.index.db.Compact(b.Context(), []byte{blockPrefix}, []byte{blockPrefix + 1}, true); err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	return cfg
}

func scaleKey(i int) shoal.Key {
	return shoal.Key{File: shoal.NewFileID("bench", strconv.Itoa(i), "1")}
}

// emptyFiles is osFiles whose files take no space and keep nothing.
type emptyFiles struct{ osFiles }

func (f emptyFiles) Create(name string, size int64, _ bool) error {
	return f.osFiles.Create(name, size, true)
}

func (f emptyFiles) Sync(string) error { return nil }

// residentBytes returns the memory of this process, without what is free.
func residentBytes(b *testing.B) int64 {
	b.Helper()
	debug.FreeOSMemory()
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// gcPause returns the 99th percentile of the times the collector stopped the program, while
// blocks are looked up and moved in the policy's order.
func gcPause(b *testing.B, s *Store, blocks int) time.Duration {
	b.Helper()
	const name = "/sched/pauses/total/gc:seconds"
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	before := sample[0].Value.Float64Histogram()
	counts := append([]uint64(nil), before.Counts...)
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		rnd := rand.New(rand.NewPCG(3, 4))
		for {
			select {
			case <-done:
				return
			default:
				if b, ok := s.disks[0].hold(scaleKey(rnd.IntN(blocks))); ok {
					s.disks[0].release(b)
				}
			}
		}
	}()
	for range 200 {
		runtime.GC()
	}
	close(done)
	<-ended
	metrics.Read(sample)
	after := sample[0].Value.Float64Histogram()
	total := uint64(0)
	for i := range counts {
		counts[i] = after.Counts[i] - counts[i]
		total += counts[i]
	}
	seen := uint64(0)
	for i, c := range counts {
		if seen += c; seen*100 >= total*99 {
			return time.Duration(after.Buckets[i+1] * float64(time.Second))
		}
	}
	return 0
}

// cpuTime returns what this process has used of the processors.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var self unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &self); err != nil {
		b.Fatal(err)
	}
	return time.Duration(self.Utime.Nano() + self.Stime.Nano())
}
