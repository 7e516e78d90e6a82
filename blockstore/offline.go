package blockstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/shoal-mesh/shoal"
)

// CheckOptions say how a cache directory is checked. A zero field means its default.
type CheckOptions struct {
	// Repair drops bad blocks and what the index says of blocks that cannot be there, writes
	// headers anew, and removes leftovers. Default: nothing is changed.
	Repair bool
	// BytesPerSec bounds how fast blocks are read. Default: 0, as fast as the disk.
	BytesPerSec int64
	// Progress is told how the check goes, and the rebuild if Repair needs one. Default: none.
	Progress func(Progress)
}

// A Report is what Check found in a cache directory.
type Report struct {
	Crashed   bool // the last run did not end well: a power loss then may be why a block is bad
	Rebuilt   bool // the index was lost, and has been made anew
	Repaired  bool // what is bad was dropped, what is wrong was mended as far as it can be
	Blocks    int  // verified
	Bytes     int64
	Bad       []BadBlock
	Problems  []Problem
	Leftovers []string // files that belong to no container; an agent removes those of earlier runs
}

// A BadBlock is a block that the index shows and that is not there as it was put.
type BadBlock struct {
	Key    shoal.Key
	File   string // of its container, below the directory
	Offset int64  // of the block in there
	Length int
	Err    error
}

// A Problem is a container that is not as the index has it.
type Problem struct {
	File   string // below the directory
	Blocks int    // that the index has in there and that are not shown because of it
	Err    error
}

