package fuse

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

func TestConfigViolations(t *testing.T) {
	_, err := Config{EntryTimeout: -1, MaxBackground: 5000, Umask: fs.ModeDir}.withDefaults()
	if err == nil {
		t.Fatal("withDefaults() = nil, want an error")
	}
	for _, want := range []string{"no mount point", "entry timeout", "background", "umask"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("withDefaults() = %q, want it to name %q", err, want)
		}
	}
	cfg, err := Config{Path: "here"}.withDefaults()
	if err != nil || !filepath.IsAbs(cfg.Path) {
		t.Errorf("withDefaults() = path %q, %v, want an absolute one, nil", cfg.Path, err)
	}
}

func TestParseMounts(t *testing.T) {
	const info = `22 1 8:1 / / rw,relatime - ext4 /dev/root rw
36 22 0:44 / /mnt/a\040b\134c ro,nosuid shared:1 master:2 - fuse.shoal shoal:fleet\040a ro,user_id=0
37 22 0:45 / /mnt/x ro - fuse.other other ro
38 37 0:46 / /mnt/x ro - fuse.shoal shoal:b ro
garbage
39 22 bad / /mnt/y ro - fuse z ro
`
	want := []mountEntry{
		{1, "/", "ext4", "/dev/root"},
		{44, `/mnt/a b\c`, "fuse.shoal", "shoal:fleet a"},
		{45, "/mnt/x", "fuse.other", "other"},
		{46, "/mnt/x", "fuse.shoal", "shoal:b"},
	}
	got := parseMounts([]byte(info))
	if !reflect.DeepEqual(got, want) {
		t.Errorf("parseMounts() = %+v, want %+v", got, want)
	}
	if top, ok := topmost(got, "/mnt/x"); !ok || top.minor != 46 {
		t.Errorf("topmost(/mnt/x) = %+v, %v, want the one mounted last", top, ok)
	}
	if _, ok := topmost(got, "/mnt"); ok {
		t.Errorf("topmost(/mnt) = %v, want false", ok)
	}
}

func TestPrepare(t *testing.T) {
	root := t.TempDir()
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(root, name) }
	for _, err := range []error{
		os.Mkdir(at("dir"), 0o700),
		os.WriteFile(at("file"), nil, 0o600),
		os.WriteFile(at("dir/inside"), nil, 0o600),
		os.Symlink("dir", at("link")),
		os.Symlink(at("link"), at("link2")),
		os.Symlink("loop", at("loop")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		path, want string
		made       bool
		err        string
	}{
		{"dir", "dir", false, ""},
		{"link2", "dir", false, ""},
		{"new", "new", true, ""},
		{"link/new", "dir/new", true, ""},
		{"file", "", false, "not a directory"},
		{"no/new", "", false, "create the parent"},
		{"loop", "", false, "symbolic links"},
	} {
		got, made, err := prepare(at(c.path), slog.New(slog.DiscardHandler))
		switch {
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("prepare(%s) = %v, want an error with %q", c.path, err, c.err)
		case c.err == "" && (err != nil || got != at(c.want) || made != c.made):
			t.Errorf("prepare(%s) = %s, %v, %v, want %s, %v, nil", c.path, got, made, err, at(c.want), c.made)
		}
	}
}

func TestCheckHost(t *testing.T) {
	here, absent := t.TempDir(), filepath.Join(t.TempDir(), "fuse")
	t.Setenv("PATH", here)
	for _, c := range []struct {
		device string
		direct bool
		want   string // part of the error, "" for none
	}{
		{here, true, ""},
		{here, false, "install fuse3"},
		{absent, true, "modprobe fuse"},
		{absent, false, "modprobe fuse"},
	} {
		err := checkHost(c.device, c.direct)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("checkHost(%s, %v) = %v, want an error with %q", c.device, c.direct, err, c.want)
		}
	}
}

// A kernel records what it is told, each time after it could take from permits.
type kernel struct {
	permits chan struct{}
	told    chan string
}

func (k *kernel) EntryNotify(_ uint64, name string) gofuse.Status {
	<-k.permits
	k.told <- name
	return gofuse.ENOENT
}

func (k *kernel) InodeNotify(uint64, int64, int64) gofuse.Status {
	<-k.permits
	k.told <- "inode"
	return gofuse.OK
}

func TestInvalidator(t *testing.T) {
	k := &kernel{permits: make(chan struct{}), told: make(chan string, 10)}
	v := newInvalidator(k, slog.New(slog.DiscardHandler))
	go v.run()
	ctx := t.Context()
	for _, i := range []invalidation{{id: 1, name: "a"}, {id: 2}, {id: 1, name: "b"}} {
		if err := v.add(ctx, i); err != nil {
			t.Fatalf("add(%+v) = %v, want nil", i, err)
		}
	}
	expired, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	if err := v.sync(expired); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("sync() while the kernel makes it wait = %v, want %v", err, context.DeadlineExceeded)
	}
	close(k.permits)
	if err := v.sync(ctx); err != nil {
		t.Errorf("sync() = %v, want nil", err)
	}
	for _, want := range []string{"a", "inode", "b"} {
		if got := <-k.told; got != want {
			t.Errorf("kernel was told %q, want %q", got, want)
		}
	}
	v.close()
	v.close()
	// Whether there is room or not, the worker is gone: both answers end the call.
	for range invalidationQueue + 1 {
		if err := v.add(ctx, invalidation{id: 1, name: "c"}); err != nil && !errors.Is(err, fs.ErrClosed) {
			t.Fatalf("add() after close = %v, want nil or %v", err, fs.ErrClosed)
		}
	}
	if err := v.sync(ctx); err != nil && !errors.Is(err, fs.ErrClosed) {
		t.Errorf("sync() after close = %v, want nil or %v", err, fs.ErrClosed)
	}
	var st Stats
	if v.count(&st); st.Invalidations != 3 {
		t.Errorf("Invalidations = %d, want 3", st.Invalidations)
	}
}

func TestInvalidatorDropsRatherThanBlocks(t *testing.T) {
	v := newInvalidator(nil, slog.New(slog.DiscardHandler))
	for range invalidationQueue + 5 {
		v.try(1, "a")
	}
	var st Stats
	if v.count(&st); st.InvalidationsDropped != 5 {
		t.Errorf("InvalidationsDropped = %d, want 5", st.InvalidationsDropped)
	}
}
