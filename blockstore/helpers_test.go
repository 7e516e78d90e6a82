package blockstore

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"os"
	"runtime"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
)

// thorough reports whether tests run at full length, as make test-all has them. Else they take a
// tenth of it or so, for make test to end soon.
func thorough() bool { return os.Getenv("SHOAL_TEST_ALL") != "" && !testing.Short() }

// length returns how long a test is to be: full when tests run at full length, else short.
func length(full, short int) int {
	if thorough() {
		return full
	}
	return short
}

// inBubble runs a test with a store in a synctest bubble. Pebble pools what has channels of the
// bubble, which may not be used outside: two collections empty a pool.
func inBubble(t *testing.T, test func(*testing.T)) {
	t.Helper()
	synctest.Test(t, test)
	runtime.GC()
	runtime.GC()
}

// testKey returns the key of block number i, each of a file of its own.
func testKey(i uint32) shoal.Key {
	return shoal.Key{File: shoal.FileID{byte(i), byte(i >> 8), byte(i >> 16), 0xaa}, Index: i % 7}
}

// randomBytes returns n bytes that depend on seed only. They come from a cipher, which writes them in
// one go: the race detector would look at every byte that a loop writes.
func randomBytes(seed uint64, n int) []byte {
	var key [aes.BlockSize]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // of the key's length, which is right
	}
	b := make([]byte, n)
	cipher.NewCTR(block, key[:]).XORKeyStream(b, b)
	return b
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
	if err := unix.Statfs(memory, &st); err != nil || st.Bavail*uint64(st.Bsize) < enough {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(memory, "shoal") //nolint:usetesting // it makes none in memory, but by an environment for all tests
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the test's directory: %v", err)
		}
	})
	return dir
}

// openFiles returns how many file descriptors this process has.
func openFiles(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("SKIPPED: cannot count file descriptors: %v", err)
	}
	return len(fds)
}

// keysOf returns the keys of blocks that went.
func keysOf(went []Gone) []shoal.Key {
	keys := make([]shoal.Key, len(went))
	for i, g := range went {
		keys[i] = g.Key
	}
	return keys
}
