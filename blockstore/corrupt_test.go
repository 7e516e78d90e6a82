package blockstore

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
)

// A smallStore is a store of a packed block and of a sparse file of two blocks, the last a
// short one.
type smallStore struct {
	*Store
	t      *testing.T
	told   map[shoal.Key]int // how often OnEvict told
	packed shoal.Key
	sparse [2]shoal.Key
	data   map[shoal.Key][]byte
}

// The lengths of the packed block and of the short last one of the sparse file.
const (
	smallPacked = 5000
	smallLast   = 4000
)

// smallConfig has slabs of 128 KiB, the smallest that have slots for blocks of smallPacked.
func smallConfig(dir string) Config {
	cfg := oneDisk(dir, 128<<20)
	cfg.SlabBytes = 128 << 10
	return cfg
}

func newSmallStore(t *testing.T) *smallStore {
	t.Helper()
	s := &smallStore{t: t, told: make(map[shoal.Key]int), data: make(map[shoal.Key][]byte)}
	cfg := smallConfig(fastDir(t))
	cfg.OnEvict = func(keys []shoal.Key) {
		for _, k := range keys {
			s.told[k]++
		}
	}
	s.Store = openTest(t, cfg)
	s.packed = pageKey(1)
	s.data[s.packed] = randomBytes(1, smallPacked)
	for i := range s.sparse {
		s.sparse[i] = shoal.Key{File: shoal.FileID{2}, Index: uint32(i)}
	}
	s.data[s.sparse[0]] = randomBytes(2, shoal.BlockSize)
	s.data[s.sparse[1]] = randomBytes(3, smallLast)
	for key := range s.data {
		s.put(key)
	}
	return s
}

func (s *smallStore) put(key shoal.Key) {
	s.t.Helper()
	file := File{SizeBytes: int64(len(s.data[key]))}
	if key.File == s.sparse[0].File {
		file.SizeBytes = shoal.BlockSize + smallLast
	}
	if err := s.Put(key, file, s.data[key], shoal.ChunkSums(key, s.data[key])); err != nil {
		s.t.Fatal(err)
	}
}

// A stretch is where some bytes of a block lie.
type stretch struct {
	path string
	off  int64
	n    int
}

// bytesOf and recordOf return where the bytes and the record of a block lie.
func (s *smallStore) bytesOf(key shoal.Key) stretch {
	s.t.Helper()
	d, b, ok := s.find(key)
	if !ok {
		s.t.Fatalf("block %v is not there", key)
	}
	return stretch{b.file().path(d.path), b.loc.Offset, b.loc.Length}
}

func (s *smallStore) recordOf(key shoal.Key) stretch {
	s.t.Helper()
	d, b, _ := s.find(key)
	n := recordLen(b.loc.Length)
	if b.packed {
		return stretch{b.file().path(d.path), b.loc.Offset + packedBytes(b.loc.Length) - int64(n), n}
	}
	return stretch{fileName{sumsFile, b.loc.Container}.path(d.path), cellOffset(key.Index+1) - int64(n), n}
}

// read is what ReadAt does, but for what follows when the block is bad. Chunk sums are read
// anew.
func (s *smallStore) read(key shoal.Key, p []byte, off int) error {
	d, b, ok := s.hold(key)
	if !ok {
		return fs.ErrNotExist
	}
	defer d.release(b)
	d.sums.forget(key)
	return d.read(b, p, off)
}

