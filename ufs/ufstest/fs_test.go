package ufstest_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/ufs"
	"github.com/shoal-mesh/shoal/ufs/ufstest"
)

// writer makes an FS a Writer.
type writer struct{ fs *ufstest.FS }

func (w writer) Put(name string, data []byte) error { w.fs.Put(name, data); return nil }
func (w writer) Mkdir(name string) error            { w.fs.Mkdir(name); return nil }
func (w writer) Remove(name string) error           { w.fs.Remove(name); return nil }

func TestFSConformance(t *testing.T) {
	ufstest.Conformance(t, ufstest.Harness{
		New: func(*testing.T) (ufs.FS, ufstest.Writer) {
			f := &ufstest.FS{}
			return f, writer{f}
		},
		Names: []string{"new\nline", "bell\a", "caf\xe9"},
	})
}

func TestFSCounts(t *testing.T) {
	var f ufstest.FS
	f.Put("dir/a", make([]byte, 100_000))
	info, err := f.Stat(t.Context(), "dir/a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.List(t.Context(), "dir", "", 10); err != nil {
		t.Fatal(err)
	}
	body, err := f.Open(t.Context(), "dir/a", info.Version, 1, 99_999)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, body); err != nil {
		t.Fatal(err)
	}
	want := ufstest.Counts{Stat: 1, List: 1, Open: 1, Bytes: 99_999, Streams: 1}
	if got := f.Counts(); got != want {
		t.Errorf("Counts() = %+v, want %+v", got, want)
	}
	_ = body.Close()
	_ = body.Close()
	f.ResetCounts()
	if got := f.Counts(); got != (ufstest.Counts{}) {
		t.Errorf("Counts() after Close and ResetCounts = %+v, want none", got)
	}
}

func TestFSFault(t *testing.T) {
	broken := errors.New("disk on fire")
	var ops []string
	f := ufstest.FS{Fault: func(op, name string) error {
		ops = append(ops, op+" "+name)
		if op == "read" {
			return broken
		}
		return nil
	}}
	f.Put("a", []byte("data"))
	info, err := f.Stat(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	body, err := f.Open(t.Context(), "a", info.Version, 0, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = body.Close() }()
	for range 2 {
		if _, err := io.ReadAll(body); !errors.Is(err, broken) {
			t.Errorf("read = %v, want %v", err, broken)
		}
	}
	if want := []string{"stat a", "open a", "read a"}; !slices.Equal(ops, want) {
		t.Errorf("Fault was asked %q, want %q", ops, want)
	}
}

func TestFSHold(t *testing.T) {
	const size, at = 3 * shoal.ChunkSize, shoal.ChunkSize + 5
	var f ufstest.FS
	f.Put("a", make([]byte, size))
	info, err := f.Stat(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	reached, release := f.Hold("a", at)
	body, err := f.Open(t.Context(), "a", info.Version, 0, size)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = body.Close() }()
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, body)
		done <- err
	}()
	<-reached
	if got := f.Counts().Bytes; got != at {
		t.Errorf("bytes given at the hold = %d, want %d", got, at)
	}
	release()
	release()
	if err := <-done; err != nil {
		t.Errorf("stream after release: %v", err)
	}
	if got := f.Counts().Bytes; got != size {
		t.Errorf("bytes given in the end = %d, want %d", got, size)
	}
}

func TestFSHoldEndsWithContext(t *testing.T) {
	var f ufstest.FS
	f.Put("a", make([]byte, 10))
	info, err := f.Stat(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	reached, release := f.Hold("a", 0)
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	body, err := f.Open(ctx, "a", info.Version, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = body.Close() }()
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, body)
		done <- err
	}()
	<-reached
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("held stream after its context ended: %v, want context.Canceled", err)
	}
}

func TestFSRemovePrunes(t *testing.T) {
	var f ufstest.FS
	f.Mkdir("made")
	f.Put("made/a/b", nil)
	f.Put("made/c", nil)
	f.Remove("made/a/b")
	f.Remove("made/c")
	page, err := f.List(t.Context(), "made", "", 10)
	if err != nil || len(page.Entries) != 0 {
		t.Errorf("List(made) = %+v, %v, want none", page, err)
	}
	f.Remove("made")
	page, err = f.List(t.Context(), "", "", 10)
	if err != nil || len(page.Entries) != 0 {
		t.Errorf("List of the root = %+v, %v, want none", page, err)
	}
}
