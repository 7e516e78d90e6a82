package blockstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-mesh/shoal"
)

// offlineDir is a closed cache directory with small blocks in two slabs of different classes
// and large ones in two sparse containers.
func offlineDir(t *testing.T) (dir string, cfg Config, data map[shoal.Key][]byte) {
	t.Helper()
	dir, data = filepath.Join(fastDir(t), "cache"), make(map[shoal.Key][]byte)
	cfg = oneDisk(dir, 64<<20)
	cfg.SlabBytes = 1 << 20
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint32(20) {
		key, n := pageKey(i), 3000
		switch {
		case i >= 16: // four blocks of two large files
			key = shoal.Key{File: shoal.FileID{byte(i / 2), 0xbb}, Index: i % 2}
			n = shoal.BlockSize - int(i%2)*1000
		case i >= 8:
			n = 40_000
		}
		data[key] = randomBytes(uint64(i), n)
		file := File{SizeBytes: int64(n), Dataset: "/train"}
		if i >= 16 {
			file.SizeBytes = 2*shoal.BlockSize - 1000
		}
		if err := s.Put(key, file, data[key], shoal.ChunkSums(key, data[key])); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, cfg, data
}

// offlineFiles returns what is in a cache directory, by file: its length, time and the head of
// its contents. The lock file, which says who has the directory, is left out.
func offlineFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "LOCK" {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		files[path] = fmt.Sprint(info.Size(), info.ModTime(), shoal.ChunkSum(shoal.Key{}, 0, b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// offlineCheck is Check that must not fail.
func offlineCheck(t *testing.T, dir string, opt CheckOptions) Report {
	t.Helper()
	r, err := Check(t.Context(), dir, opt)
	if err != nil {
		t.Fatalf("Check(%+v) = %v", opt, err)
	}
	return r
}

// offlineFlip changes a byte of a file.
func offlineFlip(t *testing.T, path string, off int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	_, rerr := f.ReadAt(b[:], off)
	b[0] ^= 0x40
	_, werr := f.WriteAt(b[:], off)
	if err := errors.Join(rerr, werr, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// offlineReopen opens a directory as an agent does and compares its blocks with data: missing
// ones must be among gone.
func offlineReopen(t *testing.T, cfg Config, data map[shoal.Key][]byte, gone ...shoal.Key) {
	t.Helper()
	s := openTest(t, cfg)
	for key, want := range data {
		got := make([]byte, len(want))
		_, err := s.ReadAt(key, got, 0)
		switch {
		case slices.Contains(gone, key):
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("ReadAt(%v) of a dropped block = %v, want not exist", key, err)
			}
		case err != nil:
			t.Errorf("ReadAt(%v) = %v", key, err)
		case !slices.Equal(got, want):
			t.Errorf("ReadAt(%v) gave other bytes", key)
		}
	}
}

func TestCheckOfCleanDirectoryChangesNothing(t *testing.T) {
	dir, _, data := offlineDir(t)
	before := offlineFiles(t, dir)
	var last Progress
	r := offlineCheck(t, dir, CheckOptions{Progress: func(p Progress) { last = p }})
	var total int64
	for _, b := range data {
		total += int64(len(b))
	}
	if r.Blocks != len(data) || r.Bytes != total || len(r.Bad)+len(r.Problems)+len(r.Leftovers) > 0 || r.Crashed || r.Repaired {
		t.Errorf("Check() = %+v, want %d good blocks of %d bytes", r, len(data), total)
	}
	if want := (Progress{Disk: dir, Done: len(data), Total: len(data), Bytes: total, TotalBytes: total}); last != want {
		t.Errorf("last progress %+v, want %+v", last, want)
	}
	st, err := Inspect(dir)
	if err != nil {
		t.Fatal(err)
	}
	if st.Blocks != len(data) || len(st.Datasets) != 1 || st.Datasets[0].Name != "/train" || st.Datasets[0].Bytes != st.Bytes ||
		len(st.Disks[0].Classes) != 2 || st.Disks[0].Files != 2 || st.Disks[0].Slabs != 2 || st.CapacityBytes != 0 {
		t.Errorf("Inspect() = %+v", st)
	}
	for path, now := range offlineFiles(t, dir) {
		if before[path] != now {
			t.Errorf("%s changed: %s, was %s", path, now, before[path])
		}
		delete(before, path)
	}
	if len(before) > 0 {
		t.Errorf("files are gone: %v", before)
	}
}

func TestCheckReportsAndRepairs(t *testing.T) {
	dir, cfg, data := offlineDir(t)
	offlineFlip(t, filepath.Join(dir, "slabs", "00000000"), slabFirst+pageSize+10) // within or behind the second block
	sparse := offlineGlob(t, dir, "files/*/????????????????")
	offlineFlip(t, sparse[0], shoal.BlockSize+5)
	offlineFlip(t, sparse[1]+sumsSuffix, cellOffset(0)+sumsCell-1)
	for range 2 { // the first changes nothing
		r := offlineCheck(t, dir, CheckOptions{})
		if r.Blocks != len(data) || len(r.Bad) < 2 || len(r.Problems)+len(r.Leftovers) > 0 {
			t.Fatalf("Check() = %+v, want bad blocks", r)
		}
	}
	r := offlineCheck(t, dir, CheckOptions{Repair: true})
	if !r.Repaired || len(r.Bad) < 2 {
		t.Fatalf("Check(repair) = %+v", r)
	}
	var gone []shoal.Key
	for _, b := range r.Bad {
		gone = append(gone, b.Key)
	}
	r = offlineCheck(t, dir, CheckOptions{})
	if r.Blocks != len(data)-len(gone) || len(r.Bad)+len(r.Problems)+len(r.Leftovers) > 0 {
		t.Errorf("Check() after repair = %+v", r)
	}
	offlineReopen(t, cfg, data, gone...)
}

// offlineGlob returns the files of a directory that match, in order.
func offlineGlob(t *testing.T, dir, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("Glob(%s) = %v, %v", pattern, paths, err)
	}
	return paths
}

// TestCheckAudits breaks a directory in each way an audit knows.
func TestCheckAudits(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name             string
		wreck            func(t *testing.T, dir string)
		problem          string // in the only problem; none if empty
		bad, hidden      int
		leftovers, after int // after the repair
	}{
		{"slab is missing", func(t *testing.T, dir string) {
			offlineRemove(t, filepath.Join(dir, "slabs", "00000000"))
		}, "slabs/00000000 8 container: file does not exist", 0, 8, 0, 0},
		{"slab has no header", func(t *testing.T, dir string) {
			offlineFlip(t, filepath.Join(dir, "slabs", "00000001"), 9)
		}, "slabs/00000001 0 header is not the container's", 0, 0, 0, 0},
		{"slab is short", func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, "slabs", "00000001"), slabFirst+100); err != nil {
				t.Fatal(err)
			}
		}, "4196 bytes, want 1048576", 8, 0, 0, 1},
		{"sparse container is missing", func(t *testing.T, dir string) {
			offlineRemove(t, offlineGlob(t, dir, "files/*/????????????????")[0])
		}, "no such file", 2, 0, 0, 0},
		{"sums are missing", func(t *testing.T, dir string) {
			offlineRemove(t, offlineGlob(t, dir, "files/*/*.sums")[0])
		}, "no such file", 2, 0, 0, 0},
		{"sums have no header", func(t *testing.T, dir string) {
			offlineFlip(t, offlineGlob(t, dir, "files/*/*.sums")[0], 9)
		}, "header is not the container's", 0, 0, 0, 0},
		{"files of nobody", func(t *testing.T, dir string) {
			for _, name := range []string{"files/07/0000000000000007", "files/07/note", "slabs/note"} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}, "", 0, 0, 3, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, cfg, data := offlineDir(t)
			tt.wreck(t, dir)
			r := offlineCheck(t, dir, CheckOptions{Repair: true})
			if r.Blocks != len(data)-tt.hidden || len(r.Bad) != tt.bad || len(r.Leftovers) != tt.leftovers || !r.Repaired {
				t.Errorf("Check(repair) = %+v", r)
			}
			if got := offlineProblems(r); tt.problem == "" && got != "" || !strings.Contains(got, tt.problem) {
				t.Errorf("problems %q, want %q", got, tt.problem)
			}
			r = offlineCheck(t, dir, CheckOptions{})
			if len(r.Bad) > 0 || len(r.Problems)+len(r.Leftovers) != tt.after {
				t.Errorf("Check() after repair = %+v, want %d problems and leftovers", r, tt.after)
			}
			s := openTest(t, cfg)
			if n := checkAll(t, s); n != len(data)-tt.hidden-tt.bad {
				t.Errorf("%d blocks after repair, want %d", n, len(data)-tt.hidden-tt.bad)
			}
		})
	}
}

