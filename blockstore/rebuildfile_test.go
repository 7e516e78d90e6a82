package blockstore

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/shoal-mesh/shoal"
)

// noHoles is a fileSystem that does not know where its files have holes.
type noHoles struct{ fileSystem }

func (n noHoles) Open(name string) (file, error) {
	f, err := n.fileSystem.Open(name)
	if err != nil {
		return nil, err
	}
	return noHolesFile{f}, nil
}

type noHolesFile struct{ file }

func (f noHolesFile) Data(off int64) (from, end int64, err error) {
	size, err := f.Size()
	return off, size, err
}

// TestRebuildReads counts the reads by which the records of a large file are found of which little
// is cached.
func TestRebuildReads(t *testing.T) {
	tests := []struct {
		name   string
		blocks uint32 // of the file
		files  func(fileSystem) fileSystem
		most   int64 // reads
	}{
		{"holes", 10 << 20 / 4, func(f fileSystem) fileSystem { return f }, 10},
		{"no holes", 10 << 10 / 4, func(f fileSystem) fileSystem { return noHoles{f} }, 10},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var reads atomic.Int64
			cfg := oneDisk(fastDir(t), 1<<30)
			cfg.files = tt.files(&faultyFiles{fault: func(op, name string) error {
				if op == "read" && strings.HasSuffix(name, sumsSuffix) {
					reads.Add(1)
				}
				return nil
			}})
			s := openTest(t, cfg)
			f := File{SizeBytes: int64(tt.blocks-1)*shoal.BlockSize + 100}
			want := []uint32{0, 3, tt.blocks / 2, tt.blocks - 1}
			for _, i := range want {
				key, data := shoal.Key{File: shoal.FileID{7}, Index: i}, randomBytes(uint64(i), int(min(f.SizeBytes-int64(i)*shoal.BlockSize, shoal.BlockSize)))
				if err := s.Put(key, f, data, shoal.ChunkSums(key, data)); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(filepath.Join(cfg.Disks[0].Path, "index")); err != nil {
				t.Fatal(err)
			}
			reads.Store(0)
			s = openTest(t, cfg)
			if got := reads.Load(); got > tt.most {
				t.Errorf("the sums file was read %d times, want %d at most", got, tt.most)
			}
			if got := checkAll(t, s); got != len(want) {
				t.Errorf("blocks = %d, want %d", got, len(want))
			}
		})
	}
}

// TestStraySlab has a file among the slabs whose number none of them can have: it is left alone, and
// costs no memory.
func TestStraySlab(t *testing.T) {
	for _, index := range []bool{true, false} {
		cfg := pageStore(fastDir(t), 64)
		s := openTest(t, cfg)
		for i := range uint32(3) {
			put(t, s, pageKey(i), randomBytes(uint64(i), 1000))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		dir := cfg.Disks[0].Path
		stray := fileName{slabFile, 0x7ffffff0}.path(dir)
		high := fileName{slabFile, 5000} // of when the limit was higher
		for _, name := range []string{stray, high.path(dir)} {
			if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if !index {
			if err := os.RemoveAll(filepath.Join(dir, "index")); err != nil {
				t.Fatal(err)
			}
		}
		s = openTest(t, cfg)
		if got := checkAll(t, s); got != 3 {
			t.Errorf("index %v: blocks = %d, want 3", index, got)
		}
		if got := len(s.disks[0].places.known); got != int(high.name)+1 {
			t.Errorf("index %v: %d slab numbers are known, want %d", index, got, high.name+1)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(stray); err != nil {
			t.Errorf("the stray file is gone: %v", err)
		}
		r, err := Check(t.Context(), dir, CheckOptions{})
		if want := fileName(fileName{slabFile, 0x7ffffff0}).path(""); err != nil || len(r.Leftovers) != 1 || r.Leftovers[0] != want {
			t.Errorf("index %v: Check() = %+v, %v, want %s a leftover", index, r, err, want)
		}
	}
}