// Check reads and verifies every block in a cache directory that no agent has open, and
// compares the containers with the index. When ctx ends it returns what it has found by then,
// and why it ended. Errors are those of opening the directory: ErrLocked, ErrFormat,
// fs.ErrPermission; or the index cannot be read and is not to be repaired. What is wrong with
// the blocks is no error.
func Check(ctx context.Context, dir string, opt CheckOptions) (r Report, err error) {
	s, d, err := openOffline(dir, opt.Progress)
	if err != nil {
		return Report{}, fmt.Errorf("check %s: %w", dir, err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	r, err = d.check(ctx, opt)
	if err != nil {
		err = fmt.Errorf("check %s: %w", dir, err)
	}
	return r, err
}

// Inspect returns the Stats of a cache directory that no agent has open, and changes nothing.
// What is of a run or of a config, like limits, is zero in them. Errors are as for Check.
func Inspect(dir string) (st Stats, err error) {
	s, d, err := openOffline(dir, nil)
	if err != nil {
		return Stats{}, fmt.Errorf("inspect %s: %w", dir, err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if _, err := d.readIndex(); err != nil {
		return Stats{}, fmt.Errorf("inspect %s: %w", dir, err)
	}
	return s.offlineStats(), nil
}

// Rebuild makes the index of a cache directory anew from its containers, and returns the Stats
// of what is there then. Evicted blocks whose slots have not been used again come back. When
// ctx ends, or after a crash, the next open of the directory begins it anew. Errors are as for
// Check.
func Rebuild(ctx context.Context, dir string, progress func(Progress)) (st Stats, err error) {
	s, d, err := openOffline(dir, progress)
	if err != nil {
		return Stats{}, fmt.Errorf("rebuild %s: %w", dir, err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err = d.prepare(); err == nil {
		d.begin()
		err = explain(dir, d.rebuild(ctx))
	}
	if err != nil {
		return Stats{}, fmt.Errorf("rebuild %s: %w", dir, err)
	}
	return s.offlineStats(), nil
}

// unlimited is the limit of a directory whose config is not known: nothing is evicted.
const unlimited = 1 << 62

// openOffline locks a cache directory that exists, and returns a Store of it none of whose
// goroutines run, and its disk, not open yet. The caller must Close the Store: that ends a run
// if there was one, and otherwise writes nothing.
func openOffline(dir string, progress func(Progress)) (*Store, *disk, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, nil, err
	}
	slab, err := readFormat(dir)
	if err == nil && slab == 0 {
		err = fmt.Errorf("%w: %s has no FORMAT file: it is not a cache directory", ErrFormat, dir)
	}
	if err != nil {
		return nil, nil, err
	}
	cfg, err := Config{Disks: []Disk{{Path: dir, SizeBytes: unlimited}}, SlabBytes: slab, Progress: progress}.withDefaults()
	if err != nil {
		return nil, nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, nil, err
	}
	_ = os.WriteFile(lockPath(dir), fmt.Appendf(nil, "%d\n", os.Getpid()), 0o600) // so that an agent can say who has it
	s := newStore(cfg)
	d := s.disks[0]
	d.lock = lock
	d.crashed = d.endedBadly()
	return s, d, nil
}

// offlineStats is Stats without the limits, which are not the agent's.
func (s *Store) offlineStats() Stats {
	st := s.Stats()
	st.CapacityBytes = 0
	for i := range st.Disks {
		st.Disks[i].CapacityBytes, st.Disks[i].LimitBytes = 0, 0
	}
	return st
}

// errIndexLost reports an index from which the blocks cannot be had.
var errIndexLost = errors.New("the index cannot be used: rebuild it, or have the next agent do so")

// readIndex brings the blocks into memory without a write to the disk.
func (d *disk) readIndex() (deadEntries, error) {
	if _, err := os.Stat(rebuildPath(d.path)); err == nil {
		return deadEntries{}, fmt.Errorf("%w: a rebuild did not come to its end", errIndexLost)
	}
	dead, err := d.loadReadOnly()
	if err != nil && !deviceFault(err) && !errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w: %w", errIndexLost, err)
	}
	return dead, err
}

func (d *disk) check(ctx context.Context, opt CheckOptions) (r Report, err error) {
	r.Crashed = d.crashed
	dead, err := d.readIndex()
	if errors.Is(err, errIndexLost) && opt.Repair {
		r.Rebuilt = true
		err = d.openToRepair(ctx)
	}
	if err != nil {
		return r, err
	}
	wrong, err := d.audit(ctx, &r, dead)
	if err != nil {
		return r, err
	}
	if err := d.checkBlocks(ctx, opt, &r); err != nil {
		return r, err
	}
	if !opt.Repair {
		return r, nil
	}
	r.Repaired, err = d.repair(ctx, r.Bad, wrong)
	return r, err
}

// checkWorkers read blocks at a time.
const checkWorkers = 4

// checkBlocks verifies every block in memory, and adds what it finds to r.
func (d *disk) checkBlocks(ctx context.Context, opt CheckOptions, r *Report) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var (
		group sync.WaitGroup
		mu    sync.Mutex // guards r and at
		at    = Progress{Disk: d.path, Total: d.places.used, TotalBytes: d.visibleBytes()}
		queue = make(chan block)
	)
	for range checkWorkers {
		group.Go(func() {
			buf := *alignedPages(shoal.BlockSize)
			for b := range queue {
				err := d.read(b, buf[:b.loc.Length], 0)
				if exhausted(err) {
					stop(err)
					continue
				}
				mu.Lock()
				r.Blocks++
				r.Bytes += int64(b.loc.Length)
				if err != nil {
					r.Bad = append(r.Bad, BadBlock{b.key, b.file().path(""), b.loc.Offset, b.loc.Length, err})
				}
				at.Done, at.Bytes, at.Blocks = r.Blocks, r.Bytes, len(r.Bad)
				d.progress(at)
				mu.Unlock()
			}
		})
	}
	d.feed(ctx, opt.BytesPerSec, queue)
	close(queue)
	group.Wait()
	return context.Cause(ctx)
}

// feed sends every block in memory, at most so many bytes a second, until ctx ends.
func (d *disk) feed(ctx context.Context, bytesPerSec int64, queue chan<- block) {
	begun, sent := time.Now(), int64(0)
	for blocks, next := d.batch(0); ; blocks, next = d.batch(next) {
		for _, b := range blocks {
			if bytesPerSec > 0 {
				due := begun.Add(time.Duration(float64(sent) / float64(bytesPerSec) * float64(time.Second)))
				sleep(ctx.Done(), time.Until(due))
			}
			if ctx.Err() != nil {
				return
			}
			queue <- b
			sent += int64(b.loc.Length)
		}
		if next == 0 {
			return
		}
	}
}

// visibleBytes returns the length of all blocks in memory.
func (d *disk) visibleBytes() (sum int64) {
	for blocks, next := d.batch(0); ; blocks, next = d.batch(next) {
		for _, b := range blocks {
			sum += int64(b.loc.Length)
		}
		if next == 0 {
			return sum
		}
	}
}

// openToRepair opens the disk as an agent does.
func (d *disk) openToRepair(ctx context.Context) error {
	if d.prepared {
		return nil
	}
	if err := d.prepare(); err != nil {
		return err
	}
	if err := d.openIndex(ctx); err != nil {
		return explain(d.path, err)
	}
	d.loaded, d.scanStarted = true, true // repair scans itself
	return nil
}

// repair does what an agent does when it opens the directory and comes upon the bad blocks.
// And it writes the headers anew that are wrong: a rebuild would not find the blocks behind
// them. It reports whether all of that is done.
func (d *disk) repair(ctx context.Context, bad []BadBlock, headers []wrongHeader) (bool, error) {
	if err := d.openToRepair(ctx); err != nil {
		return false, err
	}
	for _, w := range headers {
		if err := d.writeTo(w.name, [][]byte{w.want.bytes()}, 0); err != nil {
			return false, err
		}
	}
	buf := *alignedPages(shoal.BlockSize)
	for _, b := range bad {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		d.scrubBlock(b.Key, buf)
	}
	d.retry() // what could not be read is dropped; the disk may be well otherwise
	d.scan(ctx.Done())
	if !d.healthy() {
		return false, d.err
	}
	return d.scanned.Load(), ctx.Err()
}
