package node

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore"
)

// shares are those the benchmarks record: none, the default, all.
func shares() []float64 { return []float64{0, 0.01, 1} }

// benchRecorder returns a recorder into a directory of its own, nil for a share of 0.
func benchRecorder(b *testing.B, share float64) *recorder {
	if share == 0 {
		return nil
	}
	out, err := newTraceFiles(b.TempDir(), "n1", share, 1<<30)
	if err != nil {
		b.Fatal(err)
	}
	r := newRecorder(out, share, new(costs).told, slog.New(slog.DiscardHandler))
	b.Cleanup(r.close)
	return r
}

// BenchmarkRecorder is what a reader pays for being recorded, when readers do nothing else and
// keep the writer from it.
func BenchmarkRecorder(b *testing.B) {
	for _, share := range shares() {
		b.Run(fmt.Sprintf("share=%v", share), func(b *testing.B) {
			r := benchRecorder(b, share)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				by := visitor{dataset: "/data"}
				for key := (shoal.Key{}); pb.Next(); key.Index++ {
					r.gave(r.see(key), &by, 100_000, 100_000, shoal.TierLocal)
				}
			})
			if r != nil {
				b.ReportMetric(100*float64(r.dropped.Load())/float64(b.N), "%dropped")
			}
		})
	}
}

// BenchmarkRecorderWrites is what a recorded read costs the reader and the writer together, in
// pieces of 128 KiB of whole blocks.
func BenchmarkRecorderWrites(b *testing.B) {
	r := benchRecorder(b, 1)
	r.close() // its goroutine: this one writes
	by := visitor{dataset: "/data"}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r.gave(r.see(shoal.Key{Index: uint32(i / 32)}), &by, 128<<10, shoal.BlockSize, shoal.TierLocal)
		if i%queuedPieces == 0 {
			r.collect()
			r.settle(time.Since(r.began))
		}
	}
	if err := r.out.close(); err != nil || r.dropped.Load() > 0 {
		b.Fatalf("%d dropped, %v", r.dropped.Load(), err)
	}
}

// BenchmarkRecordedRead opens files of 100 KB, reads and closes them: they are in the store.
func BenchmarkRecordedRead(b *testing.B) {
	const size, files = 100_000, 1000
	store, err := blockstore.Open(blockstore.Config{Disks: []blockstore.Disk{{Path: b.TempDir(), SizeBytes: 1 << 30}}})
	if err != nil {
		b.Fatal(err)
	}
	fetch := NewFetcher(&scriptedDirectory{}, &peersFunc{}, store, nil, FetcherConfig{})
	b.Cleanup(func() {
		fetch.Close()
		if err := store.Close(); err != nil {
			b.Error(err)
		}
	})
	var entries [files]shoal.Entry
	data := make([]byte, size)
	for i := range entries {
		key := shoal.Key{File: shoal.FileID{byte(i), byte(i >> 8), 1}}
		var sums []shoal.Sum
		for c := range shoal.Chunks(size) {
			sums = append(sums, shoal.ChunkSum(key, c, data[c*shoal.ChunkSize:min(size, (c+1)*shoal.ChunkSize)]))
		}
		if err := store.Put(key, blockstore.File{SizeBytes: size}, data, sums); err != nil {
			b.Fatal(err)
		}
		entries[i] = shoal.Entry{Path: "/data/f", Mount: "/data", File: key.File, Info: shoal.FileInfo{Size: size}}
	}
	for _, share := range shares() {
		b.Run(fmt.Sprintf("share=%v", share), func(b *testing.B) {
			all := NewFiles(fetch, store, 32<<20)
			all.trace = benchRecorder(b, share)
			p := make([]byte, size)
			b.SetBytes(size)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				f, err := all.Open(entries[i%files])
				if err != nil {
					b.Fatal(err)
				}
				if n, err := f.ReadAt(b.Context(), p, 0); n != size || err != nil {
					b.Fatalf("ReadAt() = %d, %v", n, err)
				}
				if err := f.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
