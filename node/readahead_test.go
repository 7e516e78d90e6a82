package node

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/shoal-mesh/shoal"
)

const (
	mib = int64(1 << 20)
	gib = int64(1 << 30)
)

// A testRead is a read of n bytes at off.
type testRead struct{ off, n int64 }

// steps returns reads of n bytes from first on, step apart, within [0, size), each in pieces.
func steps(first, size, step, n, piece int64) (reads []testRead) {
	for off := first; off >= 0 && off+n <= size; off += step {
		for at := int64(0); at < n; at += piece {
			reads = append(reads, testRead{off + at, min(piece, n-at)})
		}
	}
	return reads
}

// anywhere returns reads of n bytes at random places of [0, size), on pages.
func anywhere(reads int, size, n int64) []testRead {
	rnd := rand.New(rand.NewPCG(1, uint64(size+n)))
	out := make([]testRead, reads)
	for i := range out {
		out[i] = testRead{rnd.Int64N((size-n)/4096) * 4096, n}
	}
	return out
}

// inTurn mixes the reads of several readers, some of each at a time.
func inTurn(some int, readers ...[]testRead) (reads []testRead) {
	for len(readers) > 0 {
		for i, r := range readers {
			n := min(some, len(r))
			reads, readers[i] = append(reads, r[:n]...), r[n:]
		}
		readers = slices.DeleteFunc(readers, func(r []testRead) bool { return len(r) == 0 })
	}
	return reads
}

// segments returns a reader of each 512 MiB of a file, which reads 64 MiB in order.
func segments(n int) (readers [][]testRead) {
	for i := range int64(n) {
		readers = append(readers, steps(i*512*mib, i*512*mib+64*mib, mib, mib, mib))
	}
	return readers
}

// swapped exchanges every other read with the one before it.
func swapped(reads []testRead) []testRead {
	for i := 3; i < len(reads); i += 2 {
		reads[i-1], reads[i] = reads[i], reads[i-1]
	}
	return reads
}

// TestReadaheadAsks checks which blocks are asked for after a few reads.
func TestReadaheadAsks(t *testing.T) {
	const size = 100 * shoal.BlockSize
	tests := []struct {
		name  string
		reads []testRead
		want  string // the blocks in order
	}{
		{"the beginning of a file", []testRead{{0, mib}}, "[1 2]"},
		{"a header", []testRead{{0, 4096}}, "[]"},
		{"one read in the middle", []testRead{{40 * mib, mib}}, "[]"},
		{"going on from the middle", []testRead{{40 * mib, mib}, {41 * mib, mib}}, "[11]"},
		{"in order", []testRead{{0, 4 * mib}, {4 * mib, 4 * mib}, {8 * mib, 4 * mib}, {12 * mib, 4 * mib}}, "[1 2 3 4 5 6 7 8 9 10]"},
		{"pieces out of order", []testRead{{0, mib}, {2 * mib, mib}, {mib, mib}, {3 * mib, mib}}, "[1 2]"},
		{"up to the end of the file", []testRead{{size - 20*mib, 4 * mib}, {size - 16*mib, 4 * mib}, {size - 12*mib, 4 * mib}}, "[97 98 99]"},
		{"two steps", []testRead{{40 * mib, mib}, {60 * mib, mib}}, "[]"},
		{"three steps", []testRead{{40 * mib, mib}, {60 * mib, mib}, {80 * mib, mib}}, "[25 30]"},
		{"four steps", []testRead{{40 * mib, mib}, {60 * mib, mib}, {80 * mib, mib}, {100 * mib, mib}}, "[25 30 35 40 45]"},
		{"three steps of other lengths", []testRead{{40 * mib, mib}, {60 * mib, mib}, {90 * mib, mib}}, "[]"},
		{"steps down", []testRead{{80 * mib, mib}, {60 * mib, mib}, {40 * mib, mib}}, "[5 0]"},
		{"steps across blocks", []testRead{{39 * mib, 2 * mib}, {59 * mib, 2 * mib}, {79 * mib, 2 * mib}}, "[24 25 29 30]"},
		{"backwards", steps(63*mib, size, -mib, mib, mib)[:9], "[14 13 12 11 10 9]"},
		{"backwards over little", steps(63*mib, size, -mib, mib, mib)[:3], "[]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := readahead{max: 8}
			var asked []uint32
			for _, rd := range tt.reads {
				parts, _ := r.next(rd.off, int(rd.n), size, 100)
				for _, p := range parts {
					asked = append(asked, p.index)
				}
			}
			if got := fmt.Sprint(asked); got != tt.want {
				t.Errorf("asked for blocks %s, want %s", got, tt.want)
			}
		})
	}
}

