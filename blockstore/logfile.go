package blockstore

import "sync"

// logFile is a log of Pebble's, whose syncs end when the kernel has the bytes: that is
// enough to survive the death of the process, at a fraction of what it costs to survive
// the death of the machine. Pebble keeps up to 32 KiB of its log in the process's memory
// when a commit is not synced, so every commit is.
type logFile struct {
	frozenFile
	mu     sync.Mutex // held over a sync and while it is closed, not over writes
	closed bool
}

// Sync does nothing: the bytes are the kernel's.
func (*logFile) Sync() error { return nil }

// SyncData does nothing.
func (*logFile) SyncData() error { return nil }

// SyncTo does nothing.
func (*logFile) SyncTo(int64) (full bool, err error) { return false, nil }

// sync makes the log durable, unless it was closed, and so is.
func (l *logFile) sync() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.fs.do(l.File.SyncData)
	}
}

// Close makes the log durable and closes it.
func (l *logFile) Close() error {
	l.sync()
	l.mu.Lock()
	l.closed = true
	err := l.File.Close()
	l.mu.Unlock()
	l.fs.mu.Lock()
	delete(l.fs.logs, l)
	l.fs.mu.Unlock()
	return err
}
