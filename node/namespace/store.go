package namespace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A store keeps the records in Pebble. A record that cannot be decoded is as good as
// none: all of them can be had from the UFS again.
type store struct {
	// change is held from reading a record to the commit of what follows from it, so
	// that changes come one after the other. It is held over Pebble's own disk reads,
	// never over anything of a UFS, and no read waits for it.
	change sync.Mutex

	recall *recall

	mu     sync.RWMutex // guards the fields below; held while db is used
	db     *pebble.DB
	closed bool
}

func openStore(dir string, cfg Config) (*store, error) {
	opts := &pebble.Options{
		FS:           killSafe{cfg.disk},
		CacheSize:    cfg.CacheBytes,
		MemTableSize: 16 << 20,
		MaxOpenFiles: 500,
		Logger:       pebbleLogger{cfg.Logger},
		// FormatMajorVersion stays the lowest: later ones note in the WAL how much of
		// it was synced, which killSafe makes untrue.
	}
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10) // most new ids are looked for in vain
	}
	db, err := pebble.Open(dir, opts)
	if err != nil {
		return nil, fmt.Errorf("open metadata in %s (used by another agent? if damaged, removing the directory costs only a new listing): %w", dir, err)
	}
	return &store{db: db, recall: newRecall()}, nil
}

func (s *store) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return s.db.Close()
}

// open takes the read lock and returns the database; the caller calls s.mu.RUnlock.
func (s *store) open() (*pebble.DB, error) {
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return nil, fmt.Errorf("namespace: %w", fs.ErrClosed)
	}
	return s.db, nil
}

// name returns the record of name in the directory dir, if there is one that tag made.
func (s *store) name(dir uint64, name string, tag uint64) (nameRecord, bool, error) {
	db, err := s.open()
	if err != nil {
		return nameRecord{}, false, err
	}
	defer s.mu.RUnlock()
	of := nameOf{dir, name}
	r, edits, ok := s.recall.find(of)
	if ok && r.tag == tag {
		return r, true, nil
	}
	r, ok, err = readName(db, dir, name, tag)
	if ok && err == nil {
		s.recall.add(of, r, edits)
	}
	return r, ok, err
}

func (s *store) node(id uint64) (nodeRecord, bool, error) {
	db, err := s.open()
	if err != nil {
		return nodeRecord{}, false, err
	}
	defer s.mu.RUnlock()
	return readNode(db, id)
}

func (s *store) listed(dir, tag uint64) (r listRecord, ok bool, err error) {
	ok, err = s.get(listKey(dir), func(v []byte) bool {
		r, err = decodeList(v)
		return err == nil && r.tag == tag
	})
	return r, ok, err
}

// missing reports whether the listing in progress of dir did not see name.
func (s *store) missing(dir uint64, name string) (bool, error) {
	return s.get(missingKey(dir, name), func([]byte) bool { return true })
}

// get hands the value of key to use, which must not keep it, and returns what use does;
// false when there is none.
func (s *store) get(key []byte, use func([]byte) bool) (bool, error) {
	db, err := s.open()
	if err != nil {
		return false, err
	}
	defer s.mu.RUnlock()
	return read(db, key, use)
}

func readName(from pebble.Reader, dir uint64, name string, tag uint64) (r nameRecord, ok bool, err error) {
	ok, err = read(from, nameKey(dir, name), func(v []byte) bool {
		r, err = decodeName(v)
		return err == nil && r.tag == tag
	})
	return r, ok, err
}

func readNode(from pebble.Reader, id uint64) (r nodeRecord, ok bool, err error) {
	ok, err = read(from, nodeKey(id), func(v []byte) bool {
		r, err = decodeNode(v)
		return err == nil
	})
	return r, ok, err
}

func read(from pebble.Reader, key []byte, use func([]byte) bool) (bool, error) {
	v, closer, err := from.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read metadata: %w", err)
	}
	ok := use(v)
	return ok, closer.Close()
}

