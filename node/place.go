package node

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore"
	"github.com/shoal-mesh/shoal/replicas"
)

// An offer asks a node to keep a block that its sender has, or is filling. The node streams
// the block from there, as any reader would.
type offer struct {
	key     shoal.Key
	size    int64  // bytes of the block's file
	dataset string // whose quota it counts for, and whose rules hold
	passes  uint8  // how often it will have been handed over since it was read: see forwarder
}

var errOffer = errors.New("malformed offer")

// request returns the call that makes the offer. One of a block that is handed over is a call of
// its own, so that what a node of another version does not know of is not misread there.
func (o offer) request() []byte {
	if o.passes > 0 {
		return append([]byte{callForward, o.passes}, o.encode()...)
	}
	return append([]byte{callOffer}, o.encode()...)
}

// offerOf returns the offer of a request.
func offerOf(request []byte) (offer, error) {
	if request[0] != callForward {
		return decodeOffer(request[1:])
	}
	if len(request) < 2 || request[1] == 0 || request[1] > blockstore.MaxPasses {
		return offer{}, errOffer
	}
	o, err := decodeOffer(request[2:])
	o.passes = request[1]
	return o, err
}

// encode returns what offers have in common on the wire: the key, the size as a varint, the
// dataset.
func (o offer) encode() []byte {
	b := o.key.AppendTo(make([]byte, 0, shoal.KeyLen+binary.MaxVarintLen64+len(o.dataset)))
	return append(binary.AppendUvarint(b, uint64(o.size)), o.dataset...)
}

func decodeOffer(b []byte) (offer, error) {
	key, ok := shoal.KeyFrom(b[:min(len(b), shoal.KeyLen)])
	if !ok {
		return offer{}, errOffer
	}
	size, n := binary.Uvarint(b[shoal.KeyLen:])
	o := offer{key: key, size: int64(size), dataset: string(b[shoal.KeyLen+max(n, 0):])}
	if n <= 0 || o.size <= 0 || shoal.BlockLen(o.size, key.Index) == 0 {
		return offer{}, errOffer
	}
	return o, nil
}

// place offers a block to the node that its home has named, which begins to stream it while
// it is still on its way here.
func (r *Fetcher) place(ctx context.Context, ft *fetch, to shoal.NodeID) {
	ft.place = to
	o := offer{key: ft.key, size: ft.entry.Info.Size, dataset: ft.entry.Mount}
	r.wg.Go(func() {
		if accepted, err := r.offer(ctx, to, o); !accepted {
			r.stats.notPlaced.Add(1)
			ft.wasTaken()
			r.cfg.Logger.Debug("block not placed", "key", ft.key, "on", to, "err", err)
			return
		}
		r.stats.placed.Add(1)
	})
}

// offer asks a node to keep a block, and says whether it will.
func (r *Fetcher) offer(ctx context.Context, to shoal.NodeID, o offer) (accepted bool, err error) {
	reply, err := r.peers.Call(ctx, to, o.request())
	return err == nil && len(reply) == 1 && reply[0] == 1, err
}

// awaitTaken keeps the block in memory until the node it is placed on has begun to stream it.
func (r *Fetcher) awaitTaken(ctx context.Context, ft *fetch) {
	late := time.NewTimer(takenWithin)
	defer late.Stop()
	select {
	case <-ft.taken:
	case <-late.C:
	case <-ctx.Done():
	}
}

// wasTaken says that the block need not wait for the node it is placed on any longer.
func (f *fetch) wasTaken() { f.takenOnce.Do(func() { close(f.taken) }) }

// HandleOffer answers the request in which node from offers a block.
func (r *Fetcher) HandleOffer(from shoal.NodeID, request []byte) ([]byte, error) {
	o, err := offerOf(request)
	switch {
	case err != nil:
		return nil, err
	case r.Take(from, o):
		return []byte{1}, nil
	}
	return []byte{0}, nil
}

// Take considers the offer of node from and says whether the block is going to be here: it is
// streamed from there in the background.
func (r *Fetcher) Take(from shoal.NodeID, o offer) bool {
	if r.store.Has(o.key) {
		return true
	}
	file := blockstore.File{SizeBytes: o.size, Dataset: o.dataset, Class: shoal.Last}
	if r.draining.Load() || r.room() == 0 || !r.store.Admits(o.key, file) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	ctx, cancel := context.WithCancel(context.Background())
	// It is not in the table: a reader here must not depend on a stream that has no second
	// source.
	entry := shoal.Entry{File: o.key.File, Mount: o.dataset, Info: shoal.FileInfo{Size: o.size}}
	ft := r.newFetch(entry, o.key, span{0, maxChunks})
	ft.cancel, ft.keep, ft.passes = cancel, true, o.passes
	r.takes[ft] = true
	r.wg.Go(func() { r.take(ctx, ft, from) })
	return true
}

// take streams a block that was offered and keeps it.
func (r *Fetcher) take(ctx context.Context, ft *fetch, from shoal.NodeID) {
	r.allocate(ft)
	_, err := r.fromPeers(ctx, ft, replicas.Answer{Kind: replicas.Filling, Nodes: []shoal.NodeID{from}})
	if err == nil {
		r.stats.taken.Add(1)
		r.keep(ft, shoal.Last)
	} else {
		r.cfg.Logger.Debug("offered block not taken", "key", ft.key, "from", from, "err", err)
	}
	r.mu.Lock()
	delete(r.takes, ft)
	r.mu.Unlock()
	ft.finish(err)
	ft.cancel()
	ft.release()
	ft.retire()
}
