package node

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/shoal-mesh/shoal"
)

// fetchStats counts what a Fetcher does.
type fetchStats struct {
	bytes      [shoal.Tiers]atomic.Int64 // brought here, by tier
	inFlight   atomic.Int64              // bytes of blocks in memory
	peerErrors atomic.Int64
	hedged     atomic.Int64
	badChunks  atomic.Int64
	badBlocks  atomic.Int64
	notKept    atomic.Int64
	bypassed   atomic.Int64
	placed     atomic.Int64
	notPlaced  atomic.Int64
	taken      atomic.Int64
	failures   atomic.Int64
}

// failed counts a fetch that ended with err; giving up is not a failure.
func (s *fetchStats) failed(err error) {
	if !errors.Is(err, context.Canceled) && !errors.Is(err, errClosed) {
		s.failures.Add(1)
	}
}

// FetchStats is a snapshot of a Fetcher's counters.
type FetchStats struct {
	PeerBytes     int64 `json:"peer_bytes"`      // brought from peers
	UFSBytes      int64 `json:"ufs_bytes"`       // brought from the UFS
	InFlightBytes int64 `json:"in_flight_bytes"` // of blocks in memory now
	PeerErrors    int64 `json:"peer_errors"`     // transfers a peer did not finish
	Hedged        int64 `json:"hedged"`          // of these, given up for being slow
	BadChunks     int64 `json:"bad_chunks"`      // chunks that did not match their sum
	BadBlocks     int64 `json:"bad_blocks"`      // blocks that were not what their filler announced
	NotKept       int64 `json:"not_kept"`        // blocks read that could not be stored
	Bypassed      int64 `json:"bypassed"`        // reads that fetched a range, as nobody was to keep the block
	Placed        int64 `json:"placed"`          // blocks read here that another node keeps
	NotPlaced     int64 `json:"not_placed"`      // blocks another node was to keep, and did not
	Taken         int64 `json:"taken"`           // blocks kept for another node
	Failures      int64 `json:"failures"`        // blocks no source could bring
	// PeerCost and ZoneCost are what a read from a node of this zone, and of another, was lately
	// measured to cost, where one from the UFS costs 1; 0 while that is not known.
	PeerCost float64 `json:"peer_cost"`
	ZoneCost float64 `json:"zone_cost"`
}

// Stats returns what the Fetcher has done so far.
func (r *Fetcher) Stats() FetchStats {
	s := &r.stats
	near, far := r.costs.told()
	return FetchStats{
		PeerCost: near, ZoneCost: far,
		PeerBytes: s.bytes[shoal.TierPeer].Load(), UFSBytes: s.bytes[shoal.TierUFS].Load(),
		InFlightBytes: s.inFlight.Load(), PeerErrors: s.peerErrors.Load(), Hedged: s.hedged.Load(),
		BadChunks: s.badChunks.Load(), BadBlocks: s.badBlocks.Load(), NotKept: s.notKept.Load(),
		Bypassed: s.bypassed.Load(), Placed: s.placed.Load(), NotPlaced: s.notPlaced.Load(), Taken: s.taken.Load(), Failures: s.failures.Load(),
	}
}

// ReadStats counts what readers of this node were given.
type ReadStats struct {
	Bytes  map[string]int64 `json:"bytes"` // by tier: local, peer, ufs
	Opens  int64            `json:"opens"`
	Failed int64            `json:"failed"` // reads that returned an error
}
