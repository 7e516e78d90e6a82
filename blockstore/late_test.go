package blockstore

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
)

// TestLoadedLate heals a disk that failed when it was opened, while the store is in use: all that
// is seen of it meanwhile is what it comes to show.
func TestLoadedLate(t *testing.T) {
	var broken atomic.Bool
	cfg := pageStore(fastDir(t), 64)
	cfg.Disks = append(cfg.Disks, Disk{Path: fastDir(t), SizeBytes: cfg.Disks[0].SizeBytes})
	cfg.RetryInterval = time.Hour
	cfg.indexFS = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken.Load() && len(op.Path) > len(cfg.Disks[1].Path) && op.Path[:len(cfg.Disks[1].Path)] == cfg.Disks[1].Path {
			return unix.EIO
		}
		return nil
	}))
	s := openTest(t, cfg)
	want := make(map[shoal.Key]bool)
	for i := range uint32(300) {
		put(t, s, pageKey(i), randomBytes(uint64(i), 1000))
		want[pageKey(i)] = true
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Progress = func(p Progress) { t.Errorf("%+v: the index is made anew though it is there", p) }
	broken.Store(true)
	s = openTest(t, cfg)
	if st := s.Stats(); st.Disks[1].Err == nil || st.Disks[1].Blocks != 0 {
		t.Fatalf("Stats() = %+v, want the second disk to have failed", st)
	}
	broken.Store(false)
	var group sync.WaitGroup
	healed := make(chan struct{})
	use := func(do func()) {
		group.Go(func() {
			for {
				select {
				case <-healed:
					return
				default:
					do()
				}
			}
		})
	}
	use(func() { s.Stats() })
	use(func() {
		for key := range s.Keys() {
			if !want[key] {
				t.Errorf("Keys() yields %v, which was never put", key)
			}
		}
	})
	use(func() { s.Has(pageKey(7)); _ = s.Check(pageKey(8)) })
	use(func() { s.disks[1].scrubPass(nil, 1<<40) })
	s.disks[1].retry()
	close(healed)
	group.Wait()
	if st := s.Stats(); st.Disks[1].Err != nil || st.Blocks != len(want) {
		t.Errorf("Stats() = %+v, want all %d blocks", st, len(want))
	}
}
