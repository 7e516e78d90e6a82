package blockstore

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shoal-mesh/shoal"
)

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
// of every 1 KiB; of unused slots one of every 16 bytes. To be done in seconds it flips every bit of
// the records, and of the others one of every third byte, and of every 4 KiB.
func TestEveryBitFlip(t *testing.T) {
	t.Parallel()
	s := newSmallStore(t)
	fine, coarse := 1, 1024
	if !thorough() {
		fine, coarse = 3, pageSize
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
		{"packed", packed, fine, s.packed, zero, all(s.packed), true},
		{"packed, in pieces", packed, fine, s.packed, same, one, true},
		{"its record", record, 1, s.packed, zero, all(s.packed), true},
		{"its record, in pieces", record, 1, s.packed, zero, one, true},
		{"its gap", stretch{packed.path, packed.off + smallPacked, int(record.off-packed.off) - smallPacked}, fine, s.packed, zero, all(s.packed), false},
		{"slab header", stretch{packed.path, 0, slabFirst}, fine, s.packed, zero, one, false},
		{"slots behind", stretch{packed.path, slotEnd, 128<<10 - int(slotEnd)}, 16, s.packed, zero, all(s.packed), false},
		{"last", last, fine, s.sparse[1], zero, all(s.sparse[1]), true},
		{"its record", lastRecord, 1, s.sparse[1], zero, all(s.sparse[1]), true},
		{"its cell's gap", stretch{lastRecord.path, cellOffset(1), sumsCell - lastRecord.n}, fine, s.sparse[1], zero, one, false},
		{"sums header", stretch{lastRecord.path, 0, sumsCell}, fine, s.sparse[1], zero, one, false},
		{"first page", stretch{first.path, 0, pageSize}, fine, s.sparse[0], same, one, true},
		{"first", first, coarse, s.sparse[0], same, one, true},
		{"its record", firstRecord, 1, s.sparse[0], zero, one, true},
		{"its cell's gap", stretch{firstRecord.path, cellOffset(0), sumsCell - firstRecord.n}, fine, s.sparse[0], zero, one, false},
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

// TestBitFlipHeaders flips a bit of every byte of the headers, and of every third byte of the
// records, and has the index made anew from them: a container without its header is lost, and
// so is a block without its record, but nothing else, and nothing is wrong.
func TestBitFlipHeaders(t *testing.T) {
	t.Parallel()
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

// TestBitFlipIndex flips bits of the files of the index: whatever comes of it, no wrong byte is
// served, and the store opens and goes on.
func TestBitFlipIndex(t *testing.T) {
	t.Parallel()
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
