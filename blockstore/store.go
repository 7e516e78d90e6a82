package blockstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cockroachdb/pebble/v2"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore/policy"
)

// Store is the block store of one node. Its methods may be called concurrently.
type Store struct {
	cfg    Config
	disks  []*disk
	claims *claims
	pins   *pins
	cache  *pebble.Cache // of all indexes
	quit   chan struct{}
	wg     sync.WaitGroup // the disks' goroutines

	hits, misses, puts atomic.Uint64

	mu     sync.Mutex // guards the fields below
	closed bool
	calls  sync.WaitGroup // calls at work; not added to once closed
}

// Open opens the cache directories, making what is missing, and returns a running Store
// with the blocks that are in them. The caller must Close it. A disk that fails is kept
// for when it heals: see Stats. Errors: ErrLocked, ErrFormat, fs.ErrPermission, and if all
// disks fail, what they suffer from.
func Open(cfg Config) (*Store, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("blockstore: config: %w", err)
	}
	s := newStore(cfg)
	var failed error
	healthy := 0
	for _, d := range s.disks {
		fatal, err := d.open()
		switch {
		case fatal:
			return nil, errors.Join(fmt.Errorf("blockstore: %w", err), s.Close())
		case err == nil:
			healthy++
		case failed == nil:
			failed = err
		default:
			failed = fmt.Errorf("%w; %w", failed, err)
		}
	}
	if healthy == 0 {
		return nil, errors.Join(fmt.Errorf("blockstore: %w", failed), s.Close())
	}
	for _, d := range s.disks {
		if d.healthy() {
			s.exposeEarlier(d)
			d.startScan()
			d.wake() // the limit may be lower than it was
		}
		s.wg.Go(func() { d.run(s.quit, cfg.RetryInterval) })
		s.wg.Go(func() { d.runFlush(s.quit, cfg.FlushInterval) })
		if cfg.ScrubBytesPerSec > 0 {
			s.wg.Go(func() { d.scrub(s.quit, cfg.ScrubBytesPerSec, cfg.ScrubPause) })
		}
	}
	return s, nil
}

// newStore returns a Store of disks that are not open yet. cfg is complete.
func newStore(cfg Config) *Store {
	s := &Store{
		cfg: cfg, claims: newClaims(), pins: newPins(), cache: pebble.NewCache(cfg.IndexCacheBytes), quit: make(chan struct{}),
	}
	for i := range cfg.Disks {
		s.disks = append(s.disks, s.newDisk(i))
	}
	return s
}

// newDisk returns disk number i, not open yet.
func (s *Store) newDisk(i int) *disk {
	path, size := filepath.Clean(s.cfg.Disks[i].Path), s.cfg.Disks[i].SizeBytes
	share := float64(size) / float64(s.cfg.capacity())
	quotas := make(map[string]int64, len(s.cfg.Quotas))
	for name, bytes := range s.cfg.Quotas {
		quotas[name] = max(1, int64(share*float64(bytes)))
	}
	slabBytes := s.cfg.SlabBytes
	if slabBytes == 0 {
		slabBytes = slabBytesFor(size)
	}
	d := &disk{
		path: path, capacity: size, limit: size, high: s.cfg.High, low: s.cfg.Low, slabBytes: slabBytes,
		seed: uint32(i+1) * 0x9e3779b9, files: s.cfg.files, freeBytes: s.cfg.free, quit: s.quit,
		index:   &index{dir: filepath.Join(path, "index"), base: s.cfg.indexFS, cache: s.cache, log: s.cfg.Logger},
		handles: newHandles(s.cfg.files, path, max(8, s.cfg.OpenFiles/len(s.cfg.Disks))), claims: s.claims, pins: s.pins,
		sums: newSumsCache(sumsKept), datasets: newDatasets(path, quotas, s.cfg.Rules), newPolicy: s.cfg.policy, progress: s.cfg.Progress,
		onEvict: s.cfg.OnEvict, resign: s.cfg.Resign, forward: s.cfg.Forward, began: time.Now(), log: s.cfg.Logger, kick: make(chan struct{}, 1), closing: none,
		readers: make(map[uint32]int), verified: make(map[uint32]struct{}), demand: make(map[policy.Class]int64), refused: make(map[policy.Class]uint64), cutting: make(map[policy.Class]bool),
	}
	if len(s.cfg.Disks) > 1 {
		d.elsewhere = func(key shoal.Key) bool {
			for _, other := range s.disks {
				if other == d {
					continue
				}
				if _, ok := other.lookup(key); ok {
					return true
				}
			}
			return false
		}
	}
	d.spawn = func(f func(<-chan struct{})) { s.wg.Go(func() { f(s.quit) }) }
	d.scratch.New = func() any { return new([shoal.ChunkSize]byte) }
	d.tails.New = func() any { return alignedPages(tailBytes) }
	d.changed.L = &d.mu
	d.begin()
	return d
}

// sumsKept is how many blocks' chunk sums are in memory, per disk: at most 1 MiB.
const sumsKept = 4096