func offlineRemove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func offlineProblems(r Report) string {
	lines := make([]string, len(r.Problems))
	for i, p := range r.Problems {
		lines[i] = fmt.Sprintf("%s %d %v", p.File, p.Blocks, p.Err)
	}
	return strings.Join(lines, "\n")
}

func TestOfflineRefuses(t *testing.T) {
	dir, cfg, _ := offlineDir(t)
	calls := map[string]func(dir string) error{
		"Check":   func(dir string) error { _, err := Check(t.Context(), dir, CheckOptions{Repair: true}); return err },
		"Inspect": func(dir string) error { _, err := Inspect(dir); return err },
		"Rebuild": func(dir string) error { _, err := Rebuild(t.Context(), dir, nil); return err },
	}
	s := openTest(t, cfg)
	empty := t.TempDir()
	for name, call := range calls {
		if err := call(dir); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
			t.Errorf("%s of an open directory = %v, want %v with the pid", name, err, ErrLocked)
		}
		if err := call(empty); !errors.Is(err, ErrFormat) {
			t.Errorf("%s of an empty directory = %v, want %v", name, err, ErrFormat)
		}
		if err := call(filepath.Join(empty, "absent")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s of no directory = %v, want not exist", name, err)
		}
	}
	if files := offlineFiles(t, empty); len(files) > 0 {
		t.Errorf("files were made: %v", files)
	}
	if checkAll(t, s) == 0 {
		t.Error("the open store has no blocks")
	}
}

