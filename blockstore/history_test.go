package blockstore

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/shoal-mesh/shoal"
)

// model is what a store must hold. It does not know where blocks lie.
type model struct {
	present map[shoal.Key]bool
	pins    [2]map[shoal.Key]bool // by owner
	order   []shoal.Key           // what may be evicted, oldest first; by LRU if there is one class of blocks only
	told    []shoal.Key           // by OnEvict, in order
}

func newModel() *model {
	m := &model{present: make(map[shoal.Key]bool)}
	m.unpinAll()
	return m
}

func (m *model) unpinAll() { m.pins = [2]map[shoal.Key]bool{{}, {}} }

func (m *model) pinned(key shoal.Key) bool { return m.pins[0][key] || m.pins[1][key] }

// forget takes key out of the order.
func (m *model) forget(key shoal.Key) {
	m.order = slices.DeleteFunc(m.order, func(k shoal.Key) bool { return k == key })
}

// touch makes key the newest, if it is there and may be evicted.
func (m *model) touch(key shoal.Key) {
	m.forget(key)
	if m.present[key] && !m.pinned(key) {
		m.order = append(m.order, key)
	}
}

func (m *model) add(key shoal.Key) {
	m.present[key] = true
	m.touch(key)
}

func (m *model) drop(key shoal.Key) {
	delete(m.present, key)
	m.forget(key)
}

// pin and unpin change the order only when a key's first pin comes or its last one goes.
func (m *model) pin(owner int, key shoal.Key) {
	m.pins[owner][key] = true
	m.forget(key)
}

func (m *model) unpin(owner int, key shoal.Key) {
	had := m.pins[owner][key]
	delete(m.pins[owner], key)
	if had && !m.pinned(key) {
		m.touch(key)
	}
}

// evict gives up the oldest; false when there is none.
func (m *model) evict() bool {
	if len(m.order) == 0 {
		return false
	}
	m.told = append(m.told, m.order[0])
	m.drop(m.order[0])
	return true
}

// A history is a store and a model that are taken through the same steps.
type history struct {
	*model
	cfg      Config
	store    *Store
	owners   [2]*Pins
	file     func(i uint32) (shoal.Key, File) // block number i, of those there are
	keys     uint32
	contents []byte
	sections []*openSection
	done     *historyCounts
	lru      bool // OnEvict must be told in the model's order

	mu   sync.Mutex // guards the field below
	gone []shoal.Key
}

// historyCounts are what histories came to.
type historyCounts struct{ steps, evictions, restarts int }

// An openSection is a section whose block may be gone by now.
type openSection struct {
	*Section
	key  shoal.Key
	file File
}

func (h *history) data(key shoal.Key, f File) []byte {
	n := shoal.BlockLen(f.SizeBytes, key.Index)
	at := int(hashKey(key) % uint64(len(h.contents)-n))
	return h.contents[at : at+n]
}

func (h *history) open(rt *rapid.T) {
	h.cfg.OnEvict = func(went []Gone) {
		keys := keysOf(went)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.gone = append(h.gone, keys...)
	}
	s, err := Open(h.cfg)
	if err != nil {
		rt.Fatal(err)
	}
	h.store = s
	h.owners = [2]*Pins{s.NewPins("handle"), s.NewPins("operator")}
}

// draw returns one of the blocks.
func (h *history) draw(rt *rapid.T) (shoal.Key, File) {
	h.done.steps++
	return h.file(rapid.Uint32Range(0, h.keys-1).Draw(rt, "block"))
}

func (h *history) put(key shoal.Key, f File) error {
	data := h.data(key, f)
	return h.store.Put(key, f, data, shoal.ChunkSums(key, data))
}

func (h *history) read(rt *rapid.T) {
	key, f := h.draw(rt)
	want := h.data(key, f)
	off := rapid.IntRange(0, len(want)-1).Draw(rt, "offset")
	if rapid.Bool().Draw(rt, "whole") {
		off = 0
	}
	h.readAt(rt, key, want, off)
}

