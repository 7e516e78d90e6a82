package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore"
)

// fillCache makes the cache directory DIR with ten small blocks of the dataset /train and two
// of a large file.
func fillCache(ts *testscript.TestScript, _ bool, args []string) {
	s, err := blockstore.Open(blockstore.Config{Disks: []blockstore.Disk{{Path: ts.MkAbs(args[0]), SizeBytes: 64 << 20}}})
	ts.Check(err)
	put := func(key shoal.Key, length int, file blockstore.File) {
		data := make([]byte, length)
		ts.Check(s.Put(key, file, data, shoal.ChunkSums(key, data)))
	}
	for i := range 10 {
		put(shoal.Key{File: shoal.FileID{1, byte(i)}}, 5000, blockstore.File{SizeBytes: 5000, Dataset: "/train"})
	}
	for i := range uint32(2) {
		put(shoal.Key{File: shoal.FileID{2}, Index: i}, shoal.BlockSize, blockstore.File{SizeBytes: 2 * shoal.BlockSize})
	}
	ts.Check(s.Close())
}

// flip changes the byte of a file, named by a pattern, at an offset.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	names, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	off, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	if len(names) != 1 {
		ts.Fatalf("flip: %s matches %v", args[0], names)
	}
	f, err := os.OpenFile(names[0], os.O_RDWR, 0)
	ts.Check(err)
	var b [1]byte
	_, rerr := f.ReadAt(b[:], off)
	b[0] ^= 1
	_, werr := f.WriteAt(b[:], off)
	ts.Check(errors.Join(rerr, werr, f.Close()))
}
