package fuse

import (
	"sync"
	"sync/atomic"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

const (
	// keptFiles is how many files are kept open by their ids, at most, apart from those being read.
	keptFiles = 16 << 10
	// idleAfter is how long a file is kept that nobody reads: at least that, at most twice that.
	idleAfter = 5 * time.Second
	// candidates is how many files are looked at for one to close when there are too many.
	candidates = 8
)

// kept holds files open by their node ids, for a mount whose kernel opens none
// (Config.ElideOpens): it reads an id, and does not say when it is done with it. A file that
// is not read for a while is closed, so that it lets go of what it holds.
type kept struct {
	found  found
	limit  int // files of a shard
	shut   func(*handle)
	open   atomic.Int64
	shards [handleShards]keptShard
}

type keptShard struct {
	sync.Mutex // guards the fields below, and those of the files
	files      map[uint64]*keptFile
}

// A keptFile is one file that is open by its id.
type keptFile struct {
	*handle
	readers int
	read    bool // since the last sweep
	dropped bool // out of its shard: the last reader closes it
}

// newKept returns a kept for limit files, which it closes with shut.
func newKept(limit int, shut func(*handle)) *kept {
	k := &kept{limit: max(1, limit/handleShards), shut: shut}
	for i := range k.shards {
		k.shards[i].files = make(map[uint64]*keptFile)
	}
	return k
}

func (k *kept) shard(id uint64) *keptShard { return &k.shards[id%handleShards] }

// take returns the file of an id to a reader, who must give it back; nil if it is not open.
func (k *kept) take(id uint64) *keptFile {
	s := k.shard(id)
	s.Lock()
	defer s.Unlock()
	f := s.files[id]
	if f != nil {
		f.readers, f.read = f.readers+1, true
	}
	return f
}

// keep takes h in and returns it to a reader, as take does. If the id was opened by another
// reader meanwhile, that file is returned and h closed.
func (k *kept) keep(h *handle) *keptFile {
	k.open.Add(1)
	s := k.shard(h.entry.ID)
	s.Lock()
	f, gone := s.files[h.entry.ID], h
	if f == nil {
		f, gone = &keptFile{handle: h}, nil
		if len(s.files) >= k.limit {
			gone = s.makeRoom()
		}
		s.files[h.entry.ID] = f
	}
	f.readers, f.read = f.readers+1, true
	s.Unlock()
	if gone != nil {
		k.close(gone)
	}
	return f
}

// makeRoom takes a file out, one that has not been read lately if it finds one soon, and
// returns it to be closed; nil if it is being read. The lock is held.
func (s *keptShard) makeRoom() *handle {
	var out *keptFile
	looked := 0
	for _, f := range s.files {
		if out == nil || f.readers == 0 {
			out = f
		}
		if looked++; looked == candidates || f.readers == 0 && !f.read {
			break
		}
	}
	delete(s.files, out.entry.ID)
	if out.readers > 0 {
		out.dropped = true
		return nil
	}
	return out.handle
}

// give gives back what take or keep has returned.
func (k *kept) give(f *keptFile) {
	s := k.shard(f.entry.ID)
	s.Lock()
	f.readers--
	last := f.dropped && f.readers == 0
	s.Unlock()
	if last {
		k.close(f.handle)
	}
}

// sweep closes the files that have not been read since the last sweep, and forgets those that
// were only looked up.
func (k *kept) sweep() {
	k.found.forget()
	var idle []*handle
	for i := range k.shards {
		s := &k.shards[i]
		s.Lock()
		for id, f := range s.files {
			if f.readers == 0 && !f.read {
				delete(s.files, id)
				idle = append(idle, f.handle)
			}
			f.read = false
		}
		s.Unlock()
		for _, h := range idle {
			k.close(h)
		}
		idle = idle[:0]
	}
}

// run sweeps until stop is closed.
func (k *kept) run(stop <-chan struct{}) {
	tick := time.NewTicker(idleAfter)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			k.sweep()
		case <-stop:
			return
		}
	}
}

// drain closes every file. None may be being read.
func (k *kept) drain() {
	for i := range k.shards {
		s := &k.shards[i]
		s.Lock()
		files := s.files
		s.files = make(map[uint64]*keptFile)
		s.Unlock()
		for _, f := range files {
			k.close(f.handle)
		}
	}
}

func (k *kept) close(h *handle) {
	k.open.Add(-1)
	k.shut(h)
}

// readID reads from the file of the node id, which it opens if it is not kept open. A file that
// is read whole is not kept open either: the kernel has its pages then.
func (r *raw) readID(cancel <-chan struct{}, in *gofuse.ReadIn, buf []byte) (gofuse.ReadResult, gofuse.Status) {
	f := r.kept.take(in.NodeId)
	if f == nil {
		h, code := r.openFile(cancel, &in.InHeader, r.kept.found.take(in.NodeId))
		if h == nil {
			return nil, code
		}
		if in.Offset == 0 && h.entry.Info.Size <= int64(len(buf)) {
			defer r.closeFile(h)
			return r.read(cancel, in, h, buf)
		}
		f = r.kept.keep(h)
	}
	defer r.kept.give(f)
	return r.read(cancel, in, f.handle, buf)
}