// readAt compares a read to the block's end, and beyond it, with the model.
func (h *history) readAt(rt *rapid.T, key shoal.Key, want []byte, off int) {
	got := make([]byte, len(want)-off+1)
	n, err := h.store.ReadAt(key, got, off)
	if !h.present[key] {
		if !errors.Is(err, fs.ErrNotExist) {
			rt.Fatalf("ReadAt(%v) of a block that is not there = %d, %v, want %v", key, n, err, fs.ErrNotExist)
		}
		return
	}
	if !errors.Is(err, io.EOF) || !bytes.Equal(got[:n], want[off:]) {
		rt.Fatalf("ReadAt(%v, %d) = %d, %v, want %d bytes as put, %v", key, off, n, err, len(want)-off, io.EOF)
	}
	h.touch(key)
}

func (h *history) remove(rt *rapid.T) {
	key, _ := h.draw(rt)
	if err := h.store.Remove(key); h.present[key] != (err == nil) || err != nil && !errors.Is(err, fs.ErrNotExist) {
		rt.Fatalf("Remove(%v) = %v, want present %v", key, err, h.present[key])
	}
	h.drop(key)
}

func (h *history) pinOne(rt *rapid.T) {
	key, _ := h.draw(rt)
	owner := rapid.IntRange(0, 1).Draw(rt, "owner")
	if there := h.owners[owner].Add(key); (there == 1) != h.present[key] {
		rt.Fatalf("Add(%v) = %d there, want present %v", key, there, h.present[key])
	}
	h.pin(owner, key)
}

func (h *history) unpinOne(rt *rapid.T) {
	key, _ := h.draw(rt)
	owner := rapid.IntRange(0, 1).Draw(rt, "owner")
	// One that is pinned, if there is one: the next of them.
	keys := slices.SortedFunc(maps.Keys(h.pins[owner]), compareKeys)
	if i, _ := slices.BinarySearchFunc(keys, key, compareKeys); i < len(keys) {
		key = keys[i]
	}
	h.owners[owner].Remove(key)
	h.unpin(owner, key)
}

func compareKeys(a, b shoal.Key) int { return bytes.Compare(a.AppendTo(nil), b.AppendTo(nil)) }

// restart closes the store and opens it again. What is there is read, so that the model knows
// the order again.
func (h *history) restart(rt *rapid.T) {
	h.done.steps++
	h.done.restarts++
	h.closeSections(rt)
	if err := h.store.Close(); err != nil {
		rt.Fatal(err)
	}
	h.unpinAll()
	h.open(rt)
	settled(h.store)
	lru := h.lru
	h.lru = false // the order is that of the puts, as well as the index knows it
	h.takeGone(rt)
	h.lru = lru
	for i := range h.keys {
		if key, f := h.file(i); h.present[key] {
			h.readAt(rt, key, h.data(key, f), 0)
		}
	}
}

func (h *history) openOne(rt *rapid.T) {
	key, f := h.draw(rt)
	c, err := h.store.Section(key)
	if h.present[key] != (err == nil) || err != nil && !errors.Is(err, fs.ErrNotExist) {
		rt.Fatalf("Section(%v) = %v, want present %v", key, err, h.present[key])
	}
	if err == nil {
		h.touch(key)
		h.sections = append(h.sections, &openSection{c, key, f})
	}
	if len(h.sections) > 3 {
		h.closeSections(rt)
	}
}

// closeSections reads what is open, which must be as it was, and closes it.
func (h *history) closeSections(rt *rapid.T) {
	for _, c := range h.sections {
		buf := make([]byte, shoal.ChunkSize)
		for i := range shoal.Chunks(c.Length) {
			got, err := c.ReadChunk(i, buf)
			if want := h.data(c.key, c.file)[i*shoal.ChunkSize:][:shoal.ChunkLen(c.Length, i)]; err != nil || !bytes.Equal(got, want) {
				rt.Fatalf("ReadChunk(%d) of %v = %v, want the bytes as put", i, c.key, err)
			}
		}
		if err := c.Close(); err != nil {
			rt.Fatal(err)
		}
	}
	h.sections = nil
}

