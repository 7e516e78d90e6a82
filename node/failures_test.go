package node

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/ufs"
)

func TestFailures(t *testing.T) {
	down := fmt.Errorf("no answer: %w", ufs.ErrUnavailable)
	first, second, other := shoal.Key{Index: 1}, shoal.Key{Index: 2}, shoal.Key{Index: 3}
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	var f failures
	quick, gone := shoal.Key{Index: 4}, shoal.Key{Index: 5}
	stale := fmt.Errorf("replaced: %w: %w", syscall.ESTALE, ufs.ErrVersion)
	f.add(first, down, at(1), at(10), at(9))
	f.add(quick, down, at(10), at(10), at(9))
	f.add(other, ufs.ErrVersion, at(1), at(10), at(9))
	f.add(gone, stale, at(10), at(10), at(9))
	for _, c := range []struct {
		key   shoal.Key
		since int
		want  error
	}{{first, 9, down}, {first, 10, down}, {first, 11, nil}, {second, 9, nil}, {quick, 9, nil}, {other, 9, nil}, {gone, 10, stale}, {gone, 11, nil}} {
		if got := f.of(c.key, at(c.since)); got != c.want { //nolint:errorlint // it is the very error
			t.Errorf("of(%v, %d) = %v, want %v", c.key, c.since, got, c.want)
		}
	}
	f.add(second, down, at(3), at(12), at(11))
	if _, kept := f.last[first]; kept || len(f.last) != 1 {
		t.Errorf("%d failures are kept, want the last alone", len(f.last))
	}
}

// TestFetcherFailsOnce has the UFS asked once for a block that it is long in not giving, forbids, or of
// a version that is gone, however often it is read in the moment after, and again when that is over.
func TestFetcherFailsOnce(t *testing.T) {
	for _, c := range []struct {
		name string
		took time.Duration
		err  error
		want error
	}{
		{"no answer", 30 * time.Second, ufs.ErrUnavailable, ufs.ErrUnavailable},
		{"replaced", 0, ufs.ErrVersion, syscall.ESTALE},
		{"forbidden", 0, fs.ErrPermission, fs.ErrPermission},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, FetcherConfig{})
				e, _ := b.put(t, 100_000)
				asked := 0
				b.ufs.Fault = func(string, string) error {
					asked++
					time.Sleep(c.took)
					return c.err
				}
				for _, times := range []int{1, 2} {
					for range 3 {
						if _, err := b.readAll(t, e); !errors.Is(err, c.want) {
							t.Errorf("read = %v, want %v", err, c.want)
						}
					}
					if asked != times {
						t.Errorf("the UFS was asked %d times, want %d", asked, times)
					}
					time.Sleep(2 * time.Second)
				}
			})
		})
	}
}