// A namedRecord is a nameRecord and its name.
type namedRecord struct {
	name string
	nameRecord
}

// names returns up to limit records of the directory dir that tag made, with names after
// after and, unless upto is empty, not after upto. more reports that it stopped at limit.
// With hide, names that the listing in progress did not see are left out.
func (s *store) names(dir, tag uint64, after, upto string, limit int, hide bool) (found []namedRecord, more bool, err error) {
	db, err := s.open()
	if err != nil {
		return nil, false, err
	}
	defer s.mu.RUnlock()
	from := db.NewSnapshot()
	defer func() { err = errors.Join(err, from.Close()) }()
	it, err := from.NewIter(nameRange(dir, after, upto))
	if err != nil {
		return nil, false, fmt.Errorf("read metadata: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		if len(found) == limit {
			return found, true, nil
		}
		r, err := decodeName(it.Value())
		if err != nil || r.tag != tag {
			continue
		}
		name := string(it.Key()[keyPrefix:])
		if hide {
			gone, err := read(from, missingKey(dir, name), func([]byte) bool { return true })
			if err != nil {
				return nil, false, err
			}
			if gone {
				continue
			}
		}
		found = append(found, namedRecord{name, r})
	}
	return found, false, nil
}

// nameRange covers the names of dir after after and, unless upto is empty, not after upto.
func nameRange(dir uint64, after, upto string) *pebble.IterOptions {
	o := &pebble.IterOptions{LowerBound: nameKey(dir, after), UpperBound: afterPrefix(nameSpace, dir)}
	if after != "" {
		o.LowerBound = append(o.LowerBound, 0)
	}
	if upto != "" {
		o.UpperBound = append(nameKey(dir, upto), 0)
	}
	return o
}

// entries returns how many names are kept.
func (s *store) entries() (n int64, err error) {
	_, err = s.get([]byte{metaSpace}, func(v []byte) bool {
		if len(v) == 8 {
			n = int64(binary.BigEndian.Uint64(v))
		}
		return true
	})
	return n, err
}

// killSafe makes commits survive the death of the process, at a fraction of what it
// costs to survive the death of the machine. Pebble keeps up to 32 KiB of its log in
// the process's own memory when a commit is not synced, so commits here are synced, and
// a sync of the log ends when the kernel has the bytes. Tables, manifests and finished
// logs are synced for real, so after a power loss the newest names are lost, no more.
type killSafe struct{ vfs.FS }

func (k killSafe) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := k.FS.Create(name, c)
	return logFile(f, c, err)
}

func (k killSafe) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := k.FS.ReuseForWrite(old, name, c)
	return logFile(f, c, err)
}

// Unwrap returns the file system below.
func (k killSafe) Unwrap() vfs.FS { return k.FS }

func logFile(f vfs.File, c vfs.DiskWriteCategory, err error) (vfs.File, error) {
	if err != nil || c != "pebble-wal" {
		return f, err
	}
	return killSafeLog{f}, nil
}

type killSafeLog struct{ vfs.File }

func (killSafeLog) Sync() error { return nil }

func (killSafeLog) SyncData() error { return nil }

func (killSafeLog) SyncTo(int64) (bool, error) { return false, nil }

func (l killSafeLog) Close() error { return errors.Join(l.File.SyncData(), l.File.Close()) }

// pebbleLogger passes on what Pebble says: its news are for debugging.
type pebbleLogger struct{ log *slog.Logger }

func (l pebbleLogger) Infof(format string, args ...any) {
	l.log.Debug("pebble", slog.String("text", fmt.Sprintf(format, args...)))
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.log.Warn("pebble", slog.String("text", fmt.Sprintf(format, args...)))
}

// Fatalf is called when Pebble cannot go on with its invariants whole; it must not return.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	panic("namespace: pebble: " + fmt.Sprintf(format, args...))
}

var (
	_ vfs.FS    = killSafe{}
	_ io.Closer = killSafeLog{}
)
