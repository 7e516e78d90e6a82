package s3_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/ufs/s3"
)

// TestListRandom compares listings of random keys, made of bytes on both sides of the
// slash, with what sorting all names at once gives.
func TestListRandom(t *testing.T) {
	const rounds = 50
	rnd := rand.New(rand.NewPCG(1, 2))
	fake, cfg := startFake(t)
	f := newFS(t, cfg)
	for round := range rounds {
		fake.objects = make(map[string]object)
		sizes := make(map[string]int) // of the entries of the root; -1 for a directory
		for range 1 + rnd.IntN(25) {
			key := make([]byte, 1+rnd.IntN(5))
			for i := range key {
				key[i] = "aab-.!/0"[rnd.IntN(8)]
			}
			size := rnd.IntN(2)
			fake.put(string(key), make([]byte, size))
		}
		for key, o := range fake.objects {
			name, _, isDir := strings.Cut(key, "/")
			size := len(o.data)
			if isDir {
				size = -1
			}
			if was, ok := sizes[name]; ok && max(was, size) < 1 {
				size = -1 // an empty key gives way
			}
			if name != "" && name != "." && name != ".." {
				sizes[name] = max(sizes[name], size)
				if size == -1 && sizes[name] == 0 {
					sizes[name] = -1
				}
			}
		}
		var want []string
		for name, size := range sizes {
			want = append(want, fmt.Sprintf("%s %d", name, size))
		}
		slices.Sort(want)
		for limit := 1; limit <= len(want)+1; limit++ {
			if got := walk(t, f, limit); !slices.Equal(got, want) {
				t.Fatalf("round %d: listing in pages of %d = %q, want %q (keys %q)", round, limit, got, want, keysOf(fake))
			}
		}
	}
}

// walk lists the root in pages and returns "name size", -1 for a directory.
func walk(t *testing.T, f *s3.FS, limit int) []string {
	t.Helper()
	var all []string
	after := ""
	for {
		page, err := f.List(t.Context(), "", after, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Entries {
			all = append(all, fmt.Sprintf("%s %d", e.Name, sizeOf(e)))
			after = e.Name
		}
		if !page.More {
			slices.Sort(all) // by name and size, as want; the order of names is the suite's to test
			return all
		}
	}
}

func sizeOf(e shoal.FileInfo) int64 {
	if e.IsDir() {
		return -1
	}
	return e.Size
}

func keysOf(f *fake) []string {
	var keys []string
	for key := range f.objects {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func TestKeyThatIsAlsoPrefix(t *testing.T) {
	fake, cfg := startFake(t)
	f := newFS(t, cfg)
	fake.put("empty", nil)
	fake.put("empty/x", []byte("x"))
	fake.put("full", []byte("full"))
	fake.put("full/x", []byte("x"))
	for limit := 1; limit <= 3; limit++ {
		if got, want := walk(t, f, limit), []string{"empty -1", "full 4"}; !slices.Equal(got, want) {
			t.Errorf("listing in pages of %d = %q, want %q", limit, got, want)
		}
	}
	for name, size := range map[string]int64{"empty": -1, "full": 4} {
		if info, err := f.Stat(t.Context(), name); err != nil || sizeOf(info) != size {
			t.Errorf("Stat(%q) = %+v, %v, want size %d", name, info, err, size)
		}
	}
}

func TestListLeavesOutWhatIsNoName(t *testing.T) {
	fake, cfg := startFake(t)
	f := newFS(t, cfg)
	for _, key := range []string{"/a", "./a", "../a", "a//b", "a/../b", "a/./b", "a/c", "a/", "d/", ".", ".."} {
		fake.put(key, []byte("x"))
	}
	if got, want := walk(t, f, 1), []string{"a -1", "d -1"}; !slices.Equal(got, want) {
		t.Errorf("listing = %q, want %q", got, want)
	}
	page, err := f.List(t.Context(), "a", "", 10)
	if err != nil || len(page.Entries) != 1 || page.Entries[0].Name != "c" {
		t.Errorf("List(a) = %+v, %v, want only c", page, err)
	}
	page, err = f.List(t.Context(), "d", "", 10)
	if err != nil || len(page.Entries) != 0 {
		t.Errorf("List(d) = %+v, %v, want nothing and no error: it has a marker", page, err)
	}
}

// TestRequests counts what is asked: it is what S3 bills.
func TestRequests(t *testing.T) {
	fake, cfg := startFake(t)
	f := newFS(t, cfg)
	for i := range 2500 {
		fake.put(fmt.Sprintf("dir/%04d.jpg", i), []byte("x"))
	}
	tests := []struct {
		name string
		do   func() error
		want []string
	}{
		{"stat file", func() error { _, err := f.Stat(t.Context(), "dir/0001.jpg"); return err }, []string{"HEAD dir/0001.jpg"}},
		{"stat directory", func() error { _, err := f.Stat(t.Context(), "dir"); return err }, []string{"HEAD dir", "LIST dir/"}},
		{"stat missing", func() error { _, _ = f.Stat(t.Context(), "no"); return nil }, []string{"HEAD no", "LIST no/"}},
		{"first page", func() error { _, err := f.List(t.Context(), "dir", "", 1000); return err }, []string{"LIST dir/", "LIST dir/0999/"}},
		{"last page", func() error { _, err := f.List(t.Context(), "dir", "1999.jpg", 1000); return err }, []string{"LIST dir/"}},
		{"check", func() error { return f.Check(t.Context()) }, []string{"LIST "}},
	}
	for _, tt := range tests {
		fake.asked()
		if err := tt.do(); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if got := fake.asked(); !slices.Equal(got, tt.want) {
			t.Errorf("%s asks %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestListPushesDown(t *testing.T) {
	fake, cfg := startFake(t)
	cfg.Prefix = "p"
	f := newFS(t, cfg)
	fake.put("p/d/a", nil)
	fake.intercept = func(_ http.ResponseWriter, r *http.Request) bool {
		q := r.URL.Query()
		for key, want := range map[string]string{"prefix": "p/d/", "delimiter": "/", "start-after": "p/d/Z", "max-keys": "7"} {
			if got := q.Get(key); got != want {
				t.Errorf("%s = %q, want %q", key, got, want)
			}
		}
		return false
	}
	if _, err := f.List(t.Context(), "d", "Z", 7); err != nil {
		t.Error(err)
	}
}