// TestReadaheadPatterns has whole files read, and counts how many of the blocks that were read
// had been asked for before, and how many others.
func TestReadaheadPatterns(t *testing.T) {
	random := anywhere(2048, 100*gib, 4096)
	tests := []struct {
		name   string
		size   int64
		reads  []testRead
		ahead  int // per cent of the blocks read, at least
		astray int // blocks asked for and not read, at most
	}{
		{"sequential", gib, steps(0, gib, mib, mib, mib), 99, 0},
		{"sequential, out of order", gib, swapped(steps(0, gib, mib, mib, mib)), 99, 0},
		{"4 readers", 100 * gib, inTurn(1, segments(4)...), 92, 4 * 8},
		{"8 readers, 4 pieces each", 100 * gib, inTurn(4, segments(8)...), 90, 9 * 8},
		{"16 readers", 100 * gib, inTurn(1, segments(16)...), 92, 16 * 8},
		{"beside one at random", gib, inTurn(1, steps(0, gib, mib, mib, mib), anywhere(1024, gib, 4096)[:256]), 45, 0},
		{"beside 8 at random", 100 * gib, inTurn(1, steps(50*gib, 50*gib+256*mib, mib, mib, mib), random[:256], random[256:512], random[512:768], random[768:1024], random[1024:1280], random[1280:1536], random[1536:1792], random[1792:]), 2, 8},
		{"1 MiB of 16", gib, steps(0, gib, 16*mib, mib, mib), 95, 2},
		{"1 MiB of 6", gib, steps(5*mib, gib, 6*mib, mib, mib), 97, 0},
		{"4 MiB of 64, in pieces", 4 * gib, steps(0, 4*gib, 64*mib, 4*mib, mib), 95, 3},
		{"4 MiB of 64, out of order", 4 * gib, swapped(steps(0, 4*gib, 64*mib, 4*mib, mib)), 95, 4},
		{"1 MiB of 16, down", gib, steps(gib-mib, gib, -16*mib, mib, mib), 95, 0},
		{"1 MiB of 4", gib, steps(0, gib, 4*mib, mib, mib), 97, 0},
		{"256 KiB of 2 MiB", gib, steps(0, gib, 2*mib, mib/4, mib/4), 99, 0},
		{"backwards", gib, steps(gib-mib, gib, -mib, mib, mib), 99, 0},
		{"backwards, in pieces", gib, steps(gib-4*mib, gib, -4*mib, 4*mib, mib), 98, 0},
		{"4 KiB at random of 1 GiB", gib, anywhere(2000, gib, 4096), 0, 0},
		{"4 KiB at random of 100 GiB", 100 * gib, random, 0, 0},
		{"1 MiB at random of 1 GiB", gib, anywhere(500, gib, mib), 0, 8},
		{"1 MiB at random of 100 GiB", 100 * gib, anywhere(500, 100*gib, mib), 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := readahead{max: 8}
			asked, read := make(map[uint32]bool), make(map[uint32]bool)
			known := 0
			for _, rd := range tt.reads {
				for i := uint32(rd.off / shoal.BlockSize); i < after(rd.off+rd.n); i++ {
					if asked[i] && !read[i] {
						known++
					}
					read[i] = true
				}
				parts, _ := r.next(rd.off, int(rd.n), tt.size, 100)
				for _, p := range parts {
					asked[p.index] = true
				}
			}
			astray := 0
			for i := range asked {
				if !read[i] {
					astray++
				}
			}
			t.Logf("of %d blocks read %d had been asked for, and %d others", len(read), known, astray)
			if known*100 < tt.ahead*len(read) || astray > tt.astray {
				t.Errorf("of %d blocks read %d had been asked for, and %d others; want %d%% and at most %d",
					len(read), known, astray, tt.ahead, tt.astray)
			}
		})
	}
}

