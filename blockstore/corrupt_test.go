package blockstore

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/shoal-mesh/shoal"
)

// container returns the file of a block.
func container(t *testing.T, s *Store, key shoal.Key) string {
	t.Helper()
	d, b, ok := s.find(key, false)
	if !ok {
		t.Fatalf("block %v is not there", key)
	}
	return containerPath(d.path, b.container)
}

// damage rewrites the container of a block in place.
func damage(t *testing.T, s *Store, key shoal.Key, change func([]byte) []byte) {
	t.Helper()
	path := container(t, s, key)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// corruptStore is a store that keeps count of what it tells of.
func corruptStore(t *testing.T) (*Store, map[shoal.Key]int) {
	told := make(map[shoal.Key]int)
	cfg := oneDisk(fastDir(t), 1<<30)
	cfg.OnEvict = func(keys []shoal.Key) {
		for _, k := range keys {
			told[k]++
		}
	}
	return openTest(t, cfg), told
}

// wantDropped reads a damaged block and checks that it is refused, dropped and told of.
func wantDropped(t *testing.T, s *Store, told map[shoal.Key]int, key shoal.Key, length int) {
	t.Helper()
	n, err := s.ReadAt(key, make([]byte, length), 0)
	if n != 0 || !errors.Is(err, ErrCorrupt) {
		t.Errorf("ReadAt(damaged block) = %d, %v, want 0, %v", n, err, ErrCorrupt)
	}
	if _, err := s.ReadAt(key, make([]byte, length), 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadAt(dropped block) = %v, want %v", err, fs.ErrNotExist)
	}
	if told[key] != 1 {
		t.Errorf("OnEvict told %d times, want once", told[key])
	}
}

// TestEveryBitFlip flips each bit of a small container, trailer included.
func TestEveryBitFlip(t *testing.T) {
	s, told := corruptStore(t)
	key, data := testKey(1), randomBytes(1, 211)
	flips := 8 * (len(data) + trailerLen(len(data)))
	for bit := range flips {
		put(t, s, key, data)
		damage(t, s, key, func(b []byte) []byte {
			b[bit/8] ^= 1 << (bit % 8)
			return b
		})
		n, err := s.ReadAt(key, make([]byte, 10), 200)
		if n != 0 || !errors.Is(err, ErrCorrupt) {
			t.Fatalf("bit %d flipped: ReadAt = %d, %v, want 0, %v", bit, n, err, ErrCorrupt)
		}
	}
	if got := s.Stats(); got.Corrupt != uint64(flips) || told[key] != flips || got.Blocks != 0 || got.Bytes != 0 {
		t.Errorf("after %d flips: Stats() = %+v, told %d times", flips, got, told[key])
	}
}

func TestDamage(t *testing.T) {
	const length = 3*shoal.ChunkSize + 100
	tests := []struct {
		name   string
		change func([]byte) []byte
	}{
		{"empty", func([]byte) []byte { return nil }},
		{"trailer cut", func(b []byte) []byte { return b[:len(b)-1] }},
		{"data cut", func(b []byte) []byte { return b[:shoal.ChunkSize] }},
		{"zero page", func(b []byte) []byte { clear(b[2*pageSize : 3*pageSize]); return b }},
		{"all zero", func(b []byte) []byte { clear(b); return b }},
		{"chunks swapped", func(b []byte) []byte {
			first := bytes.Clone(b[:shoal.ChunkSize])
			copy(b, b[shoal.ChunkSize:2*shoal.ChunkSize])
			copy(b[shoal.ChunkSize:], first)
			return b
		}},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, told := corruptStore(t)
			key := testKey(uint32(i))
			put(t, s, key, randomBytes(uint64(i), length))
			damage(t, s, key, tt.change)
			wantDropped(t, s, told, key, length)
		})
	}
}

// TestSwappedContainers gives each of two blocks the other's container: a misdirected
// write. Their bytes are the same, only the keys differ.
func TestSwappedContainers(t *testing.T) {
	s, told := corruptStore(t)
	data := randomBytes(1, 1000)
	a, b := testKey(1), testKey(2)
	put(t, s, a, data)
	put(t, s, b, data)
	pa, pb := container(t, s, a), container(t, s, b)
	for _, move := range [][2]string{{pa, pa + ".x"}, {pb, pa}, {pa + ".x", pb}} {
		if err := os.Rename(move[0], move[1]); err != nil {
			t.Fatal(err)
		}
	}
	wantDropped(t, s, told, a, 1000)
	wantDropped(t, s, told, b, 1000)
}

func TestMissingContainer(t *testing.T) {
	s, told := corruptStore(t)
	key := testKey(1)
	put(t, s, key, randomBytes(1, 1000))
	if err := os.Remove(container(t, s, key)); err != nil {
		t.Fatal(err)
	}
	wantDropped(t, s, told, key, 1000)
}

// TestDamageWhileOpen flips a bit of a container whose trailer has been read already.
func TestDamageWhileOpen(t *testing.T) {
	const length = 2 * shoal.ChunkSize
	s, told := corruptStore(t)
	key := testKey(1)
	put(t, s, key, randomBytes(1, length))
	if err := s.Check(key); err != nil {
		t.Fatal(err)
	}
	damage(t, s, key, func(b []byte) []byte { b[length-1] ^= 4; return b })
	// The chunk that is whole is served, the other is not.
	if _, err := s.ReadAt(key, make([]byte, shoal.ChunkSize), 0); err != nil {
		t.Errorf("ReadAt(whole chunk) = %v", err)
	}
	wantDropped(t, s, told, key, length)
}

// TestWrongSums puts a block with sums that are not its own.
func TestWrongSums(t *testing.T) {
	s, told := corruptStore(t)
	key, data := testKey(1), randomBytes(1, 1000)
	if err := s.Put(key, data, []shoal.Sum{1}); err != nil {
		t.Fatal(err)
	}
	wantDropped(t, s, told, key, 1000)
}
