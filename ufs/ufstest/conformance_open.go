package ufstest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"testing"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/ufs"
)

func testOpenRanges(t *testing.T, _ Harness, f ufs.FS, w Writer) {
	const size = shoal.BlockSize + shoal.ChunkSize + 7
	data := pattern(size, 1)
	put(t, w, "dir/file", data)
	v := stat(t, f, "dir/file").Version
	tests := []struct{ off, length int64 }{
		{0, 0},
		{0, 1},
		{0, size},
		{1, size - 1},
		{0, size - 1},
		{size - 1, 1},
		{size, 0},
		{size / 2, 0},
		{shoal.ChunkSize - 1, 2},
		{shoal.BlockSize, shoal.ChunkSize + 7},
		{shoal.BlockSize - 1, 2},
		{3, 100_000},
	}
	for _, tt := range tests {
		got, err := read(t.Context(), f, "dir/file", v, tt.off, tt.length)
		if err != nil || !bytes.Equal(got, data[tt.off:tt.off+tt.length]) {
			t.Errorf("Open(%d, %d): %d bytes, %v, want %d right bytes", tt.off, tt.length, len(got), err, tt.length)
		}
	}
}

func testOpenBeyondEnd(t *testing.T, _ Harness, f ufs.FS, w Writer) {
	put(t, w, "file", pattern(1000, 1))
	v := stat(t, f, "file").Version
	tests := []struct{ off, length int64 }{
		{0, 1001},
		{1, 1000},
		{999, 2},
		{1000, 1},
		{1001, 0},
		{1001, 1},
		{5000, 10},
		{-1, 1},
		{0, -1},
		{math.MaxInt64, 1},
		{1, math.MaxInt64},
	}
	for _, tt := range tests {
		got, err := read(t.Context(), f, "file", v, tt.off, tt.length)
		if !errors.Is(err, fs.ErrInvalid) || len(got) != 0 {
			t.Errorf("Open(%d, %d) of 1000 bytes: %d bytes, %v, want fs.ErrInvalid", tt.off, tt.length, len(got), err)
		}
	}
}

func testOpenEmptyFile(t *testing.T, _ Harness, f ufs.FS, w Writer) {
	put(t, w, "empty", nil)
	info := stat(t, f, "empty")
	if got, err := read(t.Context(), f, "empty", info.Version, 0, 0); err != nil || len(got) != 0 {
		t.Errorf("read of an empty file = %d bytes, %v, want none", len(got), err)
	}
	if _, err := read(t.Context(), f, "empty", info.Version, 0, 1); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("read of a byte of an empty file: %v, want fs.ErrInvalid", err)
	}
}

func testOpenMissing(t *testing.T, _ Harness, f ufs.FS, w Writer) {
	put(t, w, "dir/file", pattern(10, 1))
	v := stat(t, f, "dir/file").Version
	for _, name := range []string{"no", "dir", "dir/no", "dir/file/below", ""} {
		for _, length := range []int64{0, 1} {
			if _, err := read(t.Context(), f, name, v, 0, length); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Open(%q) of %d bytes: %v, want fs.ErrNotExist", name, length, err)
			}
		}
	}
}

func testOpenOtherVersion(t *testing.T, _ Harness, f ufs.FS, w Writer) {
	put(t, w, "file", pattern(100_000, 1))
	old := stat(t, f, "file").Version
	put(t, w, "file", pattern(100_000, 2))
	if now := stat(t, f, "file").Version; now == old {
		t.Errorf("Stat after a file is replaced: version %q twice, want another", now)
	}
	for _, v := range []shoal.Version{old, "", "nonsense", "*", `"*"`} {
		for _, length := range []int64{0, 10, 100_000} {
			if got, err := read(t.Context(), f, "file", v, 0, length); !errors.Is(err, ufs.ErrVersion) || len(got) != 0 {
				t.Errorf("Open(version %q, %d bytes): %d bytes, %v, want ufs.ErrVersion", v, length, len(got), err)
			}
		}
	}
	// A range that only the old version has is the old version's error.
	put(t, w, "file", pattern(10, 3))
	if _, err := read(t.Context(), f, "file", old, 50_000, 10); !errors.Is(err, ufs.ErrVersion) {
		t.Errorf("Open(version %q) of a range of a file now shorter: %v, want ufs.ErrVersion", old, err)
	}
}

// testReplacedWhileStreamed accepts all of the old bytes, or ErrVersion after some of
// them, and nothing else.
func testReplacedWhileStreamed(t *testing.T, _ Harness, f ufs.FS, w Writer) {
	const size = 8 << 20
	data := pattern(size, 1)
	put(t, w, "file", data)
	body, err := f.Open(t.Context(), "file", stat(t, f, "file").Version, 0, size)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = body.Close() }()
	head := make([]byte, 1000)
	if _, err := io.ReadFull(body, head); err != nil {
		t.Fatal(err)
	}
	put(t, w, "file", pattern(size, 2))
	rest, err := io.ReadAll(body)
	got := append(head, rest...)
	if !bytes.Equal(got, data[:len(got)]) {
		t.Errorf("stream of a file that was replaced gave bytes of another version")
	}
	if !errors.Is(err, ufs.ErrVersion) && (err != nil || len(got) != size) {
		t.Errorf("stream of a file that was replaced: %d bytes, %v, want all or ufs.ErrVersion", len(got), err)
	}
}

func testCloseEarly(t *testing.T, _ Harness, f ufs.FS, w Writer) {
	put(t, w, "file", pattern(1<<20, 1))
	v := stat(t, f, "file").Version
	for range 3 {
		body, err := f.Open(t.Context(), "file", v, 0, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 10)
		if _, err := io.ReadFull(body, p); err != nil {
			t.Errorf("first bytes: %v", err)
		}
		if err := body.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if n, err := body.Read(p); err == nil || err == io.EOF {
			t.Errorf("Read after Close = %d, %v, want an error", n, err)
		}
	}
}

func testCancel(t *testing.T, _ Harness, f ufs.FS, w Writer) {
	const size = 8 << 20
	put(t, w, "dir/file", pattern(size, 1))
	v := stat(t, f, "dir/file").Version
	ctx, cancel := context.WithCancel(t.Context())
	body, err := f.Open(ctx, "dir/file", v, 0, size)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = body.Close() }()
	cancel()
	if n, err := io.Copy(io.Discard, body); !errors.Is(err, context.Canceled) || n == size {
		t.Errorf("stream after its context ended: %d bytes, %v, want context.Canceled", n, err)
	}
	if _, err := f.Stat(ctx, "dir/file"); !errors.Is(err, context.Canceled) {
		t.Errorf("Stat after its context ended: %v, want context.Canceled", err)
	}
	if _, err := f.List(ctx, "dir", "", 10); !errors.Is(err, context.Canceled) {
		t.Errorf("List after its context ended: %v, want context.Canceled", err)
	}
	if _, err := f.Open(ctx, "dir/file", v, 0, 10); !errors.Is(err, context.Canceled) {
		t.Errorf("Open after its context ended: %v, want context.Canceled", err)
	}
}
