package blockstore

import (
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/shoal-mesh/shoal"
)

const (
	thinBytes  = 10 << 40 // of which a file has 2.5 million blocks
	thinStored = 1 << 40  // where there are such files indeed
)

// memory returns about how many bytes p's entries and numbers take.
func (p *places) memory() int64 {
	const entryBytes, ownerBytes, pieceBytes = 32, 8, 40 // a piece with its cell in the map
	granules := int64(len(p.owners))
	return granules*(granule*entryBytes+ownerBytes) + int64(len(p.pieces))*pieceBytes
}

// TestThinFiles checks that a file costs memory for what is cached of it, not for what it has.
func TestThinFiles(t *testing.T) {
	const files = 1000
	p := newPlaces(256<<10, 4*pageSize)
	rnd := rand.New(rand.NewPCG(21, 0))
	for round := range 3 {
		var indexes, numbers []uint32
		for f := range uint64(files) {
			i := p.addFile(1+f, shoal.FileID{byte(f), byte(f >> 8)}, thinBytes)
			p.setMade(i)
			n := p.reach(i, rnd.Uint32N(p.containers[i].n))
			p.take(n, shoal.Key{}, shoal.BlockSize, 0, 0)
			indexes, numbers = append(indexes, i), append(numbers, n)
		}
		if got, want := p.memory(), int64(files*1000); got > want {
			t.Fatalf("round %d: %d files of one block take %d bytes, want at most %d", round, files, got, want)
		}
		for _, n := range numbers {
			p.give(n)
		}
		for _, i := range indexes {
			p.retire(i)
			p.dropFile(i)
		}
		if len(p.pieces) != 0 || p.allocate(1) != 0 {
			t.Fatalf("round %d: %d pieces are left, want all given back", round, len(p.pieces))
		}
		p.release(0, 1)
	}
}

// thinStore opens a store with packed blocks that fill most of it, and one block of each of two
// large files. The third value are their keys.
func thinStore(t *testing.T, cfg Config) (s *Store, packed, thin []shoal.Key) {
	t.Helper()
	s = openTest(t, cfg)
	for i := range uint32(20) {
		key, err := putOf(s, "", i, 10_000)
		if err != nil {
			t.Fatal(err)
		}
		packed = append(packed, key)
	}
	data := randomBytes(1, shoal.BlockSize)
	for i := range byte(2) {
		key := shoal.Key{File: shoal.FileID{i, 0xcc}, Index: 100_003 * (uint32(i) + 1)}
		if err := s.Put(key, File{SizeBytes: thinStored}, data, shoal.ChunkSums(key, data)); err != nil {
			t.Fatal(err)
		}
		thin = append(thin, key)
	}
	return s, packed, thin
}

// wantThere checks every block.
func wantThere(t *testing.T, s *Store, keys ...shoal.Key) {
	t.Helper()
	for _, key := range keys {
		if err := s.Check(key); err != nil {
			t.Errorf("Check(%v) = %v, want the block", key, err)
		}
	}
}

