package node

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/fuse"
)

// A SyncStatus tells what became of a Sync.
type SyncStatus struct {
	Path   string     `json:"path"`
	Exists bool       `json:"exists"` // there is something at the path now
	Nodes  []SyncNode `json:"nodes"`  // every live node
}

// A SyncNode is one node that was to sync.
type SyncNode struct {
	ID    shoal.NodeID `json:"id"`
	Name  string       `json:"name"`
	Error string       `json:"error,omitempty"` // why it did not
}

// syncWithin is how long a node may take.
const syncWithin = 2 * time.Minute

// Sync has every live node ask the UFS for what is at path (see namespace.Sync), whatever it and
// its kernel believe of it, and waits until all have.
func (a *Agent) Sync(ctx context.Context, path string) (SyncStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, syncWithin)
	defer cancel()
	members := a.mesh.Members()
	s := SyncStatus{Path: path, Nodes: make([]SyncNode, len(members))}
	var wg sync.WaitGroup
	for i, m := range members {
		to := &s.Nodes[i]
		*to = SyncNode{ID: m.ID, Name: m.Name}
		wg.Go(func() {
			if err := a.syncOn(ctx, m.ID, path); err != nil {
				to.Error = err.Error()
			}
		})
	}
	wg.Wait()
	_, err := a.names.Resolve(ctx, path)
	s.Exists = err == nil
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return s, err
}

// syncOn has one node sync path.
func (a *Agent) syncOn(ctx context.Context, id shoal.NodeID, path string) error {
	if id == a.self.ID {
		return a.syncHere(ctx, path)
	}
	_, err := a.host.Call(ctx, id, append([]byte{callSync}, path...))
	return err
}

// syncHere syncs path on this node, to the kernel's caches.
func (a *Agent) syncHere(ctx context.Context, path string) error {
	err := a.names.Sync(ctx, path)
	if err != nil {
		return err
	}
	a.doors.each(func(door *fuse.Server) { err = errors.Join(err, door.Sync(ctx)) })
	return err
}
