package blockstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
)

// index is the durable list of a disk's blocks: key to location and block sum, in Pebble.
// It is read at open and written from then on; lookups go to memory.
//
// Pebble ends the process when it cannot write. So it writes through a frozenFS: at the
// first error nothing more reaches the disk, which then looks as after a crash, and the
// index is broken until reopen.
type index struct {
	dir   string
	base  vfs.FS
	cache *pebble.Cache
	log   *slog.Logger
	dirty atomic.Bool // written to since the last flush

	mu     sync.RWMutex // held for reading while db is used; guards the fields below
	db     *pebble.DB   // nil when closed
	fs     *frozenFS
	closed bool
}

// errIndexClosed reports that the index is closed, or could not be opened again.
var errIndexClosed = errors.New("index is closed")

// open opens or makes the index, at first or after it broke. One that is damaged beyond
// opening is begun anew: the disk's blocks are lost, and a cache can bear that. A device
// that fails is no sign of damage.
func (x *index) open() error {
	err := x.reopen()
	if err != nil && pebble.IsCorruptionError(err) && !deviceFault(err) {
		x.log.Error("cache index is damaged, beginning with an empty one", "dir", x.dir, "err", err)
		if err = x.base.RemoveAll(x.dir); err == nil {
			err = x.reopen()
		}
	}
	if err != nil {
		return fmt.Errorf("open index %s: %w", x.dir, err)
	}
	return nil
}

// deviceFault reports whether an error is of the disk rather than of what is on it.
func deviceFault(err error) bool {
	for _, fault := range []error{unix.EIO, unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EMFILE, unix.ENFILE, unix.ENOMEM} {
		if errors.Is(err, fault) {
			return true
		}
	}
	return false
}

// peek is load of an index that is not open, without a write to the disk.
func (x *index) peek(visit func(slot)) (err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	defer recoverTo(&err)
	x.shut()
	x.fs = &frozenFS{FS: x.base}
	x.fs.freeze(errIndexClosed)
	opts := x.options()
	opts.ReadOnly = true
	db, err := pebble.Open(x.dir, opts)
	if err != nil {
		return fmt.Errorf("open index %s for reading: %w", x.dir, err)
	}
	return errors.Join(loadFrom(db, visit), db.Close())
}

// reopen opens the index after it broke. What was set and deleted meanwhile is not in it.
func (x *index) reopen() (err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return errIndexClosed
	}
	defer func() {
		if fault := x.fault(); err != nil && fault != nil && !errors.Is(err, fault) {
			err = fmt.Errorf("%w: %w", fault, err) // the cause of what Pebble met
		}
	}()
	defer recoverTo(&err)
	x.shut()
	x.fs = &frozenFS{FS: x.base}
	db, err := pebble.Open(x.dir, x.options())
	if err != nil {
		return err
	}
	x.db = db
	return x.fs.frozen()
}

// fault returns what stopped the writes, or nil. Holds mu.
func (x *index) fault() error {
	if x.fs == nil {
		return nil
	}
	return x.fs.frozen()
}

// shut closes a database that broke. Holds mu.
func (x *index) shut() {
	if x.db == nil {
		return
	}
	db := x.db
	x.db = nil
	x.fs.freeze(errIndexClosed)
	_ = db.Close() // what it could not write it says again
}

func (x *index) options() *pebble.Options {
	return &pebble.Options{
		FS:           x.fs,
		Cache:        x.cache,
		MemTableSize: 8 << 20,
		MaxOpenFiles: 256,
		Logger:       indexLogger{x.log},
		// FormatMajorVersion stays the lowest: later ones note in the log how much of it
		// was synced, which logFile makes untrue, and take a log torn before there by a
		// power loss for a damaged one.
	}
}

// err returns why the index does not take writes, or nil.
func (x *index) err() error {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.brokenLocked()
}

func (x *index) brokenLocked() error {
	if x.db == nil {
		return errIndexClosed
	}
	return x.fs.frozen()
}

