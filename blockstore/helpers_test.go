package blockstore

import (
	"math/rand/v2"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
)

// thorough reports whether tests run at full length, as make test-all has them. Else they take a
// tenth of it or so, for make test to end soon.
func thorough() bool { return os.Getenv("SHOAL_TEST_ALL") != "" && !testing.Short() }

// testKey returns the key of block number i, each of a file of its own.
func testKey(i uint32) shoal.Key {
	return shoal.Key{File: shoal.FileID{byte(i), byte(i >> 8), byte(i >> 16), 0xaa}, Index: i % 7}
}

// randomBytes returns n bytes that depend on seed only.
func randomBytes(seed uint64, n int) []byte {
	rnd := rand.New(rand.NewPCG(seed, 99))
	b := make([]byte, n+8)
	for i := 0; i < n; i += 8 {
		v := rnd.Uint64()
		for j := range 8 {
			b[i+j] = byte(v >> (8 * j))
		}
	}
	return b[:n]
}

// openTest opens a store and closes it at the test's end. Watermarks are off unless given,
// so that what is evicted is exact.
func openTest(t *testing.T, cfg Config) *Store {
	t.Helper()
	if cfg.High == 0 {
		cfg.High, cfg.Low = 1, 1
	}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return s
}

// oneDisk is the config of a store with one cache directory.
func oneDisk(dir string, sizeBytes int64) Config {
	return Config{Disks: []Disk{{Path: dir, SizeBytes: sizeBytes}}}
}

// put puts data under key and fails the test if it cannot.
func put(t *testing.T, s *Store, key shoal.Key, data []byte) {
	t.Helper()
	if err := s.Put(key, fileOf(key, data), data, shoal.ChunkSums(key, data)); err != nil {
		t.Fatal(err)
	}
}

// fileOf returns the file of which data is the last block: one of a block when the key's index
// is 0, else one that gets a sparse container.
func fileOf(key shoal.Key, data []byte) File {
	return File{SizeBytes: int64(key.Index)*shoal.BlockSize + int64(len(data))}
}

// fastDir returns a temporary directory in memory where there is room, for tests that
// would wait for the syncs of opening stores.
func fastDir(t *testing.T) string {
	t.Helper()
	const memory, enough = "/dev/shm", 1 << 30
	var st unix.Statfs_t
	if err := unix.Statfs(memory, &st); err == nil && st.Bavail*uint64(st.Bsize) >= enough {
		t.Setenv("TMPDIR", memory)
	}
	return t.TempDir()
}

// keysOf returns the keys of blocks that went.
func keysOf(went []Gone) []shoal.Key {
	keys := make([]shoal.Key, len(went))
	for i, g := range went {
		keys[i] = g.Key
	}
	return keys
}
