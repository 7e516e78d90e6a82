package blockstore

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/shoal-mesh/shoal"
)

// roomLoad puts blocks of given sizes, each under a new key, and knows which must be there.
type roomLoad struct {
	s        *Store
	contents []byte
	next     uint32
	order    []shoal.Key // as they were put

	mu      sync.Mutex // guards the fields below
	present map[shoal.Key]int
	over    int // how often containers took more than the limit when OnEvict was called
}

const roomSlab = 1 << 20

// newRoomLoad opens a store of so many slabs with the usual watermarks.
func newRoomLoad(t *testing.T, slabs int64) *roomLoad {
	t.Helper()
	l := &roomLoad{contents: randomBytes(1, 1<<20), present: make(map[shoal.Key]int)}
	cfg := oneDisk(fastDir(t), slabs*roomSlab)
	cfg.SlabBytes = roomSlab
	cfg.High, cfg.Low = 0.98, 0.97
	cfg.OnEvict = func(went []Gone) {
		d := l.s.Stats().Disks[0]
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, k := range keysOf(went) {
			delete(l.present, k)
		}
		if d.ContainerBytes > d.LimitBytes {
			l.over++
		}
	}
	l.s = openTest(t, cfg)
	return l
}

func (l *roomLoad) data(key shoal.Key, size int) []byte {
	at := int(hashKey(key) % uint64(len(l.contents)-size))
	return l.contents[at : at+size]
}

// put puts one more block and returns its key.
func (l *roomLoad) put(t *testing.T, size int) shoal.Key {
	t.Helper()
	l.next++
	key := shoal.Key{File: shoal.FileID{byte(l.next), byte(l.next >> 8), byte(l.next >> 16), 0x10}}
	l.order = append(l.order, key)
	data := l.data(key, size)
	l.mu.Lock()
	l.present[key] = size
	l.mu.Unlock()
	if err := l.s.Put(key, File{SizeBytes: int64(size)}, data, shoal.ChunkSums(key, data)); err != nil {
		t.Fatalf("put %d of %d bytes: %v: %+v", l.next, size, err, l.s.Stats().Disks)
	}
	return key
}

// check compares what is there with what was put and not told of, and reads all of it.
func (l *roomLoad) check(t *testing.T) {
	t.Helper()
	settled(l.s)
	l.mu.Lock()
	defer l.mu.Unlock()
	there := maps.Collect(l.s.Keys())
	for key, size := range l.present {
		got := make([]byte, size)
		if _, err := l.s.ReadAt(key, got, 0); err != nil || !bytes.Equal(got, l.data(key, size)) {
			t.Fatalf("ReadAt(%v) = %v, want the %d bytes as put: only what OnEvict tells of is gone", key, err, size)
		}
	}
	if len(there) != len(l.present) {
		t.Errorf("%d blocks are there, want %d", len(there), len(l.present))
	}
	if l.over > 0 {
		t.Errorf("containers took more than the limit %d times", l.over)
	}
}

// full returns the shares of the limit that containers take, slots of blocks of at least so many
// bytes, and those blocks themselves.
func (l *roomLoad) full(least int) (containers, slots, blocks float64) {
	d := l.s.disks[0]
	d.mu.Lock()
	defer d.mu.Unlock()
	for n := range d.places.end() {
		if e := d.places.at(n); e.state == stateVisible && int(e.length) >= least {
			slots += float64(d.places.occupied(n))
			blocks += float64(e.length)
		}
	}
	limit := float64(d.limit)
	return float64(d.places.bytes()) / limit, slots / limit, blocks / limit
}

// wantFull fails the test unless that is at least 0.85 of each.
func (l *roomLoad) wantFull(t *testing.T, what string, least int) {
	t.Helper()
	settled(l.s)
	containers, slots, blocks := l.full(least)
	st := l.s.Stats()
	t.Logf("%s: containers %.3f, slots %.3f, blocks %.3f of the limit; %d puts, %d evictions, %d moved",
		what, containers, slots, blocks, st.Puts, st.Evictions, st.Moved)
	if containers < 0.85 || containers > 1 || blocks < 0.85 {
		t.Errorf("%s: containers take %.3f of the limit, slots %.3f, blocks %.3f, want at least 0.85", what, containers, slots, blocks)
	}
}

// The sizes are of 3 and 15 pages, and fill them.
const roomSmall, roomLarge = 12_000, 60_000

