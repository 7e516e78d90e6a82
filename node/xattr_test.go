package node

import (
	"errors"
	"io/fs"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-mesh/shoal"
)

func TestXAttr(t *testing.T) {
	b := newBench(t, FetcherConfig{})
	e, want := b.put(t, 2*shoal.BlockSize+100)
	e.Fetched = time.Now().Add(-90 * time.Second)
	store := openStore(t, t.TempDir())
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	a := &Agent{store: store, files: NewFiles(b.Fetcher, store, 0)}
	dir := shoal.Entry{Info: shoal.FileInfo{Mode: fs.ModeDir}, Fetched: time.Now().Add(time.Hour)}
	empty := shoal.Entry{Info: shoal.FileInfo{Version: "v0"}}
	expect := func(e shoal.Entry, name, want string, wantErr error) {
		t.Helper()
		if got, err := a.xattr(t.Context(), e, name); err == nil && got != want || !errors.Is(err, wantErr) {
			t.Errorf("xattr(%q, %s) = %q, %v, want %q, %v", e.Path, name, got, err, want, wantErr)
		}
	}
	expect(e, "version", string(e.Info.Version), nil)
	expect(e, "age", "90", nil)
	expect(e, "tier", "none", nil)
	expect(e, "cached", "0", nil)
	expect(e, "color", "", syscall.ENODATA)
	expect(dir, "age", "0", nil) // from the future: the clock was wrong
	for _, name := range []string{"version", "tier", "cached", "holders", "color"} {
		expect(dir, name, "", syscall.ENODATA)
	}
	expect(empty, "age", "", syscall.ENODATA)
	expect(empty, "cached", "100", nil)

	f, err := a.files.Open(e)
	if err != nil {
		t.Fatal(err)
	}
	read := func(off int64, tier string) {
		t.Helper()
		if _, err := f.ReadAt(t.Context(), make([]byte, 1), off); err != nil {
			t.Fatal(err)
		}
		expect(e, "tier", tier, nil)
	}
	read(0, "ufs")
	putBlocks(t, store, e, want[shoal.BlockSize:], 1)
	expect(e, "cached", "66", nil)
	read(shoal.BlockSize, "local")
	putBlocks(t, store, e, want[:shoal.BlockSize], 0)
	expect(e, "cached", "100", nil)
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if f, err = a.files.Open(empty); err != nil {
		t.Fatal(err)
	}
	f.Passed()
	expect(empty, "tier", "local", nil)
}

func TestPercent(t *testing.T) {
	for _, tt := range []struct{ part, whole, want int }{
		{0, 0, 100}, {0, 5, 0}, {5, 5, 100}, {1, 3, 33}, {1, 1000, 1}, {999, 1000, 99},
	} {
		if got := percent(tt.part, tt.whole); got != tt.want {
			t.Errorf("percent(%d, %d) = %d, want %d", tt.part, tt.whole, got, tt.want)
		}
	}
}

func TestFewestHolders(t *testing.T) {
	blocks := func(n ...int) (list []BlockInfo) {
		for _, holders := range n {
			list = append(list, BlockInfo{Holders: make([]Holder, holders)})
		}
		return list
	}
	crowded := BlockInfo{Holders: make([]Holder, 2), More: 3}
	for _, tt := range []struct {
		name   string
		blocks []BlockInfo
		want   int
		err    error
	}{
		{"no blocks", nil, 0, nil},
		{"the second has fewest", blocks(3, 1, 2), 1, nil},
		{"one has none", blocks(3, 2, 0), 0, nil},
		{"more than are named", append(blocks(7), crowded), 5, nil},
		{"of one nobody can tell", append(blocks(3), BlockInfo{Unknown: true}), 0, syscall.ETIMEDOUT},
	} {
		if got, err := fewestHolders(tt.blocks); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: fewestHolders() = %d, %v, want %d, %v", tt.name, got, err, tt.want, tt.err)
		}
	}
}

func TestSpread(t *testing.T) {
	for _, tt := range []struct {
		blocks, limit int
		want          []uint32
	}{
		{0, 5, []uint32{}},
		{1, 5, []uint32{0}},
		{3, 5, []uint32{0, 1, 2}},
		{5, 5, []uint32{0, 1, 2, 3, 4}},
		{10, 4, []uint32{0, 3, 6, 9}},
		{10, 1, []uint32{0}},
		{1 << 30, 3, []uint32{0, 1<<29 - 1, 1<<30 - 1}},
	} {
		if got := spread(tt.blocks, tt.limit); !slices.Equal(got, tt.want) {
			t.Errorf("spread(%d, %d) = %v, want %v", tt.blocks, tt.limit, got, tt.want)
		}
	}
}
