package blockstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal"
)

// exposedFile names, in a cache directory, the containers that others than the store may have open:
// one a line, by 16 hexadecimal digits.
const exposedFile = "exposed"

// exposures are the containers of a disk that others were given to open. The kernel tells when the last
// handle of a file is closed that it reads by itself, but a process may have it mapped for longer, also
// longer than this one runs: so the blocks of a container stay held until nobody has it open, and
// its name stays in a file until then.
type exposures struct {
	mu     sync.Mutex     // guards the fields below
	holds  map[uint64]int // Wholes that were opened and are not released, by the container's name
	closed []*Whole       // of these, those that wait for nobody to have it open
}

// expose notes that w is to be opened by others, in the file first.
func (d *disk) expose(w *Whole) error {
	x := &d.exposed
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.holds == nil {
		x.holds = make(map[uint64]int)
	}
	x.holds[w.name.name]++
	if x.holds[w.name.name] > 1 {
		return nil
	}
	err := d.saveExposed()
	if err != nil {
		delete(x.holds, w.name.name)
	}
	return err
}

// saveExposed writes the file of names. Holds exposed.mu.
func (d *disk) saveExposed() error {
	var lines strings.Builder
	for name := range d.exposed.holds {
		fmt.Fprintf(&lines, "%016x\n", name)
	}
	path := filepath.Join(d.path, exposedFile)
	if err := os.WriteFile(path+".new", []byte(lines.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// conceal releases w once nobody has its container open.
func (d *disk) conceal(w *Whole) {
	d.exposed.mu.Lock()
	d.exposed.closed = append(d.exposed.closed, w)
	d.exposed.mu.Unlock()
	d.unexpose()
}

// unexpose releases what nobody has open any more.
func (d *disk) unexpose() {
	x := &d.exposed
	x.mu.Lock()
	defer x.mu.Unlock()
	before := len(x.holds)
	var wait []*Whole
	for _, w := range x.closed {
		if x.holds[w.name.name] == 1 && inUse(d, w.name) {
			wait = append(wait, w)
			continue
		}
		if x.holds[w.name.name]--; x.holds[w.name.name] == 0 {
			delete(x.holds, w.name.name)
		}
		w.release()
	}
	x.closed = wait
	if len(x.holds) < before {
		if err := d.saveExposed(); err != nil {
			d.log.Warn("a list of containers that are open elsewhere is out of date", "disk", d.path, "err", err)
		}
	}
}

// inUse reports whether anybody but the store has a file open or mapped, as far as can be told.
func inUse(d *disk, name fileName) bool {
	d.handles.forget(name)
	f, err := os.Open(name.path(d.path))
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer func() { _ = f.Close() }()
	return lease(f) != nil
}

// lease returns nil if nobody else has f open or mapped, EAGAIN if somebody has, and another error
// where the file system cannot tell: the kernel gives a lease for writing only to who is alone with
// a file (fcntl(2), F_SETLEASE). It is given back at once.
func lease(f *os.File) error {
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK)
	if err != nil {
		return err
	}
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	return err
}

// exposeEarlier holds what an earlier run has let others open, and is open still. Call it before
// anything is evicted.
func (s *Store) exposeEarlier(d *disk) {
	text, err := os.ReadFile(filepath.Join(d.path, exposedFile))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			d.log.Warn("cannot tell which containers are open elsewhere", "disk", d.path, "err", err)
		}
		return
	}
	for line := range strings.Lines(string(text)) {
		name, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
		keys := d.keysIn(name)
		if err != nil || len(keys) == 0 {
			continue
		}
		w := &Whole{disk: d, pins: s.NewPins("open since an earlier run"), opened: true}
		w.pins.Add(keys...)
		if !w.hold(keys) || d.expose(w) != nil {
			w.release() // nothing goes yet: it was no container of one file
			continue
		}
		d.exposed.closed = append(d.exposed.closed, w)
	}
	d.unexpose()
}

// keysIn returns the visible blocks of the sparse container of a name.
func (d *disk) keysIn(name uint64) (keys []shoal.Key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i, ok := d.places.names[name]
	if !ok {
		return nil
	}
	for slot := range d.places.containers[i].n {
		if n, ok := d.places.number(i, slot); ok && d.places.at(n).state == stateVisible {
			keys = append(keys, d.places.at(n).key)
		}
	}
	return keys
}
