package blockstore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashChildEnv); dir != "" {
		crashChild(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// pageSlots is how many blocks of up to a page a slab of pageStore has room for.
const pageSlots = 15

// pageStore is a store of one disk whose slabs have slots of a page, with room for so many
// slabs.
func pageStore(dir string, slabs int64) Config {
	cfg := oneDisk(dir, slabs*16*pageSize)
	cfg.SlabBytes = 16 * pageSize
	return cfg
}

// pageKey is testKey of a file of one block, which is packed.
func pageKey(i uint32) shoal.Key {
	key := testKey(i)
	key.Index = 0
	return key
}

// awaitDisk waits until done says so of the disk, whose lock is held then.
func awaitDisk(t *testing.T, d *disk, what string, done func(*disk) bool) {
	t.Helper()
	if !waitDisk(d, done) {
		d.mu.Lock()
		defer d.mu.Unlock()
		t.Fatalf("waited in vain until %s: bytes %d, taken %d, limit %d, err %v", what, d.places.bytes(), d.places.taken, d.limit, d.err)
	}
}

// waitDisk is awaitDisk that reports whether it was not in vain.
func waitDisk(d *disk, done func(*disk) bool) bool {
	late := false
	timer := time.AfterFunc(20*time.Second, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		late = true
		d.changed.Broadcast()
	})
	defer timer.Stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	for !done(d) {
		if late {
			return false
		}
		d.wait()
	}
	return true
}

// checkAll verifies every visible block and returns how many there are.
func checkAll(t *testing.T, s *Store) (n int) {
	t.Helper()
	for key := range s.Keys() {
		n++
		if err := s.Check(key); err != nil {
			t.Error(err)
		}
	}
	return n
}

// boundarySizes are the block lengths at which code may err.
func boundarySizes() []int {
	return []int{
		1, pageSize - recordFixed - 4, pageSize - recordFixed - 3, pageSize, shoal.ChunkSize - 1, shoal.ChunkSize, shoal.ChunkSize + 1,
		3*shoal.ChunkSize + 17, shoal.BlockSize - 1, shoal.BlockSize,
	}
}

func TestReadAt(t *testing.T) {
	s := openTest(t, oneDisk(fastDir(t), 1<<30))
	for i, size := range boundarySizes() {
		key, data := testKey(uint32(i)), randomBytes(uint64(i), size)
		put(t, s, key, data)
		for _, off := range []int{0, 1, 100, shoal.ChunkSize - 1, shoal.ChunkSize, size - 1, size, size + 1} {
			for _, n := range []int{0, 1, 4096, shoal.ChunkSize, shoal.ChunkSize + 1, 1 << 20, size} {
				if off > size {
					n = max(n, 1)
				}
				checkReadAt(t, s, key, data, off, n)
			}
		}
	}
}

// checkReadAt checks that ReadAt does what a bytes.Reader of data would.
func checkReadAt(t *testing.T, s *Store, key shoal.Key, data []byte, off, n int) {
	t.Helper()
	got, want := make([]byte, n), data[min(off, len(data)):min(off+n, len(data))]
	gotN, gotErr := s.ReadAt(key, got, off)
	wantN, wantErr := len(want), error(nil)
	if wantN < n {
		wantErr = io.EOF
	}
	if gotN != wantN || !errors.Is(gotErr, wantErr) || !bytes.Equal(got[:gotN], want) {
		t.Errorf("ReadAt(block of %d, %d bytes, %d) = %d, %v, want %d, %v and the same bytes",
			len(data), n, off, gotN, gotErr, wantN, wantErr)
	}
}

func TestSection(t *testing.T) {
	s := openTest(t, oneDisk(fastDir(t), 1<<30))
	for i, size := range boundarySizes() {
		key, data := testKey(uint32(i)), randomBytes(uint64(i), size)
		put(t, s, key, data)
		c, err := s.Section(key)
		if err != nil {
			t.Fatal(err)
		}
		// The bytes stay although the block goes.
		if err := s.Remove(key); err != nil {
			t.Fatal(err)
		}
		var got []byte
		buf := make([]byte, shoal.ChunkSize)
		for j := range c.Sums {
			b, err := c.ReadChunk(j, buf)
			if err != nil {
				t.Fatal(err)
			}
			if sum := shoal.ChunkSum(key, j, b); sum != c.Sums[j] {
				t.Errorf("block of %d: sum of chunk %d = %x, want %x", size, j, c.Sums[j], sum)
			}
			got = append(got, b...)
		}
		if c.Length != size || !bytes.Equal(got, data) {
			t.Errorf("section of %d bytes: %d bytes with other contents", size, c.Length)
		}
		if _, err := c.ReadChunk(len(c.Sums), buf); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("ReadChunk(beyond the end) = %v, want %v", err, fs.ErrInvalid)
		}
		for range 2 {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestMissingAndInvalid(t *testing.T) {
	s := openTest(t, oneDisk(fastDir(t), 1<<20))
	key, data := pageKey(1), randomBytes(1, 100)
	file := fileOf(key, data)
	sums := shoal.ChunkSums(key, data)
	_, readErr := s.ReadAt(key, make([]byte, 1), 0)
	_, sectionErr := s.Section(key)
	put(t, s, pageKey(2), data)
	_, negativeErr := s.ReadAt(pageKey(2), make([]byte, 1), -1)
	tests := []struct {
		name string
		err  error
		want error
	}{
		{"read absent", readErr, fs.ErrNotExist},
		{"section absent", sectionErr, fs.ErrNotExist},
		{"remove absent", s.Remove(key), fs.ErrNotExist},
		{"check absent", s.Check(key), fs.ErrNotExist},
		{"read before the start", negativeErr, fs.ErrInvalid},
		{"put nothing", s.Put(key, File{}, nil, nil), fs.ErrInvalid},
		{"put too much", s.Put(key, File{SizeBytes: shoal.BlockSize + 1}, make([]byte, shoal.BlockSize+1), make([]shoal.Sum, 65)), fs.ErrInvalid},
		{"put without sums", s.Put(key, file, data, nil), fs.ErrInvalid},
		{"put too little", s.Put(key, File{SizeBytes: shoal.BlockSize + 101}, data, sums), fs.ErrInvalid},
		{"put beyond the file", s.Put(shoal.Key{File: key.File, Index: 2}, file, data, sums), fs.ErrInvalid},
		{"put more than the limit", s.Put(key, File{SizeBytes: 2 << 20}, make([]byte, 2<<20), make([]shoal.Sum, 32)), ErrFull},
		{"put", s.Put(key, file, data, sums), nil},
		{"put again", s.Put(key, file, data, sums), nil},
	}
	for _, tt := range tests {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: error %v, want %v", tt.name, tt.err, tt.want)
		}
	}
	if st := s.Stats(); st.Puts != 2 || st.Blocks != 2 || st.Misses != 3 || st.Bytes != 2*pageSize {
		t.Errorf("Stats() = %+v, want 2 puts, 2 blocks, 3 misses, %d bytes", st, 2*pageSize)
	}
}

// TestOnEvict checks that the least recently read blocks go, that each loss is told once, and
// that nothing else is told.
func TestOnEvict(t *testing.T) {
	var told []string
	cfg := pageStore(fastDir(t), 1)
	cfg.OnEvict = func(went []Gone) {
		keys := keysOf(went)
		for _, k := range keys {
			told = append(told, fmt.Sprint(k.File[0]))
		}
	}
	s := openTest(t, cfg)
	data := randomBytes(1, 1000)
	for i := range uint32(pageSlots) {
		put(t, s, pageKey(i), data)
	}
	if _, err := s.ReadAt(pageKey(0), make([]byte, 10), 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(pageKey(2)); err != nil {
		t.Fatal(err)
	}
	for i := range uint32(4) {
		put(t, s, pageKey(20+i), data)
	}
	if got, want := strings.Join(told, " "), "1 3 4"; got != want {
		t.Errorf("told of %q, want %q", got, want)
	}
	st := s.Stats()
	if st.Evictions != 3 || st.Blocks != pageSlots || st.Bytes != pageSlots*pageSize {
		t.Errorf("Stats() = %+v, want 3 evictions, %d blocks, %d bytes", st, pageSlots, pageSlots*pageSize)
	}
}

// TestWatermarks checks that the background evicts to the low watermark without a put
// waiting for it.
func TestWatermarks(t *testing.T) {
	evicted := make(chan int, 100)
	cfg := pageStore(fastDir(t), 8) // room for 120 blocks; 12.8 pages are a tenth of the limit
	cfg.High, cfg.Low = 0.9, 0.8
	cfg.OnEvict = func(went []Gone) { keys := keysOf(went); evicted <- len(keys) }
	s := openTest(t, cfg)
	const full, left = 108, 94
	for i := range uint32(full) {
		put(t, s, pageKey(i), randomBytes(1, 1000))
	}
	for n := 0; n < full-left; {
		n += <-evicted
	}
	if st := s.Stats(); st.Blocks != left || s.Has(pageKey(full-left-1)) || !s.Has(pageKey(full-left)) {
		t.Errorf("after eviction: %d blocks, want the newest %d", st.Blocks, left)
	}
}

func TestRestart(t *testing.T) {
	dir := fastDir(t)
	cfg := oneDisk(dir, 1<<30)
	want := make(map[shoal.Key]shoal.Sum)
	s := openTest(t, cfg)
	for i := range uint32(300) {
		key, data := testKey(i), randomBytes(uint64(i), 1+int(i)*700)
		put(t, s, key, data)
		want[key] = shoal.BlockSum(shoal.ChunkSums(key, data))
	}
	for i := uint32(0); i < 300; i += 10 {
		if err := s.Remove(testKey(i)); err != nil {
			t.Fatal(err)
		}
		delete(want, testKey(i))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before := s.Stats()
	if _, err := s.ReadAt(testKey(1), nil, 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("ReadAt after Close = %v, want %v", err, fs.ErrClosed)
	}
	s = openTest(t, cfg)
	if got := maps.Collect(s.Keys()); !maps.Equal(got, want) {
		t.Errorf("Keys() after restart: %d keys, want the %d kept, with their sums", len(got), len(want))
	}
	if after := s.Stats(); after.Bytes != before.Bytes || after.Blocks != before.Blocks {
		t.Errorf("Stats() after restart = %+v, want as before: %+v", after, before)
	}
	for i := range uint32(300) {
		if i%10 != 0 {
			checkReadAt(t, s, testKey(i), randomBytes(uint64(i), 1+int(i)*700), 0, 300*700)
		}
	}
}

// TestRestartSmaller checks that a lowered limit is kept: blocks go, oldest first, and slabs
// are emptied until the rest fits.
func TestRestartSmaller(t *testing.T) {
	dir := fastDir(t)
	s := openTest(t, pageStore(dir, 8))
	const before, after = 8 * pageSlots, 4 * pageSlots
	for i := range uint32(before) {
		put(t, s, pageKey(i), randomBytes(uint64(i), 1000))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cfg := pageStore(dir, 4)
	var gone []shoal.Key
	var mu sync.Mutex // guards gone
	cfg.OnEvict = func(went []Gone) {
		keys := keysOf(went)
		mu.Lock()
		defer mu.Unlock()
		gone = append(gone, keys...)
	}
	s = openTest(t, cfg)
	awaitDisk(t, s.disks[0], "the limit is kept", func(d *disk) bool { return d.places.bytes() <= d.limit })
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir(filepath.Join(dir, slabsDir))
	if err != nil || len(names) != 4 {
		t.Errorf("slab files = %d, %v, want 4", len(names), err)
	}
	mu.Lock()
	defer mu.Unlock()
	if got := checkAll(t, s); got < after-pageSlots || got > after || got+len(gone) != before {
		t.Errorf("blocks = %d, told of %d, want about %d and all others told", got, len(gone), after)
	}
	for i := range uint32(before - after) {
		if s.Has(pageKey(i)) {
			t.Errorf("block %d of %d is there, want the newest", i, before)
		}
	}
}

func TestDisks(t *testing.T) {
	cfg := Config{Disks: []Disk{{fastDir(t), 1 << 22}, {fastDir(t), 1 << 22}, {fastDir(t), 1 << 23}}}
	s := openTest(t, cfg)
	const blocks = 1000
	for i := range uint32(blocks) {
		put(t, s, testKey(i), randomBytes(uint64(i), 2000))
	}
	for i, d := range s.Stats().Disks {
		share := float64(d.Blocks) / blocks
		want := float64(cfg.Disks[i].SizeBytes) / (1 << 24)
		if share < want-0.06 || share > want+0.06 {
			t.Errorf("disk %d of 3 has a share of %.2f, want about %.2f", i, share, want)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// One disk is lost: its blocks are gone, the others' are not.
	lost := s.Stats().Disks[1].Blocks
	if err := os.RemoveAll(cfg.Disks[1].Path); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, cfg)
	if got := s.Stats().Blocks; got != blocks-lost {
		t.Errorf("blocks after the loss of a disk = %d, want %d", got, blocks-lost)
	}
	for i := range uint32(blocks) {
		if s.Has(testKey(i)) {
			checkReadAt(t, s, testKey(i), randomBytes(uint64(i), 2000), 0, 2000)
		}
	}
}

// TestDisksDuplicate checks that a block on two disks is shown once.
func TestDisksDuplicate(t *testing.T) {
	a, b := fastDir(t), fastDir(t)
	for _, dir := range []string{a, b} {
		s := openTest(t, oneDisk(dir, 1<<20))
		put(t, s, testKey(1), randomBytes(1, 1000))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s := openTest(t, Config{Disks: []Disk{{a, 1 << 20}, {b, 1 << 20}}})
	n := 0
	for range s.Keys() {
		n++
	}
	if n != 1 {
		t.Errorf("Keys() yields %d, want the block once", n)
	}
}

func TestOpenRefuses(t *testing.T) {
	used := fastDir(t)
	openTest(t, oneDisk(used, 1<<20))
	file := filepath.Join(fastDir(t), "file")
	newer := fastDir(t)
	alien := fastDir(t)
	noFormat, older := fastDir(t), fastDir(t)
	for path, contents := range map[string]string{
		file: "", filepath.Join(newer, "FORMAT"): "shoal blockstore 99\n", filepath.Join(alien, "FORMAT"): "ext9\n",
		filepath.Join(older, "FORMAT"): "shoal blockstore 1\n",
	} {
		if err := os.WriteFile(path, []byte(contents), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(noFormat, "index"), 0o700); err != nil {
		t.Fatal(err)
	}
	pid := fmt.Sprint(os.Getpid())
	tests := []struct {
		name string
		cfg  Config
		is   error
		text string
	}{
		{"no disk", Config{}, nil, "none given"},
		{"twice", Config{Disks: []Disk{{"/x", 1}, {"/x/", 1}}}, nil, "given twice"},
		{"no size", oneDisk(used, 0), nil, "not positive"},
		{"watermarks", Config{Disks: []Disk{{used, 1}}, High: 0.5, Low: 0.6}, nil, "low 0.6"},
		{"locked", oneDisk(used, 1<<20), ErrLocked, pid},
		{"a file", oneDisk(file, 1<<20), nil, "not a directory"},
		{"newer", oneDisk(newer, 1<<20), ErrFormat, "version 99"},
		{"older", oneDisk(older, 1<<20), ErrFormat, "is version 1 and this agent knows 2; run an agent that knows it, or empty the directory"},
		{"alien", oneDisk(alien, 1<<20), ErrFormat, "choose another"},
		{"no format", oneDisk(noFormat, 1<<20), ErrFormat, "empty the directory"},
		{"second disk locked", Config{Disks: []Disk{{fastDir(t), 1 << 20}, {used, 1 << 20}}}, ErrLocked, used},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open(tt.cfg)
			if err == nil || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Open() = %v, want %v with %q", err, tt.is, tt.text)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("Open() = %q, want one line", err)
			}
		})
	}
}

func TestWillNeed(t *testing.T) {
	s := openTest(t, oneDisk(fastDir(t), 1<<30))
	key, data := testKey(1), randomBytes(1, shoal.BlockSize)
	put(t, s, key, data)
	there, missing := s.WillNeed(key, shoal.ChunkSize, shoal.BlockSize), s.WillNeed(testKey(2), 0, shoal.BlockSize)
	if !there || missing {
		t.Errorf("WillNeed of a block that is there, of one that is not = %v, %v, want true, false", there, missing)
	}
	if st := s.Stats(); st.Hits != 0 || st.Misses != 0 {
		t.Errorf("WillNeed counted %d hits and %d misses, want none", st.Hits, st.Misses)
	}
}

func TestOpenNotWritable(t *testing.T) {
	dir := fastDir(t)
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	// Root may write everywhere, so this thread goes on as nobody.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if os.Geteuid() == 0 {
		if err := unix.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Setfsuid(0) }() // undoes what has just worked
	}
	_, err := Open(oneDisk(dir, 1<<20))
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "not writable") || !strings.Contains(err.Error(), "change its owner or choose another") {
		t.Errorf("Open() = %v, want %v with cause and cure", err, fs.ErrPermission)
	}
}

func TestExplainLeavesTheRest(t *testing.T) {
	if got := explain("/cache", io.EOF); got.Error() != "EOF" {
		t.Errorf("explain(EOF) = %v, want it unchanged", got)
	}
}
