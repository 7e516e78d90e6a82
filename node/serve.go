package node

import (
	"context"
	"time"

	"github.com/shoal-mesh/shoal"
	"github.com/shoal-mesh/shoal/blockstore"
	"github.com/shoal-mesh/shoal/node/peer"
)

// blocks is what the read path asks of the block store.
type blocks interface {
	Put(key shoal.Key, file blockstore.File, data []byte, sums []shoal.Sum) error
	Has(key shoal.Key) bool
	admissions
	ReadAt(key shoal.Key, p []byte, off int) (int, error)
	Serve(key shoal.Key) (*blockstore.Section, error)
}

// admissions is what the store says of blocks that are not there.
type admissions interface {
	Miss(key shoal.Key, file blockstore.File) (weight float32, ok bool)
	Admits(key shoal.Key, file blockstore.File) bool
	SetCosts(near, far float64)
}

// OpenBlock serves a peer: from the fetch that is bringing the block here, as its chunks
// land, or from the store. fs.ErrNotExist tells the peer to look elsewhere.
func (r *Fetcher) OpenBlock(_ context.Context, key shoal.Key) (peer.Stream, error) {
	r.mu.Lock()
	ft := r.flights[key]
	joined := ft != nil && ft.join()
	r.mu.Unlock()
	if joined {
		return &flightStream{fetch: ft}, nil
	}
	// A fetch stores its block before it leaves the table, so none is missed here.
	section, err := r.store.Serve(key)
	if err != nil {
		return nil, err
	}
	return storedStream{section}, nil
}

// A flightStream serves a block that is still on its way here.
type flightStream struct {
	*fetch
	closed bool
}

func (s *flightStream) Close() error {
	if !s.closed {
		s.closed = true
		s.release()
	}
	return nil
}

// A storedStream serves a block of the store. Its bytes are not verified here: the
// receiver checks each chunk against the sum that travels with it.
type storedStream struct{ section *blockstore.Section }

func (s storedStream) Length() int { return s.section.Length }

func (s storedStream) Chunk(_ context.Context, i int, buf []byte) ([]byte, shoal.Sum, error) {
	data, err := s.section.ReadChunk(i, buf)
	return data, s.section.Sums[i], err
}

func (s storedStream) Close() error { return s.section.Close() }

// holdings is the store as the directory sees it. A home asks about a single block only
// when a reader did not get it here, so that answer is given after a look at the bytes: a
// rotten block would else be announced again and again.
type holdings struct{ *blockstore.Store }

func (h holdings) Has(key shoal.Key) bool { return h.Check(key) == nil }

// Stand takes in what a block's home says of the replica here.
func (h holdings) Stand(key shoal.Key, s shoal.Standing, credit time.Duration) bool {
	if credit > 0 {
		h.Credit(key, credit)
	}
	return h.SetStanding(key, s)
}
