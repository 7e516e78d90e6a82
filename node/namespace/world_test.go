package namespace

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/ufs"
	"github.com/shoal-mesh/shoal/ufs/ufstest"
)

// A clock is what tests pass as Config.Now: it stands still until moved.
type clock struct{ nanos atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.nanos.Store(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time { return time.Unix(0, c.nanos.Load()) }

func (c *clock) advance(d time.Duration) { c.nanos.Add(int64(d)) }

// A fault is a Fault hook that can be switched.
type fault struct {
	fn atomic.Pointer[func(op, name string) error]
}

func (f *fault) set(fn func(op, name string) error) { f.fn.Store(&fn) }

func (f *fault) clear() { f.fn.Store(nil) }

func (f *fault) hook(op, name string) error {
	if fn := f.fn.Load(); fn != nil {
		return (*fn)(op, name)
	}
	return nil
}

func outage(op, name string) error {
	return fmt.Errorf("%s %s: connection refused: %w", op, name, ufs.ErrUnavailable)
}

// A world is a namespace over one fake UFS at /data, with its clock and its disk.
type world struct {
	*Namespace
	t     *testing.T
	ufs   *ufstest.FS
	fault *fault
	clock *clock
	disk  *vfs.MemFS
	cfg   Config
}

func newWorld(t *testing.T, files ...string) *world {
	t.Helper()
	w := &world{t: t, fault: &fault{}, clock: newClock(), disk: vfs.NewMem()}
	w.ufs = &ufstest.FS{Name: "u", Fault: w.fault.hook}
	for _, f := range files {
		w.ufs.Put(f, []byte(f))
	}
	w.cfg = Config{Now: w.clock.now, disk: w.disk}
	w.open()
	return w
}

// open opens the namespace again, closing the one before.
func (w *world) open() {
	w.t.Helper()
	if w.Namespace != nil {
		if err := w.Close(); err != nil {
			w.t.Fatalf("Close() = %v", err)
		}
	}
	w.Namespace = open(w.t, w.cfg, Mount{Path: "/data", FS: w.ufs})
}

func open(t *testing.T, cfg Config, mounts ...Mount) *Namespace {
	t.Helper()
	if cfg.disk == nil {
		cfg.disk = vfs.NewMem()
	}
	n, err := Open("meta", mounts, cfg)
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return n
}

func resolve(t *testing.T, n *Namespace, path string) shoal.Entry {
	t.Helper()
	e, err := n.Resolve(t.Context(), path)
	if err != nil {
		t.Fatalf("Resolve(%q) = %v", path, err)
	}
	return e
}

func list(t *testing.T, n *Namespace, id uint64, after string) ([]string, error) {
	t.Helper()
	names := []string{}
	for e, err := range n.ReadDir(t.Context(), id, after) {
		if err != nil {
			return names, err
		}
		names = append(names, e.Info.Name)
	}
	return names, nil
}

func checkList(t *testing.T, n *Namespace, path string, want ...string) {
	t.Helper()
	got, err := list(t, n, resolve(t, n, path).ID, "")
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("ReadDir(%s) = %q, %v, want %q", path, got, err, want)
	}
}
