// Package blockstore keeps blocks on this node's disks.
//
// A disk is a cache directory with a limit. Files of one block lie in slots of slabs, which
// are cut into size classes; larger files have a sparse container each, block i at
// i*BlockSize. Beside every block is a record with its key and chunk sums. An index per disk
// (Pebble) says which blocks there are; losing a disk loses only its blocks. In memory a
// block costs about 54 bytes of pointer-free arrays. See docs/block-store.md.
//
// How a block comes and goes:
//
//  1. Put takes a place, writes the block and its record there, then the index entry, then
//     shows the block. It waits only when the limit is reached: a goroutine per disk gives
//     blocks up ahead of need, and moves others together where a size class lacks a slab.
//  2. ReadAt and Section find it in memory, hold its place, and check every chunk they touch
//     before they hand out a byte of it.
//  3. What goes when there is no room, the policy says: the replica that saves least (package
//     policy, docs/eviction.md). One that the mesh relies on goes only when its home has agreed; that is asked
//     for ahead of need (Config.Resign, SetStanding).
//  4. The last replica of a block may be handed over to another node first (Config.Forward).
//  5. Eviction hides the block first, then deletes its index entry, then gives its place
//     back, once nobody reads it.
//
// Nothing is synced per block: a cache may lose its tail. But when Put returns, the kernel
// has the block and its index entry, so the death of the process loses none. After a power
// loss, which loses at most what was put since the last Sync, each block the index shows is
// read back with its sums, or dropped when it is read. A lost or torn index is made anew from
// the records.
//
// A disk that fails to write (EIO, read-only) admits nothing until a trial write succeeds;
// its blocks are read on. One whose file system is full makes do with what it has. A container
// whose files somebody removes loses its blocks, and no more is lost. A disk that
// fails when it is opened is the same; its blocks are there at once if its index can be
// read, else when it has healed.
//
// The store never keeps data passed to it. What it returns belongs to the caller, but
// for Section.Sums, which is shared and must not be modified.
//
// This package does not fetch and does not know replicas.
package blockstore

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore/policy"
)

var (
	// ErrFull reports that no disk has room for a block: the limit is reached and nothing
	// can be evicted, or the file system is full.
	ErrFull = errors.New("no room for the block")
	// ErrCorrupt reports that a block on disk was not what was put. It has been dropped.
	ErrCorrupt = errors.New("block is corrupt")
	// ErrLocked reports that a cache directory is in use by another agent.
	ErrLocked = errors.New("cache directory is in use")
	// ErrFormat reports a cache directory whose layout this agent does not know.
	ErrFormat = errors.New("unknown cache format")
)

// A Disk is one cache directory and its limit.
type Disk struct {
	Path string
	// SizeBytes limits what the blocks occupy, in whole pages of 4 KiB; positive. A block
	// that does not fit at all is refused with ErrFull. The index comes on top: about
	// 100 bytes a block.
	SizeBytes int64
}

// A Gone is a block that is not here any more.
type Gone struct {
	Key  shoal.Key
	Idle time.Duration // since it was read last, to an eighth of a second
}

// Config holds the settings of a Store. A zero field means its default.
type Config struct {
	// Disks are the cache directories. At least one, each path once.
	Disks []Disk
	// Rules say how the blocks of a dataset are weighed when some must go. Default: LRU for
	// all, without classes.
	Rules func(dataset string) policy.Rules
	// Resign asks the homes of blocks whether their replicas here may go. It is called without
	// locks for keepers' replicas of datasets with classes, ahead of need; SetStanding answers.
	// It must not wait for that. Default: none, all may go.
	Resign func(keys []shoal.Key)
	// Forward is handed replicas that must go for room and are the last of their blocks, which the
	// mesh would lose: it has another node keep them (policy.md §1.3), and says at once whether it
	// may. It is called without locks, by the goroutine that makes room, and must not wait. The
	// replica is here until SetStanding says that it is the last no more, but no longer than until
	// Decline, for five seconds, or until a put waits for room. When it is read meanwhile, it
	// stays. Default: none, all are dropped.
	Forward func(key shoal.Key, r Replica) bool
	// OnEvict is told of blocks that went other than by Remove: evicted, found
	// corrupt or missing. It is called without locks, from any goroutine, once per loss of
	// a block. A Put of one of these keys waits until it has returned, so it must not put
	// or remove one of them itself. Default: none.
	OnEvict func(gone []Gone)
	// High and Low are the shares of a disk's limit at which eviction in the background
	// starts and stops. Default 0.98 and 0.97; 0 < Low <= High <= 1.
	High, Low float64
	// Quotas are the bytes that the blocks of a dataset may take, by its name. Each disk has
	// its share of them, by its limit. Default: none.
	Quotas map[string]int64
	// SlabBytes is the size of the slabs of a new cache directory, whole pages. Default: a
	// 256th of the disk's limit, between 256 KiB and 64 MiB. Blocks of which a slab would hold
	// fewer than 16 get a container of their own.
	SlabBytes int64
	// ScrubBytesPerSec is how much each disk's scrub reads. Default: 0, no scrub.
	ScrubBytesPerSec int64
	// ScrubPause is the time between two passes of the scrub. Default 24h.
	ScrubPause time.Duration
	// Progress is told how a rebuild of a disk's index goes. Default: none.
	Progress func(Progress)
	// OpenFiles bounds the containers' files kept open over all disks. Default 1024.
	OpenFiles int
	// IndexCacheBytes bounds the indexes' block cache over all disks. Default 8 MiB.
	IndexCacheBytes int64
	// FlushInterval is how much of its tail the index may lose in a power loss. Default 1s.
	FlushInterval time.Duration
	// RetryInterval is the time between trial writes to a disk that failed. Default 10s.
	RetryInterval time.Duration
	// Logger receives a line when a disk fails or heals and when a block is bad.
	// Default: discard.
	Logger *slog.Logger

	files   fileSystem                      // where containers are kept; tests put faults in between
	free    func(dir string) (int64, error) // the bytes free there; likewise
	indexFS vfs.FS                          // where the index is kept; likewise
	policy  func() policy.Policy            // of one disk; tests listen in
}

