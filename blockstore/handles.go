package blockstore

import (
	"container/list"
	"errors"
	"io/fs"
	"sync"
)

// handles is a disk's bounded set of open files. A handle in use stays open though it was
// pushed out or its file removed; so the bound is exceeded by at most the calls at work.
type handles struct {
	files fileSystem
	root  string
	limit int

	mu    sync.Mutex // guards the fields below
	open  map[fileName]*handle
	order *list.List // of *handle, the one used last first
}

// A handle is one open file.
type handle struct {
	file
	name  fileName
	refs  int           // callers, and one for being in the set
	place *list.Element // in the order; nil when it is not in the set
}

func newHandles(files fileSystem, root string, limit int) *handles {
	return &handles{files: files, root: root, limit: limit, open: make(map[fileName]*handle), order: list.New()}
}

// get returns an open file, or the error missingFile. The caller must release it.
func (h *handles) get(name fileName) (*handle, error) {
	h.mu.Lock()
	if k := h.open[name]; k != nil {
		k.refs++
		h.order.MoveToFront(k.place)
		h.mu.Unlock()
		return k, nil
	}
	h.mu.Unlock()
	f, err := openFile(h.files, h.root, name)
	if err != nil {
		return nil, err
	}
	return h.add(&handle{name: name, file: f}), nil
}

// openFile opens a file of the disk at root; one that is not there is the error missingFile.
func openFile(files fileSystem, root string, name fileName) (file, error) {
	f, err := files.Open(name.path(root))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &missingFile{name, err}
	}
	return f, err
}

// add takes k into the set, with one reference for the caller. If another was faster, k is
// closed and the other returned.
func (h *handles) add(k *handle) *handle {
	var dead *handle
	h.mu.Lock()
	if other := h.open[k.name]; other != nil {
		other.refs++
		h.mu.Unlock()
		_ = k.Close()
		return other
	}
	if len(h.open) == h.limit {
		dead = h.unlist(h.order.Back().Value.(*handle))
	}
	h.open[k.name] = k
	k.refs, k.place = 2, h.order.PushFront(k)
	h.mu.Unlock()
	dead.shut()
	return k
}

// release gives back what get returned.
func (h *handles) release(k *handle) {
	h.mu.Lock()
	dead := h.unref(k)
	h.mu.Unlock()
	dead.shut()
}

// forget takes a file out of the set, because it goes.
func (h *handles) forget(name fileName) {
	var dead *handle
	h.mu.Lock()
	if k := h.open[name]; k != nil {
		dead = h.unlist(k)
	}
	h.mu.Unlock()
	dead.shut()
}

// close empties the set. Handles in use are closed by their release.
func (h *handles) close() {
	h.mu.Lock()
	var dead []*handle
	for h.order.Len() > 0 {
		dead = append(dead, h.unlist(h.order.Front().Value.(*handle)))
	}
	h.mu.Unlock()
	for _, k := range dead {
		k.shut()
	}
}

// unlist takes k out of the set and returns it if it is to be closed. Holds mu.
func (h *handles) unlist(k *handle) *handle {
	delete(h.open, k.name)
	h.order.Remove(k.place)
	k.place = nil
	return h.unref(k)
}

// unref returns k if that was the last reference. Holds mu.
func (h *handles) unref(k *handle) *handle {
	k.refs--
	if k.refs > 0 {
		return nil
	}
	return k
}

// shut closes the file of a handle nobody refers to; nil is none. What was written is the
// kernel's by then.
func (k *handle) shut() {
	if k != nil {
		_ = k.Close()
	}
}