// TestThinFileAfterCrash checks that the search for room that a crash left in large files of
// which little is cached has no other block given up, and takes no part of a limit.
func TestThinFileAfterCrash(t *testing.T) {
	t.Parallel()
	dir := hugeDir(t)
	cfg := oneDisk(dir, 64<<20)
	s, packed, thin := thinStore(t, cfg)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(runningPath(dir), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	files := &faultyFiles{}
	var store *Store
	opened := make(chan struct{})
	var most int64
	var mu sync.Mutex // guards most
	files.fault = func(op, _ string) error {
		if op == "punch" {
			<-opened
			d := store.disks[0]
			mu.Lock()
			defer mu.Unlock()
			most = max(most, store.Stats().Disks[0].ContainerBytes)
			d.wake()
		}
		return nil
	}
	cfg.files = files
	store = openTest(t, cfg)
	close(opened)
	store.disks[0].scan(nil) // after the one that Open has begun
	mu.Lock()
	defer mu.Unlock()
	if most == 0 || most > cfg.Disks[0].SizeBytes {
		t.Errorf("containers took %d bytes by the store's account, want more than none and at most %d", most, cfg.Disks[0].SizeBytes)
	}
	wantThere(t, store, append(packed, thin...)...)
	if got := store.Stats().Evictions; got != 0 {
		t.Errorf("Stats().Evictions = %d, want 0", got)
	}
	if got := store.disks[0].places.memory(); got > 1<<20 {
		t.Errorf("entries take %d bytes, want at most 1 MiB", got)
	}
}

// TestThinFileReopens checks that blocks of large files are there after a restart and after the
// index was lost, and that the pieces of those that go are given back.
func TestThinFileReopens(t *testing.T) {
	dir := hugeDir(t)
	cfg := oneDisk(dir, 64<<20)
	s, packed, thin := thinStore(t, cfg)
	for _, remove := range []string{"", s.disks[0].index.dir} {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if remove != "" {
			if err := os.RemoveAll(remove); err != nil {
				t.Fatal(err)
			}
		}
		s = openTest(t, cfg)
		wantThere(t, s, append(packed, thin...)...)
		if got := len(s.disks[0].places.pieces); got != len(thin) {
			t.Errorf("%d pieces, want %d", got, len(thin))
		}
	}
	for _, key := range thin {
		if err := s.Remove(key); err != nil {
			t.Fatal(err)
		}
	}
	d := s.disks[0]
	if err := d.giveAllRoom(); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats().Disks[0]; len(d.places.pieces) != 0 || st.Files != 0 {
		t.Errorf("%d pieces of %d files after all were removed, want none", len(d.places.pieces), st.Files)
	}
}

// hugeDir returns a directory on a file system that has files of thinStored bytes.
func hugeDir(t *testing.T) string {
	t.Helper()
	for _, dir := range []string{fastDir(t), t.TempDir()} {
		f, err := os.CreateTemp(dir, "huge")
		if err != nil {
			t.Fatal(err)
		}
		err = f.Truncate(thinStored)
		_ = f.Close()
		_ = os.Remove(f.Name())
		if err == nil {
			return dir
		}
	}
	t.Skip("no file system here has files of 1 TiB")
	return ""
}

// TestSparseLoad checks that many sparse containers, with blocks in several pieces each, are as
// they were after a restart: they are loaded side by side, and take numbers from one another.
func TestSparseLoad(t *testing.T) {
	t.Parallel()
	const files, blocks = 300, 5
	cfg := oneDisk(fastDir(t), 1<<30)
	s := openTest(t, cfg)
	data := make(map[shoal.Key][]byte)
	for f := range uint32(files) {
		for b := range uint32(blocks) {
			key := shoal.Key{File: shoal.FileID{byte(f), byte(f >> 8), byte(b), 0x5a}, Index: 1 + (f*37+b*101)%400}
			data[key] = randomBytes(uint64(f*blocks+b), 500)
			put(t, s, key, data[key])
		}
	}
	var whole []shoal.Key // of one file, in pieces that come in no order
	file := File{SizeBytes: 50 * shoal.BlockSize}
	block := randomBytes(7, shoal.BlockSize)
	for i := range uint32(25) {
		key := shoal.Key{File: shoal.FileID{0x5b}, Index: i * 37 % 50}
		if err := s.Put(key, file, block, shoal.ChunkSums(key, block)); err != nil {
			t.Fatal(err)
		}
		whole = append(whole, key)
	}
	before := s.disks[0].places
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, cfg)
	for key, want := range data {
		checkReadAt(t, s, key, want, 0, len(want))
	}
	wantThere(t, s, whole...)
	p := s.disks[0].places
	if len(p.pieces) != len(before.pieces) || p.sparse != before.sparse || p.taken != before.taken || p.promised != before.promised {
		t.Errorf("after a restart %d pieces, %d bytes of %d taken, %d promised; want %d, %d, %d, %d", len(p.pieces), p.taken,
			p.sparse, p.promised, len(before.pieces), before.taken, before.sparse, before.promised)
	}
	if err := (&placesModel{p: p, at: placed(p)}).checkNumbers(); err != nil {
		t.Error(err)
	}
}

// placed returns the entries of p that are taken, for placesModel to look up.
func placed(p *places) map[uint32]placing {
	at := make(map[uint32]placing)
	for n := range p.end() {
		if e := p.at(n); e.state != stateFree && e.state != stateHole {
			at[n] = placing{key: e.key, length: int(e.length)}
		}
	}
	return at
}