// TestReadaheadAtRandom checks that the reads of a small file at random, which lie close to one
// another, are not taken for those of sequential readers.
func TestReadaheadAtRandom(t *testing.T) {
	for _, size := range []int64{64 * mib, 256 * mib, gib} {
		r := readahead{max: 8}
		asked, sequential := 0, 0
		for _, rd := range anywhere(2000, size, 4096) {
			parts, seq := r.next(rd.off, int(rd.n), size, 100)
			asked += len(parts)
			if seq {
				sequential++
			}
		}
		t.Logf("2000 reads of 4 KiB in %d MiB: %d blocks asked for, %d reads taken for sequential", size/mib, asked, sequential)
		if asked > 20 || sequential > 20 {
			t.Errorf("of 2000 reads at random in %d MiB %d were taken for sequential, which asked for %d blocks; want 1%% at most", size/mib, sequential, asked)
		}
	}
}

func TestReadaheadOff(t *testing.T) {
	for _, step := range []int64{mib, -mib, 16 * mib, -16 * mib} {
		var r readahead
		for i := range int64(32) {
			if parts, _ := r.next(512*mib+i*step, int(mib), gib, 100); len(parts) > 0 {
				t.Fatalf("next(%d) = %v, want nothing", 512*mib+i*step, parts)
			}
		}
	}
}

// TestReadaheadLeft checks that a reader who goes elsewhere is noticed, and that its blocks are
// asked for again when it comes back.
func TestReadaheadLeft(t *testing.T) {
	r := readahead{max: 8}
	for _, rd := range steps(0, 16*mib, mib, mib, mib) {
		_, _ = r.next(rd.off, int(rd.n), 100*gib, 100)
	}
	if !r.expects(5) || r.left {
		t.Fatalf("expects(5) = %v, left = %v while a reader is at block 4, want true and false", r.expects(5), r.left)
	}
	reads := 0
	for _, rd := range anywhere(100, 100*gib, 4096) {
		if _, _ = r.next(rd.off, int(rd.n), 100*gib, 100); r.left {
			break
		}
		reads++
	}
	if reads < 16 || reads > 32 || r.expects(5) {
		t.Errorf("noticed after %d reads elsewhere, expects(5) = %v; want 16 to 32 and false", reads, r.expects(5))
	}
	parts, sequential := r.next(16*mib, int(mib), 100*gib, 100)
	if !sequential || len(parts) == 0 || parts[0] != whole(5) {
		t.Errorf("next for a reader who comes back = %v, %v, want blocks from 5 on", parts, sequential)
	}
}

// FuzzReadahead checks for any reads of any file that what is asked for lies in the file, is not
// more than there is room for, and nothing twice.
func FuzzReadahead(f *testing.F) {
	f.Add([]byte("reads in order and elsewhere"), int64(100*shoal.BlockSize+5), uint32(8), uint32(20))
	f.Fuzz(func(t *testing.T, reads []byte, size int64, most, room uint32) {
		size, most, room = 1+max(size, -(size+1))%(1<<44), most%64, room%64
		r := readahead{max: most}
		off := int64(0)
		for i := 0; i+1 < len(reads); i += 2 {
			n := 1 + int64(reads[i+1])*mib/64
			switch how, by := reads[i]%8, int64(reads[i]/8); {
			case how < 3:
				off += n
			case how < 4:
				off -= n
			case how < 6:
				off += by * mib
			case how < 7:
				off -= by * mib
			default:
				off = size / 32 * by
			}
			off = min(max(0, off), size-1)
			n = min(n, size-off)
			parts, _ := r.next(off, int(n), size, room)
			checkAsked(t, parts, size, room)
		}
	})
}

func checkAsked(t *testing.T, parts []part, size int64, room uint32) {
	t.Helper()
	if len(parts) > int(room) {
		t.Fatalf("asked for %d blocks, want at most %d", len(parts), room)
	}
	seen := make(map[uint32]bool)
	for _, p := range parts {
		chunks := shoal.Chunks(shoal.BlockLen(size, p.index))
		if p.first < 0 || p.first >= min(p.end, chunks) || p.end > maxChunks {
			t.Fatalf("asked for chunks [%d, %d) of block %d, which has %d", p.first, p.end, p.index, chunks)
		}
		if seen[p.index] {
			t.Fatalf("asked for block %d twice at once: %v", p.index, parts)
		}
		seen[p.index] = true
	}
}