// set enters blocks. It does not sync.
func (x *index) set(entries ...slot) error {
	return x.write(func(b *pebble.Batch) error {
		var key, value []byte
		for _, e := range entries {
			key, value = indexKey(key[:0], e.key), indexValue(value[:0], e)
			if err := b.Set(key, value, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// delete takes blocks out. It does not sync.
func (x *index) delete(keys ...shoal.Key) error {
	return x.write(func(b *pebble.Batch) error {
		var key []byte
		for _, k := range keys {
			key = indexKey(key[:0], k)
			if err := b.Delete(key, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

func (x *index) write(fill func(*pebble.Batch) error) (err error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if err := x.brokenLocked(); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	defer recoverTo(&err)
	b := x.db.NewBatch()
	defer func() { _ = b.Close() }()
	if err := fill(b); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	if err := b.Commit(pebble.Sync); err != nil { // a logFile does not wait for the disk
		return fmt.Errorf("write index: %w", err)
	}
	x.dirty.Store(true) // from here on flush finds it in the log
	return x.fs.frozen()
}

// flush makes everything set and deleted so far durable, unless it is so already.
func (x *index) flush() (err error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if err := x.brokenLocked(); err != nil {
		return fmt.Errorf("flush index: %w", err)
	}
	if !x.dirty.Swap(false) {
		return nil
	}
	x.fs.syncLogs()
	return x.fs.frozen()
}

// load calls visit with each block. Entries it cannot read it leaves out.
func (x *index) load(visit func(slot)) (err error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.db == nil {
		return errIndexClosed
	}
	defer recoverTo(&err)
	return loadFrom(x.db, visit)
}

func loadFrom(db *pebble.DB, visit func(slot)) error {
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{blockPrefix}, UpperBound: []byte{blockPrefix + 1}})
	if err != nil {
		return fmt.Errorf("read index: %w", err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return errors.Join(fmt.Errorf("read index: %w", err), it.Close())
		}
		if e, ok := parseEntry(it.Key(), value); ok {
			visit(e)
		}
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("read index: %w", err)
	}
	return nil
}

// close flushes and closes the index.
func (x *index) close() (err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
	if x.db == nil {
		return nil
	}
	defer recoverTo(&err)
	db := x.db
	x.db = nil
	return errors.Join(db.Close(), x.fs.frozen()) // closing the log syncs it
}

// blockPrefix begins the index keys of blocks; others are left for later.
const blockPrefix = 'b'

// indexKey appends the index key of a block: prefix and key, so that the blocks of a file
// lie together.
func indexKey(b []byte, key shoal.Key) []byte { return key.AppendTo(append(b, blockPrefix)) }

// indexValue appends the index value of a block: flags (none yet), container, offset and
// length as varints, and the block sum in 4 bytes.
func indexValue(b []byte, e slot) []byte {
	loc := e.location()
	b = binary.AppendUvarint(b, 0)
	b = binary.AppendUvarint(b, loc.Container)
	b = binary.AppendUvarint(b, uint64(loc.Offset))
	b = binary.AppendUvarint(b, uint64(loc.Length))
	return binary.BigEndian.AppendUint32(b, uint32(e.sum))
}

// parseEntry is the inverse of indexKey and indexValue.
func parseEntry(key, value []byte) (e slot, ok bool) {
	if len(key) != 1+shoal.KeyLen {
		return slot{}, false
	}
	k, _ := shoal.KeyFrom(key[1:])
	var nums [4]uint64
	for i := range nums {
		v, n := binary.Uvarint(value)
		if n <= 0 {
			return slot{}, false
		}
		nums[i], value = v, value[n:]
	}
	flags, container, offset, length := nums[0], nums[1], nums[2], nums[3]
	if flags != 0 || offset%pageSize != 0 || offset > 1<<43 || length == 0 || length > shoal.BlockSize || len(value) != 4 {
		return slot{}, false
	}
	loc := Location{Container: container, Offset: int64(offset), Length: int(length)}
	return makeSlot(k, loc, shoal.Sum(binary.BigEndian.Uint32(value))), true
}

// recoverTo turns a panic of Pebble, which it raises on errors it sees no way to handle,
// into an error.
func recoverTo(err *error) {
	if r := recover(); r != nil {
		*err = errors.Join(*err, fmt.Errorf("index: %v", r))
	}
}

// indexLogger hands Pebble's complaints to the log; what it says for information goes to
// debug.
type indexLogger struct{ log *slog.Logger }

// Infof logs at debug level.
func (l indexLogger) Infof(format string, args ...any) {
	l.log.Debug("cache index", "msg", fmt.Sprintf(format, args...))
}

// Errorf logs an error.
func (l indexLogger) Errorf(format string, args ...any) {
	l.log.Error("cache index", "msg", fmt.Sprintf(format, args...))
}

// Fatalf must not return. Write errors do not come here, because of frozenFS; what does
// is a broken invariant.
func (l indexLogger) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}
