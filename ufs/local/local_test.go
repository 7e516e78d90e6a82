package local_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal/ufs"
	"github.com/shoal-mesh/shoal/ufs/local"
	"github.com/shoal-mesh/shoal/ufs/ufstest"
)

// writer writes files below a directory, replacing them by rename.
type writer string

func (w writer) Put(name string, data []byte) error {
	file := filepath.Join(string(w), name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	temporary := filepath.Join(string(w), ".put")
	if err := os.WriteFile(temporary, data, 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, file)
}

func (w writer) Mkdir(name string) error  { return os.MkdirAll(filepath.Join(string(w), name), 0o755) }
func (w writer) Remove(name string) error { return os.Remove(filepath.Join(string(w), name)) }

func TestConformance(t *testing.T) {
	ufstest.Conformance(t, ufstest.Harness{
		New: func(t *testing.T) (ufs.FS, ufstest.Writer) {
			f, dir := newFS(t)
			return f, writer(dir)
		},
		Names: []string{"new\nline", "bell\a", "caf\xe9"},
		Many:  4200, // more than is read again for each page
	})
}

func newFS(t *testing.T) (f *local.FS, dir string) {
	t.Helper()
	dir = t.TempDir()
	f, err := local.New(dir, local.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return f, dir
}

func TestSymlinks(t *testing.T) {
	f, dir := newFS(t)
	outside := t.TempDir()
	mustDo(t,
		writer(outside).Put("secret", []byte("secret")),
		writer(dir).Put("a/file", []byte("data")),
		writer(dir).Put("b/other", []byte("more")),
		os.Symlink("file", filepath.Join(dir, "a/same-dir")),
		os.Symlink("../b/other", filepath.Join(dir, "a/other-dir")),
		os.Symlink("../b", filepath.Join(dir, "a/dir")),
		os.Symlink(outside, filepath.Join(dir, "a/absolute")),
		os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "a/absolute-file")),
		os.Symlink("../../"+filepath.Base(outside)+"/secret", filepath.Join(dir, "a/relative")),
		os.Symlink("..", filepath.Join(dir, "a/loop")),
		os.Symlink("../a", filepath.Join(dir, "b/a")),
		os.Symlink("endless", filepath.Join(dir, "a/endless")),
		os.Symlink("nowhere", filepath.Join(dir, "a/dangling")),
		syscall.Mkfifo(filepath.Join(dir, "a/pipe"), 0o644),
	)
	for _, name := range []string{"a/same-dir", "a/other-dir", "a/dir/other"} {
		info, err := f.Stat(t.Context(), name)
		if err != nil || info.Name != filepath.Base(name) || info.Size != 4 {
			t.Errorf("Stat(%q) = %+v, %v, want 4 bytes", name, info, err)
		}
		if body, err := f.Open(t.Context(), name, info.Version, 0, 4); err != nil {
			t.Errorf("Open(%q): %v", name, err)
		} else {
			_ = body.Close()
		}
	}
	for _, name := range []string{"a/absolute", "a/absolute/secret", "a/absolute-file", "a/relative", "a/loop", "a/dir/a", "a/endless", "a/pipe"} {
		if info, err := f.Stat(t.Context(), name); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("Stat(%q) = %+v, %v, want fs.ErrPermission", name, info, err)
		}
	}
	for _, name := range []string{"a/absolute/secret", "a/absolute-file", "a/relative", "a/endless", "a/pipe"} {
		if _, err := f.Open(t.Context(), name, "v", 0, 1); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("Open(%q): %v, want fs.ErrPermission", name, err)
		}
	}
	if _, err := f.List(t.Context(), "a/absolute", "", 10); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("List(a/absolute): %v, want fs.ErrPermission", err)
	}
	if _, err := f.Stat(t.Context(), "a/dangling"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat(a/dangling): %v, want fs.ErrNotExist", err)
	}
	if got, want := names(t, f, "a"), []string{"dir", "file", "other-dir", "same-dir"}; !slices.Equal(got, want) {
		t.Errorf("List(a) = %q, want %q", got, want)
	}
	if got, want := names(t, f, "a/dir"), []string{"other"}; !slices.Equal(got, want) {
		t.Errorf("List(a/dir) = %q, want %q", got, want)
	}
}

