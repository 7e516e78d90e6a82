package local

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// readBatch is how many names are read before the context is asked again.
const readBatch = 4096

// snapshots keeps the sorted names of directories that are being listed, so that
// listing a directory of n names in pages costs one read of it, not n/page. Only pages
// after a first one use them: a first page always reads.
type snapshots struct {
	max int // names kept, all directories together

	mu   sync.Mutex // guards the fields below
	kept []snapshot // least recently used first
	size int        // names in kept
}

// snapshot is the contents of a directory at one time.
type snapshot struct {
	dir   string
	state dirState
	names []string // sorted; never modified
}

// dirState tells two states of a directory apart, within the tick of its clock.
type dirState struct {
	inode   uint64
	modTime time.Time
}

// names returns the names in dir that sort after after. The caller does not modify them.
func (s *snapshots) names(ctx context.Context, root *os.Root, dir, after string) ([]string, error) {
	file, err := root.OpenFile(osName(dir), os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	state := dirState{inode: inode(info), modTime: info.ModTime()}
	if after != "" {
		if names, ok := s.find(dir, state); ok {
			return following(names, after), nil
		}
	}
	names, err := readNames(ctx, file)
	if err != nil {
		return nil, err
	}
	s.keep(snapshot{dir: dir, state: state, names: names})
	return following(names, after), nil
}

// find returns the kept names of dir, if they are of this state.
func (s *snapshots) find(dir string, state dirState) ([]string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.index(dir)
	if i < 0 || s.kept[i].state != state {
		return nil, false
	}
	found := s.kept[i]
	s.kept = append(slices.Delete(s.kept, i, i+1), found)
	return found.names, true
}

// keep adds a snapshot in place of an older one of its directory, and drops the least
// recently used ones if there are too many names.
func (s *snapshots) keep(n snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.index(n.dir); i >= 0 {
		s.drop(i)
	}
	if len(n.names) <= readBatch {
		return // as fast to read again
	}
	s.kept = append(s.kept, n)
	s.size += len(n.names)
	for s.size > s.max && len(s.kept) > 1 {
		s.drop(0)
	}
}

// forget drops the names of dir, whose listing has come to its end.
func (s *snapshots) forget(dir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.index(dir); i >= 0 {
		s.drop(i)
	}
}

func (s *snapshots) drop(i int) {
	s.size -= len(s.kept[i].names)
	s.kept = slices.Delete(s.kept, i, i+1)
}

func (s *snapshots) index(dir string) int {
	return slices.IndexFunc(s.kept, func(k snapshot) bool { return k.dir == dir })
}

// readNames reads and sorts all names of a directory.
func readNames(ctx context.Context, dir *os.File) ([]string, error) {
	var names []string
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		batch, err := dir.Readdirnames(readBatch)
		names = append(names, batch...)
		if errors.Is(err, io.EOF) {
			slices.Sort(names)
			return names, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// following returns the part of sorted names after after.
func following(names []string, after string) []string {
	if after == "" {
		return names
	}
	i, found := slices.BinarySearchFunc(names, after, cmp.Compare[string])
	if found {
		i++
	}
	return names[i:]
}
