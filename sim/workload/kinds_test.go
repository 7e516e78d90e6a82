package workload

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/sim/scenario"
)

// jobOf returns the reads of a job of a dataset, by so many ranks.
func jobOf(t testing.TB, d scenario.Dataset, j scenario.Job, ranks int, seed uint64) (*Data, *Job) {
	t.Helper()
	d.Name, j.Name, j.Dataset, j.Ranks = "data", "job", "data", 1
	j.Nodes = nil
	for node := range ranks {
		j.Nodes = append(j.Nodes, node)
	}
	if j.Rate == 0 {
		j.Rate = 100
	}
	s := &scenario.Scenario{Seed: seed, Sample: 1, Datasets: []scenario.Dataset{d}, Jobs: []scenario.Job{j}}
	data, err := NewData(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	job, err := NewJob(s, data, &s.Jobs[0], 0)
	if err != nil {
		t.Fatal(err)
	}
	return data, job
}

// all returns the reads of each rank, of which each makes ahead before the next one makes any: as
// engine "reads" does.
func all(j *Job, ahead int) [][]Read {
	reads := make([][]Read, j.Ranks())
	for left := j.Ranks(); left > 0; {
		left = 0
		for rank := range reads {
			for range ahead {
				r, ok := j.Next(rank)
				if !ok {
					break
				}
				reads[rank] = append(reads[rank], r)
				left = j.Ranks()
			}
		}
	}
	return reads
}

// times returns how often each part of a block was read in an epoch, and all bytes of the epoch.
func times(reads [][]Read, epoch int) (blocks map[uint32]int, bytes int64) {
	blocks = make(map[uint32]int)
	for _, mine := range reads {
		for _, r := range mine {
			if r.Epoch == epoch {
				blocks[r.Block]++
				bytes += int64(r.Bytes)
			}
		}
	}
	return blocks, bytes
}

// TestEpochs has each epoch read every item once, over all ranks where they share it, but for what
// is read again so that all have as many; and once by each rank where they do not: whatever the
// ranks, and as far ahead as Ahead lets each go.
func TestEpochs(t *testing.T) {
	const epochs = 5
	datasets := map[string]scenario.Dataset{
		"small":  {Files: 37, File: 1000},
		"large":  {Files: 11, File: 2*shoal.BlockSize + 5},
		"parts":  {Files: 7, File: shoal.BlockSize + 1<<20, Read: 1 << 20},
		"spread": {Files: 29, File: 1000, FileMax: 3000, Read: 400},
		"one":    {Files: 1, File: 1},
	}
	for name, d := range datasets {
		for _, kind := range []scenario.Kind{scenario.Epochs, scenario.Windows} {
			for _, ranks := range []int{1, 2, 5, 8, 50} {
				for _, shared := range []bool{true, false} {
					t.Run(fmt.Sprintf("%s/%s/ranks=%d/shared=%v", name, kind, ranks, shared), func(t *testing.T) {
						data, j := jobOf(t, d, scenario.Job{Kind: kind, Epochs: epochs, Shared: shared, Window: 4}, ranks, 1)
						reads := all(j, j.Ahead(64))
						for _, mine := range reads[1:] {
							if len(mine) != len(reads[0]) && kind == scenario.Epochs && data.sets[0].fileReads == 1 {
								t.Errorf("a rank makes %d reads, another %d", len(mine), len(reads[0]))
							}
						}
						for epoch := range epochs {
							checkEpoch(t, data, j, reads, epoch)
						}
					})
				}
			}
		}
	}
}

// checkEpoch checks how often each block is read in an epoch.
func checkEpoch(t *testing.T, data *Data, j *Job, reads [][]Read, epoch int) {
	t.Helper()
	s := &data.sets[0]
	want, padding := 1, 0
	if j.Spec.Shared {
		padding = int(j.share(j.items))*j.Ranks() - int(j.items)
	} else {
		want = j.Ranks()
	}
	counts, bytes := times(reads, epoch)
	more := 0
	for file := range s.files {
		for number := range s.perFile {
			block := file*s.perFile + number
			parts := int(s.perBlock)
			if number+1 == s.perFile {
				parts = int(s.fileReads - number*s.perBlock)
			}
			got := counts[s.first+block]
			if got < want*parts {
				t.Fatalf("epoch %d: block %d was read %d times, want %d", epoch, block, got, want*parts)
			}
			more += got - want*parts
		}
	}
	perItem := int(s.files*s.fileReads) / int(j.items)
	if more != padding*perItem {
		t.Errorf("epoch %d: %d reads again, want %d", epoch, more, padding*perItem)
	}
	if all := int64(want) * s.Bytes(); padding == 0 && bytes != all {
		t.Errorf("epoch %d: %d bytes read, want %d", epoch, bytes, all)
	}
}

// TestOrders has the order of an epoch be another one in another epoch, for another rank or seed,
// and the same for the same seed.
func TestOrders(t *testing.T) {
	d := scenario.Dataset{Files: 50, File: 1000}
	for _, spec := range []scenario.Job{
		{Kind: scenario.Epochs, Epochs: 4},
		{Kind: scenario.Windows, Epochs: 4, Window: 1},
		{Kind: scenario.Zipf, Reads: 200, Skew: 1},
	} {
		t.Run(string(spec.Kind), func(t *testing.T) {
			blocks := func(seed uint64, rank, epoch int) (order []uint32) {
				_, j := jobOf(t, d, spec, 3, seed)
				for i, r := range all(j, 1)[rank] {
					if r.Epoch == epoch && spec.Kind != scenario.Zipf || spec.Kind == scenario.Zipf && i/50 == epoch {
						order = append(order, r.Block)
					}
				}
				return order
			}
			var orders [][]uint32
			for seed := range uint64(2) {
				for rank := range 3 {
					for epoch := range 4 {
						o := blocks(seed, rank, epoch)
						if again := blocks(seed, rank, epoch); len(o) != 50 || !slices.Equal(o, again) {
							t.Errorf("seed %d, rank %d, epoch %d: %v, and again %v", seed, rank, epoch, o, again)
						}
						for _, other := range orders {
							if slices.Equal(o, other) {
								t.Errorf("seed %d, rank %d, epoch %d: %v is an order that was before", seed, rank, epoch, o)
							}
						}
						orders = append(orders, o)
					}
				}
			}
		})
	}
}

// TestWindows has each rank read files in turns, each from its beginning to its end, in a new order
// in each epoch, at most Window at a time, and none before all of the epoch before are done.
func TestWindows(t *testing.T) {
	const files, window, epochs = 12, 5, 3
	for seed := range uint64(20) {
		d := scenario.Dataset{Files: files, File: 3*shoal.BlockSize - 7, Read: 3 << 20}
		data, j := jobOf(t, d, scenario.Job{Kind: scenario.Windows, Epochs: epochs, Window: window}, 2, seed)
		s := &data.sets[0]
		for rank, reads := range all(j, 1) {
			var orders [epochs][]uint32
			open := make(map[uint32]uint32) // reads of each file that is open
			most, epoch := 0, 0
			for i, r := range reads {
				if r.Epoch != epoch && len(open) > 0 {
					t.Fatalf("seed %d, rank %d, read %d: of epoch %d, with %v of epoch %d open", seed, rank, i, r.Epoch, open, epoch)
				}
				epoch = r.Epoch
				file := r.Block / s.perFile
				number, begun := open[file]
				if !begun {
					orders[epoch] = append(orders[epoch], file)
				}
				if block, bytes := s.read(file, number); block != r.Block || bytes != r.Bytes {
					t.Fatalf("seed %d, rank %d, read %d: %+v, want block %d, %d bytes", seed, rank, i, r, block, bytes)
				}
				if open[file]++; open[file] == s.fileReads {
					delete(open, file)
				}
				most = max(most, len(open))
			}
			if most != window {
				t.Errorf("seed %d, rank %d: %d files open at a time, want at most %d, and as many", seed, rank, most, window)
			}
			for e, order := range orders {
				sorted := slices.Sorted(slices.Values(order))
				if len(slices.Compact(sorted)) != files || len(order) != files || slices.IsSorted(order) || e > 0 && slices.Equal(order, orders[e-1]) {
					t.Errorf("seed %d, rank %d, epoch %d: files began as %v", seed, rank, e, order)
				}
			}
		}
	}
}

// TestTurns has Turns be true before the first read of each epoch but the first one, and before no
// other read.
func TestTurns(t *testing.T) {
	for _, kind := range []scenario.Kind{scenario.Epochs, scenario.Windows, scenario.Stream} {
		for _, shared := range []bool{true, false} {
			d := scenario.Dataset{Files: 9, File: 2 * shoal.BlockSize}
			_, j := jobOf(t, d, scenario.Job{Kind: kind, Epochs: 3, Versions: 3, Window: 2, Shared: shared && kind != scenario.Stream}, 2, 1)
			if want := shared && kind != scenario.Stream; j.Meets() != want {
				t.Errorf("%s: Meets() = %v, want %v", kind, j.Meets(), want)
			}
			turned := 0
			for epoch, ok := 0, true; ok; {
				var r Read
				turns := j.Turns(0)
				if r, ok = j.Next(0); ok && turns != (r.Epoch != epoch && kind != scenario.Stream) {
					t.Errorf("%s, shared %v: Turns() = %v before %+v, after epoch %d", kind, shared, turns, r, epoch)
				}
				if turns {
					turned++
				}
				epoch = r.Epoch
			}
			if want := map[bool]int{true: 0, false: 3}[kind == scenario.Stream]; turned != want {
				t.Errorf("%s, shared %v: turned %d times, want %d", kind, shared, turned, want)
			}
		}
	}
}

// TestStream has every rank read all of each version, which is not there before its time: file by
// file, and each from its beginning, or in an order of the rank's own.
func TestStream(t *testing.T) {
	const versions, ranks = 3, 4
	for _, random := range []bool{false, true} {
		for _, read := range []shoal.Bytes{0, 1 << 20} {
			t.Run(fmt.Sprintf("random=%v/read=%v", random, read), func(t *testing.T) {
				d := scenario.Dataset{Files: 3, File: 40*shoal.BlockSize - 5, Read: read}
				spec := scenario.Job{Kind: scenario.Stream, Versions: versions, Every: time.Minute, Start: time.Hour, Random: random}
				data, j := jobOf(t, d, spec, ranks, 1)
				s := &data.sets[0]
				if data.Blocks() != versions*s.Blocks() {
					t.Errorf("Blocks() = %d, want %d", data.Blocks(), versions*s.Blocks())
				}
				reads := all(j, 1)
				for version := range versions {
					checkVersion(t, s, reads, version, ranks)
				}
				for rank, mine := range reads {
					inOrder := slices.IsSortedFunc(mine, func(a, b Read) int { return int(a.Block) - int(b.Block) })
					byFile := slices.IsSortedFunc(mine, func(a, b Read) int { return int(a.Block/s.perFile) - int(b.Block/s.perFile) })
					if inOrder == random || !byFile {
						t.Errorf("rank %d: blocks in order %v, files in order %v, want %v and true", rank, inOrder, byFile, !random)
					}
					for other := range rank {
						if same := slices.Equal(mine, reads[other]); same == random {
							t.Errorf("ranks %d and %d: the same order %v, want %v", rank, other, same, !random)
						}
					}
				}
			})
		}
	}
}

// checkVersion checks that each of so many ranks reads all of a version, when it is there.
func checkVersion(t *testing.T, s *Set, reads [][]Read, version, ranks int) {
	t.Helper()
	counts, bytes := times(reads, version)
	if want := int64(ranks) * s.Bytes(); bytes != want || len(counts) != int(s.Blocks()) {
		t.Errorf("version %d: %d blocks, %d bytes, want %d and %d", version, len(counts), bytes, s.Blocks(), want)
	}
	for block, n := range counts {
		within := block - uint32(version)*s.Blocks()
		parts := int(s.perBlock)
		if (within+1)%s.perFile == 0 {
			parts = int(s.fileReads - (s.perFile-1)*s.perBlock)
		}
		if within >= s.Blocks() || n != ranks*parts {
			t.Errorf("version %d: block %d was read %d times, want %d, of blocks from %d on", version, block, n, ranks*parts, uint32(version)*s.Blocks())
		}
	}
	for _, mine := range reads {
		for _, r := range mine {
			if want := time.Hour + time.Duration(r.Epoch)*time.Minute; r.NotBefore != want || r.Write {
				t.Fatalf("%+v: want a read not before %v", r, want)
			}
		}
	}
}

// TestWrite has each block of each version be written once, whole, all blocks of a file by one rank.
func TestWrite(t *testing.T) {
	const versions = 3
	for _, ranks := range []int{1, 4, 30} {
		d := scenario.Dataset{Files: 10, File: 2*shoal.BlockSize + 9, Read: 1 << 20}
		data, j := jobOf(t, d, scenario.Job{Kind: scenario.Write, Versions: versions, Every: time.Minute}, ranks, 1)
		s := &data.sets[0]
		writer := make(map[uint32]int) // rank + 1, by file and version
		written := make(map[uint32]bool)
		for rank, mine := range all(j, 1) {
			for _, r := range mine {
				_, size := data.Of(r.Block)
				version, file := r.Block/s.Blocks(), r.Block/s.perFile
				if written[r.Block] || !r.Write || r.Bytes != size || r.Epoch != int(version) || r.NotBefore != time.Duration(version)*time.Minute {
					t.Errorf("%d ranks: %+v, of a block of %d bytes, written before: %v", ranks, r, size, written[r.Block])
				}
				if w := writer[file]; w != 0 && w != rank+1 {
					t.Errorf("%d ranks: file %d is written by ranks %d and %d", ranks, file, w-1, rank)
				}
				writer[file], written[r.Block] = rank+1, true
			}
		}
		if len(written) != int(data.Blocks()) {
			t.Errorf("%d ranks: %d blocks written, want %d", ranks, len(written), data.Blocks())
		}
	}
}
