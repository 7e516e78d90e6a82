package blockstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// index is the durable list of a disk's blocks and containers, in Pebble (records.go). It is
// read at open and written from then on; lookups go to memory.
//
// Pebble ends the process when it cannot write. So it writes through a frozenFS: at the
// first error nothing more reaches the disk, which then looks as after a crash, and the
// index is broken until reopen.
type index struct {
	dir           string
	base          vfs.FS
	cache         *pebble.Cache
	log           *slog.Logger
	dirty         atomic.Bool // written to since the last flush
	gate          gate        // for who changes what is in memory as well, but when nobody else can yet
	writes, wrote func()      // called before and after each write; nil but in tests

	flushing sync.Mutex // held over a flush: who finds nothing dirty knows that it is durable; before mu

	mu     sync.RWMutex // held for reading while db is used; guards the fields below
	db     *pebble.DB   // nil when closed
	fs     *frozenFS
	closed bool
}

// errIndexClosed reports that the index is closed, or could not be opened again.
var errIndexClosed = errors.New("index is closed")

// open opens or makes the index, at first or after it broke. One that is damaged beyond
// opening is begun anew, and lost is true: the containers know what was in it. A device that
// fails is no sign of damage.
func (x *index) open() (lost bool, err error) {
	err = x.reopen()
	if err != nil && !deviceFault(err) && !errors.Is(err, errIndexClosed) {
		x.log.Error("cache index is damaged", "dir", x.dir, "err", err)
		lost = true
		if err = x.base.RemoveAll(x.dir); err == nil {
			err = x.reopen()
		}
	}
	if err != nil {
		return false, fmt.Errorf("open index %s: %w", x.dir, err)
	}
	return lost, nil
}

// discard removes what there is of the index; it is closed then.
func (x *index) discard() (err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	defer recoverTo(&err)
	x.shut()
	return x.base.RemoveAll(x.dir)
}

// damaged reports whether an error says that what is on disk is not what was written.
func damaged(err error) bool {
	return err != nil && pebble.IsCorruptionError(err) && !deviceFault(err)
}

// deviceFault reports whether an error is of the disk rather than of what is on it.
func deviceFault(err error) bool {
	var errno unix.Errno
	return errors.As(err, &errno) && errno != unix.ENOENT
}

// peek opens the index for reading, without a write to the disk. It is closed by reopen.
func (x *index) peek() (err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	defer recoverTo(&err)
	x.shut()
	x.fs = &frozenFS{FS: x.base, readOnly: true}
	x.fs.freeze(errIndexClosed)
	opts := x.options()
	opts.ReadOnly = true
	if x.db, err = pebble.Open(x.dir, opts); err != nil {
		x.db = nil
		return fmt.Errorf("open index %s for reading: %w", x.dir, err)
	}
	return nil
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
	fs := x.fs
	return &pebble.Options{
		FS:           x.fs,
		Cache:        x.cache,
		MemTableSize: 8 << 20,
		MaxOpenFiles: 256,
		Logger:       indexLogger{x.log},
		// Without a listener Pebble ends the process when a table turns out to be damaged,
		// which every table made after the freeze is.
		EventListener: &pebble.EventListener{DataCorruption: func(info pebble.DataCorruptionInfo) {
			fs.freeze(info.Details)
		}},
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
func (x *index) set(blocks ...indexed) error {
	return x.write(func(b *pebble.Batch) error { return setIn(b, blocks) })
}

func setIn(b *pebble.Batch, blocks []indexed) error {
	var key, value []byte
	for _, e := range blocks {
		key, value = blockKey(key[:0], e.place), e.appendValue(value[:0])
		if err := b.Set(key, value, nil); err != nil {
			return err
		}
	}
	return nil
}

// delete takes the blocks at places out. It does not sync.
func (x *index) delete(places ...place) error {
	return x.write(func(b *pebble.Batch) error { return deleteIn(b, places) })
}

func deleteIn(b *pebble.Batch, places []place) error {
	var key []byte
	for _, p := range places {
		key = blockKey(key[:0], p)
		if err := b.Delete(key, nil); err != nil {
			return err
		}
	}
	return nil
}

// move enters blocks at other places than before, in one step. It does not sync.
func (x *index) move(from []place, to []indexed) error {
	return x.write(func(b *pebble.Batch) error { return errors.Join(setIn(b, to), deleteIn(b, from)) })
}

// setContainer enters containers.
func (x *index) setContainer(heads ...header) error {
	return x.write(func(b *pebble.Batch) (err error) {
		for _, h := range heads {
			err = errors.Join(err, b.Set(containerKey(nil, h.name), h.bytes(), nil))
		}
		return err
	})
}

// deleteContainer takes containers out.
func (x *index) deleteContainer(names ...uint64) error {
	return x.write(func(b *pebble.Batch) (err error) {
		for _, name := range names {
			err = errors.Join(err, b.Delete(containerKey(nil, name), nil))
		}
		return err
	})
}

// setSynced notes that all blocks put before so many Syncs had begun are durable. It does not
// sync.
func (x *index) setSynced(syncs uint32) error {
	value := binary.AppendUvarint(nil, uint64(syncs))
	return x.write(func(b *pebble.Batch) error { return b.Set([]byte{syncedPrefix}, value, nil) })
}

// synced returns what setSynced noted last; 0 when it never did.
func (x *index) synced() (syncs uint32, err error) {
	err = x.load(syncedPrefix, func(_, value []byte) {
		if v, n := binary.Uvarint(value); n > 0 && v <= math.MaxUint32 {
			syncs = uint32(v)
		}
	})
	return syncs, err
}

func (x *index) write(fill func(*pebble.Batch) error) (err error) {
	if x.writes != nil {
		x.writes()
	}
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
	if x.wrote != nil {
		x.wrote()
	}
	return x.fs.frozen()
}

// flush makes everything set and deleted so far durable, unless it is so already.
func (x *index) flush() (err error) {
	x.flushing.Lock()
	defer x.flushing.Unlock()
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

// load calls visit with each entry whose key begins with prefix, in order. Neither slice is
// to be kept.
func (x *index) load(prefix byte, visit func(key, value []byte)) error {
	return x.loadRange([]byte{prefix}, []byte{prefix + 1}, visit)
}

// loadRange is load of the keys from lower on and before upper.
func (x *index) loadRange(lower, upper []byte, visit func(key, value []byte)) (err error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.db == nil {
		return errIndexClosed
	}
	defer recoverTo(&err)
	it, err := x.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return fmt.Errorf("read index: %w", err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return errors.Join(fmt.Errorf("read index: %w", err), it.Close())
		}
		visit(it.Key(), value)
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
	if x.fs.readOnly {
		_ = db.Close()
		return nil // there was nothing to lose
	}
	return errors.Join(db.Close(), x.fs.frozen()) // closing the log syncs it
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