func TestRootMissing(t *testing.T) {
	f, dir := newFS(t)
	mustDo(t, writer(dir).Put("a", []byte("data")), f.Check(t.Context()))
	away := dir + ".away"
	mustDo(t, os.Rename(dir, away))
	for _, name := range []string{"", "a", "b"} {
		if _, err := f.Stat(t.Context(), name); !unavailable(err) {
			t.Errorf("Stat(%q) without its root: %v, want ufs.ErrUnavailable only", name, err)
		}
		if _, err := f.List(t.Context(), name, "", 1); !unavailable(err) {
			t.Errorf("List(%q) without its root: %v, want ufs.ErrUnavailable only", name, err)
		}
		if _, err := f.Open(t.Context(), name, "v", 0, 1); !unavailable(err) {
			t.Errorf("Open(%q) without its root: %v, want ufs.ErrUnavailable only", name, err)
		}
	}
	if err := f.Check(t.Context()); !unavailable(err) || !strings.Contains(err.Error(), dir) {
		t.Errorf("Check without its root: %v, want ufs.ErrUnavailable that names %s", err, dir)
	}
	mustDo(t, os.WriteFile(dir, nil, 0o644))
	if err := f.Check(t.Context()); !unavailable(err) {
		t.Errorf("Check of a file as root: %v, want ufs.ErrUnavailable", err)
	}
	mustDo(t, os.Remove(dir), os.Rename(away, dir))
	if info, err := f.Stat(t.Context(), "a"); err != nil {
		t.Errorf("Stat when the root is back = %+v, %v", info, err)
	}
}

func unavailable(err error) bool {
	return errors.Is(err, ufs.ErrUnavailable) && !errors.Is(err, fs.ErrNotExist)
}

// TestChangedWhileStreamed changes a file in place, which a rename cannot show.
func TestChangedWhileStreamed(t *testing.T) {
	const size = 1 << 20
	tests := []struct {
		name   string
		change func(file string) error
	}{
		{"rewritten", func(file string) error {
			return errors.Join(os.WriteFile(file, make([]byte, size), 0o644), later(file))
		}},
		{"one byte", func(file string) error {
			f, err := os.OpenFile(file, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte("x"), size-1)
			return errors.Join(err, f.Close(), later(file))
		}},
		{"cut", func(file string) error { return os.Truncate(file, size/2) }},
		{"cut before the range read so far", func(file string) error { return os.Truncate(file, 0) }},
		{"grown", func(file string) error { return os.Truncate(file, size+1) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, dir := newFS(t)
			mustDo(t, writer(dir).Put("a", []byte(strings.Repeat("0123456789abcdef", size/16))))
			info, err := f.Stat(t.Context(), "a")
			mustDo(t, err)
			body, err := f.Open(t.Context(), "a", info.Version, 0, size)
			mustDo(t, err)
			defer func() { _ = body.Close() }()
			_, err = io.ReadFull(body, make([]byte, 1000))
			mustDo(t, err, tt.change(filepath.Join(dir, "a")))
			if n, err := io.Copy(io.Discard, body); n != 0 || !errors.Is(err, ufs.ErrVersion) {
				t.Errorf("rest of the stream: %d bytes, %v, want none and ufs.ErrVersion", n, err)
			}
		})
	}
}

// later moves a file's time on, by more than a tick of any file system's clock.
func later(file string) error {
	at := time.Now().Add(time.Second)
	return os.Chtimes(file, at, at)
}

func TestListGoesOnOverChanges(t *testing.T) {
	const n = 5000
	f, dir := newFS(t)
	for i := range n {
		mustDo(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%05d", i)), nil, 0o644))
	}
	page, err := f.List(t.Context(), "", "", 10)
	mustDo(t, err, os.Remove(filepath.Join(dir, "00010")), os.WriteFile(filepath.Join(dir, "00011a"), nil, 0o644), later(dir))
	page, err = f.List(t.Context(), "", page.Entries[9].Name, 3)
	mustDo(t, err)
	var got []string
	for _, e := range page.Entries {
		got = append(got, e.Name)
	}
	if want := []string{"00011", "00011a", "00012"}; !slices.Equal(got, want) {
		t.Errorf("page after a change = %q, want %q", got, want)
	}
}

func TestNewRefusesEmptyRoot(t *testing.T) {
	if _, err := local.New("", local.Config{}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("New(%q): %v, want fs.ErrInvalid", "", err)
	}
	if _, err := local.New("/", local.Config{SnapshotNames: -1}); err == nil {
		t.Errorf("New with negative SnapshotNames: no error")
	}
}

func names(t *testing.T, f *local.FS, dir string) []string {
	t.Helper()
	page, err := f.List(t.Context(), dir, "", 100)
	mustDo(t, err)
	var names []string
	for _, e := range page.Entries {
		names = append(names, e.Name)
	}
	return names
}

func mustDo(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}