// TestRoomChangesSize checks that a store of small blocks becomes one of large blocks and back
// without a restart: it is full of the new ones, and loses only what it tells of.
func TestRoomChangesSize(t *testing.T) {
	t.Parallel()
	slabs := int64(length(64, 32))
	l := newRoomLoad(t, slabs)
	for round := range 2 {
		for range slabs * roomSlab / roomSmall * 12 / 10 {
			l.put(t, roomSmall)
		}
		l.check(t)
		containers, _, small := l.full(0)
		_, _, large := l.full(roomLarge)
		t.Logf("round %d: containers %.3f, small blocks %.3f", round, containers, small-large)
		if containers < 0.85 || small-large < 0.85 {
			t.Errorf("round %d: small blocks are %.3f of the limit, containers %.3f, want at least 0.85", round, small-large, containers)
		}
		for range slabs * roomSlab / roomLarge * 12 / 10 {
			l.put(t, roomLarge)
		}
		l.check(t)
		l.wantFull(t, "large blocks", roomLarge)
	}
}

// TestRoomChangesLayout checks the same between packed and sparse blocks.
func TestRoomChangesLayout(t *testing.T) {
	t.Parallel()
	const slabs, sparse = 32, 200_000
	l := newRoomLoad(t, slabs)
	for range 2 {
		for range slabs * roomSlab / roomSmall * 12 / 10 {
			l.put(t, roomSmall)
		}
		for range slabs * roomSlab / sparse * 12 / 10 {
			l.put(t, sparse)
		}
		l.check(t)
		l.wantFull(t, "sparse blocks", sparse)
		for range slabs * roomSlab / roomLarge * 12 / 10 {
			l.put(t, roomLarge)
		}
		l.check(t)
		_, _, old := l.full(sparse)
		_, _, all := l.full(roomLarge)
		t.Logf("packed blocks %.3f", all-old)
		if all-old < 0.85 {
			t.Errorf("packed blocks are %.3f of the limit, want at least 0.85", all-old)
		}
	}
}

// newest returns the share of the limit that blocks take of which none that was put after is
// gone.
func (l *roomLoad) newest() (share float64) {
	d := l.s.disks[0]
	for _, key := range slices.Backward(l.order) {
		b, ok := d.lookup(key)
		if !ok {
			break
		}
		d.mu.Lock()
		share += float64(d.places.occupied(b.n)) / float64(d.limit)
		d.mu.Unlock()
	}
	return share
}

// TestRoomMixed checks how full a store of blocks of many sizes is, with sizes by a power law
// and even ones, and when the mix changes: the oldest go, whatever their size.
func TestRoomMixed(t *testing.T) {
	t.Parallel()
	const seed = 3
	for slabs, want := range map[int64]float64{32: 0.6, 128: 0.85} { // for 16 classes
		if slabs == 128 && !thorough() {
			continue
		}
		l := newRoomLoad(t, slabs)
		rnd := rand.New(rand.NewPCG(seed, uint64(slabs)))
		for _, mix := range []struct {
			name string
			size func() int
		}{
			{"power law", func() int { return int(min(64_000, 1000/math.Sqrt(1-rnd.Float64()*0.9999))) }},
			{"even", func() int { return 1 + rnd.IntN(64_000) }},
			{"even in the logarithm", func() int { return int(math.Exp(math.Log(500) + rnd.Float64()*math.Log(128))) }},
			{"two peaks", func() int { return []int{5_000, 40_000}[rnd.IntN(2)] + rnd.IntN(3000) }},
		} {
			room := int64(length(5, 3)) * slabs * roomSlab / 2 // of their slots, or nearly
			for room > 0 {
				size := mix.size()
				l.put(t, size)
				room -= packedBytes(size)
			}
			l.check(t)
			containers, slots, blocks := l.full(0)
			st := l.s.Stats()
			t.Logf("%d slabs, %s: containers %.3f, slots %.3f, blocks %.3f of the limit; %d puts, %d evictions, %d moved",
				slabs, mix.name, containers, slots, blocks, st.Puts, st.Evictions, st.Moved)
			if newest := l.newest(); slots < want || newest < slots-0.02 {
				t.Errorf("%d slabs, %s: slots of blocks are %.3f of the limit, of the newest %.3f, want %.2f and all of them the newest",
					slabs, mix.name, slots, newest, want)
			}
		}
	}
}