// takeGone takes what OnEvict was told out of the model: each was there, once, and not pinned.
func (h *history) takeGone(rt *rapid.T) {
	h.mu.Lock()
	gone := h.gone
	h.gone = nil
	h.mu.Unlock()
	for _, key := range gone {
		if !h.present[key] || h.pinned(key) {
			rt.Fatalf("OnEvict(%v) of a block that is there %v, pinned %v", key, h.present[key], h.pinned(key))
		}
		if h.lru && key != h.order[0] {
			rt.Fatalf("OnEvict(%v), want the oldest, %v", key, h.order[0])
		}
		h.drop(key)
		h.done.evictions++
	}
}

// check compares what the store says with the model.
func (h *history) check(rt *rapid.T) {
	there := make(map[shoal.Key]bool)
	for key := range h.store.Keys() {
		if there[key] {
			rt.Fatalf("Keys() yields %v twice", key)
		}
		there[key] = true
	}
	if !maps.Equal(there, h.present) {
		rt.Fatalf("Keys() = %v, want %v", there, h.present)
	}
	sets := make(map[string]DatasetStats)
	var total int64
	for i := range h.keys {
		key, f := h.file(i)
		if h.present[key] {
			d := sets[datasetName(f.Dataset)]
			d.Blocks++
			d.Bytes += h.bytes(key, f)
			total += h.bytes(key, f)
			sets[datasetName(f.Dataset)] = d
		}
	}
	st := h.store.Stats()
	exact := len(h.sections) == 0 // else places are taken whose blocks are gone or moved
	if st.Blocks != len(h.present) || st.Bytes < total || exact && st.Bytes != total || st.Corrupt != 0 {
		rt.Fatalf("Stats() = %+v, want %d blocks of %d bytes", st, len(h.present), total)
	}
	for _, got := range st.Datasets {
		if want := sets[got.Name]; exact && (got.Blocks != want.Blocks || got.Bytes != want.Bytes) || got.Quota > 0 && got.Bytes > got.Quota {
			rt.Fatalf("Stats().Datasets has %+v, want %+v", got, want)
		}
		delete(sets, got.Name)
	}
	if len(sets) > 0 {
		rt.Fatalf("Stats().Datasets lacks %v", sets)
	}
	for _, d := range st.Disks {
		if d.ContainerBytes > d.LimitBytes || d.ContainerBytes < d.Bytes || d.Err != nil {
			rt.Fatalf("Stats() = %+v, want containers within the limit", d)
		}
	}
	for i, name := range []string{"handle", "operator"} {
		if got, want := st.Pinned[name], len(h.pins[i]); got != want {
			rt.Fatalf("Stats().Pinned[%q] = %d, want %d", name, got, want)
		}
	}
}

// bytes returns what a block takes.
func (h *history) bytes(key shoal.Key, f File) int64 {
	n := shoal.BlockLen(f.SizeBytes, key.Index)
	p := newPlaces(h.cfg.SlabBytes, h.cfg.SlabBytes/slotsPerSlab)
	if c, ok := p.classOf(n); ok && f.SizeBytes <= shoal.BlockSize {
		return p.slotBytes(c)
	}
	return sparseBytes(n)
}

// settled waits until the disks have nothing left to do on their own.
func settled(s *Store) {
	for _, d := range s.disks {
		d.mu.Lock()
		for end := d.pass + 2; d.pass < end; { // the first may have begun before
			d.wake()
			d.wait()
		}
		d.mu.Unlock()
	}
}

