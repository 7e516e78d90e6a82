package workload

import (
	"math"
	"testing"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/sim/scenario"
)

// TestData numbers the blocks of datasets one after the other, those of each version of a file's
// alike: whole ones, but for the last one of a file.
func TestData(t *testing.T) {
	s := &scenario.Scenario{
		Seed: 1, Sample: 1,
		Datasets: []scenario.Dataset{
			{Name: "large", Files: 3, File: 2*shoal.BlockSize + 7},
			{Name: "small", Files: 2000, File: 1000, FileMax: 5000},
			{Name: "whole", Files: 2, File: 2 * shoal.BlockSize},
			{Name: "empty", Files: 1, File: 1},
		},
		Jobs: []scenario.Job{{Dataset: "large", Versions: 2}, {Dataset: "small", Versions: 3}, {Dataset: "small", Versions: 2}},
	}
	d, err := NewData(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := uint32(3*3*2 + 2000*3 + 4 + 1); d.Blocks() != want {
		t.Fatalf("Blocks() = %d, want %d", d.Blocks(), want)
	}
	sum := make([]int64, len(s.Datasets))
	mean := 0.0
	for block := range d.Blocks() {
		set, bytes := d.Of(block)
		sum[set] += int64(bytes)
		wantSet, want := 0, uint32(shoal.BlockSize)
		switch {
		case block < 18 && block%3 == 2:
			want = 7
		case block < 18:
		case block < 6018:
			wantSet, want = 1, min(max(bytes, 1000), 5000)
			if _, other := d.Of(18 + (block-18)%2000); other != bytes {
				t.Errorf("Of(%d) has %d bytes, that of the first version %d", block, bytes, other)
			}
			mean += float64(bytes) / 6000
		case block < 6022:
			wantSet = 2
		default:
			wantSet, want = 3, 1
		}
		if set != wantSet || bytes != want {
			t.Errorf("Of(%d) = %d, %d, want %d, %d", block, set, bytes, wantSet, want)
		}
	}
	for i, versions := range []int64{2, 3, 1, 1} {
		if got := d.sets[i].Bytes() * versions; got != sum[i] || d.First(i) != d.sets[i].first {
			t.Errorf("%s: %d bytes in all versions, want %d", s.Datasets[i].Name, got, sum[i])
		}
	}
	// Sizes from 1000 to 5000 alike have a standard deviation of 1155.
	if off := (mean - 3000) / (1155 / math.Sqrt(2000)); math.Abs(off) > 4 {
		t.Errorf("the mean size is %.0f, which is %.1f standard deviations off 3000", mean, off)
	}
}

// TestSample keeps the share of the bytes and of the blocks that is asked for, and so how much of a
// dataset a cache of that share holds, and how often an epoch comes, whatever the size of files.
func TestSample(t *testing.T) {
	const many = 1_000_000
	for _, file := range []shoal.Bytes{1, 1000, shoal.BlockSize, shoal.BlockSize + 1, 5 << 20, 40 << 20, 1000*shoal.BlockSize - 1, 10 << 30} {
		for _, sample := range []float64{0.0001, 0.001, 0.01, 0.3, 0.5, 0.9, 0.999} {
			for _, files := range []int64{1, 7, many} {
				blocks := float64(files) * float64(shoal.Blocks(int64(file)))
				if blocks*sample < 100 || blocks > 1<<31 {
					continue // what is left tells nothing, or cannot be numbered
				}
				s := &scenario.Scenario{Sample: sample, Datasets: []scenario.Dataset{{Name: "data", Files: files, File: file}}}
				d, err := NewData(s, nil)
				if err != nil {
					t.Fatal(err)
				}
				set := &d.sets[0]
				tolerance := 0.01
				if files < 100 { // a few files are shorter by whole blocks
					tolerance = 0.51 * float64(files) / (blocks * sample)
				}
				if got, want := float64(set.Blocks()), blocks*sample; math.Abs(got/want-1) > tolerance {
					t.Errorf("%d files of %v, sample %v: %v blocks, want %v", files, file, sample, got, want)
				}
				if got, want := float64(set.Bytes()), float64(files)*float64(file)*sample; math.Abs(got/want-1) > tolerance {
					t.Errorf("%d files of %v, sample %v: %v bytes, want %v", files, file, sample, got, want)
				}
				for block := range min(d.Blocks(), 5000) {
					if _, bytes := d.Of(block); bytes < 1 || bytes > shoal.BlockSize {
						t.Fatalf("%d files of %v, sample %v: block %d has %d bytes", files, file, sample, block, bytes)
					}
				}
			}
		}
	}
}

// TestTooMany refuses blocks, and reads of an epoch, that 32 bits do not number.
func TestTooMany(t *testing.T) {
	for _, d := range []scenario.Dataset{
		{Name: "blocks", Files: math.MaxUint32, File: 1},
		{Name: "reads", Files: 1 << 27, File: 64 << 10, Read: 1 << 10},
	} {
		if _, err := NewData(&scenario.Scenario{Sample: 1, Datasets: []scenario.Dataset{d}}, nil); err == nil {
			t.Errorf("NewData(%s) = nil, want an error", d.Name)
		}
	}
}