// TestRoomPinnedAndRead checks that slabs are emptied around blocks that are pinned, which are
// moved, and that one which is read stays until it is not.
func TestRoomPinnedAndRead(t *testing.T) {
	t.Parallel()
	const slabs, open = 64, 4
	l := newRoomLoad(t, slabs)
	pins := l.s.NewPins("test")
	var pinned []shoal.Key
	var sections []*Section
	for i := range slabs * roomSlab / roomSmall * 12 / 10 {
		key := l.put(t, roomSmall)
		if i%60 == 59 {
			pins.Add(key)
			pinned = append(pinned, key)
		}
	}
	settled(l.s)
	for i, key := range pinned[:open*10] {
		if i%10 == 0 {
			c, err := l.s.Section(key)
			if err != nil {
				t.Fatal(err)
			}
			sections = append(sections, c)
		}
	}
	for range slabs * roomSlab / roomLarge * 12 / 10 {
		l.put(t, roomLarge)
	}
	l.check(t)
	l.wantFull(t, "large blocks around pinned and open ones", roomLarge)
	there := maps.Collect(l.s.Keys())
	for i, key := range pinned {
		if _, ok := there[key]; !ok {
			t.Errorf("pinned block %d is gone", i)
		}
	}
	if l.s.Stats().Moved == 0 {
		t.Error("no block was moved, want the pinned ones together in few slabs")
	}
	for i, c := range sections {
		if got, err := c.ReadChunk(0, make([]byte, shoal.ChunkSize)); err != nil || !bytes.Equal(got, l.data(c.block.key, roomSmall)) {
			t.Errorf("ReadChunk of open section %d = %v, want the bytes as put", i, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := pins.Close(); err != nil {
		t.Error(err)
	}
	for range slabs * roomSlab / roomLarge * 12 / 10 {
		l.put(t, roomLarge)
	}
	l.check(t)
	for _, key := range pinned {
		if l.s.Has(key) {
			t.Fatalf("block %v is there without a pin, after a whole store of others", key)
		}
	}
}

// TestRoomUnderSection checks that a block that was dropped can be put again while it is read.
func TestRoomUnderSection(t *testing.T) {
	l := newRoomLoad(t, 8)
	for _, size := range []int{roomSmall, 200_000} { // packed, sparse
		key := l.put(t, size)
		data := l.data(key, size)
		c, err := l.s.Section(key)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := l.s.Remove(key); err != nil {
				t.Fatal(err)
			}
			if err := l.s.Put(key, File{SizeBytes: int64(size)}, data, shoal.ChunkSums(key, data)); err != nil {
				t.Fatal(err)
			}
			if got, err := c.ReadChunk(0, make([]byte, shoal.ChunkSize)); err != nil || !bytes.Equal(got, data[:len(got)]) {
				t.Errorf("ReadChunk of a section of %d bytes = %v, want the bytes as put", size, err)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		l.check(t)
	}
	var want int64
	for _, size := range []int{roomSmall, 200_000} {
		want += (&history{cfg: l.s.cfg}).bytes(shoal.Key{}, File{SizeBytes: int64(size)})
	}
	if got := l.s.Stats().Bytes; got != want {
		t.Errorf("Stats().Bytes = %d, want %d", got, want)
	}
}

// TestRoomAhead checks that no put finds its disk without room when there is time between
// them, once the store knows the size: room is made ahead, not for each put.
func TestRoomAhead(t *testing.T) {
	t.Parallel()
	const slabs = 64
	l := newRoomLoad(t, slabs)
	d := l.s.disks[0]
	rnd := rand.New(rand.NewPCG(1, 1))
	for _, load := range []struct {
		name  string
		size  func() int
		first int // puts that may wait, of a size the store has no room for yet
	}{
		{"small", func() int { return roomSmall }, 0},
		{"large", func() int { return roomLarge }, 1},
		{"small and large", func() int { return []int{roomSmall, roomLarge}[rnd.IntN(2)] }, 1},
		{"sparse", func() int { return 200_000 }, 1},
		{"many", func() int { return 1 + rnd.IntN(64_000) }, 16},
	} {
		waits, total, enough := 0, int64(0), int64(slabs*roomSlab*3/2)
		if !thorough() && load.first > 0 {
			enough = slabs * roomSlab / 2 // it is full already
		}
		for i := 0; total < enough; i++ {
			size := load.size()
			total += int64(size)
			d.mu.Lock()
			a := d.asking(putting{fileSize: int64(size), data: l.contents[:size], sums: make([]shoal.Sum, shoal.Chunks(size))})
			if d.spare(a.size) < a.bytes {
				waits++
			}
			d.mu.Unlock()
			l.put(t, size)
			if i%4 == 3 {
				settled(l.s)
			}
		}
		t.Logf("%s: %d puts found no room", load.name, waits)
		if waits > load.first {
			t.Errorf("%s: %d puts found no room, want at most %d", load.name, waits, load.first)
		}
		l.check(t)
	}
}

// TestRoomConcurrent has goroutines do everything at once to a store that is far too small, and
// then compares the counts.
func TestRoomConcurrent(t *testing.T) {
	t.Parallel()
	const workers, keys, steps = 8, 300, 1500
	contents := randomBytes(1, 1<<20)
	var told, removed, refused atomic.Int64
	cfg := Config{
		Disks:     []Disk{{fastDir(t), 6*64*pageSize + 1000}, {fastDir(t), 3*64*pageSize + 5}},
		SlabBytes: 64 * pageSize, OpenFiles: 4, Quotas: map[string]int64{"q": 40 * pageSize},
	}
	var s *Store
	cfg.OnEvict = func(went []Gone) { keys := keysOf(went); told.Add(int64(len(keys))) }
	cfg.files = watchedFiles{watch: func() {
		if s == nil {
			return
		}
		for _, d := range s.Stats().Disks {
			if d.ContainerBytes > d.LimitBytes {
				t.Errorf("containers take %d bytes, want at most %d", d.ContainerBytes, d.LimitBytes)
			}
		}
	}}
	cfg.High, cfg.Low = 0.95, 0.9
	s = openTest(t, cfg)
	block := func(i uint32) (shoal.Key, File, []byte) {
		key := shoal.Key{File: shoal.FileID{byte(i), byte(i >> 8), 0x77}}
		f := File{SizeBytes: 1 + int64(hashKey(key)%20_000), Dataset: []string{"", "q", "x"}[i%3]}
		if i%20 == 0 {
			key.Index = 1 + i%2
			f.SizeBytes += int64(key.Index) * shoal.BlockSize
		}
		n := shoal.BlockLen(f.SizeBytes, key.Index)
		at := int(hashKey(key) % uint64(len(contents)-n))
		return key, f, contents[at : at+n]
	}
	work := func(seed uint64) error {
		rnd := rand.New(rand.NewPCG(seed, 8))
		pins := s.NewPins("worker")
		defer func() { _ = pins.Close() }()
		var pinned []shoal.Key
		for range steps {
			key, f, data := block(rnd.Uint32N(keys))
			switch op := rnd.IntN(20); {
			case op < 9:
				switch err := s.Put(key, f, data, shoal.ChunkSums(key, data)); {
				case errors.Is(err, ErrFull):
					refused.Add(1)
				case err != nil:
					return err
				}
			case op < 14:
				got := make([]byte, len(data))
				if _, err := s.ReadAt(key, got, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				} else if err == nil && !bytes.Equal(got, data) {
					return errSum
				}
			case op < 16:
				if err := s.Remove(key); err == nil {
					removed.Add(1)
				} else if !errors.Is(err, fs.ErrNotExist) {
					return err
				}
			case op < 18:
				pins.Add(key)
				if pinned = append(pinned, key); len(pinned) > 3 {
					pins.Remove(pinned[0])
					pinned = slices.Delete(pinned, 0, 1)
				}
			default:
				c, err := s.Section(key)
				if errors.Is(err, fs.ErrNotExist) {
					continue
				} else if err != nil {
					return err
				}
				got, err := c.ReadChunk(0, make([]byte, shoal.ChunkSize))
				if err == nil && !bytes.Equal(got, data) {
					err = errSum
				}
				if err = errors.Join(err, c.Close()); err != nil {
					return err
				}
			}
		}
		return nil
	}
	var wg sync.WaitGroup
	for w := range uint64(workers) {
		wg.Go(func() {
			if err := work(w); err != nil {
				t.Errorf("worker %d: %v", w, err)
			}
		})
	}
	wg.Wait()
	settled(s)
	st := s.Stats()
	t.Logf("%d puts, %d refused, %d removed, %d told, %d moved", st.Puts, refused.Load(), removed.Load(), told.Load(), st.Moved)
	if got := int64(st.Puts) - removed.Load() - told.Load(); got != int64(st.Blocks) || st.Corrupt > 0 {
		t.Errorf("%d puts less %d removed and %d told = %d, want the %d blocks there, none of them bad (%d)",
			st.Puts, removed.Load(), told.Load(), got, st.Blocks, st.Corrupt)
	}
	h := &history{cfg: s.cfg}
	var want int64
	for i := range uint32(keys) {
		key, f, data := block(i)
		if !s.Has(key) {
			continue
		}
		want += h.bytes(key, f)
		got := make([]byte, len(data))
		if _, err := s.ReadAt(key, got, 0); err != nil || !bytes.Equal(got, data) {
			t.Errorf("ReadAt(%v) in the end = %v, want the bytes as put", key, err)
		}
	}
	if st.Bytes != want {
		t.Errorf("Stats().Bytes = %d, want %d", st.Bytes, want)
	}
	if st.Moved == 0 || told.Load() < 1000 || removed.Load() == 0 {
		t.Errorf("%d moved, %d told, %d removed, want a load that does all of it", st.Moved, told.Load(), removed.Load())
	}
}
