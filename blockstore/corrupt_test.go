package blockstore

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/shoal-mesh/shoal"
)

// TestDamage does worse than flipping bits to where the blocks are: what was there is gone,
// or is zero, or is something else that was written by this store.
func TestDamage(t *testing.T) {
	t.Parallel()
	truncate := func(at func(*smallStore) int64) func(*smallStore, shoal.Key) {
		return func(s *smallStore, key shoal.Key) {
			if err := os.Truncate(s.bytesOf(key).path, at(s)); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	truncateSums := func(n int64) func(*smallStore, shoal.Key) {
		return func(s *smallStore, key shoal.Key) {
			if err := os.Truncate(s.recordOf(key).path, n); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	const packed, first, last = 0, 1, 2
	tests := []struct {
		name   string
		of     int
		damage func(s *smallStore, key shoal.Key)
	}{
		{"slab empty", packed, truncate(func(*smallStore) int64 { return 0 })},
		{"slab of a header", packed, truncate(func(*smallStore) int64 { return slabFirst })},
		{"slab ends in the block", packed, truncate(func(s *smallStore) int64 { return s.bytesOf(s.packed).off + 100 })},
		{"slab ends in the record", packed, truncate(func(s *smallStore) int64 { return s.recordOf(s.packed).off + 43 })},
		{"container empty", first, truncate(func(*smallStore) int64 { return 0 })},
		{"container ends in the block", first, truncate(func(*smallStore) int64 { return shoal.BlockSize - 1 })},
		{"container ends before the block", last, truncate(func(*smallStore) int64 { return shoal.BlockSize })},
		{"container ends in the last block", last, truncate(func(*smallStore) int64 { return shoal.BlockSize + smallLast - 1 })},
		{"sums empty", first, truncateSums(0)},
		{"sums end in the record", last, truncateSums(3*sumsCell - 1)},
		{"slot zero", packed, func(s *smallStore, key shoal.Key) { s.zero(s.bytesOf(key)); s.zero(s.recordOf(key)) }},
		{"bytes zero", packed, func(s *smallStore, key shoal.Key) { s.zero(s.bytesOf(key)) }},
		{"record zero", packed, func(s *smallStore, key shoal.Key) { s.zero(s.recordOf(key)) }},
		{"page zero", packed, func(s *smallStore, key shoal.Key) { at := s.bytesOf(key); at.n = pageSize; s.zero(at) }},
		{"block zero", first, func(s *smallStore, key shoal.Key) { s.zero(s.bytesOf(key)) }},
		{"page zero", first, func(s *smallStore, key shoal.Key) { s.zero(stretch{s.bytesOf(key).path, 77 * pageSize, pageSize}) }},
		{"block zero", last, func(s *smallStore, key shoal.Key) { s.zero(s.bytesOf(key)) }},
		{"record zero", last, func(s *smallStore, key shoal.Key) { s.zero(s.recordOf(key)) }},
		{"chunks swapped", first, func(s *smallStore, key shoal.Key) {
			path := s.bytesOf(key).path
			s.swap(stretch{path, 0, shoal.ChunkSize}, stretch{path, 5 * shoal.ChunkSize, shoal.ChunkSize})
		}},
		{"slab gone", packed, func(s *smallStore, key shoal.Key) { s.remove(s.bytesOf(key).path) }},
		{"container gone", first, func(s *smallStore, key shoal.Key) { s.remove(s.bytesOf(key).path) }},
		{"sums gone", last, func(s *smallStore, key shoal.Key) { s.remove(s.recordOf(key).path) }},
	}
	for _, tt := range tests {
		s := newSmallStore(t)
		key := []shoal.Key{s.packed, s.sparse[0], s.sparse[1]}[tt.of]
		t.Run(tt.name+" "+key.String()[:2]+key.String()[32:], func(t *testing.T) {
			s.t = t
			tt.damage(s, key)
			s.wantDropped(key)
			if !strings.HasSuffix(tt.name, "gone") {
				s.put(key)
				checkReadAt(t, s.Store, key, s.data[key], 0, len(s.data[key]))
			}
			s.rightOrMissing(s.Store)
		})
	}
}

// TestSwapped swaps what belongs to two blocks with the same bytes: only the keys differ.
func TestSwapped(t *testing.T) {
	s := newSmallStore(t)
	whole := func(key shoal.Key) stretch {
		at := s.bytesOf(key)
		at.n = int(packedBytes(at.n))
		return at
	}
	tests := []struct {
		name   string
		length int
		alike  bool // the blocks have the same bytes
		at     func(shoal.Key) stretch
		over   bool // what the second has is written over the first
	}{
		{"slots", smallPacked, true, whole, false},
		{"slots, one over the other", smallPacked, true, whole, true},
		{"records", smallPacked, true, s.recordOf, false},
		{"bytes", smallPacked, false, s.bytesOf, false},
		{"sparse blocks", shoal.BlockSize, false, s.bytesOf, false},
		{"sparse blocks, one over the other", shoal.BlockSize, false, s.bytesOf, true},
		{"cells", shoal.BlockSize, true, s.recordOf, false},
		{"cells, one over the other", shoal.BlockSize, true, s.recordOf, true},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.t = t
			a, b := pageKey(uint32(100+2*i)), pageKey(uint32(101+2*i))
			s.data[a], s.data[b] = randomBytes(7, tt.length), randomBytes(7, tt.length)
			if !tt.alike {
				s.data[b] = randomBytes(8, tt.length)
			}
			s.put(a)
			s.put(b)
			if tt.over {
				s.store(tt.at(a), s.load(tt.at(b)))
				checkReadAt(t, s.Store, b, s.data[b], 0, tt.length)
			} else {
				s.swap(tt.at(a), tt.at(b))
				s.wantDropped(b)
			}
			s.wantDropped(a)
		})
	}
}

// TestSwappedInFile swaps blocks of one file, all of them there with all their records.
func TestSwappedInFile(t *testing.T) {
	s := newSmallStore(t)
	file := File{SizeBytes: 2 * shoal.BlockSize}
	for i, at := range []func(shoal.Key) stretch{s.bytesOf, s.recordOf} {
		keys := []shoal.Key{{File: shoal.FileID{50, byte(i)}}, {File: shoal.FileID{50, byte(i)}, Index: 1}}
		for j, key := range keys {
			data := randomBytes(uint64(5+j), shoal.BlockSize)
			s.data[key] = data
			if err := s.Put(key, file, data, shoal.ChunkSums(key, data)); err != nil {
				t.Fatal(err)
			}
		}
		s.swap(at(keys[0]), at(keys[1]))
		for _, key := range keys {
			s.wantDropped(key)
		}
	}
}

// liarFiles is osFiles that says it wrote and did not, or not there: where says how far from
// where it should a write goes, and whether it goes anywhere.
type liarFiles struct {
	osFiles
	where func(name string, off int64) (by int64, ok bool)
}

func (l *liarFiles) Open(name string) (file, error) {
	f, err := l.osFiles.Open(name)
	if err != nil {
		return nil, err
	}
	return &liarFile{f, l, name}, nil
}

type liarFile struct {
	file
	fs   *liarFiles
	name string
}

func (f *liarFile) WriteAt(parts [][]byte, off int64) error {
	by, ok := f.fs.where(f.name, off)
	if !ok {
		return nil
	}
	return f.file.WriteAt(parts, off+by)
}

// TestLyingDisk checks that a block is refused whose write was lost or went elsewhere, and so
// is the one that it went over.
func TestLyingDisk(t *testing.T) {
	const length = 6000 // two pages
	for _, sparse := range []bool{false, true} {
		for _, by := range []int64{0, pageSize, -pageSize, 2 * pageSize, shoal.BlockSize} {
			var lie bool
			cfg := smallConfig(fastDir(t))
			cfg.files = &liarFiles{where: func(name string, _ int64) (int64, bool) {
				if !lie || strings.HasSuffix(name, sumsSuffix) {
					return 0, true
				}
				return by, by != 0
			}}
			s := openTest(t, cfg)
			key := func(i uint32) shoal.Key {
				if sparse {
					return shoal.Key{File: shoal.FileID{1}, Index: i}
				}
				return pageKey(i)
			}
			data := make(map[shoal.Key][]byte)
			for i := range uint32(3) {
				lie = i == 1
				k := key(i)
				data[k] = randomBytes(uint64(i), length)
				file := File{SizeBytes: length}
				if sparse {
					data[k] = randomBytes(uint64(i), shoal.BlockSize)
					file.SizeBytes = 3 * shoal.BlockSize
				}
				if err := s.Put(k, file, data[k], shoal.ChunkSums(k, data[k])); err != nil {
					t.Fatal(err)
				}
			}
			bad := 0
			for k, want := range data {
				got := make([]byte, len(want))
				_, err := s.ReadAt(k, got, 0)
				switch {
				case errors.Is(err, ErrCorrupt):
					bad++
				case err != nil || !bytes.Equal(got, want):
					t.Errorf("sparse %v, by %d: ReadAt = %v, or wrong bytes", sparse, by, err)
				case k == key(1):
					t.Errorf("sparse %v, by %d: the block that was written elsewhere is served", sparse, by)
				}
			}
			if bad == 0 {
				t.Errorf("sparse %v, by %d: no block is bad", sparse, by)
			}
		}
	}
}

// TestDamageWhileOpen flips a bit of a container whose record has been read already.
func TestDamageWhileOpen(t *testing.T) {
	s := newSmallStore(t)
	key := s.sparse[0]
	if err := s.Check(key); err != nil {
		t.Fatal(err)
	}
	at := s.bytesOf(key)
	flip(t, openFlip(t, at.path), shoal.BlockSize-1, 4)
	// The chunks that are whole are served, the last is not.
	if _, err := s.ReadAt(key, make([]byte, shoal.BlockSize-shoal.ChunkSize), 0); err != nil {
		t.Errorf("ReadAt(whole chunks) = %v", err)
	}
	s.wantDropped(key)
}

// TestWrongSums puts a block with sums that are not its own.
func TestWrongSums(t *testing.T) {
	s := newSmallStore(t)
	key, data := pageKey(9), randomBytes(1, 1000)
	s.data[key] = data
	if err := s.Put(key, fileOf(key, data), data, []shoal.Sum{1}); err != nil {
		t.Fatal(err)
	}
	s.wantDropped(key)
}