func TestRebuildAnew(t *testing.T) {
	dir, cfg, data := offlineDir(t)
	want, err := Inspect(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "index")); err != nil {
		t.Fatal(err)
	}
	if _, err := Inspect(dir); !errors.Is(err, errIndexLost) {
		t.Errorf("Inspect() without an index = %v, want %v", err, errIndexLost)
	}
	if _, err := Check(t.Context(), dir, CheckOptions{}); !errors.Is(err, errIndexLost) {
		t.Errorf("Check() without an index = %v, want %v", err, errIndexLost)
	}
	var last Progress
	got, err := Rebuild(t.Context(), dir, func(p Progress) { last = p })
	if err != nil {
		t.Fatal(err)
	}
	if got.Blocks != want.Blocks || got.Bytes != want.Bytes || len(got.Datasets) != 1 || got.Datasets[0] != want.Datasets[0] {
		t.Errorf("Rebuild() = %+v, want %+v", got, want)
	}
	if last.Done != 4 || last.Total != 4 || last.Blocks != len(data) {
		t.Errorf("last progress %+v, want 4 containers and %d blocks", last, len(data))
	}
	if err := os.RemoveAll(filepath.Join(dir, "index")); err != nil {
		t.Fatal(err)
	}
	if r := offlineCheck(t, dir, CheckOptions{Repair: true}); !r.Rebuilt || !r.Repaired || r.Blocks != len(data) || len(r.Bad) > 0 {
		t.Errorf("Check(repair) without an index = %+v, want it rebuilt", r)
	}
	offlineReopen(t, cfg, data)
}