// alignedPages returns n bytes that begin at a page.
func alignedPages(n int) *[]byte {
	b := make([]byte, n+pageSize)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (pageSize - 1)
	b = b[skip : skip+n : skip+n]
	return &b
}

// enter begins a call; it fails once the store is closed.
func (s *Store) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("blockstore: %w", fs.ErrClosed)
	}
	s.calls.Add(1)
	return nil
}

// A File is what the store needs to know of the file that a block is of.
type File struct {
	SizeBytes int64
	Dataset   string // whose quota and rules hold for the block; may be empty
	// Class is what its replica here is worth to the fleet, until SetStanding says better.
	Class shoal.Class
	// Passes is how often the block was handed over since it was read last: see Config.Forward.
	Passes uint8
}

// Put keeps a block, and shows it before it returns. sums are the chunk sums of data, which
// the caller has verified: a wrong one is found when the block is read. If the block is
// there already, Put does nothing. It waits for nothing but its own writes, unless the limit
// is reached. ErrFull: no disk has room. Put keeps neither slice; data that begins at a page
// in memory is written without a copy.
func (s *Store) Put(key shoal.Key, file File, data []byte, sums []shoal.Sum) error {
	if len(data) == 0 || len(data) != shoal.BlockLen(file.SizeBytes, key.Index) || len(sums) != shoal.Chunks(len(data)) {
		return fmt.Errorf("put block %v: %d bytes with %d sums of a file of %d: %w", key, len(data), len(sums), file.SizeBytes, fs.ErrInvalid)
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.calls.Done()
	if s.Has(key) {
		return nil
	}
	s.claims.wait(key)
	defer s.claims.release(key)
	if s.Has(key) {
		return nil
	}
	p := putting{key: key, fileSize: file.SizeBytes, dataset: datasetName(file.Dataset), class: file.Class, passes: min(file.Passes, MaxPasses), data: data, sums: sums}
	var errs []error
	for _, d := range s.rank(key) {
		err := d.put(p)
		if err == nil {
			s.puts.Add(1)
			return nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 1 {
		return fmt.Errorf("put block %v: %w", key, errs[0])
	}
	return fmt.Errorf("put block %v: %w", key, errors.Join(errs...))
}

// datasetName returns name as a line can hold it.
func datasetName(name string) string { return strings.ReplaceAll(name, "\n", " ") }

// rank returns the disks in the order in which they are tried for key: weighted rendezvous
// hashing by free space. The weight of a full disk is 2 % of its limit, so that full disks
// share by size.
func (s *Store) rank(key shoal.Key) []*disk {
	if len(s.disks) == 1 {
		return s.disks
	}
	type ranked struct {
		disk  *disk
		score float64
	}
	order := make([]ranked, len(s.disks))
	for i, d := range s.disks {
		weight := max(float64(d.free()), 0.02*float64(d.capacity))
		seeded := shoal.Key{File: key.File, Index: key.Index + d.seed}
		u := (float64(hashKey(seeded)>>11) + 0.5) / (1 << 53)
		order[i] = ranked{d, -math.Log(u) / weight}
	}
	slices.SortFunc(order, func(a, b ranked) int {
		if a.score < b.score {
			return -1
		}
		return 1
	})
	disks := make([]*disk, len(order))
	for i, r := range order {
		disks[i] = r.disk
	}
	return disks
}

// Has reports whether the block is there. It does not count as a read.
func (s *Store) Has(key shoal.Key) bool {
	_, _, ok := s.find(key)
	return ok
}

// WillNeed has bytes [off, off+n) of a block, as far as it has them, brought into the page
// cache without waiting for them, because a reader is about to come for them, and reports
// whether the block is there. It does not count as a read.
func (s *Store) WillNeed(key shoal.Key, off, n int) bool {
	if s.enter() != nil {
		return false
	}
	defer s.calls.Done()
	d, b, ok := s.holdBy(key, (*disk).holdQuietly) // held, for its file must not go while it is opened
	if !ok {
		return false
	}
	defer d.release(b)
	h, err := d.handles.get(b.file())
	if err != nil {
		return true // the read that follows finds out what is wrong
	}
	defer d.handles.release(h)
	if n = min(n, b.loc.Length-off); n > 0 {
		h.WillNeed(b.loc.Offset+int64(off), int64(n))
	}
	return true
}

func (s *Store) find(key shoal.Key) (*disk, block, bool) {
	for _, d := range s.disks {
		if b, ok := d.lookup(key); ok {
			return d, b, true
		}
	}
	return nil, block{}, false
}

// ReadAt reads len(p) bytes of a block from offset off, as io.ReaderAt does: fewer than
// asked for come with io.EOF. Every chunk it touches is verified before it returns; on any
// other error it returns 0 and p holds nothing of use. fs.ErrNotExist: the block is not
// there. ErrCorrupt: it was bad, and has been dropped.
func (s *Store) ReadAt(key shoal.Key, p []byte, off int) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read block %v at %d: %w", key, off, fs.ErrInvalid)
	}
	n, short := 0, false
	err := s.with(key, (*disk).hold, func(d *disk, b block) error {
		n = max(0, min(len(p), b.loc.Length-off))
		short = n < len(p)
		if n == 0 {
			return nil
		}
		return d.read(b, p[:n], off)
	})
	switch {
	case err != nil:
		return 0, fmt.Errorf("read block %v: %w", key, err)
	case short:
		return n, io.EOF
	}
	return n, nil
}

// Section opens a block for reading without verification. The caller must Close it. Errors
// are as for ReadAt.
func (s *Store) Section(key shoal.Key) (*Section, error) {
	return s.section(key, (*disk).hold)
}

// Serve is Section for a peer. That counts as a read of a replica that this node keeps for the
// mesh; others are worth what is read of them here (policy.md §2.4).
func (s *Store) Serve(key shoal.Key) (*Section, error) {
	return s.section(key, (*disk).holdForPeer)
}

func (s *Store) section(key shoal.Key, hold func(*disk, shoal.Key) (block, bool)) (*Section, error) {
	var c *Section
	err := s.with(key, hold, func(d *disk, b block) error {
		h, sums, err := d.openBlock(b)
		if err != nil {
			return err
		}
		d.holdMore(b)
		c = &Section{Length: b.loc.Length, Sums: sums, disk: d, handle: h, block: b}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open block %v: %w", key, err)
	}
	return c, nil
}

// Check reads and verifies a whole block, for one whose receiver found it wrong. Errors are
// as for ReadAt. It counts as a read.
func (s *Store) Check(key shoal.Key) error {
	err := s.with(key, (*disk).hold, func(d *disk, b block) error {
		return d.read(b, make([]byte, b.loc.Length), 0)
	})
	if err != nil {
		return fmt.Errorf("check block %v: %w", key, err)
	}
	return nil
}

// with finds a block, counts it, holds it by a method of its disk, and calls use with it; again
// when the block was dropped and put anew in between.
func (s *Store) with(key shoal.Key, hold func(*disk, shoal.Key) (block, bool), use func(*disk, block) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.calls.Done()
	for {
		d, b, ok := s.holdBy(key, hold)
		if !ok {
			s.misses.Add(1)
			return fs.ErrNotExist
		}
		err := use(d, b)
		again := false
		if err != nil {
			again, err = d.judge(b, err)
		}
		d.release(b)
		if err == nil && !again {
			s.hits.Add(1)
			return nil
		}
		if !again {
			return err
		}
	}
}

// holdBy holds a block by a method of its disk.
func (s *Store) holdBy(key shoal.Key, hold func(*disk, shoal.Key) (block, bool)) (*disk, block, bool) {
	for _, d := range s.disks {
		if b, ok := hold(d, key); ok {
			return d, b, true
		}
	}
	return nil, block{}, false
}

// Remove drops a block; one that is not there is fs.ErrNotExist. OnEvict is not told.
func (s *Store) Remove(key shoal.Key) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.calls.Done()
	for {
		d, b, ok := s.find(key)
		if !ok {
			return fmt.Errorf("remove block %v: %w", key, fs.ErrNotExist)
		}
		if d.take(b, func([]Gone) {}) {
			return nil
		}
	}
}

// Keys yields every visible block with its block sum, in no order. Blocks may come and go
// meanwhile: those there from begin to end are yielded once, others once or not at all, or
// twice if they go and come again.
func (s *Store) Keys() iter.Seq2[shoal.Key, shoal.Sum] {
	return func(yield func(shoal.Key, shoal.Sum) bool) {
		for _, d := range s.disks {
			for blocks, next := d.batch(0); ; blocks, next = d.batch(next) {
				for _, b := range blocks {
					if !yield(b.key, b.sum) {
						return
					}
				}
				if next == 0 {
					break
				}
			}
		}
	}
}

// Sync makes all blocks put so far durable: when it has returned, a power loss loses none of
// them.
func (s *Store) Sync() error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.calls.Done()
	var errs []error
	for _, d := range s.disks {
		errs = append(errs, d.sync())
	}
	return errors.Join(errs...)
}

// Close waits for the calls at work, stops, and lets the directories go. It may be called
// twice. An error means that blocks put lately are forgotten.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.calls.Wait()
	close(s.quit)
	s.wg.Wait()
	var errs []error
	for _, d := range s.disks {
		if d.healthy() {
			errs = append(errs, d.giveAllRoom()) // else the next run does
		}
		d.handles.close()
		if err := d.index.close(); err != nil {
			errs = append(errs, fmt.Errorf("close disk %s: %w", d.path, err))
		} else if d.prepared && d.healthy() {
			errs = append(errs, d.files.Sync(d.path))
			if d.tidy() {
				errs = append(errs, os.Remove(runningPath(d.path)))
			}
		}
		if d.lock != nil {
			errs = append(errs, d.lock.Close())
		}
	}
	s.cache.Unref()
	return errors.Join(errs...)
}
