package fuse

import (
	"io/fs"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

func TestFillEntry(t *testing.T) {
	mtime := time.Unix(1_700_000_000, 123)
	file := shoal.Entry{ID: 7, Info: shoal.FileInfo{Size: 1025, Mode: 0o664, ModTime: mtime}}
	dir := shoal.Entry{ID: 8, Info: shoal.FileInfo{Size: 99, Mode: fs.ModeDir | 0o775}}
	config := func(change func(*Config)) Config {
		cfg := Config{Path: "/m", Owner: func(shoal.Entry) (uint32, uint32) { return 11, 12 }}
		change(&cfg)
		cfg, err := cfg.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	plain := config(func(*Config) {})
	fresh := func(d time.Duration) Config {
		return config(func(c *Config) { c.TTL = func(shoal.Entry) time.Duration { return d } })
	}
	attr := gofuse.Attr{
		Ino: 7, Size: 1025, Blocks: 3, Nlink: 1, Mode: syscall.S_IFREG | 0o444,
		Owner: gofuse.Owner{Uid: 11, Gid: 12},
		Mtime: 1_700_000_000, Mtimensec: 123, Ctime: 1_700_000_000, Ctimensec: 123, Atime: 1_700_000_000, Atimensec: 123,
	}
	dirAttr := gofuse.Attr{Ino: 8, Nlink: 1, Mode: syscall.S_IFDIR | 0o555, Owner: attr.Owner}
	masked := attr
	masked.Mode = syscall.S_IFREG | 0o440
	for _, c := range []struct {
		what        string
		cfg         Config
		e           shoal.Entry
		entry, attr time.Duration
		want        gofuse.Attr
	}{
		{"file", plain, file, 24 * time.Hour, 24 * time.Hour, attr},
		{"directory", plain, dir, 24 * time.Hour, 24 * time.Hour, dirAttr},
		{"file, name nearly expired", fresh(time.Second), file, time.Second, 24 * time.Hour, attr},
		{"directory, name nearly expired", fresh(time.Second), dir, time.Second, time.Second, dirAttr},
		{"name expired", fresh(-time.Second), dir, 0, 0, dirAttr},
		{"name fresh for long", fresh(time.Hour), file, time.Hour, 24 * time.Hour, attr},
		{"name fresh for longer than that", fresh(48 * time.Hour), file, 24 * time.Hour, 24 * time.Hour, attr},
		{"umask", config(func(c *Config) { c.Umask = 0o007 }), file, 24 * time.Hour, 24 * time.Hour, masked},
	} {
		var out gofuse.EntryOut
		c.cfg.fillEntry(c.e, &out)
		if out.NodeId != c.e.ID || out.EntryTimeout() != c.entry || out.AttrTimeout() != c.attr || out.Attr != c.want {
			t.Errorf("%s: fillEntry() = node %d, %v, %v, %+v, want node %d, %v, %v, %+v", c.what,
				out.NodeId, out.EntryTimeout(), out.AttrTimeout(), out.Attr, c.e.ID, c.entry, c.attr, c.want)
		}
	}
}

func TestMode(t *testing.T) {
	cfg := Config{}
	for _, c := range []struct {
		in   fs.FileMode
		want uint32
	}{
		{0, syscall.S_IFREG | 0o444},
		{fs.ModeDir, syscall.S_IFDIR | 0o555},
		{0o777, syscall.S_IFREG | 0o555},
		{0o600, syscall.S_IFREG | 0o400},
		{0o200, syscall.S_IFREG},
		{fs.ModeDir | 0o700, syscall.S_IFDIR | 0o500},
		{fs.ModeSetuid | 0o755, syscall.S_IFREG | 0o555},
		{fs.ModeSymlink | 0o777, syscall.S_IFREG | 0o555},
	} {
		if got := cfg.mode(shoal.Entry{Info: shoal.FileInfo{Mode: c.in}}); got != c.want {
			t.Errorf("mode(%v) = %o, want %o", c.in, got, c.want)
		}
	}
}