func TestRebuildInterrupted(t *testing.T) {
	dir, cfg, data := offlineDir(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Rebuild(ctx, dir, func(Progress) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("Rebuild() interrupted = %v, want %v", err, context.Canceled)
	}
	if _, err := os.Stat(rebuildPath(dir)); err != nil {
		t.Errorf("after an interrupted rebuild: %v, want the marker", err)
	}
	if _, err := Inspect(dir); !errors.Is(err, errIndexLost) {
		t.Errorf("Inspect() after an interrupted rebuild = %v, want %v", err, errIndexLost)
	}
	offlineReopen(t, cfg, data)
	if _, err := os.Stat(rebuildPath(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the next open: %v, want no marker", err)
	}
}

// TestOfflineKeepsRunningMarker makes a directory look as a crash left it. Only a repair ends
// that.
func TestOfflineKeepsRunningMarker(t *testing.T) {
	dir, _, data := offlineDir(t)
	if err := os.WriteFile(runningPath(dir), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	there := func() bool { _, err := os.Stat(runningPath(dir)); return err == nil }
	if r := offlineCheck(t, dir, CheckOptions{}); !r.Crashed || !there() {
		t.Errorf("Check() after a crash = %+v, marker there: %v", r, there())
	}
	if _, err := Inspect(dir); err != nil || !there() {
		t.Errorf("Inspect() after a crash = %v, marker there: %v", err, there())
	}
	if st, err := Rebuild(t.Context(), dir, nil); err != nil || st.Blocks != len(data) || !there() {
		t.Errorf("Rebuild() after a crash = %+v, %v, marker there: %v", st, err, there())
	}
	if r := offlineCheck(t, dir, CheckOptions{Repair: true}); !r.Crashed || !r.Repaired || there() {
		t.Errorf("Check(repair) after a crash = %+v, marker there: %v", r, there())
	}
}

func TestCheckInterrupted(t *testing.T) {
	dir, _, data := offlineDir(t)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := Check(ctx, dir, CheckOptions{Repair: true, Progress: func(Progress) { cancel() }})
	if !errors.Is(err, context.Canceled) || r.Repaired || r.Blocks == 0 || r.Blocks > 2*checkWorkers {
		t.Errorf("Check() interrupted = %+v, %v, want a part of %d blocks and %v", r, err, len(data), context.Canceled)
	}
}

// TestCheckPaces sends blocks at a rate: the time passes at once.
func TestCheckPaces(t *testing.T) {
	dir, _, data := offlineDir(t)
	s, d, err := openOffline(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if _, err := d.readIndex(); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		const rate = 1 << 20
		queue, begun := make(chan block), time.Now()
		go func() {
			d.feed(t.Context(), rate, queue)
			close(queue)
		}()
		n, sent := 0, int64(0)
		for b := range queue {
			if due := time.Duration(float64(sent) / rate * float64(time.Second)); time.Since(begun) < due {
				t.Fatalf("block %d was sent after %v, want %v", n, time.Since(begun), due)
			}
			n, sent = n+1, sent+int64(b.loc.Length)
		}
		if n != len(data) {
			t.Errorf("%d blocks were sent, want %d", n, len(data))
		}
	})
}

// TestOfflineAfterKill works on what the death of the process leaves: a copy of the directory
// of a store at work, whose index is in its log yet.
func TestOfflineAfterKill(t *testing.T) {
	dir := filepath.Join(fastDir(t), "cache")
	cfg := oneDisk(dir, 64<<20)
	cfg.SlabBytes, cfg.FlushInterval = 1<<20, time.Hour
	s := openTest(t, cfg)
	for i := range uint32(50) {
		put(t, s, pageKey(i), randomBytes(uint64(i), 3000))
	}
	put(t, s, shoal.Key{File: shoal.FileID{0xcc}, Index: 1}, randomBytes(1, 5000))
	left := filepath.Join(fastDir(t), "left")
	if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	want := s.Stats()
	st, err := Inspect(left)
	if err != nil || st.Blocks != want.Blocks || st.Bytes != want.Bytes {
		t.Errorf("Inspect() = %+v, %v, want %+v", st, err, want)
	}
	for _, opt := range []CheckOptions{{}, {Repair: true}, {}} {
		r := offlineCheck(t, left, opt)
		if r.Blocks != want.Blocks || len(r.Bad)+len(r.Problems)+len(r.Leftovers) > 0 {
			t.Errorf("Check(%+v) = %+v, want %d good blocks", opt, r, want.Blocks)
		}
	}
	st, err = Rebuild(t.Context(), left, nil)
	if err != nil || st.Blocks != want.Blocks || st.Bytes != want.Bytes {
		t.Errorf("Rebuild() = %+v, %v, want %+v", st, err, want)
	}
}
