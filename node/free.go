package node

import (
	"context"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore"
)

// A FreeStatus tells what became of the replicas that a node was asked to give up.
type FreeStatus struct {
	Blocks  int `json:"blocks"`  // that were here
	Gone    int `json:"gone"`    // of these, given up
	Kept    int `json:"kept"`    // the mesh would have lost them, or relies on this node for them
	Waiting int `json:"waiting"` // their homes have not answered yet; they go when these agree
}

const (
	freeWait = 10 * time.Second      // for the answers of homes
	freeLook = 50 * time.Millisecond // between two looks at what is still to go
)

// Free gives up the node's replicas of the blocks of a file, or of all files below a directory,
// but for those that are the last of their blocks, and waits some seconds for what homes say.
func (a *Agent) Free(ctx context.Context, path string) (FreeStatus, error) {
	e, err := a.names.Resolve(ctx, path)
	if err != nil {
		return FreeStatus{}, err
	}
	keys, err := a.cached(ctx, e, nil)
	if err != nil {
		return FreeStatus{}, err
	}
	a.store.Free(keys...)
	s := FreeStatus{Blocks: len(keys)}
	late := time.NewTimer(freeWait)
	defer late.Stop()
	tick := time.NewTicker(freeLook)
	defer tick.Stop()
	for {
		keys = s.look(a.store, keys)
		if s.Waiting = len(keys); len(keys) == 0 {
			return s, nil
		}
		select {
		case <-tick.C:
		case <-late.C:
			return s, nil
		case <-ctx.Done():
			return s, ctx.Err()
		}
	}
}

// cached appends to keys those of blocks of e, or of the files below it, that are here.
func (a *Agent) cached(ctx context.Context, e shoal.Entry, keys []shoal.Key) ([]shoal.Key, error) {
	if !e.Info.IsDir() {
		for i := range shoal.Blocks(e.Info.Size) {
			if key := (shoal.Key{File: e.File, Index: uint32(i)}); a.store.Has(key) {
				keys = append(keys, key)
			}
		}
		return keys, nil
	}
	for child, err := range a.names.ReadDir(ctx, e.ID, "") {
		if err == nil {
			keys, err = a.cached(ctx, child, keys)
		}
		if err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// look counts those of keys of which it is known what has become, and returns the others.
func (s *FreeStatus) look(store *blockstore.Store, keys []shoal.Key) []shoal.Key {
	open := keys[:0]
	for _, key := range keys {
		switch r, ok := store.Replica(key); {
		case !ok:
			s.Gone++
		case r.Freed:
			open = append(open, key)
		default:
			s.Kept++
		}
	}
	return open
}
