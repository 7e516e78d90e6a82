package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"github.com/shoal-mesh/shoal/ufs"
)

func TestWrap(t *testing.T) {
	tests := []struct {
		err, want error
	}{
		{syscall.ENOENT, fs.ErrNotExist},
		{syscall.ENOTDIR, fs.ErrNotExist},
		{syscall.EACCES, fs.ErrPermission},
		{syscall.EPERM, fs.ErrPermission},
		{syscall.ELOOP, fs.ErrPermission},
		{syscall.ENAMETOOLONG, fs.ErrInvalid},
		{syscall.EIO, ufs.ErrUnavailable},
		{syscall.ENOTCONN, ufs.ErrUnavailable},
		{syscall.ESTALE, ufs.ErrUnavailable},
		{syscall.ETIMEDOUT, ufs.ErrUnavailable},
		{os.ErrDeadlineExceeded, ufs.ErrUnavailable},
		{ufs.ErrVersion, ufs.ErrVersion},
		{context.Canceled, context.Canceled},
	}
	kinds := []error{fs.ErrNotExist, fs.ErrPermission, fs.ErrInvalid, ufs.ErrUnavailable, ufs.ErrVersion, context.Canceled}
	f := &FS{path: "/nas"}
	for _, tt := range tests {
		got := f.wrap("stat", "a", &fs.PathError{Op: "openat", Path: "a", Err: tt.err})
		for _, kind := range kinds {
			if errors.Is(got, kind) != errors.Is(tt.want, kind) {
				t.Errorf("wrap(%v) = %v, want only %v", tt.err, got, tt.want)
			}
		}
	}
	if got := f.wrap("stat", "a", fmt.Errorf("odd")); got == nil {
		t.Errorf("wrap of an unknown error = nil")
	}
}

// TestSnapshots looks at what is kept, which no caller can see.
func TestSnapshots(t *testing.T) {
	s := snapshots{max: 3 * readBatch}
	big := make([]string, readBatch+1)
	s.keep(snapshot{dir: "small", names: make([]string, readBatch)})
	for _, dir := range []string{"a", "b", "a", "c"} {
		s.keep(snapshot{dir: dir, state: dirState{inode: 1}, names: big})
	}
	for dir, want := range map[string]bool{"small": false, "a": true, "b": false, "c": true} {
		if _, ok := s.find(dir, dirState{inode: 1}); ok != want {
			t.Errorf("find(%q) = %v, want %v", dir, ok, want)
		}
	}
	if _, ok := s.find("a", dirState{inode: 2}); ok {
		t.Errorf("find of another state = true, want false")
	}
	s.forget("a")
	s.forget("c")
	if s.size != 0 || len(s.kept) != 0 {
		t.Errorf("after forget: %d names in %d snapshots, want none", s.size, len(s.kept))
	}
}