func (c Config) withDefaults() (Config, error) {
	if c.Rules == nil {
		c.Rules = func(string) policy.Rules { return policy.Rules{Base: policy.BaseLRU} }
	}
	if c.policy == nil {
		c.policy = weighted
	}
	if c.OnEvict == nil {
		c.OnEvict = func([]Gone) {}
	}
	if c.Progress == nil {
		c.Progress = func(Progress) {}
	}
	if c.ScrubPause == 0 {
		c.ScrubPause = 24 * time.Hour
	}
	if c.High == 0 {
		c.High = 0.98
	}
	if c.Low == 0 {
		c.Low = min(0.97, c.High)
	}
	if c.OpenFiles == 0 {
		c.OpenFiles = 1024
	}
	if c.IndexCacheBytes == 0 {
		c.IndexCacheBytes = 8 << 20
	}
	if c.FlushInterval == 0 {
		c.FlushInterval = time.Second
	}
	if c.RetryInterval == 0 {
		c.RetryInterval = 10 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.files == nil {
		c.files = osFiles{}
	}
	if c.free == nil {
		c.free = freeBytes
	}
	if c.indexFS == nil {
		c.indexFS = vfs.Default
	}
	return c, c.validate()
}

// weighted returns the policy of an empty disk.
func weighted() policy.Policy {
	w, err := policy.NewWeighted(policy.Config{})
	if err != nil {
		panic(err) // its defaults are within its limits
	}
	return w
}

func (c Config) validate() error {
	var errs []error
	if len(c.Disks) == 0 {
		errs = append(errs, errors.New("disks: none given"))
	}
	seen := make(map[string]bool)
	for _, d := range c.Disks {
		path := filepath.Clean(d.Path)
		switch {
		case d.Path == "":
			errs = append(errs, errors.New("disks: empty path"))
		case seen[path]:
			errs = append(errs, fmt.Errorf("disks: %s is given twice", path))
		case d.SizeBytes <= 0:
			errs = append(errs, fmt.Errorf("disks: %s: size %d is not positive", path, d.SizeBytes))
		}
		seen[path] = true
	}
	if c.Low <= 0 || c.Low > c.High || c.High > 1 {
		errs = append(errs, fmt.Errorf("watermarks: low %v and high %v, want 0 < low <= high <= 1", c.Low, c.High))
	}
	for name, bytes := range c.Quotas {
		if bytes <= 0 {
			errs = append(errs, fmt.Errorf("quotas: %q: %d bytes is not positive", name, bytes))
		}
	}
	if c.SlabBytes != 0 && (c.SlabBytes < 16*pageSize || c.SlabBytes%pageSize != 0) {
		errs = append(errs, fmt.Errorf("slab: %d bytes is not at least 16 pages of %d", c.SlabBytes, pageSize))
	}
	if c.ScrubBytesPerSec < 0 || c.ScrubPause < 0 {
		errs = append(errs, errors.New("scrub: must not be negative"))
	}
	if c.OpenFiles < 1 {
		errs = append(errs, fmt.Errorf("open files: %d is not positive", c.OpenFiles))
	}
	if c.IndexCacheBytes < 0 || c.FlushInterval < 0 || c.RetryInterval < 0 {
		errs = append(errs, errors.New("index cache, flush interval, retry interval: must not be negative"))
	}
	return errors.Join(errs...)
}

// capacity returns the limits of all disks together.
func (c Config) capacity() (sum int64) {
	for _, d := range c.Disks {
		sum += d.SizeBytes
	}
	return sum
}