// flip flips one bit of a file.
func flip(t *testing.T, f *os.File, off int64, bit int) {
	t.Helper()
	var b [1]byte
	if _, err := f.ReadAt(b[:], off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 << bit
	if _, err := f.WriteAt(b[:], off); err != nil {
		t.Fatal(err)
	}
}

// openFlip opens a file to flip bits of.
func openFlip(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// flips flips bits of a stretch one at a time, those of every step-th byte: all eight, or, if step
// is more than 1, one of each. It reads with every one of them, and returns how many there were
// and how many were detected. Whatever is read without an error must be right.
func (s *smallStore) flips(at stretch, step int, key shoal.Key, readOff, readLen func(off int) int) (flips, detected int) {
	s.t.Helper()
	f := openFlip(s.t, at.path)
	buf := make([]byte, shoal.BlockSize)
	for i := 0; i < at.n; i += step {
		for bit := range 8 {
			if step > 1 && bit != i/step%8 {
				continue
			}
			flip(s.t, f, at.off+int64(i), bit)
			flips++
			off := readOff(i)
			p := buf[:readLen(i)]
			err := s.read(key, p, off)
			switch {
			case errors.Is(err, errSum), errors.Is(err, errRecord):
				detected++
			case err != nil:
				s.t.Fatalf("%s, byte %d, bit %d: read = %v, want %v or %v", filepath.Base(at.path), at.off+int64(i), bit, err, errSum, errRecord)
			case !bytes.Equal(p, s.data[key][off:off+len(p)]):
				s.t.Fatalf("%s, byte %d, bit %d: wrong bytes are served", filepath.Base(at.path), at.off+int64(i), bit)
			}
			flip(s.t, f, at.off+int64(i), bit)
		}
	}
	return flips, detected
}

// TestEveryBitFlip flips the bits of a small store's containers, one at a time: every bit of
// the packed block and of the short sparse one, of their records, of the gaps around them and
// of the headers; of the 4 MiB block every bit of its first page and of its record, and one bit
// of every 1 KiB (4 KiB with -short); of unused slots one of every 16 bytes.
func TestEveryBitFlip(t *testing.T) {
	s := newSmallStore(t)
	coarse := 1024
	if !thorough() {
		coarse = pageSize
	}
	zero := func(int) int { return 0 }
	same := func(off int) int { return off }
	all := func(key shoal.Key) func(int) int { return func(int) int { return len(s.data[key]) } }
	one := func(int) int { return 1 }
	packed, record := s.bytesOf(s.packed), s.recordOf(s.packed)
	last, lastRecord := s.bytesOf(s.sparse[1]), s.recordOf(s.sparse[1])
	first, firstRecord := s.bytesOf(s.sparse[0]), s.recordOf(s.sparse[0])
	slotEnd := record.off + int64(record.n)
	tests := []struct {
		name    string
		at      stretch
		step    int
		key     shoal.Key
		off, n  func(int) int
		carries bool // a block's bytes: every flip must be detected
	}{
		{"packed", packed, 1, s.packed, zero, all(s.packed), true},
		{"packed, in pieces", packed, 1, s.packed, same, one, true},
		{"its record", record, 1, s.packed, zero, all(s.packed), true},
		{"its record, in pieces", record, 1, s.packed, zero, one, true},
		{"its gap", stretch{packed.path, packed.off + smallPacked, int(record.off-packed.off) - smallPacked}, 1, s.packed, zero, all(s.packed), false},
		{"slab header", stretch{packed.path, 0, slabFirst}, 1, s.packed, zero, one, false},
		{"slots behind", stretch{packed.path, slotEnd, 128<<10 - int(slotEnd)}, 16, s.packed, zero, all(s.packed), false},
		{"last", last, 1, s.sparse[1], zero, all(s.sparse[1]), true},
		{"its record", lastRecord, 1, s.sparse[1], zero, all(s.sparse[1]), true},
		{"its cell's gap", stretch{lastRecord.path, cellOffset(1), sumsCell - lastRecord.n}, 1, s.sparse[1], zero, one, false},
		{"sums header", stretch{lastRecord.path, 0, sumsCell}, 1, s.sparse[1], zero, one, false},
		{"first page", stretch{first.path, 0, pageSize}, 1, s.sparse[0], same, one, true},
		{"first", first, coarse, s.sparse[0], same, one, true},
		{"its record", firstRecord, 1, s.sparse[0], zero, one, true},
		{"its cell's gap", stretch{firstRecord.path, cellOffset(0), sumsCell - firstRecord.n}, 1, s.sparse[0], zero, one, false},
	}
	total, found := 0, 0
	for _, tt := range tests {
		flips, detected := s.flips(tt.at, tt.step, tt.key, tt.off, tt.n)
		if tt.carries {
			total += flips
			found += detected
		}
		if tt.carries && detected != flips || !tt.carries && detected != 0 || flips == 0 {
			t.Errorf("%s: %d of %d flips detected, of a block's bytes: %v", tt.name, detected, flips, tt.carries)
		}
	}
	t.Logf("%d of %d flips in bytes that carry a block detected", found, total)
	for key, data := range s.data {
		checkReadAt(t, s.Store, key, data, 0, len(data))
	}
	if st := s.Stats(); st.Corrupt != 0 || st.Blocks != len(s.data) {
		t.Errorf("Stats() = %+v after all bits are back, want all blocks", st)
	}
}

// TestBitFlipDrops flips a bit of every byte of a block and its record, and checks all that
// follows: the reader gets ErrCorrupt and no byte, the block is dropped, told of and counted
// once, and can be put again.
func TestBitFlipDrops(t *testing.T) {
	s := newSmallStore(t)
	step, flips := 1, uint64(0)
	if !thorough() {
		step = 16
	}
	for _, key := range []shoal.Key{s.packed, s.sparse[1]} {
		for i := 0; i < len(s.data[key])+recordLen(len(s.data[key])); i += step {
			at := s.bytesOf(key)
			if i >= at.n {
				at = s.recordOf(key)
				at.off -= int64(len(s.data[key]))
			}
			f := openFlip(t, at.path)
			flip(t, f, at.off+int64(i), i%8)
			_ = f.Close()
			flips++
			s.told[key] = 0
			s.wantDropped(key)
			s.put(key)
		}
	}
	if st := s.Stats(); st.Corrupt != flips || st.Blocks != len(s.data) {
		t.Errorf("Stats() = %d corrupt, %d blocks; want %d, %d", st.Corrupt, st.Blocks, flips, len(s.data))
	}
	wantBytes := packedBytes(smallPacked) + sparseBytes(shoal.BlockSize) + sparseBytes(smallLast)
	if st := s.Stats(); st.Bytes-st.Disks[0].UnusableBytes != wantBytes || st.Datasets[0].Bytes != wantBytes {
		t.Errorf("Stats() = %+v, want %d bytes besides the unusable ones", st, wantBytes)
	}
}

// wantDropped reads a damaged block and checks that it is refused, dropped and told of.
func (s *smallStore) wantDropped(key shoal.Key) {
	s.t.Helper()
	for d := range s.disks {
		s.disks[d].sums.forget(key)
	}
	p := make([]byte, len(s.data[key]))
	if n, err := s.ReadAt(key, p, 0); n != 0 || !errors.Is(err, ErrCorrupt) {
		s.t.Errorf("ReadAt(damaged block) = %d, %v, want 0, %v", n, err, ErrCorrupt)
	}
	if _, err := s.ReadAt(key, p, 0); !errors.Is(err, fs.ErrNotExist) {
		s.t.Errorf("ReadAt(dropped block) = %v, want %v", err, fs.ErrNotExist)
	}
	if s.told[key] != 1 {
		s.t.Errorf("OnEvict told %d times, want once", s.told[key])
	}
}

// TestBitFlipFormats flips every bit of what containers say of themselves.
func TestBitFlipFormats(t *testing.T) {
	for _, length := range []int{1, shoal.ChunkSize + 1, shoal.BlockSize} {
		key, data := testKey(5), randomBytes(5, length)
		b := appendRecord(nil, key, length, 3, shoal.ChunkSums(key, data))
		if r, ok := parseRecord(b); !ok || r.key != key || r.length != length || r.dataset != 3 {
			t.Errorf("parseRecord of %d bytes = %+v, %v", length, r, ok)
		}
		for bit := range 8 * len(b) {
			b[bit/8] ^= 1 << (bit % 8)
			if r, ok := parseRecord(b); ok {
				t.Errorf("parseRecord(bit %d flipped) = %+v, want none", bit, r)
			}
			b[bit/8] ^= 1 << (bit % 8)
		}
	}
	b := header{name: 7, slot: 8192, size: 128 << 10}.bytes()
	for bit := range 8 * len(b) {
		b[bit/8] ^= 1 << (bit % 8)
		if h, ok := parseHeader(b); ok {
			t.Errorf("parseHeader(bit %d flipped) = %+v, want none", bit, h)
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
}

// TestDamage does worse than flipping bits to where the blocks are: what was there is gone,
// or is zero, or is something else that was written by this store.
func TestDamage(t *testing.T) {
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

// load and store are the bytes of a stretch.
func (s *smallStore) load(at stretch) []byte {
	s.t.Helper()
	b := make([]byte, at.n)
	if _, err := openFlip(s.t, at.path).ReadAt(b, at.off); err != nil {
		s.t.Fatal(err)
	}
	return b
}

func (s *smallStore) store(at stretch, b []byte) {
	s.t.Helper()
	if _, err := openFlip(s.t, at.path).WriteAt(b, at.off); err != nil {
		s.t.Fatal(err)
	}
}

func (s *smallStore) zero(at stretch) { s.store(at, make([]byte, at.n)) }

func (s *smallStore) swap(a, b stretch) {
	inA := s.load(a)
	s.store(a, s.load(b))
	s.store(b, inA)
}

// remove removes a file that the store may have open, and makes it open it anew.
func (s *smallStore) remove(path string) {
	s.t.Helper()
	if err := os.Remove(path); err != nil {
		s.t.Fatal(err)
	}
	for _, d := range s.disks {
		d.handles.close()
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

// TestUnusableSlots checks that what held a bad block is not given to another until the store
// is opened anew.
func TestUnusableSlots(t *testing.T) {
	const slabs, bad = 2, 5
	dir := fastDir(t)
	s := &smallStore{t: t, told: make(map[shoal.Key]int), data: make(map[shoal.Key][]byte)}
	cfg := pageStore(dir, slabs)
	cfg.Quotas = map[string]int64{"": slabs * pageSlots * pageSize}
	s.Store = openTest(t, cfg)
	places := make(map[Location]bool)
	for i := range uint32(slabs * pageSlots) {
		put(t, s.Store, pageKey(i), randomBytes(uint64(i), 1000))
	}
	for i := range uint32(bad) {
		_, b, _ := s.find(pageKey(3 * i))
		places[b.loc] = true
		s.zero(s.bytesOf(pageKey(3 * i)))
		if err := s.Check(pageKey(3 * i)); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("Check(damaged block) = %v, want %v", err, ErrCorrupt)
		}
	}
	for i := range uint32(500) { // many times over
		put(t, s.Store, pageKey(100+i), randomBytes(uint64(i), 1000))
		if _, b, _ := s.find(pageKey(100 + i)); places[b.loc] {
			t.Fatalf("a block was put where a bad one was, at %+v", b.loc)
		}
	}
	st := s.Stats()
	const good = slabs*pageSlots - bad
	if st.Blocks != good || st.Disks[0].UnusableBytes != bad*pageSize || st.Bytes != slabs*pageSlots*pageSize || st.Datasets[0].Blocks != good {
		t.Errorf("Stats() = %+v, want %d blocks and %d unusable slots", st, good, bad)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s.Store = openTest(t, cfg)
	for i := range uint32(bad) {
		put(t, s.Store, pageKey(1000+i), randomBytes(uint64(i), 1000))
	}
	if st := s.Stats(); st.Blocks != slabs*pageSlots || st.Disks[0].UnusableBytes != 0 {
		t.Errorf("Stats() = %+v after a restart, want all slots in use", st)
	}
}

// TestScrub plants bad blocks, before the scrub begins and while it goes on, and waits for it
// to find them.
func TestScrub(t *testing.T) {
	const blocks, rate = 40, 1 << 40
	dir := fastDir(t)
	told := make(chan shoal.Key, blocks)
	cfg := smallConfig(dir)
	cfg.OnEvict = func(keys []shoal.Key) {
		for _, k := range keys {
			told <- k
		}
	}
	key := func(i uint32) shoal.Key {
		if i%4 == 0 {
			return sparseKey(i)
		}
		return pageKey(i)
	}
	s := openTest(t, cfg)
	for i := range uint32(blocks) {
		put(t, s, key(i), randomBytes(uint64(i), 3000))
	}
	plant := func(keys ...uint32) map[shoal.Key]bool {
		planted := make(map[shoal.Key]bool)
		for _, i := range keys {
			planted[key(i)] = true
			d, b, _ := s.find(key(i))
			flip(t, openFlip(t, b.file().path(d.path)), b.loc.Offset+int64(i), 3)
		}
		return planted
	}
	found := func(planted map[shoal.Key]bool) {
		t.Helper()
		for range planted {
			if k := <-told; !planted[k] {
				t.Errorf("told of %v, which is not bad", k)
			}
		}
	}
	// One pass finds all.
	planted := plant(3, 8, 20, 39)
	if !s.disks[0].scrubPass(nil, rate) {
		t.Error("scrubPass() = false, want it to come to its end")
	}
	found(planted)
	st := s.Stats().Disks[0].Scrub
	if st.Bad != 4 || st.Blocks != blocks || st.Bytes != blocks*3000 || st.Total != blocks-4 || st.LastPass.IsZero() {
		t.Errorf("Stats().Disks[0].Scrub = %+v, want a pass over %d blocks, 4 of them bad", st, blocks)
	}
	planted = plant(5, 12)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// It goes on pass after pass, and Close ends it, though it would wait for long.
	cfg.ScrubBytesPerSec, cfg.ScrubPause = rate, time.Nanosecond
	s = openTest(t, cfg)
	found(planted)
	found(plant(7, 16))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.ScrubPause = time.Hour
	s = openTest(t, cfg)
	if got := checkAll(t, s); got != blocks-8 || s.Stats().Corrupt != 0 {
		t.Errorf("blocks = %d, %d corrupt, want %d and none", got, s.Stats().Corrupt, blocks-8)
	}
}

// TestBitFlipHeaders flips a bit of every byte of the headers, and of every third byte of the
// records, and has the index made anew from them: a container without its header is lost, and
// so is a block without its record, but nothing else, and nothing is wrong.
func TestBitFlipHeaders(t *testing.T) {
	s := newSmallStore(t)
	packed, last := s.recordOf(s.packed), s.recordOf(s.sparse[1])
	dir := s.disks[0].path
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	step := 1
	if !thorough() {
		step = 8
	}
	tests := []struct {
		name string
		at   stretch
		step int
		lost []shoal.Key
	}{
		{"slab header", stretch{packed.path, 0, headerLen}, step, []shoal.Key{s.packed}},
		{"sums header", stretch{last.path, 0, headerLen}, step, s.sparse[:]},
		{"packed record", packed, 3 * step, []shoal.Key{s.packed}},
		{"last record", last, 3 * step, s.sparse[1:]},
	}
	backup := copyTree(t, dir)
	for _, tt := range tests {
		for i := 0; i < tt.at.n; i += tt.step {
			flip(t, openFlip(t, tt.at.path), tt.at.off+int64(i), i%8)
			if err := os.RemoveAll(filepath.Join(dir, "index")); err != nil {
				t.Fatal(err)
			}
			again := s.reopen(dir)
			if want := len(s.data) - len(tt.lost); again != want {
				t.Errorf("%s, byte %d: %d blocks after a rebuild, want %d", tt.name, i, again, want)
			}
			restoreTree(t, backup, dir)
		}
	}
}

// reopen opens the store at dir, checks that each block is right or is not there, and returns
// how many are.
func (s *smallStore) reopen(dir string) (there int) {
	s.t.Helper()
	again, err := Open(smallConfig(dir))
	if err != nil {
		s.t.Errorf("Open() = %v", err)
		return 0
	}
	there = s.rightOrMissing(again)
	s.putAnother(again)
	if err := again.Close(); err != nil {
		s.t.Errorf("Close() = %v", err)
	}
	return there
}

// rightOrMissing checks that each block of a store is right or is not there, and returns how many
// are.
func (s *smallStore) rightOrMissing(again *Store) (there int) {
	s.t.Helper()
	for key, want := range s.data {
		got := make([]byte, len(want))
		n, err := again.ReadAt(key, got, 0)
		switch {
		case err == nil && n == len(want) && bytes.Equal(got, want):
			there++
		case err == nil:
			s.t.Errorf("block %v: wrong bytes are served", key)
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrCorrupt):
			s.t.Errorf("ReadAt() = %v, want the bytes or a miss", err)
		}
	}
	return there
}

// putAnother checks that a store takes a block.
func (s *smallStore) putAnother(again *Store) {
	s.t.Helper()
	key, data := pageKey(999), randomBytes(9, 100)
	if err := again.Put(key, fileOf(key, data), data, shoal.ChunkSums(key, data)); err != nil {
		s.t.Errorf("Put() = %v", err)
	}
}

// TestBitFlipIndex flips bits of the files of the index: whatever comes of it, no wrong byte is
// served, and the store opens and goes on.
func TestBitFlipIndex(t *testing.T) {
	s := newSmallStore(t)
	dir := s.disks[0].path
	// A table, and a log behind it.
	if err := s.disks[0].index.db.Flush(); err != nil {
		t.Fatal(err)
	}
	key := pageKey(3)
	s.data[key] = randomBytes(3, 3000)
	s.put(key)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	perFile := 24
	if !thorough() {
		perFile = 4
	}
	backup := copyTree(t, dir)
	there, flips := 0, 0
	for name, contents := range backup {
		if !strings.HasPrefix(name, "index/") || contents.size == 0 {
			continue
		}
		step := max(1, contents.size/int64(perFile))
		for off := int64(0); off < contents.size; off += step {
			flip(t, openFlip(t, filepath.Join(dir, name)), off, int(off/step)%8)
			flips++
			n := s.reopen(dir)
			there += n
			if t.Failed() {
				t.Fatalf("%s: byte %d", name, off)
			}
			restoreTree(t, backup, dir)
		}
	}
	t.Logf("%d flips, %d of %d blocks still there", flips, there, flips*len(s.data))
	if there < flips*len(s.data)/2 {
		t.Errorf("of %d flips only %d of %d blocks outlived them", flips, there, flips*len(s.data))
	}
}

// A savedFile is what copyTree keeps of a file: what is not zero of it.
type savedFile struct {
	size  int64
	pages map[int64][]byte
}

// copyTree reads the files of a directory.
func copyTree(t *testing.T, dir string) map[string]savedFile {
	t.Helper()
	files := make(map[string]savedFile)
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, name))
		saved := savedFile{int64(len(b)), make(map[int64][]byte)}
		for off := 0; off < len(b); off += pageSize {
			page := b[off:min(len(b), off+pageSize)]
			if !bytes.Equal(page, make([]byte, len(page))) {
				saved.pages[int64(off)] = page
			}
		}
		files[name] = saved
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// restoreTree makes the files of a directory what they were when copyTree read them.
func restoreTree(t *testing.T, files map[string]savedFile, dir string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if _, ok := files[name]; !ok {
			return os.Remove(filepath.Join(dir, name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, saved := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if saved.size > shoal.BlockSize && !saved.changed(t, path) {
			continue
		}
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		err = f.Truncate(saved.size)
		for off, page := range saved.pages {
			_, werr := f.WriteAt(page, off)
			err = errors.Join(err, werr)
		}
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// changed reports whether the first page of a file is not as it was, or the file is not there.
func (f savedFile) changed(t *testing.T, path string) bool {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		return true
	}
	defer func() { _ = file.Close() }()
	page := make([]byte, pageSize)
	_, err = file.ReadAt(page, 0)
	return err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(page, f.pages[0])
}