// FuzzReadaheadPass checks that in one pass over a file, in even steps in either direction, no
// stream asks for a block twice, unless it has turned out to be of the other kind.
func FuzzReadaheadPass(f *testing.F) {
	for _, kib := range []int32{1024, 16 << 10, 6 << 10, 2048, -1024, -8 << 10, -(16 << 10)} {
		f.Add(kib, uint32(1023), uint32(960), uint32(8))
	}
	f.Fuzz(func(t *testing.T, stepKiB int32, kib, pieceKiB, most uint32) {
		const size = 2 * gib
		step, n := int64(stepKiB%(64<<10))<<10, int64(1+kib%(16<<10))<<10
		if abs(step) < 64<<10 {
			t.Skip("more reads than needed")
		}
		if abs(step) < n {
			t.Skip("the reads overlap")
		}
		piece, first := min(n, int64(64+pieceKiB%1024)<<10), int64(0)
		if step < 0 {
			first = size - n
		}
		r := readahead{max: most % 64}
		type asker struct {
			stream  int
			strided bool
			block   uint32
		}
		asked := make(map[asker]bool)
		for _, rd := range steps(first, size, step, n, piece) {
			parts, _ := r.next(rd.off, int(rd.n), size, 1000)
			checkAsked(t, parts, size, 1000)
			by := slices.IndexFunc(r.streams, func(s stream) bool { return s.used == r.clock })
			for _, p := range parts {
				a := asker{by, r.streams[by].strided, p.index}
				if asked[a] {
					t.Fatalf("steps of %d, reads of %d in pieces of %d: asked for block %d again at %d", step, n, piece, p.index, rd.off)
				}
				asked[a] = true
			}
		}
	})
}

// A reader that waits for its blocks has as many on their way as ever, though some come before
// others, up to three windows ahead.
func TestReadaheadFurther(t *testing.T) {
	const size = 100 * shoal.BlockSize
	tests := []struct {
		name     string
		size     int64
		room     uint32
		due      func(i uint32) bool
		from, to uint32 // blocks
	}{
		{"none has come, but more may be on their way", size, 100, func(uint32) bool { return true }, 11, 13},
		{"the reader does not wait", size, 100, func(i uint32) bool { return i < 4 }, 0, 0},
		{"two have come", size, 100, func(i uint32) bool { return i != 6 && i != 8 }, 11, 15},
		{"all others have come", size, 100, func(i uint32) bool { return i == 4 }, 11, 19},
		{"little room", size, 1, func(i uint32) bool { return i == 4 }, 11, 12},
		{"no room", size, 0, func(i uint32) bool { return i == 4 }, 0, 0},
		{"the end of the file", 14 * shoal.BlockSize, 100, func(i uint32) bool { return i == 4 }, 11, 14},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := readahead{max: 8}
			for i := range int64(4) {
				r.next(i*shoal.BlockSize, shoal.BlockSize, tt.size, 100)
			}
			r.next(4*shoal.BlockSize, 1<<20, tt.size, 6) // asked for blocks below 11
			if tt.due(4) {
				r.waits(4)
			}
			var want []part
			for i := tt.from; i < tt.to; i++ {
				want = append(want, whole(i))
			}
			if got := r.further(tt.size, tt.room, tt.due); !slices.Equal(got, want) {
				t.Errorf("further = %v, want blocks [%d, %d)", got, tt.from, tt.to)
			}
		})
	}
	r := readahead{max: 8}
	r.next(0, shoal.BlockSize, size, 100)
	r.waits(0)
	for range 100 { // its window of two blocks is used up again and again
		r.further(size, 100, func(i uint32) bool { return i == 0 })
	}
	if got, want := r.streams[0].asked, uint32(lead*2); got != want {
		t.Errorf("asked for %d blocks while block 0 is late, want %d", got, want)
	}
}