// checkHistories takes stores that begin makes through random steps.
func checkHistories(t *testing.T, checks, steps int, begin func(*rapid.T, *history), more func(*history) map[string]func(*rapid.T)) (done historyCounts) {
	rapidFlags(t, checks, steps)
	contents := randomBytes(1, 2*shoal.BlockSize)
	dir := fastDir(t)
	rapid.Check(t, func(rt *rapid.T) {
		h := &history{model: newModel(), contents: contents, done: &done}
		for i := range 2 {
			if err := os.RemoveAll(fmt.Sprintf("%s/%d", dir, i)); err != nil {
				rt.Fatal(err)
			}
			h.cfg.Disks = append(h.cfg.Disks, Disk{Path: fmt.Sprintf("%s/%d", dir, i)})
		}
		begin(rt, h)
		h.open(rt)
		defer func() { _ = h.store.Close() }()
		defer func() { h.closeSections(rt) }()
		actions := map[string]func(*rapid.T){
			"read": h.read, "remove": h.remove, "pin": h.pinOne, "unpin": h.unpinOne, "unpin more": h.unpinOne,
		}
		maps.Copy(actions, more(h))
		rt.Repeat(actions)
	})
	return done
}

// rapidFlags sets how rapid runs, with a fixed seed, unless the command line asks for more.
func rapidFlags(t *testing.T, checks, steps int) {
	if !thorough() {
		checks /= 10
	}
	for name, want := range map[string]int{"rapid.checks": checks, "rapid.steps": steps, "rapid.seed": 1, "rapid.nofailfile": 1} {
		f := flag.Lookup(name)
		old := f.Value.String()
		if given, err := strconv.Atoi(old); err == nil && given >= want && old != f.DefValue {
			continue
		}
		if err := f.Value.Set(strconv.Itoa(want)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Value.Set(old) })
	}
}

// mixedFile returns the blocks of a mixed history: whole small files, larger files' tails, and
// a few with two blocks of one sparse container.
func (h *history) mixedFile(i uint32) (shoal.Key, File) {
	f := File{Dataset: []string{"", "a", "b\nc"}[i%3]}
	if h.lru {
		f.Dataset = ""
	}
	key := shoal.Key{File: shoal.FileID{byte(i), 1}}
	switch {
	case i%10 < 8:
		f.SizeBytes = 1 + int64(hashKey(key)%uint64(h.cfg.SlabBytes/slotsPerSlab*5/4))
	case i%10 == 8:
		key.Index = i % 7
		f.SizeBytes = int64(key.Index)*shoal.BlockSize + 1 + int64(hashKey(key)%20_000)
	default:
		f.SizeBytes = h.cfg.SlabBytes/slotsPerSlab + int64(i)*7
	}
	return key, f
}

// putMany puts one block or several.
func (h *history) putMany(rt *rapid.T) {
	for range rapid.SampledFrom([]int{1, 1, 1, 10}).Draw(rt, "puts") {
		key, f := h.draw(rt)
		there := h.store.Has(key)
		err := h.put(key, f)
		if err == nil && !there {
			h.add(key)
		}
		settled(h.store)
		h.takeGone(rt)
		switch {
		case err != nil && (!errors.Is(err, ErrFull) || h.mustFit(key, f)):
			rt.Fatalf("Put(%v) of a file of %d bytes = %v, want nil: %+v", key, f.SizeBytes, err, h.store.Stats())
		}
	}
}

// mustFit reports whether there is room for a block however the pinned and the open ones lie.
func (h *history) mustFit(key shoal.Key, f File) bool {
	kept := make(map[shoal.Key]bool)
	for _, c := range h.sections {
		kept[c.key] = true
	}
	var slabs, quota int64
	for i := range h.keys {
		k, kf := h.file(i)
		if !kept[k] && (!h.present[k] || !h.pinned(k)) {
			continue
		}
		slabs += max(h.cfg.SlabBytes, h.bytes(k, kf))
		if datasetName(kf.Dataset) == datasetName(f.Dataset) {
			quota += h.bytes(k, kf)
		}
	}
	need := h.bytes(key, f)
	limit, all := int64(0), int64(0)
	for _, d := range h.cfg.Disks {
		limit = max(limit, d.SizeBytes)
		all += d.SizeBytes
	}
	if allowed, ok := h.cfg.Quotas[datasetName(f.Dataset)]; ok && quota+need > allowed*limit/all-1 {
		return false
	}
	return slabs+max(need, h.cfg.SlabBytes) <= limit
}
